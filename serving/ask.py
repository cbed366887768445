"""The question that a decision answers: whom to contact, when and where."""

from __future__ import annotations

import hashlib
from datetime import datetime
from functools import cached_property

import msgspec


class Ask(msgspec.Struct, frozen=True, kw_only=True, array_like=True, dict=True):
    """Who is to be contacted, when and where: the question that a decision answers.

    ``channel`` and ``placement`` restrict the candidates, ``time_zone`` is the customer's, ``segment`` the marketers'.
    ``person_id`` is the person whom the account ``customer_id`` belonged to then, None for one that was linked to none.
    ``session_id`` is the visit that it is asked in, where experiments assign visits.

    >>> from datetime import UTC
    >>> ask = Ask(customer_id="c-1", moment=datetime(2026, 3, 1, 12, tzinfo=UTC), seed="week-9")
    >>> ask.decision_id
    'd-647bed38244aab4fb855891d'
    """

    customer_id: str
    moment: datetime
    seed: str
    household_id: str | None = None
    channel: str | None = None
    placement: str | None = None
    time_zone: str | None = None
    segment: str | None = None
    person_id: str | None = None
    session_id: str | None = None

    @cached_property
    def decision_id(self) -> str:
        """The decision's id: a hash of customer, moment, place and seed, so that a retry can't become another one."""
        parts = (self.customer_id, self.moment.isoformat(), self.seed, self.channel or "", self.placement or "")
        return "d-" + hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:24]
