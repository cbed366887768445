"""Whether events still arrive: a feed that has stopped looks like customers who stopped buying."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.facts import TIMESTAMP

BEFORE = timedelta(days=60)
"""How much of the history before the start of an experiment tells how often events arrive."""
_KNOWN_FROM = 10
_SHORTEST = timedelta(days=1)
_STOPPED = timedelta(days=7)


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
