"""Returning: erased people who come in again, by another account or late facts, and what becomes of that."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from pathlib import Path

import duckdb

from features.sql import literal
from features.suppression import Erased
from rapport.erasure import erase, pending
from rapport.project import Project
from serving.ledger import Ledger

_TABLES = ("events", "profile", "consents")


class Gate:
    """What stands between an intake and the erased: made before it, closed after it.

    Usage: ``gate = Gate(project, at=now)``; ``ingest(..., erased=gate.erased)``; ``held = gate.close(at=now)``.
    """

    def __init__(self, project: Project, *, at: datetime) -> None:
        self._project = project
        if waiting := pending(project):  # first, so that their addresses are known when they come in
            erase(project, waiting, at=at, keep=lambda receipt: None)
        self._before = {name: project.history.parts(name) for name in _TABLES}
        self.completed = waiting
        self.erased = self._known()

    def close(self, *, at: datetime) -> tuple[str, ...]:
        """Suppress the accounts that came with an erased person's address; returns those that were known before.

        One that came first with this intake is the erased person again, and what came of it by other files is erased.
        One that was known before may be somebody else, who has their address now: it is held and kept, for a person
        to decide on.
        """
        accounts = sorted(self.erased.recognized)
        if not accounts:
            return ()
        ledger = Ledger(self._project.ledger)
        with ledger.writing() as book:
            book.suppress((book.digest(each) for each in accounts), at=at)
        ledger.close()
        known = self._named_in([part for parts in self._before.values() for part in parts], accounts)
        now = self._named_in([part for name in _TABLES for part in self._project.history.parts(name)], accounts)
        if again := sorted(now - known):
            erase(self._project, again, at=at, keep=lambda receipt: None)
        return tuple(sorted(known))

    def _known(self) -> Erased:
        if not self._project.ledger.exists():
            return Erased(b"")
        ledger = Ledger(self._project.ledger)
        with ledger.reading() as book:
            found = book.erased_people()
        ledger.close()
        return found

    def _named_in(self, parts: Collection[Path], accounts: list[str]) -> set[str]:
        """Those of ``accounts`` of whom parts of the history hold facts."""
        present = [part for part in parts if part.exists()]
        if not present:
            return set()
        files = ", ".join(literal(str(each)) for each in present)
        sql = (
            f"SELECT DISTINCT customer_id FROM read_parquet([{files}], union_by_name = true) WHERE customer_id = ANY(?)"
        )
        with duckdb.connect() as connection:
            return {row[0] for row in connection.execute(sql, [list(accounts)]).fetchall()}
