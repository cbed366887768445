"""Tables of PostgreSQL: their rows are copied into a file once, consistently, and then checked as every file is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from features.errors import InputError, unknown
from features.feature import micros_of
from features.intake.sources import Source

if TYPE_CHECKING:
    from psycopg import Connection, Cursor
    from psycopg.sql import Composable

#: How far a later run reads again where the source does not say: rows may be committed long after they got their value.
OVERLAP = {"time": "1h", "number": "10000"}

_TIMES = ("timestamp without time zone", "timestamp with time zone", "date")
_NUMBERS = ("smallint", "integer", "bigint", "numeric")
_SECONDS_TO_CONNECT = 10


@dataclass(frozen=True, kw_only=True)
class UnknownTable:
    """A whole table that no source maps yet; ``database`` names the variable that holds the URL.

    >>> UnknownTable(database="SHOP_DB", table="shop.orders").name
    'orders'
    """

    database: str
    table: str
    query: str = ""
    increases: str = ""
    overlap: str = ""

    @property
    def name(self) -> str:
        """The table's name without its schema."""
        return self.table.rpartition(".")[2]

    @property
    def origin(self) -> str:
        """The table."""
        return self.table


@dataclass(frozen=True, kw_only=True)
class Copied:
    """The file that the rows were copied into, and the mark up to which the next run need not read (empty: none)."""

    path: Path
    mark: str = ""


def copied(source: Source | UnknownTable, *, environment: Mapping[str, str], mark: str, target: Path) -> Copied:
    """Copy the rows of a table or a query to ``target`` as CSV: all, or those beyond ``mark`` less the overlap.

    One read-only transaction sees the table as of one moment. Times are written in UTC.

    Raises
    ------
    InputError
        When the database can't be reached or the rows can't be read. It never shows the URL or its password.
    """
    import psycopg

    url = environment.get(source.database, "")
    if not url:
        raise InputError(
            f"the environment does not say where the database of source {source.name!r} is",
            got=f"no variable {source.database}",
            do=f"set {source.database} to a URL such as postgresql://user@host/database",
        )
    try:
        with psycopg.connect(
            url, connect_timeout=_SECONDS_TO_CONNECT, options="-c TimeZone=UTC -c DateStyle=ISO"
        ) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            return _copy(connection, source, mark=mark, target=target)
    except psycopg.Error as error:
        raise InputError(
            f"the rows of source {source.name!r} can't be read from the database",
            got=_without_secrets(str(error), url=url),
            do=f"check {source.database}, the table and the rights of its user",
        ) from None  # the error's own text may hold the password


def _copy(connection: Connection, source: Source | UnknownTable, *, mark: str, target: Path) -> Copied:
    from psycopg import sql

    with connection.cursor() as cursor:
        rows = _rows(source)
        found = ""
        condition: Composable = sql.SQL("")
        if source.increases:
            kind = _kind(cursor, rows, source)
            column = sql.Identifier(source.increases)
            newest = sql.SQL("SELECT max({}) FROM {}").format(column, rows)
            found = str((cursor.execute(newest).fetchone() or ("",))[0] or "")
            if mark:
                condition = sql.SQL(" WHERE {} >= {}::{} - {}").format(
                    column,
                    sql.Literal(mark),
                    sql.SQL(kind),
                    _overlap(source, kind),
                )
        wanted = sql.SQL("COPY (SELECT * FROM {}{}) TO STDOUT (FORMAT csv, HEADER)").format(rows, condition)
        with target.open("wb") as file, cursor.copy(wanted) as copy:
            for block in copy:
                file.write(block)
    return Copied(path=target, mark=found or mark)


def _rows(source: Source | UnknownTable) -> Composable:
    from psycopg import sql

    if source.table:
        return sql.Identifier(*source.table.split("."))
    text = source.query.strip().rstrip(";")
    return sql.SQL("({}) AS rows_of_query").format(sql.SQL(text))


def _kind(cursor: Cursor, rows: Composable, source: Source | UnknownTable) -> str:
    """The type of the increasing column, which must be a time or a number."""
    from psycopg import sql

    described = cursor.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(rows)).description or []
    codes = {each.name: each.type_code for each in described}
    if source.increases not in codes:
        raise unknown(f"column of {source.origin}", source.increases, codes)
    name = str((cursor.execute("SELECT format_type(%s, NULL)", [codes[source.increases]]).fetchone() or ("",))[0])
    if name not in (*_TIMES, *_NUMBERS):
        raise InputError(
            f"the column {source.increases!r} that increases must be a time or a number",
            got=f"{name} in {source.origin}",
            do="name a time of change or a number from a sequence, or leave increases out to read all rows each time",
        )
    return name


def _overlap(source: Source | UnknownTable, kind: str) -> Composable:
    from psycopg import sql

    if kind in _TIMES:
        return sql.SQL("make_interval(secs => {})").format(
            sql.Literal(micros_of(source.overlap or OVERLAP["time"]) / 1e6)
        )
    text = source.overlap or OVERLAP["number"]
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise InputError(
            "the overlap of a number is a number", got=repr(text), do=f'write something like "{OVERLAP["number"]}"'
        )
    return sql.Literal(int(text))


def _without_secrets(said: str, *, url: str) -> str:
    """The first line of an error without the URL or its password, in whatever form the driver repeats them."""
    line = (said.strip().splitlines() or ["no answer"])[0]
    try:
        secrets = {url, urlsplit(url).password or ""}
    except ValueError:
        secrets = {url}
    secrets |= set(re.findall(r"password\s*=\s*('[^']*'|\S+)", url))
    hidden = any(each and each.strip("'") in line for each in secrets) or "connection info string" in line
    return "an error whose text repeats the URL" if hidden else line[:300]
