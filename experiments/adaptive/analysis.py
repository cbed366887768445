"""A look at a bandit: each action against the control, from a log of decisions and the chances they were drawn with."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from scipy import special

from experiments.adaptive.chances import FLOOR, Fit, starved
from experiments.adaptive.estimates import ArmScores
from experiments.adaptive.logs import BanditLog, read_bandit_log
from experiments.adaptive.scores import Codes
from experiments.adaptive.sums import Contrast, Sums, contrast
from experiments.analysis.analysis import Findings
from experiments.analysis.comparison import Levels, adjust_p_values
from experiments.analysis.options import check_options, limits_of, rule_of
from experiments.analysis.progress import Progress
from experiments.analysis.readings import Variable
from experiments.analysis.sequential import EXPECTED_UNITS, sequence_half_width, sequence_p_value
from experiments.analysis.verdict import verdict
from experiments.observations import MISSING, MOST_VALUES, codes, column_names, labels, numbers
from experiments.periods import periods
from experiments.results import ArmCount, MetricRow, SegmentRow, Verdict
from features.errors import InputError

Row = TypeVar("Row", bound=MetricRow)


@np.errstate(all="ignore")
def analyze_bandit(
    table: Any,
    *,
    arm: str,
    control: object,
    metrics: Sequence[str],
    probabilities: str = "p_",
    covariates: Sequence[str] = (),
    cluster: str | None = None,
    segments: Sequence[str] = (),
    planned: Mapping[str, float] | None = None,
    time: str | None = None,
    alpha: float = 0.05,
    expected: int = EXPECTED_UNITS,
    final: bool = False,
    worth: float = 0.0,
    lower_is_better: Collection[str] = (),
    limits: Mapping[str, float] | None = None,
) -> Findings:
    """The analysis of a log with one row per decision of a bandit, whose arms are its actions.

    A plain mean of what an action earned is biased under a bandit: a bad start ends an action's chances, and is never
    made up for. Here each row has a score for each action, whose expectation is the action's value whatever the bandit
    did (AIPW); rows count by weights that only know the past, and all of it is a martingale. So ``ci_*`` holds at one
    look and ``anytime_*`` at every look, as in ``experiments.analysis.analyze``.

    Parameters
    ----------
    table: an Arrow, pandas or polars table.
    arm, control: the column of actions, and the action that the others are held against.
    metrics: columns of rewards, or ``NUM/DEN`` for a ratio of sums. The first one decides the verdict.
    probabilities: what the columns of chances begin with: ``p_`` where ``p_mail`` is that of ``mail``.
    covariates: columns known before the decision, for models of each action's reward, which narrow the intervals.
    cluster: the column of who was decided on, where one has several decisions.
    time: the column of when it was decided. Without it, rows must be in that order.
    planned: not for a bandit, whose chances take its place.
    segments, alpha, expected, final, worth, lower_is_better, limits: as in ``experiments.analysis.analyze``.

    In the result, an arm's ``planned_share`` is the mean of its chances, and ``srm`` says whether the actions can have
    been drawn with them. Means are estimates over all decisions, the control's the average of those of its pairs.

    Raises
    ------
    InputError
        For unknown columns, chances that don't sum to 1, and an action that was chosen without a chance.

    Sources: Hadad, Hirshberg, Zhan, Wager and Athey (PNAS 2021); Waudby-Smith, Wu, Ramdas, Karampatziakis and Mineiro
    (arXiv 2210.10768).

    >>> import pyarrow as pa
    >>> half = [0.5] * 800
    >>> log = pa.table({"action": ["no", "mail"] * 400, "buy": [0, 1, 0, 0] * 200, "p_no": half, "p_mail": half})
    >>> row = analyze_bandit(log, arm="action", control="no", metrics=["buy"]).metrics[0]
    >>> round(row.difference, 2), row.anytime_ci_low > 0
    (0.5, True)
    """
    check_options(metrics, alpha=alpha, expected=expected, worth=worth)
    if planned:
        raise InputError("a bandit has no planned split", got=str(dict(planned)), do="leave it out, or the chances")
    goals = [Variable.named(each, column_names(table)) for each in dict.fromkeys(metrics)]
    columns = [name for each in goals for name in each.columns]
    wanted = [*columns, *covariates, *segments, *([cluster] if cluster else [])]
    log = read_bandit_log(table, arm=arm, control=control, probabilities=probabilities, columns=wanted, time=time)
    found = _scores(log, goals, covariates=covariates, cluster=cluster)
    levels = _levels(found, alpha=alpha, expected=expected, final=final)
    rows = adjust_p_values([row for each in found for row in _rows(each, levels)])
    names = [goal.name for goal in goals]
    kept = limits_of(limits or {}, names)
    rule = replace(rule_of(levels, names, worth=worth, lower_is_better=lower_is_better, limits=kept), weighted=True)
    fit = Fit.of([log.chosen(place) for place in range(len(log.arms))], list(log.chances))
    arms = _arms(log)
    return Findings(
        arms=arms,
        srm=fit.sample_ratio,
        metrics=tuple(rows),
        segments=tuple(_segment_rows(found, log, segments, levels)),
        verdict=_distrust(fit) if fit.status == "red" else verdict(rows, arms=arms, srm=fit.sample_ratio, rule=rule),
        kind=levels.kind,
        notes=tuple(_notes(log, found, rows, cluster=cluster)),
        rule=rule,
        looks=tuple(_looks(found, log, time, levels)) if time else (),
    )


def _levels(found: Sequence[ArmScores], *, alpha: float, expected: int, final: bool) -> Levels:
    return Levels(
        alpha=alpha,
        expected=expected,
        kind="fixed" if final else "anytime",
        rates=frozenset(each.goal.name for each in found if _is_rate(each)),
    )


def _arms(log: BanditLog) -> tuple[ArmCount, ...]:
    return tuple(
        ArmCount(arm=name, n=n, planned_share=float(chance.mean()))
        for name, n, chance in zip(log.arms, log.split.counts(), log.chances, strict=True)
    )


def _scores(
    log: BanditLog, goals: Sequence[Variable], *, covariates: Sequence[str], cluster: str | None
) -> list[ArmScores]:
    known = log.table.select(list(covariates)) if covariates else None
    groups = codes(log.table, cluster)[1] if cluster else None
    return [
        ArmScores.of(
            log,
            goal,
            [numbers(log.table, name).astype(np.float64) for name in goal.columns],
            features=known,
            cluster=groups,
        )
        for goal in goals
    ]


def _is_rate(scores: ArmScores) -> bool:
    return len(scores.reward) == 1 and bool(np.isin(scores.reward, (0.0, 1.0)).all())


def _rows(scores: ArmScores, levels: Levels, within: Codes | None = None) -> Iterator[MetricRow]:
    """A row for each arm but the control, over the rows of the log or those ``within`` a segment.

    Each pair has its own estimate of the control's mean; all rows tell their average, and each arm's by its difference.
    """
    yield from _by_one_control(list(_pairwise(scores, levels, within)))


def _by_one_control(rows: Sequence[MetricRow]) -> Iterator[MetricRow]:
    known = [row.control_mean for row in rows if row.control_mean == row.control_mean]
    control = sum(known) / len(known) if known else math.nan
    for row in rows:
        arm = control + row.difference
        told = replace(row, arm_mean=arm, control_mean=control)
        if row.relative is None or row.relative_ci_low is None or row.relative_ci_high is None or len(rows) == 1:
            yield told
        elif min(arm, control) > 0:
            # The interval is one of the logarithm: it moves along with the estimate and keeps its width.
            moved = arm / control / (1 + row.relative)
            low, high = (moved * (1 + end) - 1 for end in (row.relative_ci_low, row.relative_ci_high))
            yield replace(told, relative=arm / control - 1, relative_ci_low=low, relative_ci_high=high)
        else:
            yield replace(told, relative=None, relative_ci_low=None, relative_ci_high=None)


def _pairwise(scores: ArmScores, levels: Levels, within: Codes | None) -> Iterator[MetricRow]:
    taken = np.arange(scores.rows.size) if within is None else within
    counts = np.bincount(scores.log.split.codes[scores.rows[taken]], minlength=len(scores.log.arms))
    for place, name in enumerate(scores.log.arms):
        if place:
            sums = scores.pair(place, within)
            yield _row(
                contrast(sums), metric=scores.goal.name, arm=name, control=scores.log.arms[0], n=_decisions(sums),
                counts=(int(counts[place]), int(counts[0])), levels=levels,
            )  # fmt: skip


def _decisions(sums: Sums) -> float:
    return float(sums.rewards[-1, 0, 0])


def _row(
    found: Contrast,
    *,
    metric: str,
    arm: str,
    control: str,
    n: float,
    counts: tuple[int, int],
    levels: Levels,
) -> MetricRow:
    estimate, error = float(found.difference), float(found.error)
    known = error > 0 and min(counts) > 1
    reach = -float(special.ndtri(levels.alpha / 2)) * error if known else math.nan
    anytime = sequence_half_width(error, n, alpha=levels.alpha, units=levels.expected) if known else math.nan
    p = float(special.erfc(abs(estimate / error) / math.sqrt(2))) if known else math.nan
    relative = _relative(found, levels) if known else None
    return MetricRow(
        metric=metric,
        arm=arm,
        control=control,
        arm_mean=float(found.arm),
        control_mean=float(found.control),
        difference=estimate,
        ci_low=estimate - reach,
        ci_high=estimate + reach,
        relative=relative[0] if relative else None,
        relative_ci_low=relative[1] if relative else None,
        relative_ci_high=relative[2] if relative else None,
        p_value=p,
        anytime_ci_low=estimate - anytime,
        anytime_ci_high=estimate + anytime,
        anytime_p_value=sequence_p_value(estimate, error, n, alpha=levels.alpha, units=levels.expected)
        if known
        else math.nan,
        adjusted_p_value=p,
        n_arm=counts[0],
        n_control=counts[1],
    )


def _relative(found: Contrast, levels: Levels) -> tuple[float, float, float] | None:
    """The relative difference with its interval, on the logarithm; None where a value isn't above 0."""
    error = float(found.log_error)
    if not error > 0:
        return None
    log = math.log(float(found.arm) / float(found.control))
    reach = -float(special.ndtri(levels.alpha / 2)) * error
    low, middle, high = (math.expm1(min(each, 700.0)) for each in (log - reach, log, log + reach))
    return middle, low, high


def _segment_rows(
    found: Sequence[ArmScores], log: BanditLog, segments: Sequence[str], levels: Levels
) -> list[SegmentRow]:
    rows = []
    for segment in dict.fromkeys(segments):
        split = labels(log.table, segment, most=MOST_VALUES)
        values = [*split.values, MISSING] if (split.codes < 0).any() else list(split.values)
        for scores in found:
            own = split.codes[scores.rows]
            for place, value in enumerate(values):
                within = np.flatnonzero(own == (place if place < len(split.values) else -1))
                rows += [SegmentRow(**vars(row), segment=segment, value=value) for row in _rows(scores, levels, within)]
    return adjust_p_values(rows)


def _looks(found: Sequence[ArmScores], log: BanditLog, time: str, levels: Levels) -> Iterator[Progress]:
    when = periods(log.table, time)
    for scores in found:
        for place, name in enumerate(log.arms):
            if place:
                for until, sums in zip(when.values, scores.grown(place, when.codes, len(when.values)), strict=True):
                    apart = contrast(sums)
                    half = sequence_half_width(
                        float(apart.error), _decisions(sums), alpha=levels.alpha, units=levels.expected
                    )
                    half = half if apart.error > 0 else math.nan
                    estimate = float(apart.difference)
                    yield Progress(
                        metric=scores.goal.name, arm=name, until=until, difference=estimate,
                        anytime_ci_low=estimate - half, anytime_ci_high=estimate + half,
                    )  # fmt: skip


def _distrust(fit: Fit) -> Verdict:
    chance = f"p = {fit.p_value:.2g}" if fit.p_value > 1e-9 else "p < 0.000000001"
    return Verdict(
        code="do_not_trust",
        sentence="Do not trust these numbers: the actions can't have been drawn with the chances in the log "
        f"({chance}). Find out which chances the bandit really used before you read any difference.",
    )


def _notes(
    log: BanditLog, found: Sequence[ArmScores], rows: Sequence[MetricRow], *, cluster: str | None
) -> Iterator[str]:
    yield (
        "A bandit moved the traffic: each outcome counts by one over the chance that its action had (AIPW), so that an "
        "action that was chosen seldom, or only at times, is not misjudged."
    )
    if log.without_action:
        yield f"{log.without_action:,} rows have no action and are left out."
    for name, chance in zip(log.arms, log.chances, strict=True):
        least, below = starved(chance)
        if below:
            yield (
                f"{name!r} was starved: its chance fell to {least:.2g}, below {FLOOR:.0%} in {below:,} decisions. "
                "Nothing more is learned of it there, and intervals lean on few outcomes."
            )
        if nowhere := int((chance == 0).sum()):
            yield (
                f"{name!r} had no chance in {nowhere:,} decisions; it is compared with {log.arms[0]!r} among those in "
                "which both could be chosen."
            )
    for scores in found:
        if scores.missing:
            yield f"{scores.goal.name}: {scores.missing:,} rows have no value and are left out of this metric."
    if cluster:
        yield f"Decisions that share a {cluster!r} are taken together in every interval."
    blank = list(dict.fromkeys(row.metric for row in rows if row.p_value != row.p_value))
    if blank:
        yield f"{', '.join(blank)}: not tested where an action was chosen less than twice or nothing varies."
    if len(rows) > 1:
        yield (
            f"p is adjusted for all {len(rows)} comparisons of metrics and arms (Benjamini-Hochberg), "
            "that of segments for all comparisons within segments; intervals are not."
        )
