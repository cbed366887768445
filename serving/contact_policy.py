"""How often, how soon again and at what hour a customer may be contacted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from features.errors import InputError
from serving.catalogue import ContactClass

_MOST_DAYS = 3660


class Contact(NamedTuple):
    """A contact slot that was taken: what went out (or will), where and when."""

    offer_id: str
    channel: str
    contact_class: str
    taken_at: datetime


class Limit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most ``count`` contacts of a customer within any ``window_days`` days (a rolling window, not calendar days).

    In TOML: ``[[limits]]`` with ``count = 2``, ``window_days = 7`` and, when it holds for a part only,
    ``channel = "email"`` or ``contact_class = "marketing"``.
    """

    count: int
    window_days: float
    channel: str | None = None
    contact_class: ContactClass | None = None

    def __post_init__(self) -> None:
        if self.count < 0 or not 0 < self.window_days <= _MOST_DAYS:
            raise InputError(
                "a limit makes no sense",
                got=f"count = {self.count}, window_days = {self.window_days}",
                do="give a count of 0 or more and a window of more than 0 and at most 3660 days",
            )

    def covers(self, channel: str, contact_class: str) -> bool:
        """Whether a contact on ``channel`` of ``contact_class`` counts."""
        return self.channel in (None, channel) and self.contact_class in (None, contact_class)

    def __str__(self) -> str:
        what = " ".join(part for part in (self.contact_class, self.channel) if part)
        return f"{self.count} {what + ' ' if what else ''}contacts in {self.window_days:g} days"


class Exclusion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Never both offers within ``days``, in either order. In TOML: ``[[exclusions]]``."""

    offer: str
    other: str
    days: float

    def __post_init__(self) -> None:
        _check_days("days of an exclusion", self.days)


class QuietHours(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hours of the customer's own clock in which nothing goes out on some channels.

    In TOML: ``[quiet_hours]`` with ``start = 21:00:00``, ``end = 08:00:00`` (start is quiet, end no longer) and
    ``channels = ["email", "call"]``. ``time_zones`` are the plausible ones of a customer whose zone isn't known: a
    contact goes out only when it is outside the quiet hours in all of them.

    >>> night = QuietHours(start=time(21), end=time(8), channels=("call",), time_zones=("America/New_York",))
    >>> two_in_the_morning = datetime(2026, 7, 1, 2, tzinfo=UTC)
    >>> night.quiet(two_in_the_morning, "Europe/Berlin"), night.quiet(two_in_the_morning, "Asia/Tokyo")
    (True, False)
    """

    start: time
    end: time
    channels: tuple[str, ...]
    time_zones: tuple[str, ...] = ("UTC",)

    def __post_init__(self) -> None:
        for name in self.time_zones:
            if zone(name) is None:
                raise InputError("a time zone is unknown", got=repr(name), do='name one as in "Europe/Berlin"')
        if not self.time_zones:
            raise InputError("quiet hours need a plausible time zone", got="time_zones = []", do="name at least one")

    def quiet(self, moment: datetime, time_zone: str | None = None) -> bool:
        """Whether ``moment`` falls into the quiet hours on the clock of ``time_zone`` (or of any plausible one)."""
        own = zone(time_zone) if time_zone else None
        zones = (own,) if own is not None else tuple(zone(name) for name in self.time_zones)
        return any(self._within(moment.astimezone(each).time()) for each in zones)

    def _within(self, clock: time) -> bool:
        if self.start <= self.end:
            return self.start <= clock < self.end
        return clock >= self.start or clock < self.end


class ContactPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All limits on contacting one customer.

    In TOML::

        cooldown_days = 14                 # before the same offer again, on any channel
        without_consent = ["web"]          # channels on which marketing needs no opt-in; an opt-out counts everywhere

        [[limits]]
        contact_class = "marketing"
        count = 2
        window_days = 7

        [[exclusions]]
        offer = "shoes-10"
        other = "boots-20"
        days = 30

        [quiet_hours]
        start = 21:00:00
        end = 08:00:00
        channels = ["email", "call"]
        time_zones = ["America/New_York", "America/Los_Angeles"]

    >>> ContactPolicy(limits=(Limit(count=2, window_days=7),), cooldown_days=14).horizon
    datetime.timedelta(days=14)
    """

    limits: tuple[Limit, ...] = ()
    cooldown_days: float = 0
    exclusions: tuple[Exclusion, ...] = ()
    quiet_hours: QuietHours | None = None
    without_consent: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_days("cooldown_days", self.cooldown_days)

    @property
    def channels(self) -> tuple[str, ...]:
        """Every channel that the policy names."""
        limited = (limit.channel for limit in self.limits if limit.channel is not None)
        silent = self.quiet_hours.channels if self.quiet_hours else ()
        return (*limited, *silent, *self.without_consent)

    @property
    def horizon(self) -> timedelta:
        """How far back contacts matter."""
        spans = [limit.window_days for limit in self.limits] + [exclusion.days for exclusion in self.exclusions]
        return timedelta(days=max([self.cooldown_days, *spans]))


def within(contacts: Sequence[Contact], moment: datetime, span: timedelta) -> list[Contact]:
    """The contacts less than ``span`` before or after ``moment``; planned ones count as those that went out."""
    return [contact for contact in contacts if abs(contact.taken_at - moment) < span]


@lru_cache(maxsize=1024)
def zone(name: str | None) -> ZoneInfo | None:
    """The time zone of that name, None when there is none."""
    try:
        return ZoneInfo(name) if name else None
    except (KeyError, ValueError, OSError):  # OSError: the name of a folder of zones, such as "Europe"
        return None


def utc(moment: datetime) -> datetime:
    """``moment`` in UTC; a moment without an offset is refused.

    At the edges of the calendar, where the offset leads out of it, it is the nearest moment that there is, so that a
    no with such a time is heard too.

    >>> utc(datetime.fromisoformat("9999-12-31T23:59:59-14:00")).year
    9999
    """
    if moment.tzinfo is None:
        raise InputError("a time has no offset", got=moment.isoformat(), do=f"write {moment.isoformat()}Z for UTC")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return (datetime.max if moment.year == datetime.max.year else datetime.min).replace(tzinfo=UTC)


def _check_days(name: str, days: float) -> None:
    if not 0 <= days <= _MOST_DAYS:  # nan is not
        raise InputError(f"{name} make no sense", got=f"{days:g}", do=f"give a number from 0 to {_MOST_DAYS}")


Clock = Callable[[], datetime]


def now() -> datetime:
    """The present moment in UTC."""
    return datetime.now(UTC)
