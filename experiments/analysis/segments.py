"""Every metric within each segment: as measured, and drawn towards the whole as far as its own part is noise."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import special

from experiments.analysis.comparison import Levels, adjust, adjust_p_values, compare
from experiments.analysis.readings import Reader, Reading
from experiments.analysis.statistics import Adjusted, Gap, Moments, Sample
from experiments.observations import MISSING, MOST_VALUES, Labels, labels
from experiments.results import IntervalKind, SegmentRow

Values = NDArray[np.float64]
_POINTS = 128
_HALVINGS = 40
# A segment's variance counts as much as that of so many units of all segments: one without a sale has none of its own.
_BORROWED_UNITS = 30


def segment_rows(
    reader: Reader, split: Labels, units: pa.Table, segments: Sequence[str], *, levels: Levels
) -> list[SegmentRow]:
    """Every metric of every arm within each value of each segment, adjusted over all these rows."""
    rows: list[SegmentRow] = []
    width = len(split.values)
    for segment in dict.fromkeys(segments):
        found = filled_labels(units, segment)
        crossed = np.where(split.codes < 0, -1, found.codes * width + split.codes)
        for reading in reader.read(crossed, groups=width * len(found.values)):
            by_value = [reading.moments[first : first + width] for first in range(0, len(reading.moments), width)]
            rows += _of_one(reading, by_value, split, segment=segment, values=found.values, levels=levels)
    return adjust_p_values(rows)


def filled_labels(units: pa.Table, name: str) -> Labels:
    """A column's values as labels; a missing one has a label of its own."""
    found = labels(units, name, most=MOST_VALUES)
    if not (found.codes < 0).any():
        return found
    codes = np.where(found.codes < 0, len(found.values), found.codes).astype(np.int32)
    return Labels(values=(*found.values, MISSING), codes=codes)


def _of_one(
    reading: Reading,
    by_value: Sequence[Sequence[Moments]],
    split: Labels,
    *,
    segment: str,
    values: Sequence[str],
    levels: Levels,
) -> list[SegmentRow]:
    compared = [compare(reading, moments, split.values, levels=levels) for moments in by_value]
    rows = [
        [SegmentRow(**vars(row), segment=segment, value=value) for row in of_value]
        for value, of_value in zip(values, compared, strict=True)
    ]
    for place in range(len(split.values) - 1):
        pairs = [adjust(reading, moments[place + 1], moments[0]) for moments in by_value]
        drawn = shrink_all(pairs, alpha=levels.alpha)
        for of_value, found in zip(rows, drawn, strict=True):
            of_value[place] = _shrunk_row(of_value[place], found, kind=levels.kind)
    return [row for of_value in rows for row in of_value]


def blank_notes(rows: Sequence[SegmentRow]) -> Iterator[str]:
    """Why differences within segments have no shrunk one, or none with an interval; nothing where all have."""
    blank = [row for row in rows if row.shrunk_ci_low is None or math.isnan(row.shrunk_ci_low)]
    if blank:
        where = list(dict.fromkeys(f"{row.metric} where {row.segment} is {row.value!r}" for row in blank))
        more = f" and {len(where) - 3} more" if len(where) > 3 else ""
        yield (
            f"{len(blank)} of {len(rows)} differences within segments have no shrunk one "
            f"({', '.join(where[:3])}{more}): an arm has too few units there that differ, "
            "or that lie apart from the rest as buyers do, for an interval."
        )


def _shrunk_row(row: SegmentRow, found: Gap | None, *, kind: IntervalKind) -> SegmentRow:
    if found is None:
        return row
    # Stretched as the row's own interval is where it has to hold at more than one look.
    low, high = row.interval(kind)
    stretch = (high - low) / (row.ci_high - row.ci_low)
    return replace(
        row,
        shrunk_difference=found.estimate,
        shrunk_ci_low=found.estimate - stretch * (found.estimate - found.low),
        shrunk_ci_high=found.estimate + stretch * (found.high - found.estimate),
    )


def shrink_all(pairs: Sequence[Adjusted], *, alpha: float) -> list[Gap | None]:
    """The differences of an arm's segments from the control's, drawn to the whole; None where one has no error."""
    usable = [min(pair.arm.n, pair.control.n) > 1 and pair.arm.error + pair.control.error > 0 for pair in pairs]
    kept = [pair for pair, fits in zip(pairs, usable, strict=True) if fits]
    if not kept:
        return [None] * len(pairs)
    squares: Values = _steadied([pair.arm for pair in kept]) + _steadied([pair.control for pair in kept])
    estimates = np.array([pair.arm.mean - pair.control.mean for pair in kept])
    found = iter(shrunk(estimates, np.sqrt(squares), alpha=alpha))
    return [next(found) if fits else None for fits in usable]


def _steadied(samples: Sequence[Sample]) -> Values:
    """The squared errors of one arm's means, from variances that lean on those of all its segments."""
    sizes, own = (np.array([getattr(each, name) for each in samples], dtype=float) for name in ("n", "variance"))
    together = float(sizes @ own / sizes.sum())
    return np.asarray((sizes * own + _BORROWED_UNITS * together) / (sizes + _BORROWED_UNITS) / sizes)


def shrunk(estimates: Values, errors: Values, *, alpha: float) -> list[Gap]:
    """Each of k estimates drawn towards their mean, with intervals that hold on average over the segments.

    A segment's truth is taken as normal about the whole (Efron and Morris 1975). How far such truths spread is not
    known, so it is averaged over, from nothing to everything, with the weights of a half-Cauchy prior whose middle is
    twice the size of the errors (Gelman 2006; a narrower one covers too little where segments differ much). The
    intervals so allow for not knowing the spread; with a single estimate nothing changes.

    Parameters
    ----------
    estimates, errors: shape (k,), with standard errors above 0.
    alpha: 1 minus the level of the intervals.

    >>> [round(each.estimate, 2) for each in shrunk(np.array([0.0, 1.0, 5.0]), np.ones(3), alpha=0.05)]
    [0.38, 1.19, 4.43]
    """
    squares = errors**2
    spread = 4 * squares.mean() * np.tan(np.pi / 2 * (np.arange(_POINTS) + 0.5) / _POINTS) ** 2
    weights = 1 / (squares + spread[:, None])
    precision = weights.sum(axis=1)
    middle = weights @ estimates / precision
    likelihood = np.log(weights).sum(axis=1) - np.log(precision)
    likelihood -= (weights * (estimates - middle[:, None]) ** 2).sum(axis=1)
    chance = np.exp((likelihood - likelihood.max()) / 2)
    chance /= chance.sum()
    drawn = squares * weights
    means = drawn * middle[:, None] + (1 - drawn) * estimates
    deviations = np.sqrt((1 - drawn) * squares + drawn**2 / precision[:, None])
    centre = chance @ means
    error = np.sqrt(chance @ (deviations**2 + (means - centre) ** 2))
    low, high = (_quantile(means, deviations, chance, level) for level in (alpha / 2, 1 - alpha / 2))
    return [
        Gap(estimate=float(each[0]), error=float(each[1]), low=float(each[2]), high=float(each[3]))
        for each in zip(centre, error, low, high, strict=True)
    ]


def _quantile(means: Values, deviations: Values, chance: Values, level: float) -> Values:
    """The quantile of mixtures of normals, by halving: means and deviations (points, k), their chances (points,)."""
    reach = float(abs(special.ndtri(level))) + 1
    low, high = (means - reach * deviations).min(axis=0), (means + reach * deviations).max(axis=0)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        below = chance @ special.ndtr((middle - means) / deviations) < level
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.asarray((low + high) / 2)
