"""``rapport plan --experiment``: the plan of a design of the project, measured in its own history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rapport.terminal import print_table, say, step, write_json

if TYPE_CHECKING:
    from experiments.design import Experiment
    from experiments.measures import Measure
    from rapport.trials.plans import PlanRow


def plan_experiment(
    key: str, *, project: Path, units: int | None, daily: float | None, power: float, looks: int, json: Path | None
) -> None:
    """Print what an experiment of the project can tell, what that takes, and what keeps it from starting."""
    from rapport.project import load_project
    from rapport.trials.plans import plan_rows, remarks, shortfall
    from rapport.trials.prospects import prospects
    from rapport.trials.readiness import requirements

    opened = load_project(project)
    design = opened.experiment(key)
    with step(f"measuring the goals of {key} in the history"):
        found = prospects(opened, design)
        required = requirements(opened, design, at=found.until)
    at_hand, a_day = units or found.customers, found.daily if daily is None else daily
    rows = list(plan_rows(design, found, units=at_hand, daily=a_day, power=power, looks=looks))
    short = shortfall(design, rows, units=at_hand)
    told = list(remarks(design, found, units=at_hand))
    if short is not None:
        say(short, style="bold yellow")
    say(f"{design.title}: {at_hand:,} customers at hand, {a_day:,.0f} come by a day.", style="bold")
    say(f"Measured from {found.since:%d %B %Y} to {found.until:%d %B %Y}, whatever these customers were sent then.")
    say("")
    _show(rows, design, currency=opened.settings.project.currency, power=power)
    for sentence in told:
        say(sentence, style="dim")
    for each in required:
        say(f"{'holds' if each.held else 'to come'}: {each.sentence}", style="" if each.held else "yellow")
    write_json(
        json,
        {
            "experiment": key,
            "customers": at_hand,
            "daily": a_day,
            "plans": [asdict(row) for row in rows],
            "start_rules": [asdict(each) for each in required],
            "remarks": told if short is None else [short, *told],
        },
    )


def _show(rows: Sequence[PlanRow], design: Experiment, *, currency: str, power: float) -> None:
    measures = {each.metric: each for each in design.measures}
    print_table(
        f"what can be told, {power:.0%} sure to see it",
        ("goal", "looks", "variance left", "today", "difference", "lift", "units for its worth", "days"),
        [
            _cells(
                row,
                measures[row.metric],
                currency=currency,
                first=not place or rows[place - 1].metric != row.metric,
            )
            for place, row in enumerate(rows)
        ],
        note="looks: one (at the end), campaign (any until its end), any (whenever)",
    )


def _cells(row: PlanRow, measure: Measure, *, currency: str, first: bool) -> tuple[str, ...]:
    words = f"{measure.words}, {currency}" if measure.money else measure.words
    return (
        words if first else "",
        row.looks,
        f"{row.variance_kept:.1%}",
        _amount(row.baseline, measure, row),
        "none" if row.lift is None or row.detectable == float("inf") else _amount(row.detectable, measure, row, True),
        "" if row.lift is None or row.lift == float("inf") else f"{row.lift:+.1%}",
        "" if row.units is None else f"{row.units:,}",
        "" if row.days is None else f"{row.days:,}",
    )


def _amount(value: float, measure: Measure, row: PlanRow, signed: bool = False) -> str:
    sign = "+" if signed else ""
    if row.std is None:
        return f"{100 * value:{sign},.3g} points" if signed else f"{value:.2%}"
    return f"{value / 100:{sign},.2f}" if measure.money else f"{value:{sign},.4g}"
