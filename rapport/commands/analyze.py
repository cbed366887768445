"""``rapport analyze``: did an arm beat the control, how sure are we, and may the numbers be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rapport.commands.analysis_tables import show
from rapport.commands.pairs import pairs, texts
from rapport.commands.unfit import refuse
from rapport.terminal import JsonFile, step, write_json

if TYPE_CHECKING:
    from experiments.analysis import Findings


def analyze(
    table: Annotated[Path, typer.Argument(help="CSV (also .gz) or Parquet: one row per unit.", show_default=False)],
    arm: Annotated[str, typer.Option(help="Column of the arm that each unit was assigned to.")],
    control: Annotated[str, typer.Option(help="The arm that the others are held against.")],
    metric: Annotated[
        list[str],
        typer.Option(metavar="COL|NUM/DEN", help="Column (0/1, count, money) or ratio; the first decides the verdict."),
    ],
    covariate: Annotated[list[str] | None, typer.Option(help="Column known before the start (CUPED).")] = None,
    stratum: Annotated[
        list[str] | None, typer.Option(help="Column known before the start whose shares are evened out over the arms.")
    ] = None,
    ramp: Annotated[
        str | None,
        typer.Option(
            help="Column of the period, or of the time, where planned shares changed on the way.", show_default=False
        ),
    ] = None,
    cluster: Annotated[str | None, typer.Option(help="Column of the household.", show_default=False)] = None,
    segment: Annotated[list[str] | None, typer.Option(help="Column to compare within.")] = None,
    exposed: Annotated[
        str | None, typer.Option(help="Column that is 1 for who reached what differs.", show_default=False)
    ] = None,
    cap: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=VALUE", help="Largest value that counts, fixed before: an amount, or 99% of rows."
        ),
    ] = None,
    money: Annotated[
        list[str] | None, typer.Option(metavar="METRIC", help="Metric in money: told for all units together, too.")
    ] = None,
    currency: Annotated[str, typer.Option(help="The money's currency, to be told with it.", show_default=False)] = "",
    split: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ARM=SHARE", help="Planned share of all units of an arm, such as static=0.2; equal shares if none."
        ),
    ] = None,
    time: Annotated[str | None, typer.Option(help="Column of when a unit entered.", show_default=False)] = None,
    alpha: Annotated[float, typer.Option(help="1 - alpha is the level of the intervals.")] = 0.05,
    final: Annotated[
        bool,
        typer.Option(
            "--final",
            help="This is the one look planned before the start, or a campaign's last: fixed then, not by the numbers.",
        ),
    ] = False,
    planned_units: Annotated[
        float | None, typer.Option(help="Units planned at a campaign's end, of ALL arms together.", show_default=False)
    ] = None,
    looked_at: Annotated[
        list[float] | None, typer.Option(metavar="UNITS", help="Units at each earlier look at that campaign.")
    ] = None,
    elapsed: Annotated[
        list[float] | None,
        typer.Option(metavar="SHARE", help="Instead of planned units: share of the planned time, each look and this."),
    ] = None,
    spending: Annotated[
        str, typer.Option(help="How a campaign's error is spread: obrien_fleming (late) or pocock (evenly).")
    ] = "obrien_fleming",
    worth: Annotated[float, typer.Option(help="Smallest difference of the first metric that is worth having.")] = 0.0,
    lower_is_better: Annotated[
        list[str] | None, typer.Option(metavar="METRIC", help="Metric of which less is good.")
    ] = None,
    limit: Annotated[
        list[str] | None, typer.Option(metavar="METRIC=AMOUNT", help="Largest rise of a metric that is allowed.")
    ] = None,
    expected: Annotated[int, typer.Option(help="Units at which the interval for any look is narrowest.")] = 5000,
    probabilities: Annotated[
        str, typer.Option(metavar="PREFIX", help="A bandit chose: what columns of its chances begin with, as p_.")
    ] = "",
    json: JsonFile = None,
) -> None:
    """Did an arm beat the control, how sure are we, and may the numbers be trusted.

    Intervals hold at any look. With --planned-units or --elapsed they are those of a campaign with an end, with --final
    those of a single planned look. --json holds all kinds.

    Example: rapport analyze hillstrom.csv.gz --arm segment --control "No E-Mail" --metric visit --metric spend
    --segment channel
    """
    with step(f"analysing {table.name}"):
        if probabilities:
            examine = _of_a_bandit(
                table,
                arm=arm,
                probabilities=probabilities,
                unfit={
                    "--planned-units": planned_units,
                    "--looked-at": looked_at,
                    "--elapsed": elapsed,
                    "--stratum": stratum,
                    "--ramp": ramp,
                    "--exposed": exposed,
                    "--cap": cap,
                    "--money": money,
                },
            )
        else:
            from experiments.analysis import analyze as analyze_split

            examine = partial(
                analyze_split,
                table,
                planned_units=planned_units,
                looked_at=looked_at or (),
                elapsed=elapsed or (),
                spending=spending,
                strata=stratum or (),
                ramp=ramp,
                exposed=exposed,
                caps=texts(cap, option="--cap METRIC=VALUE", example="spend=500"),
                money=money or (),
                currency=currency,
            )
        found = examine(
            arm=arm,
            control=control,
            metrics=metric,
            covariates=covariate or (),
            cluster=cluster,
            segments=segment or (),
            planned=pairs(split, option="--split ARM=SHARE", example="Mens E-Mail=0.5"),
            time=time,
            alpha=alpha,
            final=final,
            worth=worth,
            lower_is_better=lower_is_better or (),
            limits=pairs(limit, option="--limit METRIC=AMOUNT", example="opt_outs=0.002"),
            expected=expected,
        )
    write_json(json, found.to_json())
    show(found, bandit=bool(probabilities), currency=currency, assumed=not split)


def _of_a_bandit(table: Path, *, arm: str, probabilities: str, unfit: Mapping[str, object]) -> partial[Findings]:
    """The analysis of a bandit's log, which some of the options don't fit."""
    from experiments.adaptive import analyze_bandit
    from features.tables import read_table

    refuse(unfit, beside="a bandit's log", why="its intervals hold at any look, by the logged chances")
    return partial(analyze_bandit, read_table(table, text=[arm]), probabilities=probabilities)
