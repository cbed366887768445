"""Disclosure: everything that a project holds about one person, over all their accounts, and nothing about another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Column, select

from features.errors import InputError
from features.privacy.erasure import lines_of
from features.privacy.traces import Traces, kinds_of, traces_of
from features.sql import in_memory
from rapport.people.erasure import erased_before, known
from rapport.project import Project
from serving import schema
from serving.book import Book, among, listed, moment
from serving.decision import Decision
from serving.explanation import explain
from serving.ledger import Ledger
from serving.rules import Rules

Rows = list[dict[str, Any]]

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Disclosure:
    """What is known of a person, section by section.

    Of links to accounts that are not theirs only the number is told: the other end is somebody else. ``decisions`` say
    what each saw of them and why it came out so. ``quarantined`` are rows of files that were refused.
    """

    customer_id: str
    at: datetime
    accounts: tuple[str, ...]
    sections: dict[str, Rows] = field(repr=False)
    links_to_others: int

    def to_json(self) -> dict[str, Any]:
        """The disclosure as a dictionary."""
        return {
            "customer_id": self.customer_id,
            "at": self.at.isoformat(),
            "accounts": list(self.accounts),
            "links_to_others": self.links_to_others,
            **self.sections,
        }


def disclose(project: Project, customer_id: str, *, at: datetime) -> Disclosure:
    """Everything about the person who is named by any of their accounts.

    Raises
    ------
    InputError
        When nobody ever knew such a customer; of an erased one it says since when nothing is known.
    """
    if not known(project, customer_id):
        before = erased_before(project, [customer_id])
        raise InputError(
            "there is nothing about this customer",
            got=f"{customer_id!r}" + (f", erased on {before[customer_id]:%Y-%m-%d}" if before else ""),
            do="name one of their accounts as the project's facts do",
        )
    traces = traces_of(project.history, [customer_id], kinds=kinds_of(project.identity))[customer_id]
    links = _of_history(project, "links", "account_id", traces.accounts)
    own = [each for each in links if {each["account_id"], each["other_id"]} <= set(traces.accounts)]
    sections = {
        name: _of_history(project, name, "customer_id", traces.accounts)
        for name in ("profile", "events", "consents", "opt_outs")
    }
    sections["consents_of_files"] = sections.pop("consents")
    return Disclosure(
        customer_id=customer_id,
        at=at,
        accounts=traces.accounts,
        sections={
            **sections,
            "links": own,
            **_of_ledger(project, traces.accounts),
            "quarantined": _quarantined(project, traces),
        },
        links_to_others=len(links) - len(own),
    )


def _of_history(project: Project, name: str, owner: str, accounts: Sequence[str]) -> Rows:
    theirs = f"{owner} = ANY($accounts)" + (" OR other_id = ANY($accounts)" if name == "links" else "")
    with in_memory() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        sql = f"SELECT * FROM {project.history.scan(name)} WHERE {theirs} ORDER BY ALL"
        rows: Rows = connection.execute(sql, {"accounts": list(accounts)}).to_arrow_table().to_pylist()
    return rows


def _of_ledger(project: Project, accounts: Sequence[str]) -> dict[str, Rows]:
    if not project.ledger.exists():
        return {}
    ledger = Ledger(project.ledger)
    try:
        with ledger.reading() as book:
            slots = book.contacts(accounts, since=_BEGINNING)
            said = book.permissions(accounts)
            return {
                "sent_to_service": _rows(book, schema.events.c.customer_id, accounts),
                "consents": _rows(book, schema.consents.c.customer_id, accounts),
                "permissions": [{"account_id": each} | msgspec.structs.asdict(told) for each, told in said.items()],
                "decisions": [_told(book, each, accounts) for each in _decisions(book, accounts)],
                "contacts": [{"customer_id": each} | taken._asdict() for each in accounts for taken in slots[each]],
                "arms": _rows(book, schema.assignments.c.unit, accounts),
            }
    finally:
        ledger.close()


def _rows(book: Book, owner: Column[str], accounts: Sequence[str]) -> Rows:
    """The rows of a table of the ledger that are the accounts' own, times as times."""
    query = select(owner.table).where(among(owner)).order_by(*owner.table.columns)
    return [
        {name: moment(value) if name.endswith("_at") else value for name, value in row.items()}
        for row in book.connection.execute(query, listed(accounts)).mappings()
    ]


def _decisions(book: Book, accounts: Sequence[str]) -> list[Decision]:
    columns = schema.decisions.c
    own = select(columns.decision_id).where(among(columns.customer_id))
    found = book.decisions(book.connection.scalars(own, listed(accounts)))
    return sorted(found.values(), key=lambda each: (each.ask.moment, each.decision_id))


def _told(book: Book, decision: Decision, accounts: Sequence[str]) -> dict[str, Any]:
    """What a decision saw and why it came out so, without the names of accounts that are not theirs."""
    linked, ask = decision.linked, decision.ask
    named = {each for names in (linked.own, linked.counted) for each in names} if linked else set()
    named |= {each for _, names in linked.refused for each in names} if linked else set()
    for other in named - set(accounts):
        linked = linked and linked.without(other)
    for name in ("household_id", "person_id"):
        if getattr(ask, name) not in accounts:
            ask = msgspec.structs.replace(ask, **{name: None})
    own = msgspec.structs.replace(decision, linked=linked, ask=ask)
    rules = book.rules(decision.rules)
    told: dict[str, Any] = msgspec.to_builtins(own if rules is None else explain(own, Rules(rules)))
    return told if isinstance(told, dict) else {"record": told}


def _quarantined(project: Project, traces: Traces) -> Rows:
    """The rows of quarantines that name the person."""
    return [
        {"file": path.name, **row}
        for path in sorted(project.quarantine.glob("*.csv"))
        for row in lines_of(path, traces)
    ]
