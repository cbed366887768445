"""The parts that look at customers one by one or over the long run; None where there is no data."""

from __future__ import annotations

import re

from experiments.heterogeneity.results import GroupEffect, Trait
from experiments.heterogeneity.sentences import told
from experiments.report import charts
from experiments.report.charts import Mark
from experiments.report.panels import Cell, Panel, forest_of, table_of, tone_of
from experiments.report.parts import Report
from experiments.report.words import (
    MINUS,
    Scale,
    arm_words,
    count,
    difference_scale,
    difference_unit,
    money_scale,
    percent,
    sentence,
    tidy,
)
from experiments.retention.results import CurvePoint
from experiments.wording import timed

_ORDER = "expected to"
_TRAITS = 3
_POINTS = 6
_CURVES = 4


def gains(report: Report) -> Panel | None:
    """Which customers gain, or that nothing shows that they differ."""
    found = report.gains
    if found is None:
        return None
    scale = difference_scale(report.goal, currency=report.currency)
    unit = difference_unit(report.goal, currency=report.currency)

    def amount(value: float, low: float | None, high: float | None) -> str:
        if low is None or high is None:
            return scale.number(value, spread=value / 2)
        return scale.span(low, high, signed=True)

    said = " ".join(told(found, unit=tidy(report.goal.words), amount=amount)).replace(
        repr(found.arm), arm_words(found.arm)
    )
    rows = [(_ORDER, group) for group in found.fifths]
    rows += [(each.column, side) for each in found.groups for side in (each.inside, each.outside)]
    rows = rows if found.differ else [("", found.effect)]
    cells = ((Cell(text=_name(each)), Cell(text=count(each.n)), _range(each, scale)) for _, each in rows)
    marks = [_mark(group, scale, place) for place, group in rows]
    title = "Gain by group of customers"
    return Panel(
        key="gains",
        title="Which customers gain",
        intro=tidy(said),
        chart=forest_of(marks, key="gains", axis=unit, title=title) if found.differ else None,
        table=table_of(title, ("Customers", "How many", "Gain of each"), cells),
        after=_traits(found.traits[:_TRAITS]) if found.differ else "",
    )


def _name(group: GroupEffect) -> str:
    return tidy(group.group.replace("_", " "))


def _range(group: GroupEffect, scale: Scale) -> Cell:
    tone = tone_of(group.ci_low, group.ci_high)
    return Cell(text=scale.span(group.ci_low, group.ci_high, signed=True), tone="" if tone == "open" else tone)


def _mark(group: GroupEffect, scale: Scale, place: str) -> Mark:
    return Mark(
        label=tidy(group.group.removeprefix(place).replace("_", " ").strip(" =")),
        value=group.effect * scale.factor,
        low=group.ci_low * scale.factor,
        high=group.ci_high * scale.factor,
        text=scale.span(group.ci_low, group.ci_high, signed=True).removesuffix(scale.suffix),
        tone=tone_of(group.ci_low, group.ci_high),
        group=tidy(place.replace("_", " ")),
    )


def _traits(traits: tuple[Trait, ...]) -> str:
    """Who is in the first fifth and who in the last."""
    parts = []
    for each in traits:
        name = tidy(each.column.replace("_", " "))
        if each.level is None:
            parts.append(f"{name} {each.top:,.4g} on average against {each.bottom:,.4g}")
        else:
            parts.append(f"{name} {tidy(each.level)}: {percent(each.top)} of them against {percent(each.bottom)}")
    told = "The fifth expected to gain most, against the fifth expected to gain least"
    return f"{told}: {'; '.join(parts)}." if parts else ""


def retention(report: Report) -> Panel | None:
    """Who is still there, by arm."""
    found = report.retention
    if found is None:
        return None
    wanted = (report.experiment.control, report.experiment.headline_arm)
    ranked = sorted(found.arms, key=lambda each: wanted.index(each.arm) if each.arm in wanted else len(wanted))
    arms = {arm_words(each.arm): each for each in ranked[:_CURVES]}
    every = max((len(found.arms[0].curve) - 1) // _POINTS, 1)
    curves = [each.curve[every::every] for each in arms.values()]
    rows = [
        (Cell(text=f"after {timed(f'{points[0].time:.3g}', tidy(found.unit))}"), *map(_share, points))
        for points in zip(*curves, strict=True)
    ]
    said = next((each.sentence for each in found.differences if each.arm == report.experiment.headline_arm), "")
    title = "The share still there"
    return Panel(
        key="retention",
        title="Who stays",
        intro=f"The share of customers who have not {tidy(report.leaving)}, from the day they came in. Who came late "
        f"counts for as long as they were watched. {_plain(said, tuple(each.arm for each in found.arms))}"
        + _left_out(len(found.arms)),
        chart=charts.curves(
            [point.time for point in found.arms[0].curve],
            shares={name: [100 * point.share for point in each.curve] for name, each in arms.items()},
            lows={name: [100 * point.ci_low for point in each.curve] for name, each in arms.items()},
            highs={name: [100 * point.ci_high for point in each.curve] for name, each in arms.items()},
            axis="still there",
            along=f"{tidy(found.unit)} since they came in",
            title=f"{title}, by arm",
        ),
        table=table_of(title, ("When", *arms), rows),
    )


def _left_out(arms: int) -> str:
    if arms <= _CURVES:
        return ""
    return f" More than {_CURVES} curves can't be told apart, so {arms - _CURVES} of the {arms} arms are not shown."


def _share(point: CurvePoint) -> Cell:
    return Cell(text=f"{point.ci_low:.1%} to {point.ci_high:.1%}", note=f"{count(point.at_risk)} watched so long")


def _plain(text: str, arms: tuple[str, ...]) -> str:
    """A sentence with its arms as readers know them."""
    for arm in arms:
        text = text.replace(repr(arm), arm_words(arm))
    return re.sub(r"(?<!\w)-(?=\d)", MINUS, sentence(text))


def long_run(report: Report) -> Panel | None:
    """What marketing as a whole is worth, period by period."""
    found = report.long_run
    if found is None or not found.periods:
        return None
    scale = money_scale(report.currency)
    marks = [
        Mark(
            label=tidy(each.period),
            value=each.total * scale.factor,
            low=each.total_ci_low * scale.factor,
            high=each.total_ci_high * scale.factor,
            text=scale.span(each.total_ci_low, each.total_ci_high, signed=True),
            tone=tone_of(each.total_ci_low, each.total_ci_high),
        )
        for each in found.periods
    ]
    rows = [
        (
            Cell(text=tidy(each.period), note=f"{count(each.n_held)} of {count(each.n_held + each.n)} withheld"),
            Cell(text=scale.span(each.ci_low, each.ci_high, signed=True)),
            Cell(text=scale.span(each.total_ci_low, each.total_ci_high, signed=True)),
        )
        for each in found.periods
    ]
    axis = f"{tidy(report.currency)} per customer since the start"
    return Panel(
        key="long-run",
        title="The long run: everything against the holdout",
        intro=f"{found.sentence} Shown is the profit per customer since the start, beyond those from whom all "
        "marketing was withheld; the ranges hold at the ends of all periods together, however many will come.",
        chart=forest_of(marks, key="long-run", axis=axis, title="Value so far"),
        table=table_of("The holdout, period by period", ("Period", "In the period", "Since the start"), rows),
    )
