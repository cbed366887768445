"""The inbox: events, outcomes and consents as they arrive, each counted once however often it is sent."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pyarrow as pa
from sqlalchemy import literal, select

from features import History, facts
from features.errors import InputError
from features.facts import CONSENTS, EVENTS, micros
from features.privacy.replies import meant_by
from features.sql import in_memory
from serving import schema
from serving.book import Book, Consent, among, listed, moment
from serving.catalogue import CONTACT_CLASSES
from serving.consent import CONTACT_PURPOSE, EVERY
from serving.contact_policy import utc
from serving.messages import ConsentMessage, Event, Outcome, Refused, Taken

REPLY = "reply"
"""The kind of an event that is what a customer wrote back."""

_AHEAD = timedelta(minutes=5)
_MEANT = "meant"
_OF_CUSTOMERS = select(*(schema.events.c[name] for name in facts.Event._fields)).where(
    among(schema.events.c.customer_id)
)

LEDGER = "ledger"
"""The source of facts in the history that the ledger told: what it knows already."""

_SIGNS = """
    SELECT event_id, customer_id, kind, channel, occurred_at, recorded_at FROM {events}
    WHERE kind IN ('opt_out', 'opt_in') AND recorded_at < $known_at
    UNION ALL
    SELECT origin, customer_id, 'opt_out', channel, coalesce(occurred_at, recorded_at), recorded_at FROM {opt_outs}
    WHERE recorded_at < $known_at
    ORDER BY occurred_at, event_id
"""
_CONSENTS = f"""
    SELECT * FROM {{consents}} WHERE source IS DISTINCT FROM '{LEDGER}' AND recorded_at < $known_at
    ORDER BY occurred_at, customer_id
"""
EVER = datetime(9999, 1, 1, tzinfo=UTC)
"""A moment before which all is known."""

FROM_FUTURE = ("from_the_future", "The row lies more than 5 minutes in the future.")
UNKNOWN_DECISION = ("unknown_decision", "The ledger holds no decision of that id.")
ERASED = ("erased", "The customer was erased; what arrives later is dropped.")


def take_events(book: Book, events: Sequence[Event], *, at: datetime) -> Taken:
    """Take events in; an ``opt_out`` or ``opt_in`` among them is a consent fact too, and so is a reply that says STOP.

    The text of a reply is not kept.
    """
    return _take(book, [(each.event_id, _row(each)) for each in events], at=at)


def take_outcomes(book: Book, outcomes: Sequence[Outcome], *, at: datetime) -> Taken:
    """Take outcomes in, as events of the customer whom the decision was about."""
    customers = _customers(book, [each.decision_id for each in outcomes])
    rows = [
        (each.event_id, msgspec.structs.asdict(each) | {"customer_id": customers[each.decision_id], "source": None})
        for each in outcomes
        if each.decision_id in customers
    ]
    lost = tuple(_refused(each.event_id, UNKNOWN_DECISION) for each in outcomes if each.decision_id not in customers)
    taken = _take(book, rows, at=at)
    return msgspec.structs.replace(taken, refused=taken.refused + lost)


def take_consents(book: Book, messages: Sequence[ConsentMessage], *, at: datetime) -> Taken:
    """Take consent facts in, all of them or, when a yes comes from the future, none.

    Raises
    ------
    InputError
        When an opt-in lies more than 5 minutes in the future. (An opt-out counts from now on instead.)
    """
    for message in messages:
        if message.granted and message.occurred_at > at + _AHEAD:
            raise InputError(
                "an opt-in comes from the future",
                got=message.occurred_at.isoformat(),
                do="send the time at which the customer agreed",
            )
    erased = book.erased(message.customer_id for message in messages)
    kept = [message for message in messages if message.customer_id not in erased]
    new = book.consent([_consent(message, at) for message in kept])
    refused = tuple(_refused(each.customer_id, ERASED) for each in messages if each.customer_id in erased)
    return Taken(accepted=new, repeated=len(kept) - new, refused=refused)


def events_since(book: Book, since: datetime | None = None) -> pa.Table:
    """The inbox's events in the columns of ``features.facts.EVENTS``, recorded after ``since``; for the history."""
    columns = schema.events.c
    query = select(*(columns[name] for name in EVENTS.names)).order_by(columns.recorded_at, columns.event_id)
    if since is not None:
        query = query.where(columns.recorded_at > micros(since))
    return _table(book.connection.execute(query).all(), EVENTS)


def drain(book: Book, history: History) -> tuple[int, int]:
    """Add the inbox's events to ``history``; returns how many the inbox holds and how many of them were new there.

    They stay in the inbox, by which an event that is sent again is known. The whole inbox is compared each time: an
    event may be committed after another with a later ``recorded_at`` was, so a bookmark in time could pass it by.
    """
    found = events_since(book)
    return found.num_rows, history.append(found, part="inbox")


def hear(book: Book, history: History, *, channels: Container[str] | None, at: datetime) -> tuple[int, int]:
    """Take what the history's files say about consent down as facts; returns how many, and how many were new.

    That is their opt-outs and opt-ins, also of rows and files that intake refused, and their consents. Files say what
    other systems hold, so their opt-ins never lift a customer's own no. Their words for channels are their own too: a
    no to a channel that is not among ``channels``, those of the offers, is a no to all of them (None: every channel is
    taken at its word).
    """
    said = said_in(history, channels=channels, at=at)
    erased = book.erased(sign.customer_id for sign in said)
    kept = [msgspec.structs.replace(sign, recorded_at=at) for sign in said if sign.customer_id not in erased]
    return len(kept), book.consent(kept)


def said_in(
    history: History, *, channels: Container[str] | None, at: datetime, known_at: datetime = EVER
) -> list[Consent]:
    """What the history's files say about consent, in the words of the ledger (``hear``), recorded when rows say it was.

    A yes from after ``at`` is left out, and so are rows that the history did not hold before ``known_at``.
    """
    signs = [
        msgspec.structs.replace(sign, source="import", recorded_at=utc(row["recorded_at"]))
        for row in _asked(history, _SIGNS, known_at=known_at)
        for sign in _sign(row | {"channel": _meant(row, channels)}, utc(row["occurred_at"]), at)
    ]
    return signs + [fact for row in _asked(history, _CONSENTS, known_at=known_at) for fact in _of_file(row, channels)]


def keep_consents(book: Book, history: History) -> tuple[int, int]:
    """Add what customers said to the service about the use of what is known of them to ``history``.

    So training masks what serving masks. Returns how many such facts the ledger holds, and how many were new there.
    """
    columns = schema.consents.c
    told = {each.name: each for each in columns} | {"said_by": columns.source, "source": literal(LEDGER)}
    query = select(*(told[name].label(name) for name in CONSENTS.names)).where(columns.purpose != CONTACT_PURPOSE)
    table = _table(book.connection.execute(query.order_by(columns.consent_id)).all(), CONSENTS)
    return table.num_rows, history.append_consents(table, part="ledger")


def events_of(book: Book, customer_ids: Iterable[str]) -> dict[str, list[facts.Event]]:
    """The events of each customer in the inbox, as features read them."""
    held: dict[str, list[facts.Event]] = {customer_id: [] for customer_id in customer_ids}
    for row in book.connection.execute(_OF_CUSTOMERS, listed(held)):
        event = facts.Event(*row)
        held[event.customer_id].append(
            event._replace(occurred_at=moment(row.occurred_at), recorded_at=moment(row.recorded_at))
        )
    return held


def _take(book: Book, rows: Sequence[tuple[str, dict[str, Any]]], *, at: datetime) -> Taken:
    erased = book.erased(row["customer_id"] for _, row in rows)
    kept: dict[str, dict[str, Any]] = {}
    signs: list[Consent] = []
    refused: list[Refused] = []
    for event_id, row in rows:
        occurred_at = utc(row["occurred_at"])
        if row["customer_id"] in erased:
            refused.append(_refused(event_id, ERASED))
            continue
        # A no is heard whatever else is wrong with its event.
        signs.extend(_sign(row, occurred_at, at))
        if occurred_at > at + _AHEAD:
            refused.append(_refused(event_id, FROM_FUTURE))
        elif event_id not in kept:
            kept[event_id] = row | {"occurred_at": micros(occurred_at), "recorded_at": micros(at)}
    new = book.insert_new(schema.events, "event_id", kept)
    book.consent(signs)
    return Taken(accepted=new, repeated=len(rows) - new - len(refused), refused=tuple(refused))


def _row(event: Event) -> dict[str, Any]:
    row = msgspec.structs.asdict(event) | {"decision_id": None}
    text = row.pop("text")
    meant = meant_by(text) if text and event.kind == REPLY else event.kind
    # A yes is one to the channel that it came by; where nobody knows which, it is none.
    return row | {_MEANT: event.kind if meant == "opt_in" and text and not event.channel else meant}


def _sign(row: dict[str, Any], occurred_at: datetime, at: datetime) -> list[Consent]:
    """The consent fact within an event: an opt-out at any time, an opt-in that isn't from the future."""
    meant = row.get(_MEANT, row["kind"])
    if meant == "opt_out" or (meant == "opt_in" and occurred_at <= at + _AHEAD):
        fact = Consent(
            customer_id=row["customer_id"],
            channel=row["channel"] or "all",
            granted=meant == "opt_in",
            source="customer",
            occurred_at=occurred_at,
            recorded_at=at,
            wording=f"event {row['event_id']}",
        )
        return [fact]
    return []


def _of_file(row: dict[str, Any], channels: Container[str] | None) -> list[Consent]:
    """The consent fact that a file tells: of a class of contacts that nobody knows, a no stops all, a yes is none."""
    known = row["contact_class"] in (EVERY, *CONTACT_CLASSES)
    if row["granted"] and not known:
        return []
    fact = Consent(
        customer_id=row["customer_id"],
        channel=_meant(row, channels if row["purpose"] == CONTACT_PURPOSE else None),
        granted=row["granted"],
        source=row["said_by"],
        occurred_at=utc(row["occurred_at"]),
        recorded_at=utc(row["recorded_at"]),
        contact_class=row["contact_class"] if known else EVERY,
        purpose=row["purpose"],
        wording=row["wording"] or "",
    )
    return [fact]


def _asked(history: History, sql: str, *, known_at: datetime) -> list[dict[str, Any]]:
    """The rows of a query on the history, whose tables are named in braces."""
    tables = {name: history.scan(name) for name in ("events", "opt_outs", "consents")}
    with in_memory() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        rows: list[dict[str, Any]] = (
            connection.execute(sql.format(**tables), {"known_at": known_at}).to_arrow_table().to_pylist()
        )
    return rows


def _table(rows: Sequence[Sequence[Any]], schema_of: pa.Schema) -> pa.Table:
    """Rows of the ledger, times in microseconds, in a schema of facts."""
    found = list(zip(*rows, strict=True)) or [()] * len(schema_of)
    arrays = [
        pa.array(column, pa.int64()).cast(field.type)
        if pa.types.is_timestamp(field.type)
        else pa.array(column, field.type)
        for column, field in zip(found, schema_of, strict=True)
    ]
    return pa.table(arrays, schema=schema_of)


def _meant(row: dict[str, Any], channels: Container[str] | None) -> str:
    """The channel that an event of a file speaks of: a no whose channel nobody knows stops all."""
    channel = (row["channel"] or "").strip().lower() or EVERY
    yes = row["granted"] if "granted" in row else row["kind"] == "opt_in"
    return channel if yes or channels is None or channel in channels else EVERY


def _customers(book: Book, decision_ids: Sequence[str]) -> dict[str, str]:
    return {name: decision.ask.customer_id for name, decision in book.decisions(decision_ids).items()}


def _consent(message: ConsentMessage, at: datetime) -> Consent:
    fields = msgspec.structs.asdict(message) | {"occurred_at": utc(message.occurred_at)}
    return Consent(**fields, recorded_at=at)


def _refused(name: str, reason: tuple[str, str]) -> Refused:
    return Refused(id=name, code=reason[0], sentence=reason[1])
