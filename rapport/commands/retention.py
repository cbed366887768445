"""``rapport retention``: whether customers stay longer in one arm than in another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rapport.commands.roles import each_its_own
from rapport.terminal import JsonFile, print_table, say, step, write_json

if TYPE_CHECKING:
    from experiments.retention import Retention

_SHOWN = 6


def retention(
    table: Annotated[Path, typer.Argument(help="CSV (also .gz) or Parquet: one row per customer.", show_default=False)],
    arm: Annotated[str, typer.Option(help="Column of the arm.")],
    control: Annotated[str, typer.Option(help="The arm that the others are held against.")],
    time: Annotated[str, typer.Option(help="Column of how long each was watched.")],
    event: Annotated[str, typer.Option(help="Column that is 1 where they left then, 0 where still there.")],
    cluster: Annotated[str | None, typer.Option(help="Column of the household.", show_default=False)] = None,
    entered: Annotated[str | None, typer.Option(help="Column of when each entered.", show_default=False)] = None,
    horizon: Annotated[
        float | None, typer.Option(help="Compare within this time (as far as 50 of each arm were watched).")
    ] = None,
    unit: Annotated[str, typer.Option(help="What the times are in.")] = "days",
    alpha: Annotated[float, typer.Option(help="1 - alpha is the level of the intervals.")] = 0.05,
    json: JsonFile = None,
) -> None:
    """Say whether customers stay longer in one arm: time gained, share still there, and the log-rank test.

    Who was still there when last seen counts for as long as they were watched, so customers who came late may be in it.

    Example: rapport retention members.csv --arm arm --control static --time days --event cancelled
    """
    each_its_own({"--arm": arm, "--time": time, "--event": event, "--cluster": cluster, "--entered": entered})
    with step("watching who stays"):
        from experiments.retention import retention as watch
        from features.tables import read_table

        found = watch(
            read_table(table, text=[arm]),
            arm=arm,
            control=control,
            time=time,
            event=event,
            cluster=cluster,
            entered=entered,
            horizon=horizon,
            unit=unit,
            alpha=alpha,
        )
    write_json(json, found.to_json())
    _show(found)


def _show(found: Retention) -> None:
    from experiments.wording import amount_words, timed

    amount = amount_words(1.0)
    if found.doubt:
        say(found.doubt, style="bold")
    for each in [] if found.doubt else found.differences:
        say(f"{each.sentence[:-1]} ({_log_rank(each.adjusted_p_value)}).", style="bold")
    say("")
    rows = [
        (each.arm, f"{each.n:,}", f"{each.events:,}", amount(each.mean_time, each.ci_low, each.ci_high))
        for each in found.arms
    ]
    print_table(
        f"within {timed(f'{found.horizon:g}', found.unit)}",
        ("arm", "customers", "left", f"mean {found.unit} there"),
        rows,
    )
    say("")
    every = max((len(found.arms[0].curve) - 1) // _SHOWN, 1)
    curves = [each.curve[every::every] for each in found.arms]
    points = [
        (f"{point[0].time:.4g}", *(f"{each.share:.1%} of {each.at_risk:,}" for each in point))
        for point in zip(*curves, strict=True)
    ]
    named = (f"after {found.unit}", *(each.arm for each in found.arms))
    print_table("still there, and how many were watched so long", named, points)
    say("")
    for note in found.notes:
        say(note, style="dim")


def _log_rank(p_value: float) -> str:
    if p_value != p_value:
        return "too few left at different times for a log-rank test"
    return "log-rank p below 0.0001" if p_value < 0.0001 else f"log-rank p {p_value:.2g}"
