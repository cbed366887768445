"""What ``rapport analyze`` prints: the verdict, whether to trust it, and a table for each metric."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rapport.terminal import print_table, say

if TYPE_CHECKING:
    from experiments.analysis import Findings, Progress, Rule
    from experiments.results import ExposedRow, MetricRow, SegmentRow

_MOST_ROWS = 60
_SHOWN_LOOKS = 12
_STATUS = {
    "green": ("as planned", "green"),
    "yellow": ("doubtful: look for missing units", "yellow"),
    "red": ("not as planned: units are missing or in the wrong arm", "red"),
}
_FIT = {
    "green": ("fit", "green"),
    "yellow": ("hardly fit", "yellow"),
    "red": ("can't be drawn with", "red"),
}
_COLOURS = {"green": "green", "yellow": "yellow", "red": "red"}


def show(found: Findings, *, bandit: bool, currency: str = "", assumed: bool = False) -> None:
    """Print all that is found; of a ``bandit``'s log the arms are actions; ``assumed`` when nobody named the shares."""
    say(found.verdict.sentence, style="bold")
    say("")
    words, colour = (_FIT if bandit else _STATUS)[found.srm.status]
    if assumed and not bandit and found.srm.status == "red":
        words = "not the equal one that is held for planned without --split"
    told = f"The actions {words} the logged chances" if bandit else f"The split is {words}"
    p = _p(found.srm.p_value)
    say(f"{told} (p {f'< {p[1:]}' if p.startswith('<') else f'= {p}'}).", style=colour)
    if found.balance:
        say(found.balance.sentence, style=_COLOURS[found.balance.status])
    total = sum(each.n for each in found.arms)
    print_table(
        "units in each arm",
        ("arm", "units", "share", "mean chance" if bandit else "planned"),
        [(each.arm, f"{each.n:,}", f"{each.n / total:.2%}", f"{each.planned_share:.2%}") for each in found.arms],
    )
    surely = _adjusted(found.metrics, found.rule)
    for metric in dict.fromkeys(row.metric for row in found.metrics):
        rows = [(row, p) for row, p in zip(found.metrics, surely, strict=True) if row.metric == metric]
        say("")
        print_table(
            *_headed(metric, found.rule, "arm", ("relative", "p")),
            _metric_rows(rows, found.rule),
            note=_adjusted_control([row for row, _ in rows], found.rule),
        )
        _show_totals(found, metric, currency=currency)
    _show_exposed(found)
    _show_limits(found)
    _show_segments(found)
    _show_looks(found)
    say("")
    say(_method(found.rule), style="dim")
    for note in found.notes:
        say(note, style="dim")


def _adjusted(rows: Sequence[MetricRow], rule: Rule) -> list[float]:
    """The p-values of the kind that decides, adjusted over all the rows."""
    from experiments.analysis.statistics import benjamini_hochberg

    return benjamini_hochberg([row.p(rule.kind) for row in rows])


def _headed(metric: str, rule: Rule, first: str, last: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    kind = "share of units" if metric in rule.rates else "ratio" if "/" in metric else "per unit"
    if rule.weighted:
        kind = f"estimated {'share of' if metric in rule.rates else 'over'} all decisions"
    level = "rate" if metric in rule.rates else "mean"
    points = " in points" if metric in rule.rates else f" in{counted}" if (counted := rule.counted(metric)) else ""
    units = "chosen" if rule.weighted else "units"
    return f"{metric},{rule.counted(metric)} {kind}", (
        first,
        units,
        level,
        f"difference{points} ({rule.confidence})",
        *last,
    )


def _cells(row: MetricRow, rule: Rule) -> tuple[str, ...]:
    return f"{row.n_arm:,}", _mean(row, row.arm_mean, rule), rule.difference(row)


def _metric_rows(rows: Sequence[tuple[MetricRow, float]], rule: Rule) -> Iterator[tuple[str, ...]]:
    control = rows[0][0]
    yield control.control, f"{control.n_control:,}", _mean(control, control.control_mean, rule), "", "", ""
    for row, p in rows:
        relative = "" if row.relative is None or row.relative != row.relative else f"{row.relative:+z.1%}"
        yield row.arm, *_cells(row, rule), relative, _p(p)


def _adjusted_control(rows: Sequence[MetricRow], rule: Rule) -> str:
    """What the control's mean is beside each arm, where covariates adjust it to each; empty where it is one."""
    told = {row.arm: _mean(row, row.control_mean, rule) for row in rows}
    means = [row.control_mean for row in rows]
    if len(set(told.values())) < 2 or math.isclose(min(means), max(means), rel_tol=1e-9):
        return ""
    beside = ", ".join(f"{mean} beside {arm!r}" for arm, mean in told.items())
    return f"Means are adjusted for each pair of arms; that of {rows[0].control!r} is {beside}."


def _show_totals(found: Findings, metric: str, *, currency: str) -> None:
    for each in found.totals:
        if each.metric == metric and each.ci_low == each.ci_low:
            low, high = (_total(limit, half=(each.ci_high - each.ci_low) / 2) for limit in (each.ci_low, each.ci_high))
            unit = f" {currency}" if currency else ""
            say(f"All {each.units:,} units with {each.arm!r}: {low} to {high}{unit} against {found.arms[0].arm!r}.")


def _total(value: float, *, half: float) -> str:
    """An amount in whole units, to two digits of ``half`` its interval; its own first two where those would be 0."""
    known = math.floor(math.log10(half)) - 1 if half > 0 else 0
    if value and abs(value) < 10**known:
        known = math.floor(math.log10(abs(value))) - 1
    return f"{round(value, -max(known, 0)):+z,.0f}"


def _show_exposed(found: Findings) -> None:
    """The exposed, beside what they come to per unit of all; without numbers where they can't be trusted."""
    if not found.exposure:
        return
    say("")
    say(found.exposure.sentence, style=_COLOURS[found.exposure.status])
    if found.exposure.status == "red":
        return
    for metric in dict.fromkeys(row.metric for row in found.exposure.metrics):
        rows = [row for row in found.exposure.metrics if row.metric == metric]
        title, columns = _headed(metric, found.rule, "arm", ("per unit of all",))
        print_table(
            f"{title}, among the exposed",
            columns,
            [(row.arm, *_cells(row, found.rule), _diluted(row, found.rule)) for row in rows],
        )


def _diluted(row: ExposedRow, rule: Rule) -> str:
    return _spanned(row, rule, row.diluted, row.diluted_ci_low, row.diluted_ci_high)


def _spanned(row: MetricRow, rule: Rule, value: float | None, low: float | None, high: float | None) -> str:
    """A further estimate of the row with its interval, in as many digits as the row's own."""
    if value is None or low is None or high is None or low != low:
        return ""
    return f"{rule.amount(row, value)} ({rule.limit(row, low)} to {rule.limit(row, high)})"


def _show_limits(found: Findings) -> None:
    """What each metric with a limit may have risen by at most, which decides whether it is kept."""
    words = {"within": "within it", "over": "above it", "open": "not clear yet"}
    rows = [
        (
            f"{row.metric}: {row.arm}",
            _amount(row, found.rule.limits[row.metric], found.rule),
            _amount(row, row.highest, found.rule),
            words[found.rule.standing(row) or "open"],
        )
        for row in found.metrics
        if row.highest is not None
    ]
    if rows:
        say("")
        columns = ("metric and arm", "limit", f"rose at most ({found.rule.confidence})", "so it is")
        print_table("what must not rise, in the metric's unit or in points", columns, rows)


def _show_segments(found: Findings) -> None:
    """A table for each metric and segment; the differences stand as drawn to the whole, which are nearer the truth."""
    surely = _adjusted(found.segments, found.rule)
    tables: dict[tuple[str, str], list[tuple[SegmentRow, float]]] = {}
    for row, p in zip(found.segments, surely, strict=True):
        tables.setdefault((row.metric, row.segment), []).append((row, p))
    for (metric, segment), rows in tables.items():
        drawn = any(row.shrunk_difference is not None for row, _ in rows)
        title, (first, units, level, change) = _headed(metric, found.rule, segment, ())
        columns = (first, units, "measured", f"shrunk ({found.rule.confidence})", "p")
        points = ": difference" + " in points" * (metric in found.rule.rates) if drawn else ""
        more = len(rows) - _MOST_ROWS
        say("")
        print_table(
            f"{title}, by {segment}{points}",
            columns if drawn else (first, units, level, change, "p"),
            [_segment_cells(row, p, found.rule, drawn=drawn) for row, p in rows[:_MOST_ROWS]],
            note=f"{more} more rows in the JSON (--json FILE)" if more > 0 else "",
        )


def _segment_cells(row: SegmentRow, p: float, rule: Rule, *, drawn: bool) -> tuple[str, ...]:
    units, level, change = _cells(row, rule)
    if not drawn:
        return f"{row.value}: {row.arm}", units, level, change, _p(p)
    shrunk = _spanned(row, rule, row.shrunk_difference, row.shrunk_ci_low, row.shrunk_ci_high)
    return f"{row.value}: {row.arm}", units, _amount(row, row.difference, rule), shrunk, _p(p)


def _show_looks(found: Findings) -> None:
    """The first metric as it grew; all the looks and metrics are in the JSON."""
    rows = {row.arm: row for row in found.metrics if row.metric == found.metrics[0].metric}
    for arm, row in list(rows.items())[:5]:
        grown = [look for look in found.looks if look.metric == row.metric and look.arm == arm]
        if not grown:
            return
        every = -(-len(grown) // _SHOWN_LOOKS)
        points = " in points" * (row.metric in found.rule.rates)
        # The band holds at any look: beside another kind of interval it would be a second one.
        band = found.kind == "anytime"
        say("")
        print_table(
            f"{row.metric} of {arm} over time" + ", any look" * band,
            ("units that entered until", f"difference{points}", *(("low", "high") if band else ())),
            [
                (look.until, *(_amount(row, each, found.rule) for each in _drawn(look, band=band)))
                for look in grown[::-1][::every][::-1]
            ],
        )


def _drawn(look: Progress, *, band: bool) -> tuple[float, ...]:
    return (look.difference, look.anytime_ci_low, look.anytime_ci_high) if band else (look.difference,)


def _mean(row: MetricRow, value: float, rule: Rule) -> str:
    return rule.mean(row, value) if value == value else "none"


def _amount(row: MetricRow, value: float, rule: Rule) -> str:
    return rule.amount(row, value) if value == value else "not known"


def _method(rule: Rule) -> str:
    if rule.kind == "fixed":
        return "Each interval holds for this one look, planned before the start."
    single = f"A roll-out takes the p of a single look below {rule.alpha:g} too."
    if rule.kind == "group_sequential":
        end = " This is the last." if rule.last else ""
        return f"Each interval and p holds over all looks of the campaign (group-sequential).{end} {single}"
    return (
        f"Each interval and p holds at every look, however often. {single} --planned-units N shows the narrower "
        "intervals of a campaign with an end, --final those of one planned look; --json FILE writes all."
    )


def _p(value: float) -> str:
    if value != value:
        return ""
    return "<0.0001" if value < 0.0001 else f"{value:.4f}" if value < 0.01 else f"{value:.2f}"
