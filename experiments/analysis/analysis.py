"""One look at an experiment: every metric of every arm against the control, whether to trust it, and what to do."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from experiments.analysis.balance import before_the_start, sample_ratio
from experiments.analysis.caps import ranges
from experiments.analysis.choice import best_against_second, choice_note
from experiments.analysis.comparison import Levels, adjust_p_values, compare
from experiments.analysis.doubts import check_groupings, moved_segments
from experiments.analysis.exposure import exposure
from experiments.analysis.few_units import caution, few_notes
from experiments.analysis.group_sequential import PlannedLooks, campaign
from experiments.analysis.missing import missing_by_arm
from experiments.analysis.notes import notes
from experiments.analysis.options import check_combination, check_options, limits_of, rule_of
from experiments.analysis.progress import Progress, progress
from experiments.analysis.ramps import over_steps
from experiments.analysis.readings import Reader, Reading, Variable
from experiments.analysis.segments import blank_notes, filled_labels, segment_rows
from experiments.analysis.sequential import EXPECTED_UNITS
from experiments.analysis.sheet import Sheet
from experiments.analysis.verdict import Rule, verdict
from experiments.observations import Labels, named, shares, text_notes
from experiments.results import Analysis, ArmCount, Balance, MetricRow, SampleRatio, SegmentRow, Total, Verdict
from features.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Findings(Analysis):
    """An analysis with the rule that led to its verdict, and the estimates as they grew over time.

    ``best_against_second`` holds the best of several arms against the next, None for one arm beside the control.

    >>> import pyarrow as pa
    >>> table = pa.table({"arm": ["static", "personal"] * 500, "visit": [0, 1, 1, 1, 0, 0, 0, 1, 1, 0] * 100})
    >>> found = analyze(table, arm="arm", control="static", metrics=["visit"])
    >>> found.verdict.code, round(found.metrics[0].difference, 2), found.rule.rates
    ('roll_out', 0.2, ('visit',))
    """

    rule: Rule
    looks: tuple[Progress, ...]
    best_against_second: MetricRow | None = None


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
    caps: Mapping[str, float | str] | None = None,
    strata: Sequence[str] = (),
    ramp: str | None = None,
    exposed: str | None = None,
    money: Collection[str] = (),
    currency: str = "",
) -> Findings:
    """The analysis of a table with one row per unit, by the arm that each unit was assigned to.

    Parameters
    ----------
    table: an Arrow, pandas or polars table, or the path of a file as ``features.tables.read_table`` takes it, of which
        only the columns that are named are kept.
    arm, control: the column of arms, and the arm that the others are held against; compared as text.
    metrics: columns (numbers, or 0 and 1), or ``NUM/DEN`` for a ratio of sums. The first one decides the verdict.
    covariates: columns known before the start, for CUPED.
    cluster: the column of what was assigned, where that isn't the row (households); errors allow for it. Clusters in
        several arms are left out where they are few.
    segments: columns within whose values the metrics are compared too.
    planned: the share of units planned for each arm; equal where not given.
    time: the column of when a unit entered, for the estimates as they grew from day to day. Where the arms' shares
        changed meanwhile and no ``ramp`` is named, nothing is to be trusted.
    alpha: 1 minus the confidence of the intervals.
    expected: the number of units at which the anytime-valid interval is narrowest; to be fixed before the start.
    final: this is the one look that was planned before the start, or the last of a campaign's.
    planned_units: the units that a campaign is planned to have at its end, all arms together, fixed before the start:
        then intervals hold over all its looks (group-sequential).
    looked_at: the units at each earlier look at that campaign, oldest first.
    elapsed: instead of planned units, the share of the planned time at each earlier look, and at this one.
    spending: how a campaign's error is spread: ``obrien_fleming``, hardly any early, or ``pocock``, about evenly.
    worth, lower_is_better, limits: see ``experiments.analysis.verdict.Rule``; of a metric with a limit, less is better.
    caps: metric (or part of a ratio) to the largest value that a row counts with, fixed before the start: an amount, or
        a share of the rows such as ``"99%"`` (``experiments.analysis.caps``).
    strata: columns known before the start; each arm then counts as if it held every stratum at the same share
        (``experiments.analysis.statistics.poststratified``).
    ramp: the column of the step of a ramp in which a unit was assigned: a stratum in which the arms were planned at
        other shares than in the next, so arms are compared step by step and needn't be alike all together; ``planned``
        is then the share of all these units (``experiments.ramping``). The column of ``time`` itself stands for the
        spans of days in which the shares stayed the same.
    exposed: the column of 0 and 1 that says who reached what the arms do differently; the analysis of these stands
        beside that of all, which decides.
    money: metrics in money, whose difference is told for all units together, too.
    currency: what ``money`` is counted in, to be told with it.

    Raises
    ------
    InputError
        For unknown columns or arms, fewer than 2 or more than 50 arms, text or infinite values in a metric.

    A number that can't be computed (one unit in an arm, a metric that never varies) is NaN, null in JSON.
    """
    check_options(metrics, alpha=alpha, expected=expected, worth=worth)
    check_groupings(arm, {"ramp": [ramp], "stratum": strata, "cluster": [cluster], "segment": segments})
    check_combination(ramp=ramp, exposed=exposed, money=money, currency=currency)
    sheet = Sheet.read(
        table,
        arm=arm,
        control=control,
        metrics=metrics,
        covariates=covariates,
        cluster=cluster,
        strata=strata,
        ramp=ramp,
        time=time,
        caps=caps or {},
        segments=segments,
        exposed=exposed,
    )
    reader, split = sheet.reader, sheet.split
    names = [goal.name for goal in reader.goals]
    kept = limits_of(limits or {}, names)
    arms, srm = _balance(sheet, shares(planned, split.values))
    looks = campaign(
        sum(split.counts()),
        planned_units=planned_units,
        looked_at=looked_at,
        elapsed=elapsed,
        spending=spending,
        final=final,
    )
    levels = _levels(sheet, arms, srm, looks=looks, final=final, limited=kept, alpha=alpha, expected=expected)
    coined = _in_money(money, reader.goals)
    rule = replace(
        rule_of(levels, names, worth=worth, lower_is_better=lower_is_better, limits=kept),
        units=dict.fromkeys(coined, currency) if currency else {},
    )
    readings = reader.read(split.codes, groups=len(split.values))
    rows = adjust_p_values(
        [row for each in readings for row in compare(each, each.moments, split.values, levels=levels)]
    )
    parts = segment_rows(reader, split, sheet.units, segments, levels=levels)
    best = best_against_second(readings[0], split.values, rows[: len(arms) - 1], levels=levels, rule=rule)
    balance = None if ramp else _before(reader, split, readings)  # over a ramp's steps arms are not alike, by plan
    lost = {} if ramp else missing_by_arm(readings, split, shares=levels.shares)
    decided = (
        _on_a_ramp(sheet.changed, time)
        if sheet.changed
        else verdict(
            rows,
            arms=arms,
            srm=srm,
            rule=rule,
            balance=balance,
            missing=lost.get(names[0], ""),
            assumed=not planned,
            chances=sheet.chances,
        )
    )
    wary = caution(decided, readings[0], split.values, levels=levels)
    return Findings(
        arms=arms,
        srm=srm,
        metrics=tuple(rows),
        segments=tuple(parts),
        verdict=replace(decided, sentence=f"{decided.sentence} {wary}".strip()),
        kind=levels.kind,
        caution=wary,
        notes=tuple(
            _told(sheet, readings, rows, best=best, segments=segments, parts=parts, lost=lost, rule=rule, levels=levels)
        ),
        balance=balance,
        exposure=exposure(reader, split, sheet.units, exposed, levels=levels) if exposed else None,
        caps=sheet.caps,
        totals=tuple(_totals(rows, coined, arms=arms, rule=rule)),
        rule=rule,
        looks=tuple(progress(reader, split, sheet.when, levels=levels)) if sheet.when else (),
        best_against_second=best,
    )


def _levels(
    sheet: Sheet,
    arms: Sequence[ArmCount],
    srm: SampleRatio,
    *,
    looks: PlannedLooks | None,
    final: bool,
    limited: Collection[str],
    alpha: float,
    expected: int,
) -> Levels:
    """How sure intervals are, by what was planned; on a ramp the looks know of one another by its steps."""
    if looks and sheet.steps:
        looks = over_steps(looks, sheet.by_step(), alpha=alpha)
    # What leans on the planned shares can't where the units contradict them: those that are there stand for them.
    held = [each.n if srm.status == "red" else each.planned_share for each in arms]
    return Levels(
        alpha=alpha,
        expected=expected,
        kind="group_sequential" if looks else "fixed" if final else "anytime",
        plan=looks,
        rates=frozenset(sheet.reader.rates()),
        shares=() if sheet.steps else tuple(share / sum(held) for share in held),
        limited=frozenset(limited),
        ranges=ranges(sheet.reader, sheet.caps),
    )


def _told(
    sheet: Sheet,
    readings: Sequence[Reading],
    rows: Sequence[MetricRow],
    *,
    best: MetricRow | None,
    segments: Sequence[str],
    parts: Sequence[SegmentRow],
    lost: Mapping[str, str],
    rule: Rule,
    levels: Levels,
) -> Iterator[str]:
    """What is said beside the numbers, sentence by sentence; of ``lost`` values what the verdict doesn't say."""
    reader, split = sheet.reader, sheet.split
    yield from text_notes(sheet.units, [name for each in (*reader.goals, *reader.covariates) for name in each.columns])
    if sheet.changed:
        yield f"{sheet.changed[0].upper()}{sheet.changed[1:]}"
    if best:
        yield choice_note(best, arms=len(split.values), rule=rule)
    yield from notes(sheet, readings, rows, segments=len(parts))
    yield from few_notes(readings, rows, split.values, levels=levels)
    if not sheet.steps:
        within = {each: filled_labels(sheet.units, each) for each in segments}
        yield from moved_segments(within, split, shares=levels.shares)
    yield from blank_notes(parts)
    yield from (sentence for name, sentence in lost.items() if sheet.changed or name != rows[0].metric)


def _on_a_ramp(changed: str, time: str | None) -> Verdict:
    """Not to trust a comparison over shares that ``changed``, and what to do."""
    return Verdict(
        code="do_not_trust",
        sentence=f"Do not trust these numbers: {changed} So early customers are compared with late ones. If that was "
        f"planned, name the time as the ramp, too (--ramp {time}): arms are then compared within the days in which "
        "their shares stayed the same. If not, find out why.",
    )


def _before(reader: Reader, split: Labels, readings: Sequence[Reading]) -> Balance | None:
    """Whether the arms were alike in what was known before the start."""
    width = len(split.values)
    return before_the_start(
        reader.before(split.codes, groups=width, readings=readings),
        reader.stratum_sizes(split.codes, groups=width),
        arms=split.values,
    )


def _balance(sheet: Sheet, planned: Sequence[float]) -> tuple[tuple[ArmCount, ...], SampleRatio]:
    """The arms' rows, and the check of what was assigned."""
    split = sheet.split
    arms = tuple(
        ArmCount(arm=name, n=n, planned_share=share)
        for name, n, share in zip(split.values, split.counts(), planned, strict=True)
    )
    return arms, sample_ratio(sheet.drawn, planned)


def _in_money(money: Collection[str], goals: Sequence[Variable]) -> list[str]:
    """The metrics in money, each known and a mean: of a ratio, all units together have no more than one of them."""
    columns = {goal.name: goal.columns for goal in goals}
    found = [named("metric in money", each, list(columns)) for each in money]
    for name in found:
        if len(columns[name]) > 1:
            raise InputError("a ratio has no total in money", got=name, do="name the metric of its numerator")
    return found


def _totals(
    rows: Sequence[MetricRow], money: Collection[str], *, arms: Sequence[ArmCount], rule: Rule
) -> Iterator[Total]:
    """The differences in money for all units of all arms together."""
    units = sum(each.n for each in arms)
    for row in rows:
        if row.metric in money:
            low, high = rule.interval(row)
            yield Total(
                metric=row.metric,
                arm=row.arm,
                units=units,
                difference=units * row.difference,
                ci_low=units * low,
                ci_high=units * high,
            )
