"""Returning: erased people who come in again, by another account or late facts, and what becomes of that."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from pathlib import Path

import msgspec

from features.privacy.suppression import Erased
from features.privacy.traces import kinds_of
from features.sql import in_memory, literal
from rapport.people.erasure import erase, pending
from rapport.project import Project
from serving.ledger import Ledger

_TABLES = ("events", "profile", "consents")


class Gate:
    """What stands between an intake and the erased: made before it, closed after it.

    Usage: ``gate = Gate(project, at=now)``; ``ingest(..., erased=gate.erased)``; ``held = gate.close(at=now)``.

    An account that comes with an erased person's address is suppressed in the ledger at once, before a row of it is
    taken in, and which parts the history had then lies on disk until the gate is closed: an intake that was killed is
    made good by the next one.
    """

    def __init__(self, project: Project, *, at: datetime) -> None:
        self._project = project
        self._at = at
        self._open = project.history.folder / "intake.open"
        if waiting := pending(project):  # first, so that their addresses are known when they come in
            erase(project, waiting, at=at, keep=lambda receipt: None)
        self.completed = waiting
        self._before = self._known_parts()
        self.erased = self._known()
        self.erased.recognizing = self._hold

    def close(self, *, at: datetime) -> tuple[str, ...]:
        """Erase the erased people who came in again; returns accounts that are only held, as they were known before.

        An account that came first with this intake, or with one that was killed, is the erased person again. One that
        was known before may be somebody else, who has their address now: it is held and kept, for a person to decide.
        """
        history = self._project.history
        if self.erased:
            fresh = [part for name in _TABLES for part in history.parts(name) if _name(part) not in self._before]
            came = self.erased.recognized | self.erased.among(_accounts(fresh))
            known = came & _accounts([history.folder / each for each in self._before])
            if again := sorted(came - known):
                erase(self._project, again, at=at, keep=lambda receipt: None)
        self._open.unlink(missing_ok=True)
        return tuple(sorted(known & self.erased.recognized)) if self.erased else ()

    def _known_parts(self) -> frozenset[str]:
        """The parts that the history had before this intake, and before those that were killed since one was closed."""
        if not self._open.exists():
            names = [_name(part) for name in _TABLES for part in self._project.history.parts(name)]
            scratch = self._open.with_suffix(".tmp")
            scratch.write_bytes(msgspec.json.encode(names))
            scratch.replace(self._open)
        return frozenset(msgspec.json.decode(self._open.read_bytes(), type=list[str]))

    def _known(self) -> Erased:
        if not self._project.ledger.exists():
            return Erased(b"")
        ledger = Ledger(self._project.ledger)
        with ledger.reading() as book:
            found = book.erased_people(kinds=kinds_of(self._project.identity))
        ledger.close()
        return found

    def _hold(self, accounts: Collection[str]) -> None:
        ledger = Ledger(self._project.ledger)
        with ledger.writing() as book:
            book.suppress((book.digest(each) for each in accounts), at=self._at)
        ledger.close()


def _name(part: Path) -> str:
    return f"{part.parent.name}/{part.name}"


def _accounts(parts: Collection[Path]) -> set[str]:
    """The accounts of whom parts of the history hold facts."""
    present = [part for part in parts if part.exists()]
    if not present:
        return set()
    files = ", ".join(literal(str(each)) for each in present)
    with in_memory() as connection:
        sql = f"SELECT DISTINCT customer_id FROM read_parquet([{files}], union_by_name = true)"
        return {row[0] for row in connection.execute(sql).fetchall()}
