"""Erasing people from a project: suppressed first, then removed from ledger, history, models and files, resumably."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import reduce
from typing import Any

from features.identity import People, resolve
from features.intake.loading import SCRATCH
from features.privacy.erasure import erase_facts
from features.privacy.traces import Traces, kinds_of, traces_of
from rapport.people.remains import clear_bundles, clear_files, names_any, still_named, too_short
from rapport.project import Project
from serving import erasures, schema
from serving.ledger import Ledger

Counts = dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What was done for people who asked to be erased; it holds the ids they were asked by, and nothing else of them.

    Parameters
    ----------
    customers: the ids, each with the moment it was asked for.
    suppressed: the first keyed hash of each: by it a later question finds that they were erased.
    accounts: how many accounts they had.
    shared: how many of their addresses accounts of others have too; these are not suppressed.
    removed: place -> what -> rows or files; what an interrupted run had removed before counts no more.
    left: files of the project that still name them, for a person to look at.
    sources: files of the systems that the project takes in, which still name them: erase them there.
    unread: files that could not be searched, as they are packed in a way of their own, locked or broken.
    short: how many of their accounts are too short to be told from other words in files; rows and lines with them went.
    """

    customers: Mapping[str, datetime]
    finished_at: datetime
    suppressed: Mapping[str, str]
    accounts: int
    shared: int
    resumed: bool
    removed: Mapping[str, Counts]
    left: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    short: int = 0
    beyond: tuple[str, ...] = (
        "backups and copies of the project",
        "the systems that its files come from, and their files elsewhere",
        "messages that were sent",
    )

    def to_json(self) -> dict[str, Any]:
        """The receipt as a dictionary, times as text."""
        times = {name: each.isoformat() for name, each in self.customers.items()}
        return {**asdict(self), "customers": times, "finished_at": self.finished_at.isoformat()}


def erase(
    project: Project,
    customer_ids: Collection[str],
    *,
    at: datetime,
    keep: Callable[[Receipt], None],
    progress: Callable[[str], None] = lambda place: None,
) -> Receipt:
    """Erase people: suppress them first, then remove what is theirs from everywhere, then say what was done.

    Each step can be repeated, and what to look for is kept in the ledger until the last one is done: an erasure that
    was interrupted is finished by calling this again.

    Parameters
    ----------
    customer_ids: the people, each named by any of their accounts.
    at: now.
    keep: is given the receipt before the ledger forgets that the erasures were under way, and again if that changes it.
    progress: is told the name of each step before it is taken.
    """
    found = traces_of(project.history, customer_ids, kinds=kinds_of(project.identity))
    ledger = Ledger(project.ledger)
    try:
        with ledger.writing() as book:
            resumed = not erasures.under_way(book).keys().isdisjoint(customer_ids)
            known = erasures.begin(book, found, at=at)
            for traces in known.values():
                erasures.leave_refusals(book, traces, linked=_reached(project, traces), at=at)
            asked = erasures.requested(book, customer_ids)
            suppressed = {each: book.digest(each) for each in customer_ids}
        traces = reduce(Traces.plus, known.values())
        removed = _remove(project, ledger, traces, progress=progress)
        progress("check")
        remains = still_named(project, traces)
        receipt = Receipt(
            customers=asked,
            finished_at=at,
            suppressed=suppressed,
            accounts=len(traces.accounts),
            shared=len(traces.shared),
            resumed=resumed,
            removed=removed,
            left=remains.left,
            sources=remains.sources,
            unread=remains.unread,
            short=too_short(traces.accounts),
        )
        keep(receipt)
        progress("end")
        with ledger.writing() as book:
            erasures.finish(book, customer_ids)
        # Until now the ledger itself had to say whom to look for.
        if not ledger.checkpoint() or names_any(project.ledger, replace(traces, texts=())):
            receipt = replace(receipt, left=(*receipt.left, project.ledger.name))
            keep(receipt)
    finally:
        ledger.close()
    return receipt


def pending(project: Project) -> tuple[str, ...]:
    """The customers whose erasure was asked for and is not complete."""
    if not project.ledger.exists():
        return ()
    ledger = Ledger(project.ledger)
    with ledger.reading() as book:
        found = tuple(erasures.under_way(book))
    ledger.close()
    return found


def erased_before(project: Project, customer_ids: Collection[str]) -> dict[str, datetime]:
    """When those of ``customer_ids`` were erased whose erasure is complete."""
    if not project.ledger.exists():
        return {}
    ledger = Ledger(project.ledger)
    with ledger.reading() as book:
        found = {each: book.suppressed_since(book.digest(each)) for each in customer_ids}
        open_ = erasures.under_way(book)
    ledger.close()
    return {each: since for each, since in found.items() if since is not None and each not in open_}


def known(project: Project, customer_id: str) -> bool:
    """Whether the project has any facts about a customer, or an erasure of theirs is under way."""
    facts = project.history.customer(customer_id)
    if facts.events or facts.profile or len(project.history.accounts(customer_id)) > 1:
        return True
    if not project.ledger.exists():
        return False
    ledger = Ledger(project.ledger)
    with ledger.reading() as book:
        tables = (schema.decisions, schema.consents, schema.events, schema.slots, schema.erasures)
        found = any(book.count(table, customer_id=customer_id) for table in tables)
    ledger.close()
    return found


def _reached(project: Project, traces: Traces) -> set[str]:
    """The accounts that a no of the people reaches, by whatever link."""
    persons = People(project.history).persons(traces.accounts)
    return {account for person in persons.values() for account in person.suppressing}


def _remove(project: Project, ledger: Ledger, traces: Traces, *, progress: Callable[[str], None]) -> dict[str, Counts]:
    """Remove everything, place by place; returns what and how much of it."""
    removed: dict[str, Counts] = {}
    progress("history")
    removed["history"] = erase_facts(project.history, traces.accounts)
    shutil.rmtree(project.history.folder / SCRATCH, ignore_errors=True)  # what an intake that was killed left
    resolve(project.history, project.identity)  # what follows from links, without theirs
    progress("ledger")
    others = People(project.history).persons(traces.related)
    with ledger.writing() as book:
        removed["ledger"] = erasures.remove(book, traces, others=others)
    progress("models")
    removed["models"] = clear_bundles(project, traces.accounts)
    progress("files")
    removed["files"] = clear_files(project, traces, progress=progress)
    return {place: {what: n for what, n in counts.items() if n} for place, counts in removed.items()}
