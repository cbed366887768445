"""The parts of the report below its first screen: each a picture with its table, or None where there is no data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from experiments.design import Measure
from experiments.money import OUTSIDE, ArmMoney, increment
from experiments.report import charts
from experiments.report.charts import Chart, Mark, Step
from experiments.report.parts import Report
from experiments.report.sentences import interval_words
from experiments.report.words import (
    Scale,
    arm_words,
    count,
    day,
    difference_scale,
    difference_unit,
    level,
    money_scale,
    percent,
    sentence,
    shorten,
    tidy,
)
from experiments.results import Ladder, MetricRow, Rung, SegmentRow

_RUNGS = {
    "nothing": "nothing",
    "random": "random",
    "static": "static",
    "segment": "segments",
    "few": "few groups",
    "one_to_one": "one-to-one",
}
_SEES, _WAY = "What its customers see", "Which way"
_STEPS = ("Step", "Value", "Gain over the step before", "Mostly sends")
_TOO_FEW = 100
_MOST_SEGMENTS = 14


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What stands in one cell: ``tone`` colours it, ``note`` stands below it in small."""

    text: str
    tone: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table: the first cell of each row is its header; columns named in ``prose`` hold text, the others numbers."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    prose: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One part of the page: a chart with its table twin behind a click, or a table in the open."""

    key: str
    title: str
    intro: str
    table: Table
    chart: Chart | None = None
    after: str = ""


def compared(report: Report) -> Panel:
    """The arms, what each shows, and how many customers it holds."""
    seen = {arm.arm: arm.n for arm in report.analysis.arms}
    total = sum(seen.values()) or 1
    roles = {report.experiment.control: "control", report.experiment.headline_arm: "of the headline"}
    rows = [
        (
            Cell(text=arm_words(arm.name), note=roles.get(arm.name, "")),
            Cell(text=sentence(arm.shows)),
            Cell(text=percent(arm.share)),
            Cell(text=percent(seen.get(arm.name, 0) / total)),
            Cell(text=count(seen.get(arm.name, 0))),
        )
        for arm in report.experiment.arms
    ]
    return Panel(
        key="arms",
        title="What was compared",
        intro="Chance alone decided who is in which arm.",
        table=_table("Arms of the experiment", ("Arm", _SEES, "Planned", "Found", "Customers"), rows, prose=(_SEES,)),
    )


def guardrails(report: Report) -> Panel | None:
    """What must not rise, with its limit."""
    rows = []
    for guard in report.experiment.guardrails:
        row = report.row(guard.name, arm=report.experiment.headline_arm)
        if row is None:
            continue
        low, high = report.interval(row)
        scale = difference_scale(guard, currency=report.currency)
        verdict = (
            Cell(text="within the limit", tone="good") if high <= guard.limit
            else Cell(text="above the limit", tone="bad") if low > guard.limit
            else Cell(text="not clear yet", tone="open")
        )  # fmt: skip
        rows.append(
            (
                Cell(text=guard.words, note=f"at most {scale.exact(guard.limit, signed=True)}"),
                _level_cell(guard, row.control_mean, row.n_control, report),
                _level_cell(guard, row.arm_mean, row.n_arm, report),
                Cell(text=scale.span(low, high, signed=True)),
                verdict,
            )
        )
    arms = (arm_words(report.experiment.control), arm_words(report.experiment.headline_arm))
    table = _table("Guardrails", ("Measure", *arms, "Difference", "Verdict"), rows)
    intro = "What must not get worse while the goal gets better."
    return Panel(key="guardrails", title="Guardrails", intro=intro, table=table) if rows else None


def everywhere(report: Report) -> Panel:
    """All arms, and the segments of the personalized one, on one axis."""
    goal = report.goal
    order = report.experiment.arm_names
    rows = sorted(
        (row for row in report.analysis.metrics if row.metric == goal.name), key=lambda row: order.index(row.arm)
    )
    segments = [
        row for row in report.analysis.segments if row.metric == goal.name and row.arm == report.experiment.headline_arm
    ]
    marks = [_mark(goal, row, report, label=arm_words(row.arm)) for row in rows]
    marks += [
        _mark(
            goal, row, report, label=tidy(row.value), group=f"{arm_words(row.arm)}, by {row.segment.replace('_', ' ')}"
        )
        for row in segments[:_MOST_SEGMENTS]
    ]
    control = arm_words(report.experiment.control)
    few = " Grey: fewer than 100 customers on a side, too few to tell." if any(m.tone == "few" for m in marks) else ""
    corrected = "Green or red: beyond chance, corrected for the number of comparisons."
    return Panel(
        key="everywhere",
        title="All arms" + (" and segments" if segments else ""),
        intro=f"{sentence(goal.words)[:-1]}, each arm against {control}. {corrected} Blue: may be chance.{few}",
        chart=_forest(
            marks, axis=difference_unit(goal, currency=report.currency), title=f"{goal.words}: arms against {control}"
        ),
        table=_difference_table("All arms and segments", [*rows, *segments], goal, report),
    )


def channels(report: Report) -> Panel | None:
    """All channels in one unit: incremental profit per 1,000 customers."""
    if not report.channels:
        return None
    scale = money_scale(report.currency)
    marks = [
        Mark(
            label=tidy(row.channel), value=row.profit_per_1000 / 100, low=row.ci_low / 100, high=row.ci_high / 100,
            text=scale.span(row.ci_low, row.ci_high, signed=True), tone=_tone(row.ci_low, row.ci_high),
            other=None if row.matchback_per_1000 is None else row.matchback_per_1000 / 100,
        )
        for row in report.channels
    ]  # fmt: skip
    matched = any(row.matchback_per_1000 is not None for row in report.channels)
    rows = [
        (
            Cell(text=tidy(row.channel)),
            Cell(text=count(row.contacts)),
            Cell(text=scale.span(row.ci_low, row.ci_high, signed=True), tone=_tone(row.ci_low, row.ci_high)),
            Cell(
                text=""
                if row.matchback_per_1000 is None
                else scale.number(row.matchback_per_1000, spread=row.matchback_per_1000 / 50)
            ),
        )
        for row in report.channels
    ]
    columns = ("Channel", "Contacts", "Profit per 1,000 customers", "Matchback would claim")
    width = len(columns) if matched else len(columns) - 1
    intro = "Profit that the contacts on each channel caused, per 1,000 customers, all in one unit."
    if matched:
        intro += (
            " Matchback (the diamond) counts every purchase after a contact, also those that would have come anyway."
        )
    return Panel(
        key="channels",
        title="Channels side by side",
        intro=intro,
        chart=charts.forest(
            marks, axis=f"{tidy(report.currency)} of profit per 1,000 customers", title="Profit caused, by channel",
            other="what matchback would claim" if matched else "",
        ),
        table=_table("Profit caused, by channel", columns[:width], (row[:width] for row in rows)),
    )  # fmt: skip


def over_time(report: Report) -> Panel | None:
    """The deciding goal look by look."""
    goal, arm = report.goal, report.experiment.headline_arm
    points = sorted(
        (point for point in report.looks if point.metric == goal.name and point.arm == arm),
        key=lambda point: point.as_of,
    )
    if len(points) < 2:
        return None
    scale = difference_scale(goal, currency=report.currency)
    anytime = report.experiment.stop_rule == "anytime"
    factor = scale.factor
    bands = [anytime or point is points[-1] for point in points]
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
            Cell(text=day(point.as_of)),
            Cell(text=scale.span(point.ci_low, point.ci_high, signed=True) if band else "only at the planned end"),
            Cell(text=count(point.n_control)),
            Cell(text=count(point.n_arm)),
        )
        for point, band in zip(points, bands, strict=True)
    ]
    columns = ("Data as of", "Difference", arm_words(report.experiment.control), arm_words(arm))
    told = (
        "The band holds at every look, so it was safe to look each time."
        if anytime
        else "The range is valid at the planned end only, so earlier looks show none."
    )
    return Panel(
        key="time", title="Over time", intro=told, chart=chart, table=_table("Every look so far", columns, rows)
    )


def allocation(report: Report) -> Panel | None:
    """How the bandit moved its customers."""
    if len(report.allocation) < 2:
        return None
    names = list(dict.fromkeys(name for point in report.allocation for name in point.shares))
    last = report.allocation[-1].shares
    names.sort(key=lambda name: -last.get(name, 0.0))
    kept, rest = (names, []) if len(names) <= 9 else (names[:8], names[8:])
    shares = {arm_words(name): [point.shares.get(name, 0.0) for point in report.allocation] for name in kept}
    if rest:
        shares["all others"] = [sum(point.shares.get(name, 0.0) for name in rest) for point in report.allocation]
    days = [point.at for point in report.allocation]
    until = days[-1] + (days[-1] - days[-2])
    rows = [
        (Cell(text=day(at)), *(Cell(text=percent(values[place])) for values in shares.values()))
        for place, at in enumerate(days)
    ]
    return Panel(
        key="allocation",
        title="How the bandit shared its customers",
        intro="The bandit moved customers towards what worked. It recorded the chance of each choice; its results are "
        "weighted by these chances, so an action that was rarely shown is neither favoured nor punished for it.",
        chart=charts.allocation(
            [*days, until], shares=shares, title="Share of the bandit's customers by action over time"
        ),
        table=_table("Share of the bandit's customers", ("From", *(tidy(name) for name in shares)), rows),
    )


def bridge(report: Report) -> Panel | None:
    """From more revenue to more profit, and the ledger that adds up to the history."""
    named = {money.arm for money in report.money}
    arm, control = report.experiment.headline_arm, report.experiment.control
    if arm not in named or control not in named:
        return None
    scale = money_scale(report.currency)
    more = increment(report.money, arm=arm, control=control)
    values = (
        ("More revenue", more.revenue, True),
        ("Cost of goods", more.margin - more.revenue, False),
        ("Discounts", more.discount, False),
        ("Contacts", more.contact_cost, False),
        ("More profit", more.profit, True),
    )
    spread = max(abs(value) for _, value, _ in values) / 20 or 1.0
    steps = [
        Step(label=label, value=value / 100, text=scale.number(value, spread=spread, signed=True), total=total)
        for label, value, total in values
    ]
    total = sum(money.revenue for money in report.money)
    return Panel(
        key="bridge",
        title="From revenue to profit",
        intro=f"{sentence(arm_words(arm))[:-1]} beyond {arm_words(control)}, per 1,000 customers, as booked by "
        f"{day(report.as_of)}. These sums carry chance with them: the ranges above say how much.",
        chart=charts.bridge(steps, title=f"From more revenue to more profit per 1,000 customers, {arm_words(arm)}"),
        table=_ledger(report.money, currency=report.currency),
        after=f"The arms and what lies outside the experiment add up to the revenue of the history, "
        f"{_cents(total, report.currency)}, to the cent.",
    )


def ladder(report: Report) -> Panel | None:
    """What each step from one-to-all to one-to-one adds."""
    found = report.ladder
    if found is None or not found.rungs:
        return None
    scale = money_scale(report.currency) if report.ladder_in_cents else Scale(factor=found.scale)
    unit = f"{tidy(report.currency)} per customer" if report.ladder_in_cents else tidy(found.unit)
    marks = [
        Mark(
            label=_RUNGS[rung.rung],
            value=rung.value * scale.factor,
            low=rung.ci_low * scale.factor,
            high=rung.ci_high * scale.factor,
            text=scale.number(rung.value, spread=(rung.ci_high - rung.ci_low) / 2),
        )
        for rung in found.rungs
    ]
    rows = [
        (
            Cell(text=_RUNGS[rung.rung]),
            Cell(text=scale.span(rung.ci_low, rung.ci_high)),
            Cell(text=_gain(rung, scale)),
            Cell(text=", ".join(f"{arm_words(key)} {percent(share)}" for key, share in _largest(rung.shares))),
        )
        for rung in found.rungs
    ]
    best = _RUNGS[found.recommended]
    return Panel(
        key="ladder",
        title="The ladder: where personalization stops paying",
        intro=_ladder_words(found, scale) if report.ladder_in_cents else sentence(found.sentence),
        chart=charts.ladder(marks, best=best, axis=unit, title=f"Value of each step; recommended: {best}"),
        table=_table(f"Value of each step, {unit}", _STEPS, rows, prose=_STEPS[3:]),
    )


def _ladder_words(found: Ladder, scale: Scale) -> str:
    names = [rung.rung for rung in found.rungs]
    after = found.rungs[names.index(found.recommended) + 1 :] if found.recommended in names else ()
    best = _RUNGS[found.recommended]
    if not after:
        return f"Each step up to {best} still paid: {best} is worth its effort."
    step = f"the next step, {_RUNGS[after[0].rung]}, adds {_gain(after[0], scale)} per customer"
    return f"It pays to go as far as {best}. Beyond that nothing is gained that chance could not explain: {step}."


def _gain(rung: Rung, scale: Scale) -> str:
    if rung.gain_ci_low is None or rung.gain_ci_high is None:
        return ""
    return scale.span(rung.gain_ci_low, rung.gain_ci_high, signed=True)


def drivers(report: Report) -> Panel | None:
    """What the models looked at, in plain words."""
    if not report.drivers:
        return None
    rows = [
        (Cell(text=sentence(each.words)[:-1]), Cell(text=percent(each.share)), Cell(text=sentence(each.effect)))
        for each in report.drivers
    ]
    columns = ("What it looked at", "Share", _WAY)
    width = len(columns) if any(each.effect for each in report.drivers) else len(columns) - 1
    return Panel(
        key="drivers",
        title="What the models looked at",
        intro="Share of the model's distinctions. It says what was used, not what causes a purchase.",
        table=_table("What the models looked at", columns[:width], (row[:width] for row in rows), prose=(_WAY,)),
    )


def refusals(report: Report) -> Panel | None:
    """Who got nothing, and why."""
    if not report.refusals:
        return None
    total = sum(reason.count for reason in report.refusals)
    whole = report.decisions or total
    rows = [
        (Cell(text=sentence(reason.sentence)), Cell(text=count(reason.count)), Cell(text=percent(reason.count / whole)))
        for reason in sorted(report.refusals, key=lambda reason: -reason.count)
    ]
    return Panel(
        key="refusals",
        title="Who got nothing, and why",
        intro=f"{count(total)} of {count(whole)} decisions ended without a contact.",
        table=_table("Reasons for no contact", ("Reason", "Decisions", "Of all"), rows),
    )


def standards(report: Report) -> Panel | None:
    """The personalized arm against other standards than the control."""
    measures = {measure.name: measure for measure in report.experiment.measures}
    rows = [row for row in report.standards if row.metric in measures]
    if not rows:
        return None
    goal = measures[rows[0].metric]
    rows = [row for row in rows if row.metric == goal.name]
    marks = [_mark(goal, row, report, label=f"against {arm_words(row.control)}") for row in rows]
    title = f"{goal.words}: {arm_words(rows[0].arm)} against other standards"
    return Panel(
        key="standards",
        title="Against other standards",
        intro=f"The same {goal.words}, with {arm_words(rows[0].arm)} held against simpler ways to choose.",
        chart=_forest(marks, axis=difference_unit(goal, currency=report.currency), title=title),
        table=_difference_table("Against other standards", rows, goal, report),
    )


def truths(report: Report) -> Panel | None:
    """Estimates beside what only the simulator knows."""
    if not report.truths:
        return None
    measures = {measure.name: measure for measure in report.experiment.measures}
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
        table=_table("Estimates beside the simulator's truth", ("Arm", "Estimated range", "Truth", "Truth lies"), rows),
    )


def method(report: Report) -> tuple[str, ...]:
    """Sentences on how the numbers were made."""
    notes = (*report.analysis.notes, *(report.ladder.notes if report.ladder else ()), *report.notes)
    own = (
        "Customers count in the arm that they were assigned to, whatever they then received.",
        interval_words(report),
        "A customer counts once the attribution window and the usual delay of records have passed.",
    )
    return (*own, *(sentence(note) for note in dict.fromkeys(notes)))


def _mark(goal: Measure, row: MetricRow, report: Report, *, label: str, group: str = "") -> Mark:
    low, high = report.interval(row)
    scale = difference_scale(goal, currency=report.currency)
    few = min(row.n_arm, row.n_control) < _TOO_FEW or not (math.isfinite(low) and math.isfinite(high))
    sure = row.adjusted_p_value < report.experiment.alpha
    tone = "few" if few else "open" if not sure else "good" if row.difference > 0 else "bad"
    return Mark(
        label=label,
        value=row.difference * scale.factor,
        low=low * scale.factor,
        high=high * scale.factor,
        text="too few" if few else scale.span(low, high, signed=True).removesuffix(scale.suffix),
        tone=tone,
        group=group,
    )


def _forest(marks: Sequence[Mark], *, axis: str, title: str) -> Chart | None:
    drawn = [mark for mark in marks if all(map(math.isfinite, (mark.value, mark.low, mark.high)))]
    return charts.forest(drawn, axis=axis, title=title) if drawn else None


def _difference_table(caption: str, rows: Sequence[MetricRow], goal: Measure, report: Report) -> Table:
    scale = difference_scale(goal, currency=report.currency)
    cells = []
    for row in rows:
        where = f"{row.segment.replace('_', ' ')}: {tidy(row.value)}" if isinstance(row, SegmentRow) else ""
        mark = _mark(goal, row, report, label="")
        cells.append(
            (
                Cell(text=arm_words(row.arm), note=where),
                Cell(text=arm_words(row.control)),
                _level_cell(goal, row.arm_mean, row.n_arm, report),
                _level_cell(goal, row.control_mean, row.n_control, report),
                Cell(
                    text=scale.span(*report.interval(row), signed=True), tone="" if mark.tone == "open" else mark.tone
                ),
            )
        )
    return _table(caption, ("Arm", "Against", "Arm's level", "Level of the other", "Difference"), cells)


def _level_cell(measure: Measure, mean: float, n: int, report: Report) -> Cell:
    text, people = level(measure, mean=mean, n=n, currency=report.currency)
    return Cell(text=text, note=people)


def _ledger(arms: Sequence[ArmMoney], *, currency: str) -> Table:
    names = ("revenue", "returned", "margin", "discount", "contact_cost", "profit")
    rows = [
        (
            Cell(text=arm_words(money.arm) if money.arm != OUTSIDE else OUTSIDE),
            Cell(text=count(money.units)),
            *(Cell(text=_cents(getattr(money, name), currency)) for name in names),
        )
        for money in arms
    ]
    totals = (Cell(text=_cents(sum(getattr(money, name) for money in arms), currency)) for name in names)
    rows.append((Cell(text="together"), Cell(text=""), *totals))
    heads = ("Revenue", "Returned", "Margin", "Discounts", "Contacts", "Profit")
    return _table("Money by arm", ("Arm", "Customers", *heads), rows)


def _cents(value: int, currency: str) -> str:
    return money_scale(currency).number(value, spread=10)


def _largest(shares: dict[str, float]) -> Iterable[tuple[str, float]]:
    return [item for item in sorted(shares.items(), key=lambda item: -item[1]) if item[1] > 0][:3]


def _tone(low: float, high: float) -> str:
    return "good" if low > 0 else "bad" if high < 0 else "open"


def _table(
    caption: str, columns: Iterable[str], rows: Iterable[Iterable[Cell]], *, prose: tuple[str, ...] = ()
) -> Table:
    cells = tuple(tuple(row) for row in rows)
    return Table(caption=shorten(caption, most=200), columns=tuple(columns), rows=cells, prose=prose)
