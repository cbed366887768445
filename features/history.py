"""The history: append-only Parquet parts of facts in one folder, read as known at any moment."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import InputError
from features.facts import (
    CONSENTS,
    EVENTS,
    ID_PATTERN,
    ITEMS,
    LINKS,
    MEMBERS,
    OPT_OUTS,
    PROFILE,
    CustomerFacts,
    Event,
    ProfileFact,
    conform,
    micros,
)
from features.sql import in_memory

_ROWS_IN_GROUP = 65_536
_TABLES = {
    "events": EVENTS,
    "profile": PROFILE,
    "items": ITEMS,
    "opt_outs": OPT_OUTS,
    "consents": CONSENTS,
    "links": LINKS,
    "members": MEMBERS,
}
# What tells one fact from another: the id of an event, the whole row of most others.
_KEYS = {name: tuple(schema.names) for name, schema in _TABLES.items()} | {
    "events": ("event_id",),
    "opt_outs": ("customer_id", "channel", "occurred_at", "origin"),
    "consents": (*CONSENTS.names[:6], "occurred_at"),
}


class History:
    """Facts under ``folder``: ``events/``, ``profile/`` and ``items/``, each a folder of Parquet parts.

    Beside them lie what customers said about consent (``consents/``), links between accounts (``links/``) with what
    follows from them (``members/``), and the opt-outs of rows that were refused (``opt_outs/``): no facts for features,
    but a no is a no.

    ``customer_id`` in events, profile and consents is the *account*: the id by which the source knew the customer. Who
    is behind it ``members`` tells; where it names nobody, an account is a customer of its own.

    Facts are only ever added. An event is known by its ``event_id``, a fact of profile or item by its whole row:
    what the history holds already is not added again, whatever the part is called. A part appears whole or not at
    all, and is on disk when the call returns. One process appends at a time (a file lock); any number may read.

    >>> import tempfile
    >>> moment = datetime(2024, 5, 1)
    >>> row = {"event_id": "e1", "customer_id": "anna", "kind": "visit", "occurred_at": moment, "recorded_at": moment}
    >>> history = History(tempfile.mkdtemp())
    >>> history.append(pa.Table.from_pylist([row]), part="monday"), history.append(pa.Table.from_pylist([row]), "again")
    (1, 0)
    >>> [event.kind for event in history.customer("anna").events]
    ['visit']
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._local = threading.local()

    def append(self, events: pa.Table, part: str) -> int:
        """Add the events that the history does not hold yet; returns how many those were.

        Parameters
        ----------
        events: rows in the EVENTS schema. Of rows that share an ``event_id`` the earliest recorded one is kept.
        part: name of the batch, part of the file's name.
        """
        return self._append("events", conform(events, EVENTS, what="events"), part=part)

    def append_profile(self, profile: pa.Table, part: str) -> int:
        """Add facts about customers (PROFILE schema); returns how many were new."""
        facts = conform(profile, PROFILE, what="profile facts")
        return self._append("profile", facts, part=part)

    def append_items(self, items: pa.Table, part: str) -> int:
        """Add facts about offers and products (ITEMS schema); returns how many were new."""
        facts = conform(items, ITEMS, what="item facts")
        return self._append("items", facts, part=part)

    def append_opt_outs(self, opt_outs: pa.Table, part: str) -> int:
        """Add opt-outs of refused rows (OPT_OUTS schema); returns how many were new. A file tells each of them once."""
        facts = conform(opt_outs, OPT_OUTS, what="opt-outs")
        return self._append("opt_outs", facts, part=part)

    def append_consents(self, consents: pa.Table, part: str) -> int:
        """Add what customers said about consent (CONSENTS schema); returns how many were new."""
        facts = conform(consents, CONSENTS, what="consents")
        return self._append("consents", facts, part=part)

    def append_links(self, links: pa.Table, part: str) -> int:
        """Add links between accounts (LINKS schema); returns how many were new."""
        return self._append("links", conform(links, LINKS, what="links"), part=part)

    def append_from(
        self, connection: duckdb.DuckDBPyConnection, name: str, query: str, *, part: str, distinct: bool = False
    ) -> int:
        """Add what ``query`` of ``connection`` tells to the table ``name``; returns how many facts were new.

        Its rows never are in memory all at once. Columns of the table that the query lacks are null. ``distinct`` says
        that no two rows are the same fact, which then isn't looked for. The connection's time zone must be UTC.
        """
        told = {row[0] for row in connection.execute(f"DESCRIBE {query}").fetchall()}
        named = ", ".join(_null(each) if each.name not in told else each.name for each in _TABLES[name])
        connection.execute(f"CREATE OR REPLACE TEMP VIEW batch AS SELECT {named} FROM ({query})")
        return self._add(connection, name, part=part, distinct=distinct)

    def events(self, until: datetime | None = None, *, since: datetime | None = None) -> pa.Table:
        """All events, or those known at ``until`` (both times strictly before it), in the EVENTS schema.

        ``since``: only those that occurred then or later.
        """
        return self._read("events", EVENTS, until=until, since=since)

    def profile(self, until: datetime | None = None) -> pa.Table:
        """All facts about customers, or those known at ``until``, in the PROFILE schema."""
        return self._read("profile", PROFILE, until=until)

    def items(self, until: datetime | None = None) -> pa.Table:
        """All facts about offers and products, or those known at ``until``, in the ITEMS schema."""
        return self._read("items", ITEMS, until=until)

    def consents(self, until: datetime | None = None) -> pa.Table:
        """All that customers said about consent, or what was known at ``until``, in the CONSENTS schema."""
        return self._read("consents", CONSENTS, until=until)

    def links(self, until: datetime | None = None) -> pa.Table:
        """All links between accounts, or those known at ``until``, in the LINKS schema."""
        return self._read("links", LINKS, until=until)

    def members(self) -> pa.Table:
        """Which accounts belong together, and when that was known, in the MEMBERS schema."""
        return self._read("members", MEMBERS, until=None)

    def accounts(self, customer_id: str, *, as_of: datetime | None = None) -> tuple[str, ...]:
        """The accounts whose behaviour may be used for a customer, named by any of them, as known at ``as_of``."""
        return self._linked((customer_id,), strength="personalize", as_of=as_of)

    def customer(self, customer_id: str, *, as_of: datetime | None = None) -> CustomerFacts:
        """All facts of one customer, of all the accounts known to be theirs at ``as_of`` (default: now), oldest first.

        With the events of the accounts that were known to share a household with one of them. Of an unknown customer
        there are none.
        """
        own = self.accounts(customer_id, as_of=as_of)
        others = sorted(set(self._linked(own, strength="household", as_of=as_of)) - set(own))
        return CustomerFacts(
            customer_id=customer_id,
            events=tuple(map(Event._make, self._rows("events", own, order="occurred_at, event_id"))),
            profile=tuple(
                map(ProfileFact._make, self._rows("profile", own, order="occurred_at, recorded_at, attribute, value"))
            ),
            household=tuple(map(Event._make, self._rows("events", others, order="occurred_at, event_id"))),
        )

    def _linked(self, account_ids: Sequence[str], *, strength: str, as_of: datetime | None) -> tuple[str, ...]:
        """``account_ids`` and the accounts in a group of ``strength`` with one of them, as known at ``as_of``."""
        at = (
            "until IS NULL"
            if as_of is None
            else f"since < {_moment(as_of)} AND NOT coalesce(until < {_moment(as_of)}, false)"
        )
        known = f"(SELECT * FROM {self.scan('members')} WHERE strength = ? AND {at})"
        found = self._cursor().execute(
            f"WITH known AS {known} SELECT account_id FROM known "
            "WHERE customer_id IN (SELECT customer_id FROM known WHERE account_id = ANY(?))",
            [strength, list(account_ids)],
        )
        return tuple(sorted({*account_ids} | {account for (account,) in found.fetchall()}))

    def _rows(self, name: str, account_ids: Sequence[str], *, order: str) -> Iterator[tuple[object, ...]]:
        if not account_ids:
            return iter(())
        schema = _TABLES[name]
        sql = f"SELECT {', '.join(schema.names)} FROM {self.scan(name)} WHERE customer_id = ANY(?) ORDER BY {order}"
        return _tuples(self._cursor().execute(sql, [list(account_ids)]).to_arrow_table().cast(schema))

    def scan(self, name: str) -> str:
        """SQL (DuckDB) for all rows of ``events``, ``profile``, ``items`` ... in a FROM clause.

        A part that was written before its table had some column holds nulls there.
        """
        schema, parts = _TABLES[name], self.parts(name)
        if not parts:
            return f"(SELECT {', '.join(map(_null, schema))} WHERE false)"
        by_missing: dict[tuple[str, ...], list[Path]] = {}
        for part in parts:
            held = _columns(part, part.stat().st_mtime_ns)
            by_missing.setdefault(tuple(each for each in schema.names if each not in held), []).append(part)
        if list(by_missing) == [()]:
            return _read_parquet(parts)
        return "(" + " UNION ALL ".join(_filled(schema, *each) for each in by_missing.items()) + ")"

    def parts(self, name: str) -> list[Path]:
        """The Parquet files of ``events``, ``profile``, ``items`` ..., each whole, by name."""
        parts = sorted((self.folder / name).glob("*.parquet"))
        for part in parts:
            _check_whole(part)
        return parts

    def _read(self, name: str, schema: pa.Schema, *, until: datetime | None, since: datetime | None = None) -> pa.Table:
        known = "true" if until is None else f"occurred_at < {_moment(until)} AND recorded_at < {_moment(until)}"
        late = "true" if since is None else f"occurred_at >= {_moment(since)}"
        sql = f"SELECT {', '.join(schema.names)} FROM {self.scan(name)} WHERE {known} AND {late}"
        with _told(self.folder / name):
            return self._cursor().execute(sql).to_arrow_table().cast(schema)

    def _append(self, name: str, facts: pa.Table, *, part: str) -> int:
        with _connect() as connection:
            connection.register("batch", facts)
            return self._add(connection, name, part=part)

    def _add(self, connection: duckdb.DuckDBPyConnection, name: str, *, part: str, distinct: bool = False) -> int:
        """Write what ``batch`` of ``connection`` holds beyond the history as a part; returns its number of rows."""
        with self.writing(), _told(self.folder / name):
            if not _make_new(connection, held=self.scan(name), key=_KEYS[name], distinct=distinct):
                return 0
            folder = self.folder / name
            folder.mkdir(parents=True, exist_ok=True)
            for left in folder.glob("*.tmp"):  # of a process that was killed: who holds the lock writes alone
                left.unlink(missing_ok=True)
            return _write_part(connection, _TABLES[name], _free_name(folder, part))

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        if not hasattr(self._local, "connection"):
            self._local.connection = _connect()
        connection: duckdb.DuckDBPyConnection = self._local.connection
        return connection

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the history against all other writers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def _connect() -> duckdb.DuckDBPyConnection:
    connection = in_memory()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET parquet_metadata_cache = true")
    return connection


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """What DuckDB can't read of the parts in ``folder`` is the user's to mend."""
    try:
        yield
    except (duckdb.Error, pa.ArrowException) as error:
        raise _damaged(folder, got=str(error).strip().splitlines()[0]) from error


@lru_cache(maxsize=16_384)
def _columns(part: Path, _changed: int) -> frozenset[str]:
    """The columns of a part, which stays as it is until its time changes."""
    with _told(part.parent):
        return frozenset(pq.read_schema(part).names)


def _filled(schema: pa.Schema, missing: tuple[str, ...], parts: Sequence[Path]) -> str:
    columns = (_null(field) if field.name in missing else field.name for field in schema)
    return f"SELECT {', '.join(columns)} FROM {_read_parquet(parts)}"


def _read_parquet(parts: Sequence[Path]) -> str:
    files = ", ".join("'" + str(part).replace("'", "''") + "'" for part in parts)
    return f"read_parquet([{files}])"


def _null(field: pa.Field) -> str:
    return f"CAST(NULL AS {_sql_type(field.type)}) AS {field.name}"


def is_whole(part: Path) -> bool:
    """Whether a Parquet file has its end: one that was cut short has lost what is needed to read the rest."""
    with part.open("rb") as stream:
        stream.seek(max(0, part.stat().st_size - 4))
        return stream.read() == b"PAR1"


def _check_whole(part: Path) -> None:
    if not is_whole(part):
        raise _damaged(part, got=f"{part.stat().st_size} bytes that do not end as a Parquet file does")


def _damaged(path: Path, *, got: str) -> InputError:
    return InputError(
        f"{path.name!r} of the history can't be read",
        got=got,
        do="run `rapport identity resolve`: who belongs together follows from the links, and is made again"
        if path.parent.name == "members"
        else f"restore {path} from a backup, or remove the history's folder and ingest everything again",
    )


def _make_new(connection: duckdb.DuckDBPyConnection, *, held: str, key: tuple[str, ...], distinct: bool) -> bool:
    """Make the view ``new`` of batch rows that are not held, one row a key; whether it may hold any."""
    same = " AND ".join(f"held.{column} IS NOT DISTINCT FROM batch.{column}" for column in key)
    if len(key) == 1:  # an equality that DuckDB hashes; the id is never null
        same = f"held.{key[0]} = batch.{key[0]}"
    unseen = f"SELECT * FROM batch WHERE NOT EXISTS (SELECT 1 FROM {held} AS held WHERE {same})"
    connection.execute(f"CREATE OR REPLACE TEMP VIEW unseen AS {unseen}")
    names = ", ".join(key)
    total, keys = (-1, -1) if distinct else _counted(connection, names)
    first = f"QUALIFY row_number() OVER (PARTITION BY {names} ORDER BY recorded_at, occurred_at, batch) = 1"
    keep = "" if total == keys else first
    connection.execute(f"CREATE OR REPLACE TEMP VIEW new AS SELECT * FROM unseen AS batch {keep}")
    return keys != 0


def _counted(connection: duckdb.DuckDBPyConnection, names: str) -> tuple[int, int]:
    """How many rows ``unseen`` has, and how many different keys."""
    total, keys = connection.execute(
        f"SELECT coalesce(sum(n), 0)::BIGINT, count(*) FROM (SELECT count(*) AS n FROM unseen GROUP BY {names})"
    ).fetchone() or (0, 0)
    return int(total), int(keys)


def _write_part(connection: duckdb.DuckDBPyConnection, schema: pa.Schema, target: Path) -> int:
    """Write the rows of ``new`` to ``target``, no file for none; returns how many there are."""
    owner = schema.names[1] if "event_id" in schema.names else schema.names[0]
    order = ", ".join([owner, "occurred_at", *(name for name in schema.names if name in ("event_id", "attribute"))])
    scratch = target.with_suffix(f".{os.getpid()}.tmp")
    try:
        # Sorted by customer, so that one customer's facts lie in one row group of each part.
        (rows,) = connection.execute(
            f"COPY (SELECT * FROM new ORDER BY {order}) "
            f"TO '{str(scratch).replace(chr(39), chr(39) * 2)}' "
            f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {_ROWS_IN_GROUP})"
        ).fetchone() or (0,)
        if rows:
            _sync(scratch)
            scratch.replace(target)
            _sync(target.parent)
        return int(rows)
    finally:
        scratch.unlink(missing_ok=True)


def _free_name(folder: Path, part: str) -> Path:
    if not re.fullmatch(ID_PATTERN, part):
        raise InputError(
            "the name of a part must be an id", got=repr(part), do="use letters, digits and _ . : - (at most 128)"
        )
    part = part.replace(":", "-")  # which Spark takes for the end of a scheme
    stem = part if len(part) <= 100 else part[:67] + hashlib.sha256(part.encode()).hexdigest()[:32]
    taken = {each.stem for each in folder.glob("*.parquet")}
    number = 1
    while (name := stem if number == 1 else f"{stem}-{number}") in taken:
        number += 1
    return folder / f"{name}.parquet"


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _moment(moment: datetime) -> str:
    return f"make_timestamptz({micros(moment)})"


def _sql_type(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return "TIMESTAMPTZ"
    if pa.types.is_boolean(kind) or pa.types.is_floating(kind):
        return "BOOLEAN" if pa.types.is_boolean(kind) else "DOUBLE"
    return "BIGINT" if pa.types.is_integer(kind) else "VARCHAR"


def _tuples(table: pa.Table) -> Iterator[tuple[object, ...]]:
    return zip(*(column.to_pylist() for column in table.columns), strict=True)
