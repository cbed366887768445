"""The project's holdout: customers from whom all marketing is withheld for a period, each in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import numpy as np

from experiments.assignment import uniform, uniform_all
from experiments.naming import check

_KEY = "holdout"


@dataclass(frozen=True, kw_only=True)
class Holdout:
    """Who gets service messages only, over all experiments.

    Every unit has its place on a line, the same for ever (``experiments.assignment.uniform`` under the key
    ``holdout``). A period withholds the stretch of ``share`` that begins where the one before it ended: nobody is
    withheld in two periods running, nobody a second time before everybody was once, and everybody's turn comes.

    Parameters
    ----------
    share: how many are withheld at a time, at most a half.
    months: how long a period is; periods begin with the calendar year, in UTC.
    unit: a customer, who is one person whichever account is asked for, or a whole household.
    channels: how many are withheld from one channel only, each channel on a line of its own: so chance withholds from
        each independently of the others, and what a channel brings can be told (``experiments.channels``).

    >>> from datetime import UTC
    >>> holdout = Holdout(share=0.25)
    >>> [holdout.period(datetime(2026, month, 9, tzinfo=UTC)).name for month in (3, 4)]
    ['2026-01 to 2026-03', '2026-04 to 2026-06']
    """

    share: float
    months: Literal[1, 2, 3, 4, 6, 12] = 3
    unit: Literal["customer", "household"] = "customer"
    channels: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(
            0 <= self.share <= 0.5 and self.months in (1, 2, 3, 4, 6, 12),
            "the holdout is out of range",
            got=f"share {self.share:g}, months {self.months}",
            do="give a share from 0 to 0.5 and 1, 2, 3, 4, 6 or 12 months",
        )

        for channel, share in self.channels.items():
            check(
                0 < share <= 0.5,
                f"the holdout of channel {channel!r} is out of range",
                got=f"{share:g}",
                do="give a share above 0 and up to 0.5",
            )

    def period(self, moment: datetime) -> Period:
        """The period of a moment."""
        at = moment.astimezone(UTC)
        number = (12 * at.year + at.month - 1) // self.months
        return Period(number=number, start=_first(number * self.months), end=_first((number + 1) * self.months))

    def withholds(self, unit_id: str, *, at: datetime) -> bool:
        """Whether a unit is withheld at a moment."""
        return (uniform(unit_id, _KEY) - self._first(at, self.share)) % 1.0 < self.share

    def withheld_channels(self, unit_id: str, *, at: datetime) -> tuple[str, ...]:
        """The channels from which a unit is withheld at a moment, beside what it is withheld from altogether."""
        return tuple(
            channel
            for channel, share in self.channels.items()
            if (uniform(unit_id, f"{_KEY}:{channel}") - self._first(at, share)) % 1.0 < share
        )

    def withheld_from(self, channel: str, unit_ids: Sequence[str], *, at: datetime) -> np.ndarray:
        """Whether each of many units is withheld from one channel: booleans of shape (len(unit_ids),)."""
        share = self.channels[channel]
        found: np.ndarray = (uniform_all(unit_ids, f"{_KEY}:{channel}") - self._first(at, share)) % 1.0 < share
        return found

    def withheld(self, unit_ids: Sequence[str], *, at: datetime) -> np.ndarray:
        """``withholds`` of many units: booleans of shape (len(unit_ids),)."""
        found: np.ndarray = (uniform_all(unit_ids, _KEY) - self._first(at, self.share)) % 1.0 < self.share
        return found

    def _first(self, at: datetime, share: float) -> float:
        return self.period(at).number * share % 1.0


@dataclass(frozen=True, kw_only=True)
class Period:
    """A stretch of whole months, half-open, in UTC."""

    number: int
    start: datetime
    end: datetime

    @property
    def name(self) -> str:
        """Its first and last month."""
        last = self.end.year * 12 + self.end.month - 2
        return f"{self.start:%Y-%m} to {last // 12:04d}-{last % 12 + 1:02d}"


def _first(months: int) -> datetime:
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC)
