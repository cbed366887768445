"""What a look was made from, as digests: the policies in force, and all that was said about consent, as of a moment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from contextlib import closing
from datetime import datetime

import pyarrow as pa
from sqlalchemy import select

from experiments.record import table_digest
from features.facts import micros
from rapport.project import Project
from serving import schema
from serving.book import Book
from serving.ledger import Ledger


def look_digests(project: Project, key: str, *, outcomes: pa.Table, as_of: datetime) -> dict[str, str]:
    """The sha256 of what a look at the experiment ``key`` was made from, by name.

    ``data``: the table of outcomes. ``policy``: every version that was published for its arms. ``consent``: every fact
    about consent that the ledger and the history held. What was recorded from ``as_of`` on is in none of them.
    """
    found = {"data": table_digest(outcomes)}
    if project.ledger.exists():
        with closing(Ledger(project.ledger)) as ledger, ledger.reading() as book:
            found["policy"] = _digest(_policies(book, key, as_of=as_of))
            said = _consents(book, as_of=as_of)
        files = project.history.consents(until=as_of)
        order = [(name, "ascending") for name in files.column_names]
        found["consent"] = _digest((*said, table_digest(files.sort_by(order))))
    return found


def _policies(book: Book, key: str, *, as_of: datetime) -> Iterable[tuple[str, str]]:
    columns = schema.policies.c
    query = (
        select(columns.name, columns.version)
        .where(columns.name.startswith(f"{key}/", autoescape=True), columns.published_at < micros(as_of))
        .order_by(columns.sequence)
    )
    return [(row.name, row.version) for row in book.connection.execute(query)]


def _consents(book: Book, *, as_of: datetime) -> list[str]:
    columns = schema.consents.c
    query = select(columns.consent_id).where(columns.recorded_at < micros(as_of)).order_by(columns.consent_id)
    return [str(each) for each in book.connection.scalars(query)]


def _digest(parts: Iterable[object]) -> str:
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()
