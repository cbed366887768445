"""Facts: what a customer did, was and was offered, each with the time it happened and the time we knew."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import InputError, unknown

#: Every time of a fact: microseconds in UTC.
TIMESTAMP = pa.timestamp("us", tz="UTC")

#: What an id looks like wherever one enters Rapport.
ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$"

#: Kinds of event that Rapport gives a meaning; others are allowed. ``no_contact`` is a logged decision of nothing.
KINDS = (
    "visit",
    "search",
    "cart",
    "purchase",
    "return",
    "call",
    "contact",
    "no_contact",
    "open",
    "click",
    "discount",
    "opt_out",
    "opt_in",
)

_TIMES = [pa.field("occurred_at", TIMESTAMP, nullable=False), pa.field("recorded_at", TIMESTAMP, nullable=False)]

#: One row a fact of behaviour. ``amount`` is in cents, ``item`` a product or an offer id.
EVENTS = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("customer_id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        *_TIMES,
        ("channel", pa.string()),
        ("item", pa.string()),
        ("category", pa.string()),
        ("brand", pa.string()),
        ("amount", pa.int64()),
        ("quantity", pa.int64()),
        ("source", pa.string()),
    ]
)

#: One row a fact about a customer: from ``occurred_at`` on, ``attribute`` was ``value`` (null: no longer known).
PROFILE = pa.schema(
    [
        pa.field("customer_id", pa.string(), nullable=False),
        pa.field("attribute", pa.string(), nullable=False),
        ("value", pa.string()),
        *_TIMES,
        ("source", pa.string()),
    ]
)

#: One row a fact about an offer or a product, as PROFILE is about a customer.
ITEMS = pa.schema([pa.field("item", pa.string(), nullable=False), *list(PROFILE)[1:]])

#: One row an opt-out in a row of a file that was refused. ``occurred_at`` is null where its time can't be believed: it
#: counts from ``recorded_at``, when it was read. ``origin`` is the part that its file would have become.
OPT_OUTS = pa.schema(
    [
        pa.field("customer_id", pa.string(), nullable=False),
        ("channel", pa.string()),
        ("occurred_at", TIMESTAMP),
        pa.field("recorded_at", TIMESTAMP, nullable=False),
        pa.field("origin", pa.string(), nullable=False),
    ]
)


#: One row a thing that a customer said about being contacted (purpose ``contact``) or about what is known of them being
#: used (another purpose). ``channel`` and ``contact_class`` may be ``all``; ``said_by`` is customer, agent or import.
CONSENTS = pa.schema(
    [
        pa.field("customer_id", pa.string(), nullable=False),
        pa.field("channel", pa.string(), nullable=False),
        pa.field("purpose", pa.string(), nullable=False),
        pa.field("contact_class", pa.string(), nullable=False),
        pa.field("granted", pa.bool_(), nullable=False),
        pa.field("said_by", pa.string(), nullable=False),
        ("wording", pa.string()),
        *_TIMES,
        ("source", pa.string()),
    ]
)

#: One row a link between two accounts: the latest fact of a pair, ``kind`` and ``because`` counts. ``kind`` is
#: ``person`` or ``household``; ``because`` says what told it (email, phone, login, model, agent, ...); ``probability``
#: is 1 for a certain link and 0 takes it back. ``account_id`` is the smaller of the two.
LINKS = pa.schema(
    [
        pa.field("account_id", pa.string(), nullable=False),
        pa.field("other_id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("because", pa.string(), nullable=False),
        pa.field("probability", pa.float64(), nullable=False),
        *_TIMES,
        ("source", pa.string()),
    ]
)

#: What follows from LINKS: one row an account that belonged to a group of several, and when that was known. A question
#: as of ``t`` sees it where ``since < t`` and (``until`` is null or ``t <= until``). ``strength`` is one of STRENGTHS.
MEMBERS = pa.schema(
    [
        pa.field("strength", pa.string(), nullable=False),
        pa.field("account_id", pa.string(), nullable=False),
        pa.field("customer_id", pa.string(), nullable=False),
        pa.field("since", TIMESTAMP, nullable=False),
        ("until", TIMESTAMP),
    ]
)

#: What a link must be strong enough for: an opt-out to reach the other account, its contacts to count, its behaviour to
#: be used; and the household, which is no person.
STRENGTHS = ("suppress", "count", "personalize", "household")


class Event(NamedTuple):
    """One row of EVENTS in memory.

    >>> Event("e1", "anna", "visit", datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 5, 1, tzinfo=UTC)).kind
    'visit'
    """

    event_id: str
    customer_id: str
    kind: str
    occurred_at: datetime
    recorded_at: datetime
    channel: str | None = None
    item: str | None = None
    category: str | None = None
    brand: str | None = None
    amount: int | None = None
    quantity: int | None = None
    source: str | None = None


class ProfileFact(NamedTuple):
    """One row of PROFILE in memory."""

    customer_id: str
    attribute: str
    value: str | None
    occurred_at: datetime
    recorded_at: datetime
    source: str | None = None


@dataclass(frozen=True, kw_only=True)
class CustomerFacts:
    """All facts of one customer, in any order; what features are computed from online.

    ``household``: events of those who were known to live with the customer, for features of that scope.

    >>> moment = datetime(2024, 5, 1, tzinfo=UTC)
    >>> facts = CustomerFacts(customer_id="anna", events=(Event("e1", "anna", "visit", moment, moment),))
    >>> len(facts.plus(Event("e2", "anna", "cart", moment, moment)).events)
    2
    """

    customer_id: str
    events: tuple[Event, ...] = ()
    profile: tuple[ProfileFact, ...] = ()
    household: tuple[Event, ...] = ()

    def plus(self, *events: Event) -> CustomerFacts:
        """These facts and ``events``: what happened in the session that the history does not hold yet."""
        return replace(self, events=(*self.events, *events))

    @cached_property
    def latest_first(self) -> list[tuple[int, int, Event]]:
        """``(occurred, recorded, event)`` with times in microseconds of the epoch, the latest event first."""
        return _latest_first(self.events)

    @cached_property
    def household_latest_first(self) -> list[tuple[int, int, Event]]:
        """The same of everybody in the household, the customer among them."""
        return _latest_first((*self.events, *self.household)) if self.household else self.latest_first


def _latest_first(events: Iterable[Event]) -> list[tuple[int, int, Event]]:
    timed = [(micros(event.occurred_at), micros(event.recorded_at), event) for event in events]
    return sorted(timed, key=lambda each: each[0], reverse=True)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(moment: datetime) -> int:
    """Microseconds of the epoch, exactly; a naive time is UTC.

    >>> micros(datetime(1970, 1, 1, 0, 0, 1))
    1000000
    """
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def conform(table: pa.Table, schema: pa.Schema, *, what: str = "facts") -> pa.Table:
    """``table`` in the columns, order and types of ``schema``; columns that may be null may be absent.

    Raises
    ------
    InputError
        When a required column is absent or holds nulls, or a value does not fit its type.
    """
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            if not field.nullable:
                raise unknown("column", field.name, table.column_names, do=f"add it to the {what}")
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        column = table[field.name]
        if not field.nullable and column.null_count:
            raise InputError(
                f"column {field.name!r} of the {what} must be complete",
                got=f"{column.null_count} missing values",
                do="fill or remove those rows",
            )
        columns.append(_cast(column, field, what))
    return pa.table(columns, schema=schema)


def _cast(column: pa.ChunkedArray, field: pa.Field, what: str) -> pa.ChunkedArray:
    try:
        if pa.types.is_timestamp(field.type) and pa.types.is_timestamp(column.type):
            if column.type.tz is None:
                column = pc.assume_timezone(column, "UTC")
            return column.cast(field.type, safe=False)
        return column.cast(field.type)
    except pa.ArrowException as error:
        raise InputError(
            f"column {field.name!r} of the {what} can't be read as {field.type}",
            got=str(error).splitlines()[0],
            do="mend the values or map them at intake",
        ) from error
