"""Erasures in the ledger: who is to be erased, what to look for until nothing is left, and what others' records say."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import msgspec
from sqlalchemy import delete, select, update

from features.facts import micros
from features.identity import Person
from features.privacy.traces import Traces
from serving import schema
from serving.book import Book, Consent, among, listed, moment
from serving.consent import CONTACT_PURPOSE, ConsentFact, permission
from serving.decision import Decision


def queue_erasure(book: Book, customer_id: str, *, at: datetime) -> dict[str, int]:
    """Erase a customer from the ledger now, suppress them, and queue what lies elsewhere; returns the rows removed.

    Their arms wait for the rest: the arm of a household may stand under the account of one of them.
    """
    _keep(book, {customer_id: _heard(book, Traces(accounts=(customer_id,)))}, at=at)
    book.suppress([book.digest(customer_id)], at=at)
    return book.remove([customer_id], arms=False)


def begin(book: Book, found: Mapping[str, Traces], *, at: datetime) -> dict[str, Traces]:
    """Begin erasures, or take up those that were interrupted: suppressed from now on; returns all that is known.

    ``found`` is what each customer is known by now. What was known when an erasure began is looked for until its end,
    as it may be gone from where it was found.
    """
    known = {customer_id: _heard(book, traces) for customer_id, traces in found.items()}
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


def leave_refusals(book: Book, traces: Traces, *, linked: Collection[str], at: datetime) -> int:
    """Give what people refused to the accounts that their no reached by a link, before the link goes; returns how many.

    From now on it is a no of the account's own, which a later yes of the customer lifts.
    """
    stay = sorted(set(linked) - set(traces.accounts) - book.erased(linked))
    return book.consent(
        [
            Consent(
                customer_id=account,
                channel=channel,
                purpose=purpose,
                contact_class=contact_class,
                granted=False,
                source="import",
                wording="a no of a linked account, kept when that was erased",
                occurred_at=at,
                recorded_at=at,
            )
            for account in stay
            for channel, purpose, contact_class in traces.refused
        ]
    )


def _heard(book: Book, traces: Traces) -> Traces:
    """The traces with what the accounts refuse as the ledger knows it."""
    refused = [told for facts in book.said(traces.accounts).values() for told in _refused(facts)]
    return replace(traces, refused=tuple(dict.fromkeys((*traces.refused, *refused))))


def _refused(facts: Sequence[ConsentFact]) -> Iterator[tuple[str, str, str]]:
    """The channel, purpose and class of each no that stands."""
    for purpose in sorted({each.purpose for each in facts if not each.granted}):
        about = [each._replace(purpose=CONTACT_PURPOSE) for each in facts if each.purpose == purpose]
        for scope in permission(about).refused:
            channel, _, contact_class = scope.rpartition(":")
            yield channel, purpose, contact_class


def requested(book: Book, customer_ids: Collection[str]) -> dict[str, datetime]:
    """When each erasure was asked for."""
    columns = schema.erasures.c
    query = select(columns.customer_id, columns.requested_at).where(among(columns.customer_id))
    return {row.customer_id: moment(row.requested_at) for row in book.connection.execute(query, listed(customer_ids))}


def finish(book: Book, customer_ids: Collection[str]) -> None:
    """Forget that erasures were under way, as nothing is left to look for."""
    columns = schema.erasures.c
    book.connection.execute(delete(schema.erasures).where(among(columns.customer_id)), listed(customer_ids))


def remove(book: Book, traces: Traces, *, others: Mapping[str, Person]) -> dict[str, int]:
    """Remove all rows of the accounts, and their names from the records of others; returns how many of each.

    ``others``: who is behind the accounts that were linked to them, without them.
    """
    named = _unname(book, traces, others=others)
    return book.remove(traces.accounts) | {"names in records of others": named}


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


def _unname(book: Book, traces: Traces, *, others: Mapping[str, Person]) -> int:
    """Take the accounts out of what the decisions of linked accounts say; returns how many did.

    A household may be called by one of its accounts. Without that one it is called as it is now, and keeps its arms.
    """
    columns = schema.decisions.c
    of_others = select(columns.decision_id).where(among(columns.customer_id))
    renamed: set[tuple[str, str]] = set()
    changed = 0
    for decision in book.decisions(book.connection.scalars(of_others, listed(traces.related))).values():
        other = without(decision, traces.accounts, person=others[decision.ask.customer_id])
        if other == decision:
            continue
        if decision.ask.household_id != other.ask.household_id:
            renamed.add((str(decision.ask.household_id), str(other.ask.household_id)))
        told = update(schema.decisions).where(columns.decision_id == decision.decision_id)
        values = {"household_id": other.ask.household_id, "record": msgspec.msgpack.encode(other)}
        book.connection.execute(told.values(**values))
        changed += 1
    _keep_arms(book, renamed)
    return changed


def without(decision: Decision, accounts: Sequence[str], *, person: Person) -> Decision:
    """The record of a decision about somebody else, without the names of accounts; ``person`` is whom it is about."""
    linked, ask = decision.linked, decision.ask
    for account in accounts:
        linked = linked and linked.without(account)
        if ask.household_id == account:
            ask = msgspec.structs.replace(ask, household_id=person.household_id or ask.customer_id)
        if ask.person_id == account:
            ask = msgspec.structs.replace(ask, person_id=person.customer_id)
    return msgspec.structs.replace(decision, linked=linked, ask=ask)


def _keep_arms(book: Book, renamed: Collection[tuple[str, str]]) -> None:
    """Give a household that has another name now the arms that it had."""
    columns = schema.assignments.c
    for before, now in sorted(renamed):
        for row in book.connection.execute(select(schema.assignments).where(columns.unit == before)).all():
            if not book.arms(row.experiment, [now]):
                book.keep_arms(row.experiment, [(now, row.arm, moment(row.assigned_at))])


def _json(traces: Traces) -> str:
    return msgspec.json.encode(traces).decode()
