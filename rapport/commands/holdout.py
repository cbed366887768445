"""``rapport holdout``: what all marketing is worth, period by period, against those withheld from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rapport.commands.roles import each_its_own
from rapport.terminal import JsonFile, print_table, say, step, write_json


def holdout(
    table: Annotated[
        Path, typer.Argument(help="CSV (also .gz) or Parquet: one row per customer and period.", show_default=False)
    ],
    customer: Annotated[str, typer.Option(help="Column of who it is.")],
    period: Annotated[str, typer.Option(help="Column of the period, such as 2026-Q1.")],
    held: Annotated[str, typer.Option(help="Column that is 1 where chance withheld the customer then.")],
    value: Annotated[str, typer.Option(help="Column of what the customer was worth then.")],
    cluster: Annotated[str | None, typer.Option(help="Column of the household.", show_default=False)] = None,
    alpha: Annotated[float, typer.Option(help="1 - alpha is the level of the intervals.")] = 0.05,
    json: JsonFile = None,
) -> None:
    """Say what marketing as a whole is worth over the long run, from a holdout, quarter by quarter.

    The interval of the sum holds at the ends of all periods together, however many will come.

    Example: rapport holdout quarters.csv --customer id --period quarter --held withheld --value profit
    """
    homes = None if cluster == customer else cluster
    each_its_own({"--customer": customer, "--period": period, "--held": held, "--value": value, "--cluster": homes})
    with step("holding the quarters against the holdout"):
        from experiments.retention import long_run
        from experiments.wording import amount_words
        from features.tables import read_table

        found = long_run(
            read_table(table), customer=customer, period=period, held=held, value=value, cluster=homes, alpha=alpha
        )
    write_json(json, found.to_json())
    amount = amount_words(1.0)
    say(found.sentence, style="bold")
    say("")
    print_table(
        f"{value} per customer, not withheld less withheld",
        ("period", "customers", "withheld", "in the period", "since the start"),
        [
            (
                each.period,
                f"{each.n:,}",
                f"{each.n_held:,}",
                amount(each.difference, each.ci_low, each.ci_high),
                amount(each.total, each.total_ci_low, each.total_ci_high),
            )
            for each in found.periods
        ],
    )
    say("")
    for note in found.notes:
        say(note, style="dim")
