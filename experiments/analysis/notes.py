"""What has to be said beside the numbers of an analysis, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from experiments.analysis.caps import cap_notes
from experiments.analysis.comparison import adjust
from experiments.analysis.readings import Reader, Reading, Spread
from experiments.analysis.statistics import LEAST_IN_STRATUM, poststratified, sample
from experiments.estimation.influence import few_clusters
from experiments.observations import Labels
from experiments.results import Cap, MetricRow

# The share of a metric's rows without a value from which it is told that an empty cell may mean nothing happened.
_MANY = 0.2
# The share of the variance that covariates leave below which they hold the metric itself.
_HARDLY_ANY = 0.01


def notes(
    reader: Reader,
    readings: Sequence[Reading],
    rows: Sequence[MetricRow],
    *,
    split: Labels,
    when: Labels | None,
    spread: Spread | None,
    caps: tuple[Cap, ...],
    segments: int,
) -> Iterator[str]:
    """What was left out, filled in, capped, or can't be told; and how p-values were adjusted.

    ``rows`` are those of the metrics, ``segments`` is the number of rows within segments.
    """
    outside = int((split.codes < 0).sum())
    if outside:
        yield f"{outside:,} rows have no arm and are left out."
    if when and (when.codes < 0).any():
        yield f"{int((when.codes < 0).sum()):,} rows have no time and are in no look."
    yield from cap_notes(caps, split)
    if reader.strata:
        yield _strata_note(reader.strata, readings)
    for reading in readings:
        name = reading.goal.name
        if reading.missing:
            yield _missing_note(reading, rows=sum(split.counts()))
        if reading.covariates:
            yield _cuped_note(reading)
        if len(reading.goal.columns) > 1 and not all(np.isfinite(reading.quantity.value(m)) for m in reading.moments):
            yield f"{name}: the sum of {reading.goal.columns[1]} isn't above 0 in every arm, so there is no ratio."
    for name, count in reader.fills.items():
        yield f"{name}: {count:,} missing values of this covariate stand at its mean."
    if spread:
        yield _cluster_note(spread)
    if reader.clusters is not None:
        yield from few_clusters(split.values, split.codes, cluster=reader.clusters)
    blank = list(dict.fromkeys(row.metric for row in rows if row.p_value != row.p_value))
    if blank:
        yield f"{', '.join(blank)}: not tested in an arm with fewer than two units or where nothing varies."
    if len(rows) > 1:
        yield (
            f"p is corrected for all {len(rows)} comparisons of metrics and arms (Benjamini-Hochberg: the share of "
            "chance findings among all findings); intervals are not."
        )
    if segments > 1:
        yield (
            f"Within segments p is corrected for all {segments} comparisons there; the shrunk differences are drawn "
            "to the whole as far as the segments' own are noise, with intervals that hold on average over segments."
        )


def _missing_note(reading: Reading, *, rows: int) -> str:
    name, share = reading.goal.name, reading.missing / rows
    if share <= _MANY:
        return f"{name}: {reading.missing:,} rows have no value and are left out of this metric."
    return (
        f"{name}: {reading.missing:,} rows ({share:.2%}) have no value and are left out of this metric. "
        "Where an empty cell means that nothing happened, write 0."
    )


def _cluster_note(spread: Spread) -> str:
    if not spread.shared:
        return "Intervals and the check of the split are by cluster; n counts rows."
    return (
        f"{spread.shared:,} clusters have rows in several arms: the split is checked by rows, and the intervals, which "
        "take arms as independent, are too wide rather than too narrow where members of a cluster are alike."
    )


def _cuped_note(reading: Reading) -> str:
    control = reading.moments[0]
    kept = [adjust(reading, own, control).variance_kept for own in reading.moments[1:]]
    share = sum(kept) / len(kept)
    told = f"{reading.goal.name}: the covariates take away {1 - share:z.2%} of the variance"
    if share < _HARDLY_ANY:
        return f"{told} (CUPED): all but the metric itself. Were they known before the start? If not, leave them out."
    return f"{told} (CUPED): it buys nothing here." if not share < 0.99 else f"{told} (CUPED); means are adjusted."


def _strata_note(strata: Labels, readings: Sequence[Reading]) -> str:
    """How many strata, and what part of the variance they take away of each metric, the covariates aside."""
    few = sum(
        any(min(stratum.n, other.n) < LEAST_IN_STRATUM for other in others)
        for stratum, *others in zip(*(each.strata for each in readings[0].moments), strict=True)
    )
    taken = ", ".join(
        f"{max(1 - _kept_by_strata(each), 0):.2%} of the variance of {each.goal.name}" for each in readings
    )
    held = f"{len(strata.values)} {'stratum' if len(strata.values) == 1 else 'strata'}"
    told = f"Arms are weighted to hold {held} at the same shares, which takes away {taken}."
    rest = f" {few} with fewer than {LEAST_IN_STRATUM} units in an arm stand together." if few else ""
    return told + rest


def _kept_by_strata(reading: Reading) -> float:
    control = reading.moments[0]
    shares = []
    for own in reading.moments[1:]:
        pair = poststratified(own, control)
        after, before = (sum(sample(each, reading.quantity).error for each in side) for side in (pair, (own, control)))
        shares.append(after / before if before > 0 else 1.0)
    return sum(shares) / len(shares)
