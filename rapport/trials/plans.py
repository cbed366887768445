"""The plan of a designed experiment: what its goals can tell, and how many units and days that takes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import special

from experiments.analysis.planning import Design, days, detectable, sample_size
from experiments.design import Experiment, aware
from experiments.measures import Guardrail, Measure
from experiments.results import IntervalKind
from features.errors import InputError
from rapport.trials.prospects import Prospect, Prospects

Looks = Literal["one", "campaign", "any"]
LOOKS: dict[IntervalKind, Looks] = {"fixed": "one", "group_sequential": "campaign", "anytime": "any"}
"""What the kinds of interval are called in a plan: by when one may look."""
_USELESS = 0.9995  # of the variance left is told as 100.0%


@dataclass(frozen=True, kw_only=True)
class PlanRow:
    """What one goal can tell under one way of looking.

    ``detectable`` is what all the customers at hand can tell, in the goal's unit; ``wanted`` its worth (or limit),
    ``units`` and ``days`` what that takes, None where the design names none or it can't be.
    """

    metric: str
    looks: Looks
    covariate: bool
    baseline: float
    std: float | None
    variance_kept: float
    design_effect: float
    detectable: float
    lift: float | None
    wanted: float | None
    units: int | None
    days: int | None
    expected_share: float


def plan_rows(
    design: Experiment, found: Prospects, *, units: int, daily: float, power: float, looks: int
) -> Iterator[PlanRow]:
    """The rows of every goal and guardrail: the first goal under each way of looking, the others under the design's."""
    for place, prospect in enumerate(found.found):
        if prospect.metric is None:
            continue
        kinds: list[IntervalKind] = list(LOOKS) if place == 0 else [design.interval_kind]
        for kind in kinds:
            for kept in worth_telling(prospect.metric.variance_kept):
                yield _row(design, prospect, kind, kept, units=units, daily=daily, power=power, looks=looks)


def worth_telling(variance_kept: float) -> tuple[float, ...]:
    """The variance without covariates and with them, once where they take away too little to change a number."""
    return (1.0, variance_kept) if variance_kept < _USELESS else (1.0,)


def shortfall(design: Experiment, rows: Sequence[PlanRow], *, units: int) -> str | None:
    """The sentence on a design that can't show its first goal's worth; None where it can, or names no worth."""
    goal = design.goals[0]
    own = [row for row in rows if row.metric == goal.metric and row.looks == LOOKS[design.interval_kind]]
    best = min((row for row in own if row.units is not None), key=lambda row: row.units or 0, default=None)
    if best is None or best.units is None:
        return None
    has = None if design.end is None else (aware(design.end) - aware(design.start)).days
    late = best.days is not None and has is not None and best.days > has
    if best.units <= units and not late:
        return None
    came = "" if best.days is None else f", {best.days:,} days of those who come"
    lasts = "" if has is None else f"; the campaign has {has:,} days"
    return (
        f"It can't show what it wants: {goal.words}'s worth needs {best.units:,} units{came}, "
        f"and {units:,} are at hand{lasts}."
    )


def _row(
    design: Experiment,
    prospect: Prospect,
    kind: IntervalKind,
    kept: float,
    *,
    units: int,
    daily: float,
    power: float,
    looks: int,
) -> PlanRow:
    metric, measure = prospect.metric, prospect.measure
    if metric is None:
        raise InputError(f"{measure.words} can't be planned", got=prospect.why, do="take in more of the history")
    plan = Design(
        baseline=metric.baseline,
        std=metric.std,
        arms=len(design.arms),
        alpha=design.alpha,
        power=power,
        variance_kept=kept,
        design_effect=metric.design_effect,
        interval=kind,
        looks=looks,
        shares=(design.shares[design.control], design.shares[design.headline_arm]),
    )
    least = detectable(plan, max(2.0, units * plan.arm_share))
    wanted = _wanted(measure)
    needed = _needed(plan, wanted)
    return PlanRow(
        metric=measure.metric,
        looks=LOOKS[kind],
        covariate=kept < 1,
        baseline=metric.baseline,
        std=metric.std,
        variance_kept=kept,
        design_effect=metric.design_effect,
        detectable=least,
        lift=least / abs(metric.baseline) if metric.baseline else None,
        wanted=wanted,
        units=needed,
        days=None if needed is None or daily <= 0 else days(needed, daily=daily),
        expected_share=plan.expected_share,
    )


def _wanted(measure: Measure) -> float | None:
    wanted = measure.limit if isinstance(measure, Guardrail) else getattr(measure, "worth", 0.0)
    return wanted or None


def _needed(plan: Design, wanted: float | None) -> int | None:
    if wanted is None:
        return None
    try:
        return plan.total(sample_size(plan, wanted))
    except InputError:  # a rate that would leave the range of rates
        return None


def remarks(design: Experiment, found: Prospects, *, units: int) -> Iterator[str]:
    """What a person should know of the design beside its numbers."""
    for prospect in found.found:
        if prospect.metric is None:
            yield f"{prospect.measure.words}: {prospect.why}, so nothing can be planned by it."
    if design.planned_units is not None and design.planned_units > units:
        yield (
            f"The design plans {design.planned_units:,} units, and {units:,} customers are there: it can't fill up "
            "unless more come."
        )
    chance = _false_stop(design, found, units=units)
    if chance is not None:
        yield f"An arm that loses nothing would still pass the largest loss in {chance:.1%} of such experiments."
    if design.ramp:
        yield (
            "All units are planned at the shares of the first step, as if the ramp never came. What its later steps "
            "add depends on who comes then: one batch over the whole base before it gives everybody an arm at these "
            "shares."
        )
    asked = {"fixed": "at the end, once", "group_sequential": "whenever you like until the end", "anytime": "whenever"}
    yield f"The design is judged {asked[design.interval_kind]} (stop rule {design.interval_kind})."


def _false_stop(design: Experiment, found: Prospects, *, units: int) -> float | None:
    """The chance that an arm without any effect passes the largest loss by the end: a Brownian motion's maximum."""
    metric = found.found[0].metric
    if design.largest_loss is None or metric is None:
        return None
    shares = (design.shares[design.control], design.shares[design.headline_arm])
    plan = Design(baseline=metric.baseline, std=metric.std, shares=shares, design_effect=metric.design_effect)
    spread = math.sqrt(plan.variance(0.0) * units * plan.arm_share)
    return min(1.0, 2 * float(special.ndtr(-design.largest_loss / spread)))
