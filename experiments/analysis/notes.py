"""What has to be said beside the numbers of an analysis, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from experiments.analysis.caps import cap_notes
from experiments.analysis.comparison import adjust
from experiments.analysis.readings import Reading
from experiments.analysis.sheet import Sheet
from experiments.analysis.statistics import LEAST_IN_STRATUM, poststratified, sample
from experiments.estimation.influence import few_clusters
from experiments.observations import Labels
from experiments.results import MetricRow

# The share of a metric's rows without a value from which it is told that an empty cell may mean nothing happened.
_MANY = 0.2
# The share of the variance that covariates leave below which they hold the metric itself.
_HARDLY_ANY = 0.01
# The smallest share that isn't written as 0.00%.
_SEEN = 0.00005


def notes(sheet: Sheet, readings: Sequence[Reading], rows: Sequence[MetricRow], *, segments: int) -> Iterator[str]:
    """What was left out, filled in, capped, or can't be told; and how p-values were adjusted.

    ``rows`` are those of the metrics, ``segments`` is the number of rows within segments.
    """
    if sheet.unassigned:
        yield f"{sheet.unassigned:,} rows have no arm and are left out."
    if sheet.when and (sheet.when.codes < 0).any():
        yield f"{int((sheet.when.codes < 0).sum()):,} rows have no time and are in no look."
    yield from cap_notes(sheet.caps, sheet.split)
    if sheet.reader.strata:
        yield _strata_note(sheet.reader.strata, readings, steps=sheet.steps)
    for reading in readings:
        yield from _metric_notes(reading, rows=sum(sheet.split.counts()))
    for name, count in sheet.reader.fills.items():
        yield f"{name}: {count:,} missing values of this covariate stand at its mean."
    yield from _cluster_notes(sheet)
    yield from _p_notes(rows, segments=segments)


def _metric_notes(reading: Reading, *, rows: int) -> Iterator[str]:
    name, columns = reading.goal.name, reading.goal.columns
    if reading.missing:
        yield _missing_note(reading, rows=rows)
    if reading.covariates:
        yield _cuped_note(reading)
    if len(columns) > 1 and not all(np.isfinite(reading.quantity.value(each)) for each in reading.moments):
        yield f"{name}: the sum of {columns[1]} isn't above 0 in every arm, so there is no ratio."


def _cluster_notes(sheet: Sheet) -> Iterator[str]:
    if sheet.twice:
        yield sheet.twice.note
    if sheet.spread and not sheet.spread.shared:
        yield "Intervals and the check of the split are by cluster; n counts rows."
    if sheet.reader.clusters is not None:
        yield from few_clusters(sheet.split.values, sheet.split.codes, cluster=sheet.reader.clusters)


def _p_notes(rows: Sequence[MetricRow], *, segments: int) -> Iterator[str]:
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


def _cuped_note(reading: Reading) -> str:
    control = reading.moments[0]
    kept = [adjust(reading, own, control).variance_kept for own in reading.moments[1:]]
    share = sum(kept) / len(kept)
    told = f"{reading.goal.name}: the covariates take away {1 - share:z.2%} of the variance"
    if share < _HARDLY_ANY:
        return f"{told} (CUPED): all but the metric itself. Were they known before the start? If not, leave them out."
    return f"{told} (CUPED): it buys nothing here." if not share < 0.99 else f"{told} (CUPED); means are adjusted."


def _strata_note(strata: Labels, readings: Sequence[Reading], *, steps: Labels | None) -> str:
    """How many strata, and what part of the variance they take away of each metric, the covariates aside.

    Strata that are only the ``steps`` of a ramp are called so; what takes away nothing is left out.
    """
    few = sum(
        any(min(stratum.n, other.n) < LEAST_IN_STRATUM for other in others)
        for stratum, *others in zip(*(each.strata for each in readings[0].moments), strict=True)
    )
    shares = {each.goal.name: max(1 - _kept_by_strata(each), 0) for each in readings}
    taken = ", ".join(f"{share:.2%} of the variance of {name}" for name, share in shares.items() if share >= _SEEN)
    number = len(strata.values)
    stepwise = steps is not None and len(steps.values) == number
    one, many = ("step of the ramp", "steps of the ramp") if stepwise else ("stratum", "strata")
    told = f"Arms are weighted to hold {number} {one if number == 1 else many} at the same shares"
    told += f", which takes away {taken}." if taken else "."
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
