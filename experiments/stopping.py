"""The stop rules of a design that have come true at a look; they were fixed before the start.

A guardrail that is known to be over its limit is told by the verdict itself (``experiments.analysis.verdict``).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from experiments.design import Experiment, aware
from experiments.results import Analysis


def loss(*, difference: float, units: int) -> float:
    """What an arm of so many units has cost against the control so far, as estimated; 0 for one that gained.

    >>> loss(difference=-25.0, units=10_000)
    250000.0
    """
    return max(0.0, -difference * units)


def ended(design: Experiment, *, as_of: datetime) -> str:
    """That the experiment has come to its end, as it was planned; empty before."""
    if design.end is None or aware(as_of) < aware(design.end):
        return ""
    return (
        f"The experiment has reached its end as planned, {design.end.day} {design.end:%B %Y}: nobody new is assigned."
    )


def stops(design: Experiment, analysis: Analysis, *, as_of: datetime) -> tuple[str, ...]:
    """Why the experiment is to be stopped now, before its end, in sentences; empty while no rule has come true.

    A stop for a loss claims nothing but the loss, so it costs no part of the error that a roll-out is held to.
    """
    return tuple(_stops(design, analysis, as_of=as_of))


def _stops(design: Experiment, analysis: Analysis, *, as_of: datetime) -> Iterator[str]:
    units = sum(arm.n for arm in analysis.arms)
    if design.planned_units is not None and units >= design.planned_units and not ended(design, as_of=as_of):
        yield f"All {design.planned_units:,} planned units are in ({units:,}): stop assigning, and set `stopped`."
    goal = design.goals[0]
    for row in analysis.metrics:
        cost = loss(difference=row.difference, units=row.n_arm)
        if design.largest_loss is not None and row.metric == goal.metric and cost > design.largest_loss:
            yield (
                f"{row.arm} has cost {_amount(cost, money=goal.money)} of {goal.words} so far, as estimated: more than "
                f"the largest loss of {_amount(design.largest_loss, money=goal.money)}. Stop it now, and set `stopped`."
            )


def _amount(value: float, *, money: bool) -> str:
    return f"{value / 100:,.2f}" if money else f"{value:,.4g}"
