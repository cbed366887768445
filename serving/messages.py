"""What goes over the wire: requests and answers of the service, checked as they are read."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from serving.catalogue import Channel, ContactClass, Id
from serving.consent import ConsentChannel, ConsentClass, Permission, Source

Identifier = Annotated[str, Id]
Moment = Annotated[datetime, msgspec.Meta(tz=True, description="A time with its offset.")]
Word = Annotated[str, msgspec.Meta(max_length=64)]
Name = Annotated[str, msgspec.Meta(max_length=256)]
Text = Annotated[str, msgspec.Meta(max_length=4096)]
Amount = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
Key = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A request or an answer."""


class Request(Message, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request; a field that it does not have is refused, so that a typing error is never silent."""


class DecisionRequest(Request, frozen=True, kw_only=True):
    """Ask for a decision, now. The idempotency key is required, here or in the header ``Idempotency-Key``."""

    customer_id: Identifier
    household_id: Identifier | None = None
    session_id: Identifier | None = None
    channel: Channel | None = None
    placement: Word | None = None
    time_zone: Word | None = None
    segment: Name | None = None
    seed: Key | None = None
    idempotency_key: Key | None = None


class DecisionAnswer(Message, frozen=True, kw_only=True):
    """What to do: ``action`` is a treatment id or ``nothing``; costs are in cents.

    ``recorded`` is false only when the ledger or the links between accounts were out of reach; then the action is
    ``nothing``.
    """

    decision_id: str
    customer_id: str
    decided_at: datetime
    experiment: str
    arm: str
    action: str
    offer_id: str | None
    channel: str | None
    placement: str | None
    title: str
    text: str
    probability: float
    source: str
    degraded: bool
    code: str
    sentence: str
    scenario: str | None
    contact_cost: int
    unsubscribe: str | None
    recorded: bool


class Event(Request, frozen=True, kw_only=True):
    """One thing that a customer did; ``amount`` in cents. Sent again with the same id, it changes nothing.

    An ``opt_out`` may name the channel ``all``, as it does when it names none. Of a ``reply`` the ``text`` is looked at
    for words such as STOP and START, which are a no, or a yes to its channel; the text itself is not kept.
    """

    event_id: Identifier
    customer_id: Identifier
    kind: Identifier
    occurred_at: Moment
    channel: ConsentChannel | None = None
    item: Name | None = None
    category: Name | None = None
    brand: Name | None = None
    amount: Amount | None = None
    quantity: Amount | None = None
    source: Word | None = None
    text: Text | None = None


class Outcome(Request, frozen=True, kw_only=True):
    """What a customer did in response to a decision; ``amount`` in cents."""

    event_id: Identifier
    decision_id: Identifier
    kind: Identifier
    occurred_at: Moment
    channel: Channel | None = None
    item: Name | None = None
    category: Name | None = None
    brand: Name | None = None
    amount: Amount | None = None
    quantity: Amount | None = None


class ConsentMessage(Request, frozen=True, kw_only=True):
    """A customer's yes or no for a channel and class (``all`` for each), with the words that they saw."""

    customer_id: Identifier
    channel: ConsentChannel
    granted: bool
    occurred_at: Moment
    source: Source
    contact_class: ConsentClass = "marketing"
    purpose: Identifier = "contact"
    wording: Text = ""


class Events(Request, frozen=True, kw_only=True):
    """Up to 1,000 events."""

    events: Annotated[tuple[Event, ...], msgspec.Meta(max_length=1000)]


class Outcomes(Request, frozen=True, kw_only=True):
    """Up to 1,000 outcomes."""

    outcomes: Annotated[tuple[Outcome, ...], msgspec.Meta(max_length=1000)]


class Consents(Request, frozen=True, kw_only=True):
    """Up to 1,000 consent facts."""

    consents: Annotated[tuple[ConsentMessage, ...], msgspec.Meta(max_length=1000)]


class Refused(Message, frozen=True, kw_only=True):
    """A row that was not taken, and why."""

    id: str
    code: str
    sentence: str


class Taken(Message, frozen=True, kw_only=True):
    """What became of the rows sent: ``accepted`` + ``repeated`` + refused = rows."""

    accepted: int
    repeated: int
    refused: tuple[Refused, ...] = ()


class ConsentView(Message, frozen=True, kw_only=True):
    """A consent fact as it is kept."""

    channel: str
    contact_class: str
    purpose: str
    granted: bool
    source: str
    wording: str
    occurred_at: datetime
    recorded_at: datetime


class ContactView(Message, frozen=True, kw_only=True):
    """A contact that went out."""

    offer_id: str
    channel: str
    contact_class: ContactClass
    taken_at: datetime


class PermissionView(Message, frozen=True, kw_only=True):
    """What the facts permit together."""

    granted: tuple[str, ...]
    refused: tuple[str, ...]
    hold: str | None

    @classmethod
    def of(cls, permission: Permission) -> PermissionView:
        """The view of a permission."""
        return cls(granted=permission.granted, refused=permission.refused, hold=permission.hold)


class LinkedView(Message, frozen=True, kw_only=True):
    """An account that may be the same person's: for what it is linked, and what was said on it.

    ``linked_for``: ``one person`` (behaviour is used), ``counting`` (contacts count together) or ``a no`` (it stops).
    """

    account_id: str
    linked_for: Literal["one person", "counting", "a no"]
    refused: tuple[str, ...]
    hold: str | None


class CustomerView(Message, frozen=True, kw_only=True):
    """What the ledger holds of a customer.

    ``permission`` is that of the person: what is refused on any account that may be theirs is refused. Consents,
    contacts, decisions and events are those of the account asked for. ``housemates``: accounts of the rest of the
    household, so that a no for all of them can be posted as a fact for each.
    """

    customer_id: str
    person_id: str
    household_id: str | None
    housemates: tuple[str, ...]
    permission: PermissionView
    linked: tuple[LinkedView, ...]
    consents: tuple[ConsentView, ...]
    contacts: tuple[ContactView, ...]
    decisions: tuple[str, ...]
    events: int


class Erased(Message, frozen=True, kw_only=True):
    """What was removed from the ledger; the customer stays suppressed under a keyed hash.

    ``pending`` says what is left to be erased, and by what.
    """

    removed: dict[str, int]
    suppressed: bool
    pending: str


class Reloaded(Message, frozen=True, kw_only=True):
    """The model version that serves now."""

    model: str


class Status(Message, frozen=True, kw_only=True):
    """How the service is."""

    status: str
    model: str | None = None


class Problem(Message, frozen=True, kw_only=True):
    """What is wrong, what was got and what to do."""

    code: str
    wrong: str
    got: str
    do: str


class Failure(Message, frozen=True, kw_only=True):
    """The body of every answer that is not 2xx."""

    error: Problem
