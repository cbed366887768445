"""Measures: the numbers per unit by which an experiment is judged, its goals and guardrails."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from experiments.naming import check, check_key, check_prose, check_words

MeasureKind = Literal["any", "count", "sum", "given", "ratio"]
EVENT_KINDS: tuple[MeasureKind, ...] = ("any", "count", "sum")
"""The kinds that are made from a unit's events."""
_TAKEN = {"customer_id", "household_id", "session_id", "arm", "assigned_at", "next_assigned_at", "mature", "ramp_step"}
# Days: more than any customer stays.
_LONGEST = 36_500


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number per unit: from its events of some kinds within a window after assignment.

    Parameters
    ----------
    name: the column it becomes in the table of outcomes.
    kind: ``any`` (0 or 1), ``count``, ``sum`` (of the amounts, in cents), ``given``: a column that another step
        brings, as profit is (``experiments.money``), or ``ratio``: of the sums of two other measures.
    events: the event kinds that count, such as ``("purchase",)``; none for ``given`` and ``ratio``.
    window_days: the attribution window, ``(assigned_at, assigned_at + window]``.
    delay_days: how long after the window events usually still arrive; only then is the row mature.
    unit: what one of it is called, such as ``purchase``.
    money: whether the values are cents.
    shown: the name for readers; the column's name when empty.
    cap: winsorizing, in the measure's own unit: values above it count as it. Not for ``any``; of a ratio, cap a part.
    numerator, denominator: the names of the measures that a ratio divides, in one window.

    >>> Measure(name="order_value", kind="ratio", numerator="revenue", denominator="orders", window_days=14).metric
    'revenue/orders'
    """

    name: str
    kind: MeasureKind
    window_days: float
    events: tuple[str, ...] = ()
    delay_days: float = 0.0
    unit: str = ""
    money: bool = False
    shown: str = ""
    cap: float | None = None
    numerator: str = ""
    denominator: str = ""

    def __post_init__(self) -> None:
        check_key("the name of a goal", self.name)
        check(
            self.name.casefold() not in _TAKEN,
            f"a goal can't be called {self.name!r}",
            got="the name of a column that every table of outcomes has",
            do="give it another name; readers see the one in `shown`",
        )
        check_words(f"what readers call {self.name!r}", self.words)
        check_prose(f"the unit of {self.name!r}", self.unit)
        for event in self.events:
            check_words(f"an event of {self.name!r}", event)
        check(
            0 < self.window_days <= _LONGEST and 0 <= self.delay_days <= _LONGEST,
            f"the window of {self.name!r} is not a positive number of days",
            got=f"window_days {self.window_days:g}, delay_days {self.delay_days:g}",
            do=f"say how many days after assignment an outcome counts, at most {_LONGEST:,}",
        )
        check(
            bool(self.events) == (self.kind in EVENT_KINDS),
            f"the events of {self.name!r} don't fit its kind",
            got=f"kind {self.kind!r} with events {list(self.events)}",
            do="name the event kinds that count; a given column and a ratio name none",
        )
        self._check_ratio()
        fits = self.cap is None or (self.kind not in ("any", "ratio") and 0 < self.cap < math.inf)
        check(
            fits,
            f"the cap of {self.name!r} doesn't fit",
            got=f"kind {self.kind!r}, cap {self.cap}",
            do="cap a count, a sum or a given column at a number above 0; of a ratio, cap its numerator",
        )

    def _check_ratio(self) -> None:
        parts = [each for each in (self.numerator, self.denominator) if each]
        check(
            len(set(parts)) == (2 if self.kind == "ratio" else 0) and self.name not in parts,
            f"the parts of {self.name!r} don't fit its kind",
            got=f"kind {self.kind!r}, numerator {self.numerator!r}, denominator {self.denominator!r}",
            do="a ratio names two other measures as numerator and denominator; other kinds name none",
        )

    @property
    def metric(self) -> str:
        """Its name in an analysis: the column's, or ``NUM/DEN`` of a ratio."""
        return f"{self.numerator}/{self.denominator}" if self.kind == "ratio" else self.name

    @property
    def words(self) -> str:
        """The name for readers."""
        return self.shown or self.name.replace("_", " ")

    @property
    def window(self) -> timedelta:
        """The attribution window."""
        return timedelta(days=self.window_days)

    @property
    def maturity(self) -> timedelta:
        """The time from assignment until a row counts: window and usual delay."""
        return timedelta(days=self.window_days + self.delay_days)


@dataclass(frozen=True, kw_only=True)
class Goal(Measure):
    """A measure that the experiment is to raise.

    ``worth`` is the smallest difference per unit that would be worth acting on, in the measure's own units (cents for
    money).

    >>> Goal(name="bought", kind="any", events=("purchase",), window_days=14).maturity.days
    14
    """

    worth: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_amount("worth", self.worth, measure=self)


@dataclass(frozen=True, kw_only=True)
class Guardrail(Measure):
    """A measure that must not rise: by at most ``limit`` per unit over the control (cents for money).

    >>> Guardrail(name="opt_outs", kind="any", events=("opt_out",), window_days=14, limit=0.002).words
    'opt outs'
    """

    limit: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_amount("limit", self.limit, measure=self)


def _check_amount(what: str, amount: float, *, measure: Measure) -> None:
    share = measure.kind == "any"
    check(
        0 <= amount < (1 if share else math.inf),
        f"the {what} of {measure.name!r} is out of range",
        got=f"{what} {amount:g}",
        do="give a share of units, 0 or more and below 1: 0.02 is 2 points"
        if share
        else "give the size of a difference per unit, 0 or more, in the measure's own unit (cents for money)",
    )
