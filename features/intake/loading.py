"""Intake: files of many systems become facts; rows that can't are kept aside with the reason, and none is lost."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import msgspec
import pyarrow as pa

from features.errors import InputError
from features.facts import EVENTS, ID_PATTERN, micros
from features.history import History
from features.intake.checks import attribute_columns, believable, checked_rows
from features.intake.readers import ROW, Opened, open_source, rejected
from features.intake.sources import Source
from features.sql import literal
from features.tables import write_table

#: Above this share of bad rows nothing of a file is loaded, unless told to.
MOST_BAD = 0.05

_LEFT_SECONDS = 86_400
_HARMLESS = "duplicate_event_id"
_UNREADABLE = (duckdb.IOException, duckdb.InvalidInputException, duckdb.ConversionException, duckdb.OutOfRangeException)


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What became of one file: ``accepted + quarantined = read``.

    ``new`` counts the facts that the history did not hold (a row of wide attributes is several facts); ``refused``
    says that too many rows were bad, so that nothing was loaded.
    """

    source: str
    file: str
    read: int
    accepted: int
    quarantined: int
    new: int
    reasons: dict[str, int] = field(default_factory=dict)
    refused: bool = False
    quarantine: str = ""


@dataclass(frozen=True, kw_only=True)
class _Receipt:
    """That a file was taken in: its outcome, and by which mapping."""

    mapping: str
    loaded: Loaded


def ingest(
    source: Source,
    *,
    data: Path,
    history: History,
    quarantine: Path,
    now: datetime | None = None,
    accept_bad: bool = False,
) -> tuple[Loaded, ...]:
    """Take in the files of ``source`` under ``data``; a file that was taken in before changes nothing.

    Each bad row goes to a CSV file under ``quarantine`` with its reason code and the original row as JSON. Of a file
    with more than 5% bad rows nothing is loaded, unless ``accept_bad``; repeated rows are set aside but not held
    against it. An opt-out whose customer can be read is never lost: ``history`` keeps those of bad rows and refused
    files in ``opt_outs``, for the ledger to hear. ``now`` (without: the clock) is what future times are judged by.

    Raises
    ------
    InputError
        When there is no such file, or one can't be read at all, lacks a mapped column, or was taken in by another
        mapping; the others are taken in first.
    """
    moment = now or datetime.now(UTC)
    files = _files(source, data=data)
    if not files:
        raise InputError(
            f"source {source.name!r} finds no file {source.file!r}",
            got=f"nothing by that name in {str(data)!r}",
            do="check 'file' of the source, or pass --data the folder it lies in",
        )
    loaded, failed = [], []
    for each in files:
        try:
            loaded.append(
                _ingest_file(each, source, history=history, quarantine=quarantine, now=moment, accept_bad=accept_bad)
            )
        except InputError as error:  # the other files are taken in all the same: an opt-out may stand in them
            failed.append(error)
    if failed:
        raise failed[0]
    return tuple(loaded)


def _files(source: Source, *, data: Path) -> list[Path]:
    pattern = Path(source.file)
    if pattern.is_absolute() or ".." in pattern.parts:
        raise InputError(
            f"the file of source {source.name!r} must lie within the folder of the data",
            got=repr(source.file),
            do="name it relative to that folder, and pass another folder with --data",
        )
    try:
        return sorted(each for each in data.glob(source.file) if each.is_file()) if source.file else []
    except (ValueError, OSError) as error:
        raise InputError(
            f"the file of source {source.name!r} is no pattern",
            got=f"{source.file!r}: {error}",
            do="write a name or a pattern such as exports/*.csv",
        ) from error


def _ingest_file(
    path: Path, source: Source, *, history: History, quarantine: Path, now: datetime, accept_bad: bool
) -> Loaded:
    part = f"{source.name[:80]}-{_digest(path)[:24]}"
    mapping = hashlib.sha256(msgspec.json.encode(source)).hexdigest()
    receipt = history.folder / "receipts" / f"{part}.json"
    if receipt.exists():
        return _again(path, msgspec.json.decode(receipt.read_bytes(), type=_Receipt), mapping=mapping)
    with TemporaryDirectory(prefix="rapport-intake-") as scratch, duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"SET temp_directory = {literal(scratch)}")
        try:
            bad = _stage(connection, path, source, history=history, now=now, scratch=Path(scratch))
        except _UNREADABLE as error:
            raise InputError(
                f"{path.name} can't be read", got=str(error).strip().splitlines()[0], do="export it again, or mend it"
            ) from error
        loaded = _counted(connection, path, source, bad=bad)
        loaded = _set_aside(loaded, bad, quarantine / f"{part}.csv")
        _keep_opt_outs(connection, source, history=history, part=part, now=now, every=_too_bad(loaded))
        if _too_bad(loaded) and not accept_bad:
            return replace(loaded, refused=True)
        loaded = replace(loaded, new=_append(connection, source, history=history, part=part))
    _write(receipt, msgspec.json.encode(_Receipt(mapping=mapping, loaded=loaded)))
    return loaded


def _again(path: Path, receipt: _Receipt, *, mapping: str) -> Loaded:
    if receipt.mapping != mapping:
        raise InputError(
            f"{path.name} was taken in before by another mapping of source {receipt.loaded.source!r}",
            got="a mapping that has changed since, which would count its facts twice",
            do="restore the mapping, or remove the history's folder and ingest everything again",
        )
    return replace(receipt.loaded, new=0)


def _stage(
    connection: duckdb.DuckDBPyConnection, path: Path, source: Source, *, history: History, now: datetime, scratch: Path
) -> pa.Table:
    """Make the table ``staged`` of typed rows with their reasons; returns the bad rows as the quarantine keeps them."""
    fields = [*source.mapped.values(), *source.mapped_attributes.values()]
    paths = list(dict.fromkeys(each for field in fields for each in field.paths))
    opened = open_source(connection, path, source=source, paths=paths, scratch=scratch)
    connection.execute(f"CREATE TEMP TABLE staged AS {checked_rows(source, opened, now=now)}")
    refused = rejected(connection)
    if source.rows == "events":
        if "event_id" in source.columns:
            _find_repeated(connection, history)
        else:
            _give_ids(connection, source)
    return pa.concat_tables([_bad_rows(connection, opened, path, source), _bad_lines(refused, path, source)])


def _give_ids(connection: duckdb.DuckDBPyConnection, source: Source) -> None:
    """Give events an id made of their content, and a number where rows of the file are identical."""
    given = [name for name in EVENTS.names if name in source.columns]
    parts = ", ".join(f"coalesce(CAST({name} AS VARCHAR), chr(30))" for name in given if name != "recorded_at")
    names = literal(",".join(given))
    connection.execute(
        f"""
        CREATE TEMP TABLE hashed AS SELECT place,
            left(sha256(concat_ws(chr(31), {literal(source.name)}, {names}, {parts})), 40) AS content
        FROM staged WHERE reason IS NULL;
        CREATE TEMP TABLE numbered AS
            SELECT place, row_number() OVER (PARTITION BY content ORDER BY place) AS number FROM hashed
            WHERE content IN (SELECT content FROM hashed GROUP BY content HAVING count(*) > 1);
        CREATE TEMP VIEW ids AS
            SELECT place, content || CASE WHEN number > 1 THEN '-' || number ELSE '' END AS event_id
            FROM hashed LEFT JOIN numbered USING (place);
        """
    )


def _find_repeated(connection: duckdb.DuckDBPyConnection, history: History) -> None:
    """Mark events whose id came before: in the file, with the same or other content, or in the history with other."""
    content = "customer_id, kind, occurred_at"
    connection.execute(
        f"""
        CREATE TEMP TABLE repeated AS
            SELECT place, row_number() OVER ids > 1 AS later,
                row({content}) IS DISTINCT FROM first(row({content})) OVER ids AS other
            FROM staged
            WHERE reason IS NULL AND event_id IN
                (SELECT event_id FROM staged WHERE reason IS NULL GROUP BY event_id HAVING count(*) > 1)
            WINDOW ids AS (PARTITION BY event_id ORDER BY place);
        UPDATE staged SET reason = CASE WHEN other THEN 'conflicting_event_id' ELSE '{_HARMLESS}' END
            FROM repeated WHERE staged.place = repeated.place AND later;
        UPDATE staged SET reason = 'conflicting_event_id'
            FROM (SELECT event_id, {content} FROM {history.scan("events")}) AS held
            WHERE staged.reason IS NULL AND staged.event_id = held.event_id
                AND (staged.customer_id, staged.kind, staged.occurred_at)
                    IS DISTINCT FROM (held.customer_id, held.kind, held.occurred_at);
        """
    )


def _bad_rows(connection: duckdb.DuckDBPyConnection, opened: Opened, path: Path, source: Source) -> pa.Table:
    found = connection.execute("SELECT count(*) FROM staged WHERE reason IS NOT NULL").fetchone()
    if not found or not found[0]:
        return _bad_lines([], path, source)
    # Reading again spares the good rows from being kept in full.
    return connection.execute(
        f"""
        SELECT {literal(source.name)} AS source, {literal(path.name)} AS file, 'row ' || place AS place, reason,
            {opened.original} AS original
        FROM (SELECT row_number() OVER () AS place, {ROW} FROM {opened.relation} AS {ROW})
        JOIN staged USING (place) WHERE reason IS NOT NULL ORDER BY staged.place
        """
    ).to_arrow_table()


def _bad_lines(lines: list[tuple[int, str]], path: Path, source: Source) -> pa.Table:
    texts = {
        "source": [source.name] * len(lines),
        "file": [path.name] * len(lines),
        "place": [f"line {number}" for number, _ in lines],
        "reason": ["unreadable_row"] * len(lines),
        "original": [msgspec.json.encode({"line": text}).decode() for _, text in lines],
    }
    return pa.table({name: pa.array(values, pa.string()) for name, values in texts.items()})


def _counted(connection: duckdb.DuckDBPyConnection, path: Path, source: Source, *, bad: pa.Table) -> Loaded:
    accepted = (connection.execute("SELECT count(*) FROM staged WHERE reason IS NULL").fetchone() or (0,))[0]
    counts: Mapping[str, int] = {each["values"]: each["counts"] for each in bad["reason"].value_counts().to_pylist()}
    return Loaded(
        source=source.name,
        file=path.name,
        read=accepted + bad.num_rows,
        accepted=accepted,
        quarantined=bad.num_rows,
        new=0,
        reasons=dict(sorted(counts.items(), key=lambda each: (-each[1], each[0]))),
    )


def _set_aside(loaded: Loaded, bad: pa.Table, target: Path) -> Loaded:
    if bad.num_rows == 0:
        target.unlink(missing_ok=True)
        return loaded
    return replace(loaded, quarantine=str(write_table(bad, target)))


def _too_bad(loaded: Loaded) -> bool:
    bad = loaded.quarantined - loaded.reasons.get(_HARMLESS, 0)
    return bad > MOST_BAD * loaded.read


def _keep_opt_outs(
    connection: duckdb.DuckDBPyConnection, source: Source, *, history: History, part: str, now: datetime, every: bool
) -> None:
    """Keep the opt-outs of bad rows, or of ``every`` row when the file may be refused: a no is heard all the same."""
    if source.rows != "events":
        return
    channel = "channel" if "channel" in source.columns else "CAST(NULL AS VARCHAR)"
    found = connection.execute(
        f"""
        SELECT DISTINCT customer_id, {channel} AS channel,
            CASE WHEN {believable("occurred_at", now=now)} THEN occurred_at END AS occurred_at,
            make_timestamptz({micros(now)}) AS recorded_at, {literal(part)} AS origin
        FROM staged
        WHERE kind = 'opt_out' AND {"true" if every else "reason IS NOT NULL"}
            AND regexp_full_match(customer_id, '{ID_PATTERN}')
        """
    ).to_arrow_table()
    if found.num_rows:
        history.append_opt_outs(found, part=part)


def _append(connection: duckdb.DuckDBPyConnection, source: Source, *, history: History, part: str) -> int:
    origin = f"{literal(source.name)} AS source"
    if source.rows == "events":
        ids = "" if "event_id" in source.columns else "JOIN ids USING (place)"
        sql = f"SELECT *, {origin} FROM staged {ids} WHERE reason IS NULL"
        return history.append(connection.execute(sql).to_arrow_table(), part=part)
    append = history.append_profile if source.rows == "profile" else history.append_items
    owner = "customer_id" if source.rows == "profile" else "item"
    if not source.attributes:
        sql = f"SELECT *, {origin} FROM staged WHERE reason IS NULL"
        return append(connection.execute(sql).to_arrow_table(), part=part)
    each = [
        f"SELECT {owner}, {literal(name)} AS attribute, {column} AS value, occurred_at, recorded_at, {origin} "
        f"FROM staged WHERE reason IS NULL AND {column} IS NOT NULL"
        for name, column in zip(source.mapped_attributes, attribute_columns(source), strict=True)
    ]
    return append(connection.execute(" UNION ALL ".join(each)).to_arrow_table(), part=part)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob("*.tmp"):
        if left.stat().st_mtime < time.time() - _LEFT_SECONDS:  # of a process that was killed
            left.unlink(missing_ok=True)
    scratch = path.with_suffix(f".{os.getpid()}.tmp")
    with scratch.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    scratch.replace(path)
