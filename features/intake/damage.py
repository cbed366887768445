"""Damaged text files: ends of lines of two kinds are made one, and after a mark that never closes each line counts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import duckdb

Lines = Sequence[tuple[int, str]]

#: What the reader says of a file whose lines end in more than one way.
UNEVEN_ENDS = "state machine"
_OPENS = re.compile(r'(^|[,;\t| ])"')
_UNCLOSED = "UNQUOTED VALUE"


def unclosed(connection: duckdb.DuckDBPyConnection) -> int:
    """The record in which a quotation mark opens that the file never closes, the header being 1; 0 for none."""
    made = connection.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'reject_errors'").fetchone()
    if not made or not made[0]:
        return 0
    found = connection.execute(
        "SELECT min(line) FROM (SELECT line, list(CAST(error_type AS VARCHAR)) AS errors FROM reject_errors "
        f"GROUP BY line) WHERE errors = ['{_UNCLOSED}']"  # with another error beside it, a later mark closed it
    ).fetchone()
    return int(found[0] or 0) if found else 0


def forget_rejected(connection: duckdb.DuckDBPyConnection) -> None:
    """Forget what the reader refused of a file that is read once more."""
    connection.execute("DROP TABLE reject_errors; DROP TABLE reject_scans")


def even_ends(path: Path, *, scratch: Path, encoding: str) -> Path:
    """A copy of a text in UTF-8 whose lines all end alike."""
    return before(path, 0, scratch=scratch, encoding=encoding)[0]


def before(path: Path, record: int, *, scratch: Path, encoding: str) -> tuple[Path, Lines]:
    """The rows of a text before a ``record`` (0: all) as a file in UTF-8, and the lines from it on, numbered."""
    target = scratch / f"whole-{path.name}"
    after: list[tuple[int, str]] = []
    begun, within = 0, False
    decoder = "utf-8-sig" if encoding == "utf-8" else encoding
    with (
        path.open(encoding=decoder, errors="surrogateescape", newline=None) as given,  # makes \r\n and \r one \n
        target.open("w", encoding="utf-8", errors="surrogateescape", newline="") as taken,
    ):
        for number, text in enumerate(given, start=1):
            begun += not within
            if '"' in text and (within or _OPENS.search(text)):
                within ^= text.count('"') % 2 == 1
            if not record or begun < record:
                taken.write(text)
            elif text.strip():
                after.append((number, text.rstrip("\n").encode("utf-8", "surrogateescape").decode("utf-8", "replace")))
    return target, after
