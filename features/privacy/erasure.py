"""Erasure: all rows of accounts out of the history, out of quarantines and out of tables that Rapport wrote.

Facts are never taken back, but for this. Each file is replaced whole or not at all, and what is gone already is no
error: an erasure that was interrupted is simply run again.
"""

from __future__ import annotations

import csv
import gzip
import os
import re
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from features.history import History
from features.privacy.mentions import Mentions
from features.privacy.traces import Traces
from features.sql import in_memory, literal

#: Columns that say whose row it is, in the history and in tables that Rapport writes.
OWNERS = ("customer_id", "account_id", "other_id")

csv.field_size_limit(1 << 30)  # a line that could not be read is one cell of a quarantine, however long
_QUARANTINED = "quarantine_id"  # a column of quarantines alone
_CELLS = re.compile(r"[,;\t|{}]|\":")
_SCRATCH = re.compile(r".+\.(\d+)\.tmp")
_WORDS = re.compile(r"[\s\"'=,;|<>(){}\[\]]+")
_MARKS = " \"'"


def erase_facts(history: History, accounts: Collection[str]) -> dict[str, int]:
    """Remove all rows about accounts from every part of the history; returns how many of each table."""
    removed: dict[str, int] = {}
    with history.writing():
        parts = sorted(history.folder.rglob("*.parquet"))
        for left in filter(is_leftover, history.folder.rglob("*.tmp")):
            left.unlink(missing_ok=True)
        for part in parts:
            table = part.relative_to(history.folder).parts[0]
            if gone := erase_rows(part, accounts):
                removed[table] = removed.get(table, 0) + gone
    return removed


def erase_rows(path: Path, accounts: Collection[str]) -> int:
    """Remove the rows of a Parquet file that a column of OWNERS gives to an account; returns how many there were.

    A file that has no row left is removed.
    """
    owners = [name for name in pq.read_schema(path).names if name in OWNERS]
    if not owners or not accounts:
        return 0
    with in_memory() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("CREATE TEMP TABLE gone AS SELECT unnest($ids) AS id", {"ids": list(accounts)})
        theirs = " OR ".join(f"coalesce(CAST({name} AS VARCHAR) IN (FROM gone), false)" for name in owners)
        table = f"read_parquet({literal(str(path))})"
        counted = f"SELECT count(*) FILTER ({theirs}), count(*) FROM {table}"
        found, rows = connection.execute(counted).fetchone() or (0, 0)
        if found == rows:
            path.unlink()
        elif found:
            copy = f"COPY (SELECT * FROM {table} WHERE NOT ({theirs}))"
            how = "(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 65536)"
            replaced(path, lambda scratch: bool(connection.execute(f"{copy} TO {literal(str(scratch))} {how}")))
    return int(found)


def erase_lines(path: Path, traces: Traces) -> int:
    """Remove the rows of a CSV file (also gzipped) that are a person's; returns how many there were.

    A row is theirs where a column of OWNERS names one of their accounts, or, in a quarantine, any value is one of their
    traces: what was wrong with such a row may be its owner.
    """
    gone = 0

    def keep_others(scratch: Path) -> bool:
        nonlocal gone
        with _text(path, "rt") as stream, _text(scratch, "wt", like=path) as out:
            rows, writer = csv.reader(stream), csv.writer(out, lineterminator="\n")
            header = next(rows, [])
            theirs = _owned(header, traces)
            writer.writerow(header)
            for row in rows:
                if theirs(row):
                    gone += 1
                else:
                    writer.writerow(row)
        return gone > 0

    replaced(path, keep_others)
    return gone


def lines_of(path: Path, traces: Traces) -> list[dict[str, str]]:
    """The rows of a CSV file that ``erase_lines`` would remove."""
    with _text(path, "rt") as stream:
        rows = csv.reader(stream)
        header = next(rows, [])
        theirs = _owned(header, traces)
        return [dict(zip(header, row, strict=False)) for row in rows if theirs(row)]


def _owned(header: list[str], traces: Traces) -> Callable[[list[str]], bool]:
    """What tells of a row whether it is theirs."""
    every = _QUARANTINED in header
    watched = [place for place, name in enumerate(header) if every or name in OWNERS]

    def theirs(row: list[str]) -> bool:
        cells = (row[place] for place in watched if place < len(row))
        return any(traces.named_in(part) for cell in cells for part in (_parts(cell) if every else (cell,)))

    return theirs


def erase_log(path: Path, traces: Traces) -> int:
    """Remove the lines of a text file that hold an account or an address of a person; returns how many there were."""
    gone, told = 0, Mentions(text for _, text in traces.addresses)  # with blanks, which part words

    def keep_others(scratch: Path) -> bool:
        nonlocal gone
        with _text(path, "rt") as stream, _text(scratch, "wt", like=path) as out:
            for line in stream:
                if told.found_in(line) or any(traces.named_in(word) for word in _WORDS.split(line) if word):
                    gone += 1
                else:
                    out.write(line)
        return gone > 0

    replaced(path, keep_others)
    return gone


def replaced(path: Path, write: Callable[[Path], bool]) -> None:
    """Put in the place of ``path`` what ``write`` makes, once it is on disk; where it says False nothing changes."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if write(scratch):
            shutil.copymode(path, scratch)
            synced(scratch)
            scratch.replace(path)
            synced(path.parent)
    finally:
        scratch.unlink(missing_ok=True)


def is_leftover(path: Path) -> bool:
    """Whether a file is what a process that was killed had half written."""
    named = _SCRATCH.fullmatch(path.name)
    if named is None:
        return False
    try:
        os.kill(int(named[1]), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:  # it runs, and is somebody else's
        return False
    return False


def synced(path: Path) -> None:
    """Put a file or a folder on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _text(path: Path, mode: str, *, like: Path | None = None) -> Any:
    opener: Any = gzip.open if (like or path).suffix == ".gz" else open
    return opener(path, mode, encoding="utf-8", errors="surrogateescape", newline="")


def _parts(cell: str) -> list[str]:
    """A cell, and the cells within it where it is a line that could not be read; without marks around them."""
    return [part.strip(_MARKS) for part in (cell, *_CELLS.split(cell))]
