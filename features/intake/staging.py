"""Staging: the rows of one file, typed and judged, in a DuckDB table of their own before any becomes a fact."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa

from features.errors import InputError
from features.facts import EVENTS
from features.history import History
from features.intake.checks import CHANGED, DIGEST_OF, MEANT_BY, Rules, attribute_columns, checked_rows
from features.intake.damage import UNEVEN_ENDS, Lines, before, even_ends, forget_rejected, unclosed
from features.intake.lines import tokens
from features.intake.readers import Opened, open_source, rejected, unpacked
from features.intake.sources import Source
from features.privacy.suppression import ERASED_PERSON, Erased, normal_email
from features.sql import in_memory, literal

#: SQL for the number of a row of ``staged`` in its file; a window would number rows one after the other.
PLACE = "staged.rowid + 1"

# What rows and their sort may take before they spill; more makes five million rows no faster.
_MEMORY = "1100MB"
# What a changed event may tell otherwise than before.
_DETAILS = tuple(name for name in EVENTS.names[5:] if name != "source")
_UNREADABLE = (duckdb.IOException, duckdb.InvalidInputException, duckdb.ConversionException, duckdb.OutOfRangeException)


@dataclass(frozen=True, kw_only=True)
class Staged:
    """The rows of one file as the table ``staged`` of ``connection``, in its order: typed columns and ``reason``.

    ``lines``: number and text of the lines that the reader refused; ``hidden`` counts those of erased people, whose
    text isn't kept; ``note`` says what is wrong with the file as a whole. Rows without a ``reason`` (null) are good.
    """

    connection: duckdb.DuckDBPyConnection
    source: Source
    file: str
    opened: Opened
    lines: Lines
    hidden: int
    note: str = ""

    def count(self, condition: str) -> int:
        """How many rows of ``staged`` meet a condition in SQL."""
        found = self.connection.execute(f"SELECT count(*) FROM staged WHERE {condition}").fetchone()
        return int(found[0]) if found else 0


@contextmanager
def workshop(within: Path | None = None) -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """A database in memory that spills into a scratch folder, and that folder, for the time of one file.

    The folder lies ``within`` one that the next intake clears, should this one be killed; without, in the system's.
    """
    if within is not None:
        within.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="rapport-intake-", dir=within) as scratch, in_memory() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"SET temp_directory = {literal(scratch)}")
        connection.execute(f"SET memory_limit = {literal(_MEMORY)}")
        yield connection, Path(scratch)


def stage(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    source: Source,
    *,
    file: str,
    scratch: Path,
    history: History,
    rules: Rules,
    erased: Erased | None = None,
) -> Staged:
    """Read a file whole into ``staged``: each row is typed and judged, alone and beside the others and the history.

    Raises
    ------
    InputError
        When the file can't be read at all, or lacks a mapped column.
    """
    if any(each.replies for each in source.mapped.values()):
        _teach_replies(connection)
    if any(each.hashed for each in (*source.mapped.values(), *source.mapped_attributes.values())):
        connection.create_function(DIGEST_OF, digest_of, ["VARCHAR"], "VARCHAR")
    try:
        opened, lines, note = _read(connection, path, source, scratch=scratch, rules=rules)
    except _UNREADABLE as error:
        said = str(error).strip().splitlines()[0]
        ends = "ends of lines that differ (CR, LF or both): " if UNEVEN_ENDS in said else ""
        raise InputError(f"{file} can't be read", got=f"{ends}{said}", do="export it again, or mend it") from error
    kept = lines
    if erased:
        _mark_erased(connection, source, erased)
        kept = [each for each in lines if not _tells_of(erased, each[1])]
    if source.rows == "events":
        if "event_id" in source.columns:
            _mark_repeated(connection, source, history)
        else:
            _give_ids(connection, source)
    return Staged(
        connection=connection,
        source=source,
        file=file,
        opened=opened,
        lines=kept,
        hidden=len(lines) - len(kept),
        note=note,
    )


def _read(
    connection: duckdb.DuckDBPyConnection, path: Path, source: Source, *, scratch: Path, rules: Rules
) -> tuple[Opened, Lines, str]:
    """Make ``staged`` of a file; with the lines that are no rows, and what was wrong with the file as a whole."""

    def read(plain: Path, as_written: Source) -> Opened:
        opened = open_source(connection, plain, source=as_written, paths=source.paths, scratch=scratch)
        connection.execute(f"CREATE OR REPLACE TEMP TABLE staged AS {checked_rows(source, opened, rules=rules)}")
        return opened

    even = replace(source, encoding="utf-8")
    try:
        opened = read(path, source)
    except _UNREADABLE as error:
        if UNEVEN_ENDS not in str(error):
            raise
        path = even_ends(unpacked(path, scratch=scratch), scratch=scratch, encoding=source.encoding)
        opened, source = read(path, even), even
    if not (record := unclosed(connection)):
        return opened, rejected(connection), ""
    plain = unpacked(path, scratch=scratch)
    whole, after = before(plain, record, scratch=scratch, encoding=source.encoding)
    if not after:
        return opened, rejected(connection), ""
    forget_rejected(connection)
    opened = read(whole, even)
    return opened, [*rejected(connection), *after], f"a quotation mark opened in line {after[0][0]} never closes"


def digest_of(text: str) -> str:
    """An id made of a text that is none, such as an e-mail address, however it is written.

    >>> digest_of("Anna@Shop.example ") == digest_of("anna@shop.example"), len(digest_of("anna"))
    (True, 32)
    """
    plain = normal_email(text) or text.strip().casefold()
    return hashlib.sha256(plain.encode()).hexdigest()[:32]


def _teach_replies(connection: duckdb.DuckDBPyConnection) -> None:
    from features.privacy.replies import meant_by

    def meanings(texts: pa.ChunkedArray) -> pa.Array:
        distinct: dict[str | None, str | None] = {each: each and meant_by(each) for each in set(texts.to_pylist())}
        return pa.array([distinct[each] for each in texts.to_pylist()], pa.string())

    function: Callable[..., object] = meanings
    connection.create_function(MEANT_BY, function, ["VARCHAR"], "VARCHAR", type="arrow", null_handling="special")


def _mark_erased(connection: duckdb.DuckDBPyConnection, source: Source, erased: Erased) -> None:
    """Mark the rows of erased people, known by their account or by an address among the attributes."""
    if "customer_id" not in source.columns:
        return
    told = [(name, column) for name, column in zip(source.mapped_attributes, attribute_columns(source), strict=True)]
    for attribute, value in [(literal(name), column) for name, column in told] or (
        [("attribute", "value")] if "value" in source.columns else []
    ):
        erased.recognize(
            connection.execute(
                f"SELECT DISTINCT customer_id, {attribute}, {value} FROM staged "
                f"WHERE customer_id IS NOT NULL AND {value} IS NOT NULL"
            ).fetchall()
        )
    accounts = [row[0] for row in connection.execute("SELECT DISTINCT customer_id FROM staged").fetchall() if row[0]]
    gone = erased.among(accounts)
    connection.execute(
        f"UPDATE staged SET reason = {literal(ERASED_PERSON)} WHERE list_contains(?, customer_id)", [sorted(gone)]
    )


def _tells_of(erased: Erased, line: str) -> bool:
    return erased.named_in(tokens(line))


def _give_ids(connection: duckdb.DuckDBPyConnection, source: Source) -> None:
    """Give events an id made of their content, and a number where rows of the file are identical."""
    given = [name for name in EVENTS.names if name in source.columns]
    parts = ", ".join(f"coalesce(CAST({name} AS VARCHAR), chr(30))" for name in given if name != "recorded_at")
    names = literal(",".join(given))
    connection.execute(
        f"""
        CREATE TEMP TABLE hashed AS SELECT rowid AS row,
            left(sha256(concat_ws(chr(31), {literal(source.name)}, {names}, {parts})), 40) AS content
        FROM staged WHERE reason IS NULL;
        CREATE TEMP TABLE numbered AS
            SELECT row, row_number() OVER (PARTITION BY content ORDER BY row) AS number FROM hashed
            WHERE content IN (SELECT content FROM hashed GROUP BY content HAVING count(*) > 1);
        CREATE TEMP VIEW ids AS
            SELECT hashed.row, content || CASE WHEN number > 1 THEN '-' || number ELSE '' END AS event_id
            FROM hashed LEFT JOIN numbered ON hashed.row = numbered.row;
        """
    )


def _mark_repeated(connection: duckdb.DuckDBPyConnection, source: Source, history: History) -> None:
    """Mark events whose id came before, in the file or in the history, with the same or other content.

    In the file the first counts; what the history holds with the same content is not marked: it is not added again.
    """
    core = [f"{{}}.{name}" for name in ("customer_id", "kind", "occurred_at")]
    rest = [f"{{}}.{name}" for name in _DETAILS if name in source.columns]
    conflict, changed = (_differs(columns) for columns in (core, rest))
    connection.execute(
        f"""
        CREATE TEMP TABLE repeated AS
            SELECT one.rowid AS row, CASE WHEN {conflict} THEN 'conflicting_event_id'
                WHEN {changed} THEN {literal(CHANGED)} ELSE 'duplicate_event_id' END AS code
            FROM staged AS one
            JOIN (SELECT event_id, min(rowid) AS first FROM staged WHERE reason IS NULL
                  GROUP BY event_id HAVING count(*) > 1) AS twice ON one.event_id = twice.event_id
            JOIN staged AS held ON held.rowid = twice.first
            WHERE one.reason IS NULL AND one.rowid > twice.first;
        UPDATE staged SET reason = code FROM repeated WHERE staged.rowid = repeated.row;
        CREATE TEMP TABLE known AS
            SELECT one.rowid AS row, {conflict} AS conflict
            FROM staged AS one JOIN {history.scan("events")} AS held ON one.event_id = held.event_id
            WHERE one.reason IS NULL AND ({conflict} OR {changed});
        UPDATE staged SET reason = CASE WHEN conflict THEN 'conflicting_event_id' ELSE {literal(CHANGED)} END
            FROM known WHERE staged.rowid = known.row;
        """
    )


def _differs(columns: Sequence[str]) -> str:
    one, held = (", ".join(each.format(side) for each in columns) for side in ("one", "held"))
    return f"row({one}) IS DISTINCT FROM row({held})" if columns else "false"
