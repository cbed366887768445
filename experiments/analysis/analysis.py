"""One look at an experiment: every metric of every arm against the control, whether to trust it, and what to do."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from experiments.analysis.balance import sample_ratio
from experiments.analysis.comparison import Levels, adjust, adjust_p_values, compare
from experiments.analysis.group_sequential import campaign
from experiments.analysis.looks import Look, looks, periods
from experiments.analysis.readings import Goal, Reader, Reading, Spread
from experiments.analysis.sequential import EXPECTED_UNITS
from experiments.analysis.verdict import Rule, verdict
from experiments.observations import (
    MISSING,
    MOST_VALUES,
    Labels,
    arms_of,
    codes,
    column_names,
    labels,
    named,
    select,
    shares,
)
from experiments.results import Analysis, ArmCount, MetricRow, SampleRatio, SegmentRow
from features.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Findings(Analysis):
    """An analysis with the rule that led to its verdict, and the estimates as they grew over time.

    >>> import pyarrow as pa
    >>> table = pa.table({"arm": ["static", "personal"] * 500, "visit": [0, 1, 1, 1, 0, 0, 0, 1, 1, 0] * 100})
    >>> found = analyze(table, arm="arm", control="static", metrics=["visit"])
    >>> found.verdict.code, round(found.metrics[0].difference, 2), found.rule.rates
    ('roll_out', 0.2, ('visit',))
    """

    rule: Rule
    looks: tuple[Look, ...]


# What overflows or divides by zero becomes NaN, which the notes name; numpy needn't warn of it, too.
@np.errstate(all="ignore")
def analyze(
    table: Any,
    *,
    arm: str,
    control: object,
    metrics: Sequence[str],
    covariates: Sequence[str] = (),
    cluster: str | None = None,
    segments: Sequence[str] = (),
    planned: Mapping[str, float] | None = None,
    time: str | None = None,
    alpha: float = 0.05,
    expected: int = EXPECTED_UNITS,
    final: bool = False,
    planned_units: float | None = None,
    looked_at: Sequence[float] = (),
    elapsed: Sequence[float] = (),
    spending: str = "obrien_fleming",
    worth: float = 0.0,
    lower_is_better: Collection[str] = (),
    limits: Mapping[str, float] | None = None,
) -> Findings:
    """The analysis of a table with one row per unit, by the arm that each unit was assigned to.

    Parameters
    ----------
    table: an Arrow, pandas or polars table.
    arm, control: the column of arms, and the arm that the others are held against; compared as text.
    metrics: columns (numbers, or 0 and 1), or ``NUM/DEN`` for a ratio of sums. The first one decides the verdict.
    covariates: columns known before the start, for CUPED.
    cluster: the column of what was assigned, where that isn't the row (households); errors allow for it.
    segments: columns within whose values the metrics are compared too.
    planned: the share of units planned for each arm; equal where not given.
    time: the column of when a unit entered, for the estimates as they grew from day to day.
    alpha: 1 minus the confidence of the intervals.
    expected: the number of units at which the anytime-valid interval is narrowest; to be fixed before the start.
    final: this is the one look that was planned before the start, or the last of a campaign's.
    planned_units: the units that a campaign is planned to have at its end, all arms together, fixed before the start:
        then intervals hold over all its looks (group-sequential).
    looked_at: the units at each earlier look at that campaign, oldest first.
    elapsed: instead of planned units, the share of the planned time at each earlier look, and at this one.
    spending: how a campaign's error is spread: ``obrien_fleming``, hardly any early, or ``pocock``, about evenly.
    worth, lower_is_better, limits: see ``experiments.analysis.verdict.Rule``; of a metric with a limit, less is better.

    Raises
    ------
    InputError
        For unknown columns or arms, fewer than 2 or more than 50 arms, text or infinite values in a metric.

    A number that can't be computed (one unit in an arm, a metric that never varies) is NaN, null in JSON.
    """
    _check(metrics, alpha=alpha, expected=expected, worth=worth)
    there = column_names(table)
    goals = [Goal.named(each, there) for each in dict.fromkeys(metrics)]
    adjusters = [Goal.named(each, there) for each in dict.fromkeys(covariates)]
    wanted = [arm, *segments, *(each for each in (cluster, time) if each)]
    units = select(table, wanted + [name for each in (*goals, *adjusters) for name in each.columns])
    split = arms_of(units, arm, control=control)
    clusters = codes(units, cluster)[1] if cluster else None
    reader = Reader.of(units, goals=goals, covariates=adjusters, clusters=clusters)
    names = [goal.name for goal in goals]
    kept = _limits(limits or {}, names)
    plan = campaign(
        sum(split.counts()),
        planned_units=planned_units,
        looked_at=looked_at,
        elapsed=elapsed,
        spending=spending,
        final=final,
    )
    levels = Levels(
        alpha=alpha,
        expected=expected,
        kind="group_sequential" if plan else "fixed" if final else "anytime",
        plan=plan,
        rates=frozenset(reader.rates()),
        shares=tuple(shares(planned, split.values)),
        limited=frozenset(kept),
    )

    readings = reader.read(split.codes, groups=len(split.values))
    rows = adjust_p_values(
        [row for each in readings for row in compare(each, each.moments, split.values, levels=levels)]
    )
    rule = Rule(
        alpha=alpha,
        kind=levels.kind,
        last=plan is not None and plan.last,
        worth=worth,
        lower_is_better=tuple(dict.fromkeys([*(named("metric", each, names) for each in lower_is_better), *kept])),
        rates=tuple(name for name in names if name in levels.rates),
        limits=kept,
    )
    when = periods(units, time) if time else None
    spread = reader.spread(split)
    arms, srm = _balance(split, levels.shares, spread)
    return Findings(
        arms=arms,
        srm=srm,
        metrics=tuple(rows),
        segments=tuple(_segment_rows(reader, split, units, segments, levels)),
        verdict=verdict(rows, arms=arms, srm=srm, rule=rule),
        kind=levels.kind,
        notes=tuple(_notes(reader, readings, rows, split=split, when=when, spread=spread)),
        rule=rule,
        looks=tuple(looks(reader, split, when, levels=levels)) if when else (),
    )


def _check(metrics: Sequence[str], *, alpha: float, expected: int, worth: float) -> None:
    if not metrics:
        raise InputError("no metric is named", got="an empty list", do="pass at least one, the first decides")
    if not 0 < alpha < 0.5:
        raise InputError("alpha is out of range", got=str(alpha), do="pass one between 0 and 0.5, such as 0.05")
    if not expected >= 1:
        raise InputError("the expected number of units is out of range", got=str(expected), do="pass 1 or more")
    if not 0 <= worth < math.inf:
        raise InputError("the worth is out of range", got=str(worth), do="pass a difference of 0 or more")


def _limits(given: Mapping[str, float], metrics: Sequence[str]) -> dict[str, float]:
    """The limits by metric, each known; the first metric, which decides, has none."""
    kept = {named("metric", each, metrics): limit for each, limit in given.items()}
    for name, limit in kept.items():
        if not math.isfinite(limit):
            raise InputError(f"the limit of {name!r} is no number", got=str(limit), do="pass the largest allowed rise")
        if name == metrics[0]:
            raise InputError(
                "the metric that decides has a limit", got=f"{name}={limit:g}", do="pass it as a further metric"
            )
    return kept


def _balance(
    split: Labels, planned: Sequence[float], spread: Spread | None
) -> tuple[tuple[ArmCount, ...], SampleRatio]:
    """The arms' rows, and the check of what was assigned: clusters where each has one arm, else rows."""
    counts = split.counts()
    arms = tuple(
        ArmCount(arm=name, n=n, planned_share=share)
        for name, n, share in zip(split.values, counts, planned, strict=True)
    )
    return arms, sample_ratio(spread.per_group if spread and not spread.shared else counts, planned)


def _segment_rows(
    reader: Reader, split: Labels, units: pa.Table, segments: Sequence[str], levels: Levels
) -> list[SegmentRow]:
    """Every metric of every arm within each value of each segment, adjusted over all these rows."""
    rows = []
    width = len(split.values)
    for segment in dict.fromkeys(segments):
        found = labels(units, segment, most=MOST_VALUES)
        values = [*found.values, MISSING] if (found.codes < 0).any() else list(found.values)
        place = np.where(found.codes < 0, len(found.values), found.codes)
        crossed = np.where(split.codes < 0, -1, place * width + split.codes)
        for reading in reader.read(crossed, groups=width * len(values)):
            for number, value in enumerate(values):
                moments = reading.moments[number * width : (number + 1) * width]
                compared = compare(reading, moments, split.values, levels=levels)
                rows += [SegmentRow(**vars(row), segment=segment, value=value) for row in compared]
    return adjust_p_values(rows)


def _notes(
    reader: Reader,
    readings: Sequence[Reading],
    rows: Sequence[MetricRow],
    *,
    split: Labels,
    when: Labels | None,
    spread: Spread | None,
) -> Iterator[str]:
    """What was left out, filled in, or can't be told; and how p-values were adjusted."""
    outside = int((split.codes < 0).sum())
    if outside:
        yield f"{outside:,} rows have no arm and are left out."
    if when and (when.codes < 0).any():
        yield f"{int((when.codes < 0).sum()):,} rows have no time and are in no look."
    for reading in readings:
        name = reading.goal.name
        if reading.missing:
            yield f"{name}: {reading.missing:,} rows have no value and are left out of this metric."
        if reading.covariates:
            yield _cuped_note(reading)
        if len(reading.goal.columns) > 1 and not all(np.isfinite(reading.quantity.value(m)) for m in reading.moments):
            yield f"{name}: the sum of {reading.goal.columns[1]} isn't above 0 in every arm, so there is no ratio."
    for name, count in reader.fills.items():
        yield f"{name}: {count:,} missing values of this covariate stand at its mean."
    if spread:
        yield _cluster_note(spread)
    blank = list(dict.fromkeys(row.metric for row in rows if row.p_value != row.p_value))
    if blank:
        yield f"{', '.join(blank)}: not tested in an arm with fewer than two units or where nothing varies."
    if len(rows) > 1:
        yield (
            f"p is adjusted for all {len(rows)} comparisons of metrics and arms (Benjamini-Hochberg), "
            "that of segments for all comparisons within segments; intervals are not."
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
    told = f"{reading.goal.name}: the covariates take away {1 - share:.2%} of the variance"
    return f"{told} (CUPED): it buys nothing here." if not share < 0.99 else f"{told} (CUPED); means are adjusted."
