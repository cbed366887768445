"""The analysis of the units that were exposed, beside that of all that were assigned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from experiments.analysis.balance import exposure_ratio
from experiments.analysis.comparison import Levels, adjust, adjust_p_values, compare
from experiments.analysis.readings import Reader, Reading, Variable
from experiments.analysis.statistics import Sample, sample
from experiments.observations import Labels, numbers
from experiments.results import ExposedCount, ExposedRow, Exposure, MetricRow, SampleRatio
from features.errors import InputError


def exposure(reader: Reader, split: Labels, units: pa.Table, column: str, *, levels: Levels) -> Exposure:
    """Every metric among the units whose ``column`` is 1, and what that comes to per unit of all (diluted).

    To be exposed is to reach what the arms do differently, noted in every arm alike, the control too. Who isn't adds
    noise and no effect, so the diluted difference is that of all units, more exactly: share of the exposed x difference
    among them (Deng and Hu 2015); its error takes in that of the share.

    Raises InputError when the column holds anything but 0 and 1 (a missing one is 0), or nobody is exposed.
    """
    mask = _exposed(units, column)
    among = Labels(values=split.values, codes=np.where(mask, split.codes, -1).astype(np.int32))
    counts, exposed = split.counts(), among.counts()
    if not sum(exposed):
        raise InputError(f"nobody is exposed by {column!r}", got="no 1 in it", do="pass the column that is 1 for them")
    check = _check(reader, split, among, shares=levels.shares)
    shares = _shares(reader, split, mask)
    rows = []
    for reading in reader.read(among.codes, groups=len(split.values)):
        compared = compare(reading, reading.moments, split.values, levels=levels)
        for place, row in enumerate(compared, start=1):
            rows.append(_row(reading, row, place=place, share=shares[place - 1], levels=levels))
    return Exposure(
        column=column,
        arms=tuple(
            ExposedCount(arm=arm, n=n, exposed=part) for arm, n, part in zip(split.values, counts, exposed, strict=True)
        ),
        p_value=check.p_value,
        status=check.status,
        sentence=_told(split.values, counts, exposed, check),
        metrics=tuple(adjust_p_values(rows)),
    )


def _exposed(units: pa.Table, column: str) -> NDArray[np.bool_]:
    values = numbers(units, column).astype(float)
    values = np.where(np.isnan(values), 0.0, values)
    if not ((values == 0) | (values == 1)).all():
        raise InputError(
            f"column {column!r} doesn't say who was exposed",
            got=f"numbers such as {values[(values != 0) & (values != 1)][0]:g}",
            do="pass a column of 0 and 1",
        )
    return np.asarray(values == 1)


def _check(reader: Reader, split: Labels, among: Labels, *, shares: Sequence[float]) -> SampleRatio:
    """By clusters where each has one arm, else by rows: what was drawn into arms."""
    spread, reached = reader.spread(split), reader.spread(among)
    if spread and reached and not spread.shared:
        return exposure_ratio(reached.per_group, spread.per_group, shares)
    return exposure_ratio(among.counts(), split.counts(), shares)


def _shares(reader: Reader, split: Labels, mask: NDArray[np.bool_]) -> list[Sample]:
    """The share of exposed rows in each arm and the control together, with its error."""
    alone = replace(
        reader,
        goals=(Variable(name="exposed", columns=("exposed",)),),
        covariates=(),
        columns={"exposed": mask},
        valid={},
        adjusters={},
        strata=None,
    )
    (found,) = alone.read(split.codes, groups=len(split.values))
    return [sample(own + found.moments[0], found.quantity) for own in found.moments[1:]]


def _row(reading: Reading, row: MetricRow, *, place: int, share: Sample, levels: Levels) -> ExposedRow:
    both = adjust(reading, reading.moments[place], reading.moments[0])
    error = math.sqrt(max(both.arm.error + both.control.error, 0.0))
    diluted = low = high = None
    if len(reading.goal.columns) == 1:
        diluted = share.mean * row.difference
        # The share moves the difference it multiplies by so much, as sure as the interval is.
        moved = row.difference * math.sqrt(max(share.error, 0.0)) / error if error > 0 else math.nan
        low, high = (
            diluted + side * math.hypot(share.mean * (end - row.difference), (end - row.difference) * moved)
            for side, end in zip((-1, 1), row.interval(levels.kind), strict=True)
        )
    return ExposedRow(**vars(row), diluted=diluted, diluted_ci_low=low, diluted_ci_high=high)


def _told(arms: Sequence[str], counts: Sequence[int], exposed: Sequence[int], check: SampleRatio) -> str:
    parts = [part / n if n else 0.0 for part, n in zip(exposed, counts, strict=True)]
    least, most = (int(pick(parts)) for pick in (np.argmin, np.argmax))
    apart = f"{parts[most]:.2%} of {arms[most]!r} and {parts[least]:.2%} of {arms[least]!r}"
    if check.status == "red":
        return (
            f"Do not trust the effect among the exposed: {apart} were exposed. The arm itself changes who is, so the "
            "exposed of one arm are no match for those of another. What is said of all units stands."
        )
    told = f"{sum(exposed):,} of {sum(counts):,} units were exposed"
    if check.status == "yellow":
        return f"{told}, but hardly as many in each arm: {apart} (p = {check.p_value:.2g}). Read with care."
    return f"{told}, as many in each arm as chance has it (p = {check.p_value:.2g})."
