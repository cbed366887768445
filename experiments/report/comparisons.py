"""The parts of the report that hold arms against each other; None where there is no data."""

from __future__ import annotations

import math
from dataclasses import replace

from experiments.analysis.limits import standing
from experiments.design import aware
from experiments.report import charts
from experiments.report.panels import (
    Cell,
    Panel,
    difference_table,
    forest_of,
    level_cell,
    mark_of,
    table_of,
)
from experiments.report.parts import Report
from experiments.report.sentences import steps_words
from experiments.report.words import (
    Scale,
    arm_words,
    count,
    day,
    difference_scale,
    difference_unit,
    money_scale,
    percent,
    sentence,
    tidy,
)
from experiments.results import IntervalKind, MetricRow, SegmentRow

_SEES, _WAY = "What its customers see", "Which way"
_MOST_SEGMENTS = 14
_STANDINGS = {
    "within": Cell(text="within the limit", tone="good"),
    "over": Cell(text="above the limit", tone="bad"),
    "open": Cell(text="not clear yet", tone="open"),
}
_BAND: dict[IntervalKind, str] = {
    "anytime": "The band holds at every look, so it was safe to look each time.",
    "group_sequential": "The band holds over all looks of the campaign, so it was safe to look each time: it is wide "
    "early, and at the end about that of a single look.",
    "fixed": "The range is valid at the planned end only, so earlier looks show none.",
}
_NO_BAND: dict[IntervalKind, str] = {
    "anytime": "of another kind",
    "group_sequential": "of another kind",
    "fixed": "only at the planned end",
}
_SHORTENED = "of shortened windows"
_EARLY = (
    " Looks before any whole window had closed count what had happened so far, in windows shortened to that: they show "
    "the way, and are no results."
)
_TRUTH = ("Arm", "Estimated range", "Truth", "Truth lies")


def compared(report: Report) -> Panel:
    """The arms, what each shows, and how many customers it holds."""
    seen = {arm.arm: arm.n for arm in report.analysis.arms}
    planned = {arm.arm: arm.planned_share for arm in report.analysis.arms}
    total = sum(seen.values()) or 1
    roles = {report.experiment.control: "control", report.experiment.headline_arm: "of the headline"}
    rows = [
        (
            Cell(text=arm_words(arm.name), note=roles.get(arm.name, "")),
            Cell(text=sentence(arm.shows)),
            Cell(text=percent(planned.get(arm.name, arm.share))),
            Cell(text=percent(seen.get(arm.name, 0) / total)),
            Cell(text=count(seen.get(arm.name, 0))),
        )
        for arm in report.experiment.arms
    ]
    ramped = (
        f" Planned on the way: {steps_words(report)}. The table has the share that this makes of the customers who "
        "came, and arms are compared within each step."
    )
    return Panel(
        key="arms",
        title="What was compared",
        intro=f"Chance alone decided who is in which arm.{ramped if report.experiment.ramp else ''}",
        table=table_of("Arms of the experiment", ("Arm", _SEES, "Planned", "Found", "Customers"), rows, prose=(_SEES,)),
    )


def guardrails(report: Report) -> Panel | None:
    """What must not rise, with its limit."""
    rows = []
    for guard in report.experiment.guardrails:
        row = report.row(guard.metric, arm=report.experiment.headline_arm)
        if row is None:
            continue
        low, high = report.interval(row)
        scale = difference_scale(guard, currency=report.currency)
        rows.append(
            (
                Cell(text=guard.words, note=f"at most {scale.exact(guard.limit, signed=True)}"),
                level_cell(report, measure=guard, mean=row.control_mean, n=row.n_control),
                level_cell(report, measure=guard, mean=row.arm_mean, n=row.n_arm),
                Cell(text=_rise(scale, row, low=low, high=high)),
                _STANDINGS[standing(row, interval=(low, high), limit=guard.limit)],
            )
        )
    arms = (arm_words(report.experiment.control), arm_words(report.experiment.headline_arm))
    table = table_of("Guardrails", ("Measure", *arms, "Difference", "Verdict"), rows)
    intro = "What must not get worse while the goal gets better."
    return Panel(key="guardrails", title="Guardrails", intro=intro, table=table) if rows else None


def _rise(scale: Scale, row: MetricRow, *, low: float, high: float) -> str:
    """How much a guardrail rose: the most that is possible, where that is known on its one side."""
    if row.highest is None or not math.isfinite(row.highest):
        return scale.span(low, high, signed=True)
    spread = row.highest - row.difference
    rise, most = (scale.number(each, spread=spread, signed=True) for each in (row.difference, row.highest))
    return f"{rise.removesuffix(scale.suffix)}, at most {most}"


def everywhere(report: Report) -> Panel | None:
    """All arms, and the segments of the personalized one, on one axis; none when the goals above say it all."""
    goal = report.goal
    order = report.experiment.arm_names
    rows = sorted(
        (row for row in report.analysis.metrics if row.metric == goal.metric), key=lambda row: order.index(row.arm)
    )
    segments = [
        _drawn(report, row)
        for row in report.analysis.segments
        if row.metric == goal.metric and row.arm == report.experiment.headline_arm
    ]
    marks = [mark_of(report, measure=goal, row=row, label=arm_words(row.arm)) for row in rows]
    if len(rows) + len(segments) < 2:
        return None
    whose = arm_words(report.experiment.headline_arm)
    marks += [
        mark_of(
            report,
            measure=goal,
            row=row,
            label=tidy(row.value),
            group=f"{whose}, by {row.segment.replace('_', ' ')}",
        )
        for row in segments[:_MOST_SEGMENTS]
    ]
    control = arm_words(report.experiment.control)
    more = f" The chart shows {_MOST_SEGMENTS} of {len(segments)} segments." if len(segments) > _MOST_SEGMENTS else ""
    few = " Grey: fewer than 100 customers on a side, too few to tell." if any(m.tone == "few" for m in marks) else ""
    corrected = "Green or red: beyond chance, corrected for the number of comparisons."
    shrunk = any(row.shrunk_difference is not None for row in segments)
    drawn = " Segments are drawn towards the whole, as far as what sets them apart is noise." if shrunk else ""
    compared = f"{sentence(goal.words)[:-1]}, each arm against {control}."
    return Panel(
        key="everywhere",
        title="All arms" + (" and segments" if segments else ""),
        intro=f"{compared} {corrected} Blue: may be chance.{drawn}{few}{more}",
        chart=forest_of(
            marks,
            key="everywhere",
            axis=difference_unit(goal, currency=report.currency),
            title=f"{goal.words}: arms against {control}",
        ),
        table=difference_table(report, caption="All arms and segments", rows=[*rows, *segments], measure=goal),
    )


def _drawn(report: Report, row: SegmentRow) -> SegmentRow:
    """The row with its difference drawn towards the whole, where the analysis tells it; else as measured."""
    low, high = row.shrunk_ci_low, row.shrunk_ci_high
    if row.shrunk_difference is None or low is None or high is None:
        return row
    # The one kind of interval that the page shows, whichever it is.
    return replace(
        row,
        difference=row.shrunk_difference,
        ci_low=low,
        ci_high=high,
        sequential_ci_low=low,
        sequential_ci_high=high,
        anytime_ci_low=low,
        anytime_ci_high=high,
    )


def over_time(report: Report) -> Panel | None:
    """The deciding goal look by look."""
    goal, arm = report.goal, report.experiment.headline_arm
    points = sorted(
        (point for point in report.looks if point.metric == goal.metric and point.arm == arm),
        key=lambda point: point.as_of,
    )
    if len(points) < 2:
        return None
    scale = difference_scale(goal, currency=report.currency)
    factor = scale.factor
    whole = aware(report.experiment.start) + goal.maturity  # before it no window can have closed
    kind = report.analysis.kind
    bands = [point.kind == kind and (kind != "fixed" or point is points[-1]) for point in points]
    title = f"{goal.words}: {arm_words(arm)} against {arm_words(report.experiment.control)}, {len(points)} looks"
    chart = charts.over_time(
        [point.as_of for point in points],
        values=[point.difference * factor for point in points],
        lows=[point.ci_low * factor if band else math.nan for point, band in zip(points, bands, strict=True)],
        highs=[point.ci_high * factor if band else math.nan for point, band in zip(points, bands, strict=True)],
        changes=[(change.at, tidy(change.text)) for change in report.changes],
        axis=difference_unit(goal, currency=report.currency),
        title=title,
    )
    rows = [
        (
            Cell(text=day(point.as_of), note=_SHORTENED if aware(point.as_of) < whole else ""),
            Cell(text=scale.span(point.ci_low, point.ci_high, signed=True) if band else _NO_BAND[kind]),
            Cell(text=count(point.n_control)),
            Cell(text=count(point.n_arm)),
        )
        for point, band in zip(points, bands, strict=True)
    ]
    columns = ("Data as of", "Difference", arm_words(report.experiment.control), arm_words(arm))
    table = table_of("Every look so far", columns, rows)
    early = _EARLY if aware(points[0].as_of) < whole else ""
    return Panel(key="time", title="Over time", intro=_BAND[kind] + early, chart=chart, table=table)


def standards(report: Report) -> Panel | None:
    """The personalized arm against other standards than the control."""
    measures = {measure.metric: measure for measure in report.experiment.measures}
    rows = [row for row in report.standards if row.metric in measures]
    if not rows:
        return None
    goal = measures[rows[0].metric]
    rows = [row for row in rows if row.metric == goal.metric]
    marks = [mark_of(report, measure=goal, row=row, label=f"against {arm_words(row.control)}") for row in rows]
    title = f"{goal.words}: {arm_words(rows[0].arm)} against other standards"
    return Panel(
        key="standards",
        title="Against other standards",
        intro=f"The same {goal.words}, with {arm_words(rows[0].arm)} held against simpler ways to choose.",
        chart=forest_of(marks, key="standards", axis=difference_unit(goal, currency=report.currency), title=title),
        table=difference_table(report, caption="Against other standards", rows=rows, measure=goal),
    )


def truths(report: Report) -> Panel | None:
    """Estimates beside what only the simulator knows."""
    if not report.truths:
        return None
    measures = {measure.metric: measure for measure in report.experiment.measures}
    rows = []
    for each in report.truths:
        measure = measures.get(each.metric)
        scale = difference_scale(measure, currency=report.currency) if measure else money_scale(report.currency)
        spread = (each.ci_high - each.ci_low) / 2
        rows.append(
            (
                Cell(text=arm_words(each.arm), note=tidy(each.quantity)),
                Cell(text=scale.span(each.ci_low, each.ci_high, signed=True)),
                Cell(text=scale.number(each.truth, spread=spread, signed=True)),
                Cell(text="inside", tone="good") if each.held else Cell(text="outside", tone="bad"),
            )
        )
    held = sum(each.held for each in report.truths)
    return Panel(
        key="truths",
        title="Held against the truth (simulated)",
        intro=f"These customers are simulated, so the truth is known: {held} of {len(rows)} ranges hold it.",
        table=table_of("Estimates beside the simulator's truth", _TRUTH, rows),
    )
