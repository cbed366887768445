"""A metric of one arm held against the control, as a row of the result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from experiments.analysis.readings import Reading
from experiments.analysis.sequential import EXPECTED_UNITS, sequence_half_width, sequence_p_value
from experiments.analysis.statistics import (
    Adjusted,
    Interval,
    Moments,
    adjusted,
    benjamini_hochberg,
    difference,
    p_value,
    relative,
)
from experiments.results import MetricRow

Row = TypeVar("Row", bound=MetricRow)


@dataclass(frozen=True, kw_only=True)
class Levels:
    """How sure intervals are, and the number of units at which the anytime-valid ones are tuned to be narrowest."""

    alpha: float = 0.05
    expected: int = EXPECTED_UNITS


def adjust(reading: Reading, arm: Moments, control: Moments) -> Adjusted:
    """Both arms' samples of what was read, after CUPED where there are covariates."""
    return adjusted(arm, control, quantity=reading.quantity, covariates=reading.covariates)


def compare(reading: Reading, moments: Sequence[Moments], arms: Sequence[str], *, levels: Levels) -> list[MetricRow]:
    """A row for each arm but the first, which is the control; ``moments`` has one per arm.

    The p-values are not adjusted yet: see ``adjust_p_values``.
    """
    return [
        _row(reading, name, arms[0], own, moments[0], levels) for name, own in zip(arms[1:], moments[1:], strict=True)
    ]


def adjust_p_values(rows: Sequence[Row]) -> list[Row]:
    """The same rows with p-values adjusted over all of them (Benjamini and Hochberg)."""
    values = benjamini_hochberg([row.p_value for row in rows])
    return [replace(row, adjusted_p_value=value) for row, value in zip(rows, values, strict=True)]


def band(both: Adjusted, *, levels: Levels) -> Interval:
    """The difference with its anytime-valid confidence sequence."""
    apart = difference(both.arm, both.control, alpha=levels.alpha)
    half = sequence_half_width(apart.error, both.arm.n + both.control.n, alpha=levels.alpha, units=levels.expected)
    if not apart.error > 0:
        half = math.nan
    return Interval(estimate=apart.estimate, error=apart.error, low=apart.estimate - half, high=apart.estimate + half)


def _row(reading: Reading, name: str, control_name: str, arm: Moments, control: Moments, levels: Levels) -> MetricRow:
    both = adjust(reading, arm, control)
    fixed = difference(both.arm, both.control, alpha=levels.alpha)
    anytime = band(both, levels=levels)
    share = relative(both.arm, both.control, alpha=levels.alpha)
    p = p_value(both.arm, both.control)
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
        anytime_p_value=sequence_p_value(
            anytime.estimate,
            anytime.error,
            both.arm.n + both.control.n,
            alpha=levels.alpha,
            units=levels.expected,
        ),
        adjusted_p_value=p,
        n_arm=reading.units(arm),
        n_control=reading.units(control),
    )
