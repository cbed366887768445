"""An experiment over time: the estimate and its anytime-valid band as they grew with the units that entered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import add

import numpy as np

from experiments.analysis.comparison import Levels, adjust, band, exact, thin
from experiments.analysis.readings import Reader, Reading
from experiments.analysis.statistics import Codes, Moments
from experiments.observations import Labels


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A metric's difference among the units that had entered by the end of ``until`` (a day, UTC, or a number)."""

    metric: str
    arm: str
    until: str
    difference: float
    anytime_ci_low: float
    anytime_ci_high: float


def progress(reader: Reader, arms: Labels, when: Labels, *, levels: Levels) -> list[Progress]:
    """The estimates by the end of each period, from all units that entered until then."""
    width = len(arms.values)
    grown = _by_day(reader, arms, when) if reader.clusters is None else _again(reader, arms, when)
    return [
        _point(reading, arms.values[place], day, (moments[place], moments[0]), place=place, levels=levels)
        for day, readings in zip(when.values, grown, strict=True)
        for reading, moments in readings
        for place in range(1, width)
    ]


def _point(
    reading: Reading, arm: str, until: str, sides: tuple[Moments, Moments], *, place: int, levels: Levels
) -> Progress:
    own, control = sides
    few = thin(reading, own, control, levels=levels)
    exactly = exact(reading, own, control, place=place, levels=levels, few=few)
    found = band(adjust(reading, own, control), levels=levels, exactly=exactly, few=few)
    known = bool(own.n and control.n)
    return Progress(
        metric=reading.goal.name,
        arm=arm,
        until=until,
        difference=found.estimate if known else float("nan"),
        anytime_ci_low=found.low,
        anytime_ci_high=found.high,
    )


Grown = list[list[tuple[Reading, Sequence[Moments]]]]


def _by_day(reader: Reader, arms: Labels, when: Labels) -> Grown:
    """Each day's moments added up: one pass, as rows are units."""
    width, days = len(arms.values), len(when.values)
    codes: Codes = np.where((arms.codes < 0) | (when.codes < 0), -1, when.codes * width + arms.codes)
    readings = reader.read(codes, groups=width * days)
    sums = [[list(accumulate(each.moments[place::width], add)) for place in range(width)] for each in readings]
    return [
        [(each, [of_arm[day] for of_arm in grown]) for each, grown in zip(readings, sums, strict=True)]
        for day in range(days)
    ]


def _again(reader: Reader, arms: Labels, when: Labels) -> Grown:
    """Everything read anew for each day: a cluster that gains rows from day to day is no sum of independent parts."""
    codes = [np.where((when.codes >= 0) & (when.codes <= day), arms.codes, -1) for day in range(len(when.values))]
    return [[(each, each.moments) for each in reader.read(upto, groups=len(arms.values))] for upto in codes]
