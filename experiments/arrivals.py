"""Whether events still arrive: a feed that has stopped looks like customers who stopped buying."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from experiments.measures import Guardrail, Measure
from features.facts import TIMESTAMP

BEFORE = timedelta(days=60)
"""How much of the history before the start of an experiment tells how often events arrive."""
_KNOWN_FROM = 10
_SHORTEST = timedelta(days=1)
_STOPPED = timedelta(days=7)
_UNLIKELY, _HARDLY_EVER = 1e-4, 1e-5
_MONEY = ("purchase",)
"""What profit, which another step brings, is made of."""


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """When the newest event arrived before a look, and how long the longest pause had been until then.

    A silence is told (yellow) when it is longer than twice the longest pause, and the feed counts as stopped (red) from
    three times and a week on. The usual ``delay`` of records is allowed for, as no customer counts before it has
    passed. Where events arrived at fewer than ten moments, which tells no rhythm, the pause is taken as no shorter than
    the window in which outcomes count.

    >>> from datetime import UTC
    >>> newest = datetime(2024, 2, 6, tzinfo=UTC)
    >>> found = Arrivals(as_of=datetime(2024, 3, 4, tzinfo=UTC), newest=newest, pause=timedelta(days=2))
    >>> found.status
    'red'
    """

    as_of: datetime
    newest: datetime | None
    pause: timedelta
    delay: timedelta = timedelta(0)

    @classmethod
    def of(
        cls, recorded_at: pa.ChunkedArray, *, as_of: datetime, window: timedelta, delay: timedelta = timedelta(0)
    ) -> Arrivals:
        """From the moments (n,) at which events were recorded, those after ``as_of`` left out.

        ``window``: in which outcomes count, for a history too short to have a rhythm.
        """
        moments = pc.unique(recorded_at.filter(pc.less(recorded_at, pa.scalar(as_of, TIMESTAMP))).cast(TIMESTAMP))
        if not len(moments):
            return cls(as_of=as_of, newest=None, pause=window, delay=delay)
        micros = np.sort(moments.cast(pa.int64()).to_numpy())
        pause = timedelta(microseconds=int(np.diff(micros).max(initial=0)))
        shortest = window if micros.size < _KNOWN_FROM else _SHORTEST
        return cls(as_of=as_of, newest=pc.max(moments).as_py(), pause=max(pause, shortest), delay=delay)

    @property
    def status(self) -> Literal["green", "yellow", "red"]:
        """Whether the silence before the look is usual, long, or that of a feed that has stopped."""
        if self.newest is None:
            return "red"
        silence = self.as_of - self.delay - self.newest
        if silence > max(3 * self.pause, _STOPPED):
            return "red"
        return "yellow" if silence > 2 * self.pause else "green"

    @property
    def sentence(self) -> str:
        """What a marketer has to know of it."""
        if self.newest is None:
            return "No event of any kind has arrived: what customers did is missing, not zero."
        day = f"{self.newest.day} {self.newest:%B %Y}"
        if self.status == "green":
            return f"The newest event arrived on {day}."
        if self.status == "yellow":
            return f"No event of any kind has arrived since {day}, longer than usual: is the feed still running?"
        return f"No event of any kind has arrived since {day}: what customers did after it is missing, not zero."


@dataclass(frozen=True, kw_only=True)
class KindArrivals:
    """Whether one kind of event still arrives while others do.

    A source may fail alone: purchases stop while opens go on, and every customer seems to have bought nothing. Days
    on which anything arrived are what is counted. Were they alike, the last ``silent`` of them would all be without the
    kind, which came on ``present`` of the ``days`` before, with the chance ``p_value`` (a permutation of the days),
    which is small only for a kind that came often. As days are not quite alike, the silence must also be longer than
    twice the longest pause so far (yellow), or three times and a week (red).

    >>> from datetime import UTC
    >>> KindArrivals(kind="purchase", newest=datetime(2024, 2, 6, tzinfo=UTC), days=90, present=88, silent=9,
    ...              pause=2).status
    'red'
    >>> KindArrivals(kind="opt_out", newest=datetime(2024, 2, 6, tzinfo=UTC), days=90, present=4, silent=40,
    ...              pause=30).status
    'green'
    """

    kind: str
    newest: datetime | None
    days: int
    present: int
    silent: int
    pause: int

    @property
    def words(self) -> str:
        """What readers call the kind."""
        return self.kind.replace("_", " ")

    @property
    def p_value(self) -> float:
        """The chance of a silence so long, were all days with arrivals alike."""
        ways = (math.comb(each, self.present) for each in (self.days, self.days + self.silent))
        return next(ways) / next(ways)

    @property
    def status(self) -> Literal["green", "yellow", "red"]:
        """Whether the silence is usual, long, or that of a feed that has stopped; yellow where none ever came."""
        if self.newest is None:
            return "yellow"
        if self.silent > max(3 * self.pause, _STOPPED.days - 1) and self.p_value < _HARDLY_EVER:
            return "red"
        return "yellow" if self.silent > 2 * self.pause and self.p_value < _UNLIKELY else "green"

    @property
    def sentence(self) -> str:
        """What a marketer has to know of it."""
        if self.newest is None:
            return f"No event of the kind {self.kind!r} has ever arrived: is it the name that the feed gives it?"
        since = f"{self.newest.day} {self.newest:%B %Y}"
        if self.status == "green":
            return f"The newest {self.words} arrived on {since}."
        told = f"No {self.words} has arrived since {since}, while other events have: "
        if self.status == "yellow":
            return f"{told}is its feed still running?"
        return f"{told}what customers did after it is missing, not zero."


def arrivals_by_kind(events: pa.Table, measures: Sequence[Measure], *, as_of: datetime) -> Iterator[KindArrivals]:
    """Each kind of event that ``measures`` are made from, in their order.

    ``events``: ``kind, recorded_at``; those recorded after ``as_of`` are left out. Days within the usual delay of a
    kind's records are no silence. Of guardrails a kind that never came is left out: no opt-out at all is good news.
    """
    feeds: dict[str, list[Measure]] = {}
    for measure in measures:
        for kind in measure.events or (_MONEY if measure.kind == "given" else ()):
            feeds.setdefault(kind, []).append(measure)
    known = events.select(["kind", "recorded_at"])
    known = known.filter(pc.less(known["recorded_at"], pa.scalar(as_of, TIMESTAMP)))
    for kind, fed in feeds.items():
        own = known.filter(pc.equal(known["kind"], kind))["recorded_at"]
        newest = pc.max(own).as_py()
        if newest is None and all(isinstance(each, Guardrail) for each in fed):
            continue
        # A day that is not over at the look, or whose usual delay isn't, may still bring one.
        over = (as_of - min(each.maturity - each.window for each in fed)).timestamp() // 86_400
        came, days = _days(own), _days(known["recorded_at"])
        days = days[(days < over) | (days <= came.max(initial=-1))]
        places = np.flatnonzero(np.isin(days, came))
        last = int(places[-1]) + 1 if places.size else 0
        yield KindArrivals(
            kind=kind,
            newest=newest,
            days=last,
            present=int(places.size),
            silent=days.size - last,
            pause=int(np.diff(places).max(initial=1)),
        )


def _days(moments: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """The days, counted from 1970 in UTC, on which something arrived: each once, in order."""
    days = pc.unique(pc.floor_temporal(moments.cast(TIMESTAMP), unit="day")).cast(pa.int64()).to_numpy()
    found: npt.NDArray[np.int64] = np.sort(days // 86_400_000_000)
    return found
