"""The page: one self-contained HTML file of a report, the same bytes for the same report."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from experiments.measures import Goal
from experiments.report import choices, comparisons, lasting, words, worth
from experiments.report.numbers import numbers_csv
from experiments.report.panels import Cell, Panel
from experiments.report.parts import Report, check_arms
from experiments.report.sentences import decision, headline, interval_words
from experiments.results import MetricRow

_FOLDER = Path(__file__).parent
_PANELS: tuple[Callable[[Report], Panel | None], ...] = (
    comparisons.guardrails,
    comparisons.everywhere,
    lasting.gains,
    worth.channels,
    comparisons.over_time,
    lasting.retention,
    lasting.long_run,
    choices.allocation,
    choices.actions,
    worth.bridge,
    worth.ladder,
    choices.drivers,
    choices.refusals,
    comparisons.standards,
    comparisons.truths,
)


@dataclass(frozen=True, kw_only=True)
class Bar:
    """An interval on a scale of its own, in percent of the width: ends, point and zero; and how it reads aloud."""

    low: float
    high: float
    point: float
    zero: float
    tone: str
    aloud: str


@dataclass(frozen=True, kw_only=True)
class GoalLine:
    """One goal: control and personalized arm, difference with its bar, money."""

    name: str
    note: str
    control: Cell
    personalized: Cell
    difference: str
    bar: Bar | None
    money: str


def render(report: Report) -> str:
    """The report as one HTML page without script or outside address.

    The same report gives the same bytes. All text of the report is escaped; parts without data are left out.
    """
    check_arms(report)
    csv = base64.b64encode(numbers_csv(report).encode()).decode()
    return _template().render(
        report=report,
        design=report.experiment,
        headline=headline(report),
        decision=decision(report),
        intervals=interval_words(report),
        goals=[line for goal in report.experiment.goals if (line := _goal_line(report, goal)) is not None],
        arms=comparisons.compared(report),
        panels=[made for make in _PANELS if (made := make(report)) is not None],
        method=choices.method(report),
        words=words,
        style=Markup((_FOLDER / "page.css").read_text(encoding="utf-8")),
        raw=Markup,
        csv=f"data:text/csv;charset=utf-8;base64,{csv}",
    )


@cache
def _template() -> Template:
    """The template, escaping everything that it is not told to leave."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_one_line,
    )
    return environment.get_template("page.html.j2")


def _one_line(value: object) -> object:
    """Every text that the template writes, without control characters, and with each sign tied to its amount."""
    if type(value) is not str:
        return value
    return re.sub(r"([+−])(?=[€$£¥])", "\\1\N{WORD JOINER}", words.tidy(value))


def _goal_line(report: Report, goal: Goal) -> GoalLine | None:
    row = report.row(goal.metric, arm=report.experiment.headline_arm)
    if row is None:
        return None
    scale = words.difference_scale(goal, currency=report.currency)
    low, high = report.interval(row)
    money = words.money_scale(report.currency)
    control = words.level(goal, mean=row.control_mean, n=row.n_control, currency=report.currency)
    personalized = words.level(goal, mean=row.arm_mean, n=row.n_arm, currency=report.currency)
    return GoalLine(
        name=words.sentence(goal.words)[:-1],
        note=("" if goal.kind == "any" else "per customer, ") + f"within {words.plural(goal.window_days, 'day')}",
        control=Cell(text=control[0], note=control[1]),
        personalized=Cell(text=personalized[0], note=personalized[1]),
        difference=scale.span(low, high, signed=True),
        bar=_bar(row, low=low, high=high, aloud=scale.span(low, high, signed=True)),
        money=money.span(low * report.people, high * report.people, signed=True) if goal.money else "",
    )


def _bar(row: MetricRow, *, low: float, high: float, aloud: str) -> Bar | None:
    if not all(map(math.isfinite, (low, high, row.difference))):
        return None
    left, right = min(low, 0.0), max(high, 0.0)
    width = (right - left) or 1.0

    def place(value: float) -> float:
        return round(4 + 92 * (value - left) / width, 2)

    tone = "good" if low > 0 else "bad" if high < 0 else "open"
    return Bar(
        low=place(low),
        high=place(high),
        point=place(row.difference),
        zero=place(0.0),
        tone=tone,
        aloud=f"range {aloud}",
    )
