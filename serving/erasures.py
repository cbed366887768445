"""Erasures in the ledger: who is to be erased, what to look for until nothing is left, and what others' records say."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

import msgspec
from sqlalchemy import delete, select, update

from features.facts import micros
from features.traces import Traces
from serving import schema
from serving.book import Book, among, listed, moment


def queue_erasure(book: Book, customer_id: str, *, at: datetime) -> dict[str, int]:
    """Erase a customer from the ledger now, suppress them, and queue what lies elsewhere; returns the rows removed."""
    _keep(book, {customer_id: Traces(accounts=(customer_id,))}, at=at)
    return book.erase(customer_id, at=at)


def begin(book: Book, found: Mapping[str, Traces], *, at: datetime) -> dict[str, Traces]:
    """Begin erasures, or take up those that were interrupted: suppressed from now on; returns all that is known.

    ``found`` is what each customer is known by now. What was known when an erasure began is looked for until its end,
    as it may be gone from where it was found.
    """
    known = dict(found)
    for customer_id, traces in under_way(book).items():
        if customer_id in known:
            known[customer_id] = traces.plus(known[customer_id])
    _keep(book, known, at=at)
    book.suppress(book.digests(each for traces in known.values() for each in traces.identifiers), at=at)
    return known


def under_way(book: Book) -> dict[str, Traces]:
    """The customers whose erasure has begun or is queued, and what each is known by so far."""
    columns = schema.erasures.c
    rows = book.connection.execute(select(columns.customer_id, columns.traces).order_by(columns.requested_at))
    return {row.customer_id: msgspec.json.decode(row.traces, type=Traces) for row in rows}


def requested(book: Book, customer_ids: Collection[str]) -> dict[str, datetime]:
    """When each erasure was asked for."""
    columns = schema.erasures.c
    query = select(columns.customer_id, columns.requested_at).where(among(columns.customer_id))
    return {row.customer_id: moment(row.requested_at) for row in book.connection.execute(query, listed(customer_ids))}


def finish(book: Book, customer_ids: Collection[str]) -> None:
    """Forget that erasures were under way, as nothing is left to look for."""
    columns = schema.erasures.c
    book.connection.execute(delete(schema.erasures).where(among(columns.customer_id)), listed(customer_ids))


def remove(book: Book, traces: Traces) -> dict[str, int]:
    """Remove all rows of the accounts, and their names from the records of others; returns how many of each."""
    removed = book.remove(traces.accounts)
    return removed | {"names in records of others": _unname(book, traces)}


def _keep(book: Book, found: Mapping[str, Traces], *, at: datetime) -> None:
    rows = {
        customer_id: {"customer_id": customer_id, "requested_at": micros(at), "traces": _json(traces)}
        for customer_id, traces in found.items()
    }
    book.insert_new(schema.erasures, "customer_id", rows)
    columns = schema.erasures.c
    for customer_id, traces in found.items():
        book.connection.execute(
            update(schema.erasures).where(columns.customer_id == customer_id).values(traces=_json(traces))
        )


def _unname(book: Book, traces: Traces) -> int:
    """Take the accounts out of what the decisions of linked accounts say they took from them."""
    columns = schema.decisions.c
    of_others = select(columns.decision_id).where(among(columns.customer_id))
    changed = 0
    for decision in book.decisions(book.connection.scalars(of_others, listed(traces.related))).values():
        linked = decision.linked
        for account in traces.accounts:
            linked = linked and linked.without(account)
        if linked != decision.linked:
            record = msgspec.msgpack.encode(msgspec.structs.replace(decision, linked=linked))
            told = update(schema.decisions).where(columns.decision_id == decision.decision_id)
            book.connection.execute(told.values(record=record))
            changed += 1
    return changed


def _json(traces: Traces) -> str:
    return msgspec.json.encode(traces).decode()
