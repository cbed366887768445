"""A metric of one arm held against the control, as a row of the result."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from experiments.analysis.bounded import ArmSums, BoundedMeans, within
from experiments.analysis.group_sequential import PlannedLooks
from experiments.analysis.rare import FEW_EVENTS, Count, RareRates, few_events
from experiments.analysis.readings import Reading
from experiments.analysis.seldom import seldom_rise
from experiments.analysis.sequential import EXPECTED_UNITS, one_sided_reach, sequence_half_width, sequence_p_value
from experiments.analysis.statistics import (
    ENOUGH_FILLED,
    MOST_FILLED,
    Adjusted,
    Gap,
    Moments,
    adjusted,
    benjamini_hochberg,
    difference,
    p_value,
    relative,
)
from experiments.results import IntervalKind, MetricRow

Row = TypeVar("Row", bound=MetricRow)


@dataclass(frozen=True, kw_only=True)
class Levels:
    """How sure intervals are, and what was fixed before the start to make them so.

    Parameters
    ----------
    alpha: one minus how sure.
    expected: the number of units at which the anytime-valid intervals are tuned to be narrowest.
    kind: the kind of interval that decides.
    plan: the looks of a campaign with an end.
    rates: metrics that are shares of units; with ``shares``, those of which few events are known are compared exactly.
    shares: the planned share of each arm, the control's first.
    limited: metrics with a limit, whose highest rise is told.
    ranges: the least and the most that a unit has of each metric with an amount as its declared cap.
    """

    alpha: float = 0.05
    expected: int = EXPECTED_UNITS
    kind: IntervalKind = "anytime"
    plan: PlannedLooks | None = None
    rates: frozenset[str] = frozenset()
    shares: tuple[float, ...] = ()
    limited: frozenset[str] = frozenset()
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)


class Exact(Protocol):
    """A difference without an approximation, sure at every look; no error where the means aren't near to normal."""

    def interval(self, alpha: float) -> tuple[float, float]:
        """The limits that leave out the truth at any look with chance ``alpha`` at most."""

    def p_value(self) -> float:
        """The smallest level at which that interval leaves out no difference."""


# Amounts of buyers that spread by a factor of three count all (lognormal, sigma 1.2); of far wilder ones fewer do.
_UNLIKE = 4
# Beyond so many units not all are counted (``Moments``), and those that are suffice.
_ALL_COUNTED = 4 * MOST_FILLED


def adjust(reading: Reading, arm: Moments, control: Moments) -> Adjusted:
    """Both arms' samples of what was read, after CUPED where there are covariates."""
    return adjusted(arm, control, quantity=reading.quantity, covariates=reading.covariates)


def exact(
    reading: Reading, arm: Moments, control: Moments, *, place: int, levels: Levels, few: bool
) -> RareRates | BoundedMeans | None:
    """The arm at ``place`` against the control exactly, where an approximation is far off and there is another way.

    A rate by its events, where an arm has few of them; where ``few`` units lie apart from the rest, a mean of which it
    was declared how much a unit may have at most.
    """
    if not (one_by_one(reading, arm, levels) and arm.n and control.n):
        return None
    name, sides = reading.goal.name, ((arm, levels.shares[place]), (control, levels.shares[0]))
    if name in levels.rates:
        mine, theirs = (
            Count(n=each.n, events=round(each.n * reading.quantity.value(each)), share=share) for each, share in sides
        )
        rare = few_events(mine, theirs)
        return RareRates(arm=mine, control=theirs, expected=levels.expected) if rare else None
    if not few or not bounded(reading, place=place, levels=levels):
        return None
    both = levels.shares[place] + levels.shares[0]
    own, other = (_arm_sums(each, reading.quantity.numerator, share=share / both) for each, share in sides)
    return BoundedMeans(arm=own, control=other, most=levels.ranges[name][1])


def bounded(reading: Reading, *, place: int, levels: Levels) -> bool:
    """Whether a mean of few can be compared exactly: what a unit has lies between ends that were declared."""
    if reading.goal.name not in levels.ranges or reading.quantity.denominator is not None:
        return False
    least, most = levels.ranges[reading.goal.name]
    return within(least, most=most, shares=(levels.shares[place], levels.shares[0]))


def _arm_sums(moments: Moments, column: int, *, share: float) -> ArmSums:
    mean = float(moments.mean[column])
    squares = float(moments.scatter[column, column]) + moments.n * mean * mean
    return ArmSums(n=moments.n, total=moments.n * mean, squares=squares, share=share)


def _exactly(reading: Reading, arm: Moments, levels: Levels) -> bool:
    """Whether few events are compared exactly: of a rate."""
    return reading.goal.name in levels.rates and one_by_one(reading, arm, levels)


def one_by_one(reading: Reading, arm: Moments, levels: Levels) -> bool:
    """Whether units came one by one, by the same shares always; strata may be a ramp's steps, whose shares differ."""
    return bool(levels.shares) and not reading.clustered and not arm.strata


def thin(reading: Reading, arm: Moments, control: Moments, *, levels: Levels) -> bool:
    """Whether a mean rests on too few units that lie apart from the rest, as buyers do; rates are compared exactly.

    The sequence takes that many of each arm: two units of a small arm may be alike by chance, which makes their error
    far too small. It takes the more, the more unlike in size the arms are: skewness then doesn't cancel.
    """
    unlike = abs(arm.n - control.n) / max(arm.n + control.n, 1)
    enough = ENOUGH_FILLED + unlike * (MOST_FILLED - ENOUGH_FILLED)
    return not _exactly(reading, arm, levels) and _fewest_apart(reading, arm, control) < enough


def sparse(reading: Reading, arm: Moments, control: Moments, *, levels: Levels) -> bool:
    """Whether those are a small part too: then an interval on Student's scale, which allows for few, is wrong, too."""
    fewest = _fewest_apart(reading, arm, control)
    enough = min(ENOUGH_FILLED, min(arm.n, control.n) / 4)
    return not _exactly(reading, arm, levels) and fewest < enough


def few_apart(reading: Reading, arm: Moments, control: Moments, *, levels: Levels) -> bool:
    """Whether those are too few for the interval that decides to be approximated; that of one look always is."""
    if levels.kind == "fixed":
        return False
    few = thin if levels.kind == "anytime" else sparse
    return few(reading, arm, control, levels=levels)


def few_for_their_sizes(reading: Reading, arm: Moments, control: Moments) -> bool:
    """Whether an interval on Student's scale misses too often on one side: arms of one size, their skewness cancels."""
    unlike = abs(arm.n - control.n) / max(arm.n + control.n, 1)
    return _fewest_apart(reading, arm, control) < min(unlike * MOST_FILLED, min(arm.n, control.n) / 4)


def _fewest_apart(reading: Reading, arm: Moments, control: Moments) -> float:
    """The units that set the arms apart, in the arm that has fewer of them.

    Where a quarter or more lie on either side of the mean, these are all units; else those on the lonelier side: the
    buyers, of revenue and, where every contact costs a little, of profit too. Of amounts so unlike that few units hold
    most of the total, no more than a few times as many as these.
    """
    place = reading.quantity.numerator
    return min((_apart(each, place) for each in (arm, control) if each.sides is not None), default=math.inf)


def _apart(moments: Moments, column: int) -> float:
    lonelier = math.inf if moments.sides is None else float(moments.sides[:, column].min())
    few = 2 * lonelier if 4 * lonelier >= min(moments.n, _ALL_COUNTED) else lonelier
    return min(few, _UNLIKE * moments.even(column))


def compare(reading: Reading, moments: Sequence[Moments], arms: Sequence[str], *, levels: Levels) -> list[MetricRow]:
    """A row for each arm but the first, which is the control; ``moments`` has one per arm.

    The p-values are not adjusted yet: see ``adjust_p_values``.
    """
    return [
        _row(reading, arms[place], arms[0], (moments[place], moments[0]), place=place, levels=levels)
        for place in range(1, len(arms))
    ]


def adjust_p_values(rows: Sequence[Row]) -> list[Row]:
    """The same rows with p-values adjusted over all of them (Benjamini and Hochberg)."""
    values = benjamini_hochberg([row.p_value for row in rows])
    return [replace(row, adjusted_p_value=value) for row, value in zip(rows, values, strict=True)]


def band(both: Adjusted, *, levels: Levels, exactly: Exact | None = None, few: bool = False) -> Gap:
    """The difference with its anytime-valid confidence sequence, or with the limits that are known ``exactly``.

    ``few``: the means are too far from normal for a sequence.
    """
    apart = difference(both.arm, both.control, alpha=levels.alpha)
    if exactly and math.isfinite(apart.estimate):
        low, high = exactly.interval(levels.alpha)
        return Gap(estimate=apart.estimate, error=apart.error, low=low, high=high)
    half = sequence_half_width(apart.error, both.arm.n + both.control.n, alpha=levels.alpha, units=levels.expected)
    if few or not apart.error > 0:
        half = math.nan
    return Gap(estimate=apart.estimate, error=apart.error, low=apart.estimate - half, high=apart.estimate + half)


def repeated(
    both: Adjusted, *, levels: Levels, exactly: Exact | None = None, few: bool = False
) -> tuple[float, float, float] | None:
    """The repeated confidence interval of this look (low, high) and its p-value; None without a plan.

    What is known ``exactly`` holds at every look, so at those of a campaign, too. ``few``: the means are too far from
    normal for any other, as where an arm without a buyer would have no error.
    """
    if levels.plan is None:
        return None
    if exactly:
        return *exactly.interval(levels.alpha), exactly.p_value()
    if few:
        return math.nan, math.nan, math.nan
    found = difference(both.arm, both.control, alpha=levels.plan.level(levels.alpha))
    return found.low, found.high, levels.plan.p_value(p_value(both.arm, both.control), alpha=levels.alpha)


def highest(both: Adjusted, *, levels: Levels, exactly: Exact | None = None, few: bool = False) -> float:
    """What the metric may have risen by at most, sure on that side alone, by the kind of interval that decides.

    What is known ``exactly`` goes before any: that nobody opted out of a few hundred doesn't show that nobody will.
    """
    if exactly:
        # Not at twice alpha: where events are rare, all that an exact interval errs may lie on the upper side.
        return exactly.interval(levels.alpha)[1]
    one_side = 2 * levels.alpha  # the upper end of a normal interval at twice alpha is sure at alpha on its own side
    if few:
        return math.nan
    if levels.kind != "anytime":
        level = levels.plan.level(one_side) if levels.plan else one_side
        return difference(both.arm, both.control, alpha=level).high
    apart = difference(both.arm, both.control, alpha=one_side)
    reach = one_sided_reach(apart.error, both.arm.n + both.control.n, alpha=levels.alpha, units=levels.expected)
    return apart.estimate + reach if apart.error > 0 else math.nan


def _most(
    reading: Reading, sides: tuple[Moments, Moments], told: float, *, levels: Levels, exactly: Exact | None
) -> float | None:
    """What a metric with a limit may have risen by: ``told``, but for rates of few events that no ``exactly`` tells of.

    Of households or strata no event says as little as of units one by one.
    """
    name = reading.goal.name
    if name not in levels.limited:
        return None
    seldom = name in levels.rates and exactly is None
    level = levels.plan.level(2 * levels.alpha) / 2 if levels.plan else levels.alpha
    enough = math.inf if math.isnan(told) else FEW_EVENTS
    looks = levels.kind == "anytime"
    most = seldom_rise(*sides, reading.quantity, alpha=level, any_look=looks, enough=enough) if seldom else None
    return told if most is None else most


def _anytime_p_value(anytime: Gap, *, n: int, levels: Levels, exactly: Exact | None) -> float:
    if exactly:
        return exactly.p_value()
    if math.isnan(anytime.low):
        return math.nan
    return sequence_p_value(anytime.estimate, anytime.error, n, alpha=levels.alpha, units=levels.expected)


def _row(
    reading: Reading, name: str, control_name: str, sides: tuple[Moments, Moments], *, place: int, levels: Levels
) -> MetricRow:
    arm, control = sides
    both = adjust(reading, arm, control)
    few, zeros = (told(reading, arm, control, levels=levels) for told in (thin, sparse))
    always, at_looks = (exact(reading, arm, control, place=place, levels=levels, few=each) for each in (few, zeros))
    fixed = difference(both.arm, both.control, alpha=levels.alpha)
    anytime = band(both, levels=levels, exactly=always, few=few)
    share = relative(both.arm, both.control, alpha=levels.alpha)
    p = p_value(both.arm, both.control)
    sequential = repeated(both, levels=levels, exactly=at_looks, few=zeros) or (None, None, None)
    decides = always if levels.kind == "anytime" else at_looks
    waits = few_apart(reading, arm, control, levels=levels)
    most = highest(both, levels=levels, exactly=decides, few=waits)
    return MetricRow(
        metric=reading.goal.name,
        arm=name,
        control=control_name,
        arm_mean=both.arm.mean if arm.n else math.nan,
        control_mean=both.control.mean if control.n else math.nan,
        difference=fixed.estimate if arm.n and control.n else math.nan,
        ci_low=fixed.low,
        ci_high=fixed.high,
        relative=share.estimate if share else None,
        relative_ci_low=share.low if share else None,
        relative_ci_high=share.high if share else None,
        p_value=p,
        anytime_ci_low=anytime.low,
        anytime_ci_high=anytime.high,
        anytime_p_value=_anytime_p_value(anytime, n=both.arm.n + both.control.n, levels=levels, exactly=always),
        adjusted_p_value=p,
        n_arm=reading.units(arm),
        n_control=reading.units(control),
        sequential_ci_low=sequential[0],
        sequential_ci_high=sequential[1],
        sequential_p_value=sequential[2],
        highest=_most(reading, sides, most, levels=levels, exactly=decides),
    )
