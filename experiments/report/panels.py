"""What the parts of the report are made of: a panel with a chart and its table twin, cells, and marks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from experiments.measures import Measure
from experiments.report import charts
from experiments.report.canvas import Chart
from experiments.report.charts import Mark
from experiments.report.parts import Report
from experiments.report.words import (
    arm_words,
    difference_scale,
    level,
    shorten,
    tidy,
)
from experiments.results import MetricRow, SegmentRow

_TOO_FEW = 100


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


def table_of(
    caption: str, columns: Iterable[str], rows: Iterable[Iterable[Cell]], *, prose: tuple[str, ...] = ()
) -> Table:
    """The table of some rows; columns named in ``prose`` hold text."""
    cells = tuple(tuple(row) for row in rows)
    return Table(caption=shorten(caption, most=200), columns=tuple(columns), rows=cells, prose=prose)


def level_cell(report: Report, *, measure: Measure, mean: float, n: int) -> Cell:
    """A level with the people behind it."""
    text, people = level(measure, mean=mean, n=n, currency=report.currency)
    return Cell(text=text, note=people)


def mark_of(report: Report, *, measure: Measure, row: MetricRow, label: str = "", group: str = "") -> Mark:
    """A row of the analysis as a line of a forest."""
    low, high = report.interval(row)
    scale = difference_scale(measure, currency=report.currency)
    few = min(row.n_arm, row.n_control) < _TOO_FEW or not (math.isfinite(low) and math.isfinite(high))
    sure = report.sure(row)
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


def tone_of(low: float, high: float) -> str:
    """Which colour an interval has: good above zero, bad below, open across."""
    return "good" if low > 0 else "bad" if high < 0 else "open"


def forest_of(marks: Sequence[Mark], *, key: str, axis: str, title: str) -> Chart | None:
    """The forest of the marks that can be drawn."""
    drawn = [mark for mark in marks if all(map(math.isfinite, (mark.value, mark.low, mark.high)))]
    return charts.forest(drawn, key=f"{key}-chart", axis=axis, title=title) if drawn else None


def difference_table(report: Report, *, caption: str, rows: Sequence[MetricRow], measure: Measure) -> Table:
    """The table twin of a forest of differences."""
    scale = difference_scale(measure, currency=report.currency)
    cells = []
    for row in rows:
        where = f"{row.segment.replace('_', ' ')}: {tidy(row.value)}" if isinstance(row, SegmentRow) else ""
        mark = mark_of(report, measure=measure, row=row)
        cells.append(
            (
                Cell(text=arm_words(row.arm), note=where),
                Cell(text=arm_words(row.control)),
                level_cell(report, measure=measure, mean=row.arm_mean, n=row.n_arm),
                level_cell(report, measure=measure, mean=row.control_mean, n=row.n_control),
                Cell(
                    text=scale.span(*report.interval(row), signed=True), tone="" if mark.tone == "open" else mark.tone
                ),
            )
        )
    return table_of(caption, ("Arm", "Against", "Arm's level", "Level of the other", "Difference"), cells)
