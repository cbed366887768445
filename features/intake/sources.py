"""What a source is: files or a table of some system, and which of its columns becomes which column of a fact."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal
from zoneinfo import available_timezones

import msgspec

from features.configuration import read_config
from features.errors import InputError, unknown
from features.facts import CONSENTS, EVENTS, ID_PATTERN, ITEMS, PROFILE
from features.feature import micros_of

Rows = Literal["events", "profile", "items", "consents"]
Unit = Literal["milliseconds", "seconds", "minutes", "hours", "days"]

#: Columns of events that are checked and not kept: a moment that the event can't precede, and the money's currency.
CHECKED = ("not_before", "currency")

#: Columns of a fact that a mapping can fill, by kind of row; ``source`` is always the source's name.
TARGETS: Mapping[Rows, tuple[str, ...]] = {
    "events": (*(name for name in EVENTS.names if name != "source"), *CHECKED),
    "profile": tuple(name for name in PROFILE.names if name != "source"),
    "items": tuple(name for name in ITEMS.names if name != "source"),
    "consents": tuple(name for name in CONSENTS.names if name != "source"),
}
_NEEDED: Mapping[Rows, tuple[str, ...]] = {
    "events": ("customer_id", "kind", "occurred_at"),
    "profile": ("customer_id", "occurred_at"),
    "items": ("item", "occurred_at"),
    "consents": ("customer_id", "channel", "granted", "occurred_at"),
}
_PLACES = ("file", "table", "query", "database", "increases", "overlap")
_GUIDE = "docs/intake.md"
_NAMESPACE = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}"
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]{0,127}"


@dataclass(frozen=True, kw_only=True)
class Field:
    """How one column of a fact is made from a row of the file.

    Parameters
    ----------
    column: a column, a dotted path into nested values (``"value.offer id"``), or several, the first present one counts.
    constant: the same text for every row instead.
    values: what each text of the column stands for; a text that is not listed makes the row bad, unless ``otherwise``
        says what it stands for.
    missing: texts that mean "not known" (the empty text always does).
    format: for times, how a text is written, as in ``"%Y%m%d"``; several are tried in turn. Without: ISO 8601.
    number_of, since: for times that are a number of hours, seconds, ... since a moment (without: since 1970).
    zone: time zone of times that name none; without it the source's.
    unit: for amounts, ``currency`` (12.30, becomes 1230 cents, half a cent away from zero) or ``cents``.
    decimal: for amounts, the decimal mark; with ``","`` a point groups thousands.
    join: with several columns, this text stands between the values of all of them, as ``" "`` in
        ``column = ["Datum", "Uhrzeit"], join = " "``; where one is empty the others are taken.
    hashed: for ids that are none, such as an e-mail address: the id is made of a digest of the text, in small letters
        and without blanks around it; addresses in their normal form.
    replies: for kinds, the column holds what customers wrote back, such as STOP; its meaning is the kind, and a text
        without one is a ``reply``.

    >>> Field(column="event", values={"transaction": "purchase"}).paths
    ('event',)
    """

    column: str | tuple[str, ...] = ()
    constant: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    otherwise: str | None = None
    missing: tuple[str, ...] = ()
    format: str | tuple[str, ...] = ()
    number_of: Unit | None = None
    since: str = "1970-01-01T00:00:00Z"
    zone: str = ""
    unit: Literal["currency", "cents"] = "currency"
    decimal: Literal[".", ","] = "."
    join: str | None = None
    hashed: bool = False
    replies: bool = False

    def __post_init__(self) -> None:
        if bool(self.paths) == (self.constant is not None):
            raise InputError(
                "a mapped field takes either a column or a constant",
                got=f"column = {self.column!r}, constant = {self.constant!r}",
                do="give one of the two",
            )
        if self.zone:
            _check_zone(self.zone)

    @property
    def paths(self) -> tuple[str, ...]:
        """The columns or paths, in the order they are tried."""
        return (self.column,) if isinstance(self.column, str) else self.column

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats, in the order they are tried."""
        return (self.format,) if isinstance(self.format, str) else self.format


Mapped = str | tuple[str, ...] | Field


@dataclass(frozen=True, kw_only=True)
class Source:
    """One ``[[source]]`` of a project: files or a table, and the mapping of their columns.

    Parameters
    ----------
    name: an id; it becomes the ``source`` of the facts.
    file: a file or a pattern (``exports/*.csv.gz``), relative to the folder of the data.
    table, query: instead of a file, a table (``public.orders``) or a query of a PostgreSQL database. Without a database
        a query, in DuckDB's SQL, joins files of the folder of the data: ``SELECT ... FROM 'till.parquet' JOIN ...``.
    database: for these, the NAME of the environment variable that holds the database's URL; never the URL itself.
    increases: for these, a column that grows with every new or changed row (a time or a number): a later run reads only
        from the last value on, less the ``overlap``. Without it every run reads all rows.
    overlap: how far to read again, for rows whose transaction was committed late: ``"1h"`` of a time, or a number.
    rows: whether a row is an event, or tells attributes of a customer (profile) or of an offer or product (items), or
        what a customer said about consent (consents).
    columns: column of the fact -> column of the file, list of columns, or Field.
    attributes: wide columns, each an attribute, as a list of columns or attribute -> Field. Profile and items without
        them map ``attribute`` and ``value``. Events with them tell facts about their customer too, each at its
        two times.
    namespace: set before each customer id, as in ``card:4711``, where ids of two systems could be mistaken.
    zone: time zone of times that name none.
    delay: how long after it happened a fact was known, where ``recorded_at`` is not mapped (``"6h"``; else at once).
    delimiter, encoding: of text files; the delimiter is found from the header line, the encoding is UTF-8. With a blank
        as delimiter, a run of blanks counts as one.

    >>> Source(name="till", file="till.csv", rows="events",
    ...        columns={"customer_id": "card", "kind": Field(constant="purchase"), "occurred_at": "time"}).origin
    'till.csv'
    """

    name: str
    file: str = ""
    table: str = ""
    query: str = ""
    database: str = ""
    increases: str = ""
    overlap: str = ""
    rows: Rows
    columns: Mapping[str, Mapped]
    attributes: tuple[str, ...] | Mapping[str, Mapped] = ()
    namespace: str = ""
    zone: str = "UTC"
    delay: str = ""
    delimiter: str = ""
    encoding: Literal["utf-8", "latin-1", "utf-16"] = "utf-8"

    def __post_init__(self) -> None:
        if not re.fullmatch(ID_PATTERN, self.name):
            raise InputError(
                "the name of a source must be an id", got=repr(self.name), do="use letters, digits, _ and -"
            )
        self._check_place()
        for name in self.columns:
            if name not in TARGETS[self.rows]:
                raise unknown(f"column of {self.rows}", name, TARGETS[self.rows])
        self._check_needed()
        _check_zone(self.zone)
        if self.delay:
            micros_of(self.delay)
        if len(self.delimiter) > 1:
            raise InputError("a delimiter is one character", got=repr(self.delimiter), do="leave it out")
        if self.namespace and (self.rows == "items" or not re.fullmatch(_NAMESPACE, self.namespace)):
            raise InputError(
                "a namespace stands before customer ids, and is an id without a colon",
                got=f"{self.namespace!r} for {self.rows}",
                do='write something like namespace = "card"',
            )

    def _check_place(self) -> None:
        given = [name for name in ("file", "table", "query") if getattr(self, name)]
        if len(given) > 1 or (not given and self.database):
            raise InputError(
                f"source {self.name!r} reads a file, or a table or a query of a database",
                got=" and ".join(given) or "none of them",
                do="give one of file, table and query",
            )
        if (self.table or self.database) and not re.fullmatch(_VARIABLE, self.database):
            raise InputError(  # what was got is not shown: it may be a URL with a password
                f"source {self.name!r} needs the name of an environment variable that holds the database's URL",
                got=f"a text of {len(self.database)} characters that is no such name",
                do='write database = "SHOP_DB" and set SHOP_DB where rapport runs',
            )
        if not self.in_database and (self.increases or self.overlap or (self.file and self.database)):
            raise InputError(
                f"source {self.name!r} reads files, which have no database, increases or overlap",
                got=f"file = {self.file!r}" if self.file else "a query without a database",
                do="name a database and a table or a query of it, or leave them out",
            )

    def _check_needed(self) -> None:
        needed = list(_NEEDED[self.rows])
        if self.rows in ("profile", "items") and not self.attributes:
            needed += ["attribute", "value"]
        absent = [name for name in needed if name not in self.columns]
        if absent:
            raise InputError(
                f"source {self.name!r} does not map {' and '.join(absent)}",
                got=f"a mapping of {', '.join(self.columns) or 'nothing'}",
                do=f"add {absent[0]} = ... under [source.columns]",
            )
        if self.rows == "consents" and self.attributes:
            raise InputError("consents have no attributes", got=f"source {self.name!r}", do="use rows = 'profile'")

    @classmethod
    def from_config(cls, table: Mapping[str, Any]) -> Source:
        """The source that a ``[[source]]`` table declares; an unknown key is an error that names the near ones."""
        inner = dict(table)
        for part in ("columns", "attributes"):
            if isinstance(table.get(part), Mapping):
                inner[part] = {
                    name: read_config(value, Field, what="field", guide=_GUIDE) if isinstance(value, Mapping) else value
                    for name, value in table[part].items()
                }
        return read_config(inner, cls, what=f"source {table.get('name', '?')!r}", guide=_GUIDE)

    @property
    def in_database(self) -> bool:
        """Whether the rows lie in a database, not in files."""
        return bool(self.database and (self.table or self.query))

    @property
    def origin(self) -> str:
        """Where the rows come from, in a word: the file, the table, or that it is a query."""
        return self.file or self.table or f"query {self.name}"

    @property
    def mapped(self) -> dict[str, Field]:
        """Column of the fact -> field."""
        return {name: _field(value) for name, value in self.columns.items()}

    @property
    def mapped_attributes(self) -> dict[str, Field]:
        """Attribute -> field; a listed column is called as the last part of its path."""
        if isinstance(self.attributes, Mapping):
            return {name: _field(value) for name, value in self.attributes.items()}
        return {name.rpartition(".")[2]: Field(column=name) for name in self.attributes}

    @property
    def paths(self) -> list[str]:
        """All columns or paths that the mapping asks for, each once."""
        fields = (*self.mapped.values(), *self.mapped_attributes.values())
        return list(dict.fromkeys(each for field in fields for each in field.paths))

    @property
    def fingerprint(self) -> str:
        """A digest of all that decides which facts a row becomes; where the rows lie is no part of it."""
        said = {name: value for name, value in _said(self).items() if name not in _PLACES}
        if self.query and not self.database:  # which facts its files become, the query decides
            said["query"] = " ".join(self.query.split())
        mappings = {"columns": self.mapped, "attributes": self.mapped_attributes}
        said |= {name: {key: _said(each) for key, each in mapped.items()} for name, mapped in mappings.items()}
        return hashlib.sha256(msgspec.json.encode(said)).hexdigest()


def _said(declared: Source | Field) -> dict[str, Any]:
    """What a declaration says that it would not mean anyway, so that a new option changes no old fingerprint."""
    values = {each.name: (getattr(declared, each.name), each.default) for each in fields(declared)}
    return {name: value for name, (value, default) in values.items() if value and value != default}


def _field(value: Mapped) -> Field:
    return value if isinstance(value, Field) else Field(column=value)


def _check_zone(zone: str) -> None:
    if zone not in available_timezones():
        raise unknown("time zone", zone, sorted(available_timezones()), do="use a name such as Europe/Berlin or UTC")
