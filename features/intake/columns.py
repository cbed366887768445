"""Columns of an unknown file: what their values look like, and the moments, amounts and ids that they may be."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from itertools import islice
from pathlib import Path

import duckdb
import pyarrow.compute as pc

from features.facts import ID_PATTERN
from features.intake.readers import Opened, is_json, open_source, unpacked
from features.intake.sources import Field, Source, Unit
from features.sql import identifier, literal

_ROWS = 200_000
_VALUES = 2_000
_MOST = 0.95
_LINES, _EVERY, _LAST = 2_000, 50, 500_000
_FORMATS = (
    "%Y%m%d",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%Y/%m/%d",
    "%d-%b-%Y",
    "%b %d, %Y",
)
_ISO = re.compile(r"[12]\d{3}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)?( ?(Z|[+-]\d\d(:?\d\d)?))?")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_COMMA = re.compile(r"[+-]?\d{1,3}(\.?\d{3})*,\d{1,2}|[+-]?\d+")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_WHOLE = re.compile(r"[+-]?\d+(\.0+)?")
_ID = re.compile(ID_PATTERN)
_YEAR_1990, _YEAR_2100 = 631_152_000, 4_102_444_800


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column by its values: how many rows it was looked for in, in how many it is present, and distinct values.

    ``times``: in how many rows each of ``values`` stands, the most frequent first.

    >>> column = Column(name="day", rows=3, present=3, distinct=2, values=("20240131", "20240201"), times=(2, 1))
    >>> column.moment().format, column.is_number
    ('%Y%m%d', True)
    """

    name: str
    rows: int
    present: int
    distinct: int
    values: tuple[str, ...]
    times: tuple[int, ...]
    stored: bool = False

    @property
    def missing(self) -> float:
        """Share of rows without a value."""
        return 1 - self.present / self.rows if self.rows else 1.0

    @property
    def unique(self) -> bool:
        """Whether every row has a value of its own."""
        return 0 < self.rows == self.present == self.distinct

    @property
    def is_number(self) -> bool:
        """Whether all values are numbers with a decimal point or none."""
        return self._mostly(_NUMBER.fullmatch)

    @property
    def has_commas(self) -> bool:
        """Whether the values are numbers with a decimal comma."""
        return any("," in each for each in self.values) and self._mostly(_COMMA.fullmatch)

    @property
    def is_whole(self) -> bool:
        """Whether all values are whole numbers."""
        return self._mostly(_WHOLE.fullmatch)

    @property
    def is_id(self) -> bool:
        """Whether all values could be ids."""
        return self._mostly(_ID.fullmatch)

    @property
    def is_email(self) -> bool:
        """Whether nearly all values are e-mail addresses."""
        return self._mostly(_EMAIL.fullmatch)

    @property
    def is_words(self) -> bool:
        """Whether the values are few words that come again and again."""
        return 0 < self.distinct <= 60 and (self.distinct <= 12 or self.distinct < 0.2 * self.present)

    @property
    def is_nested(self) -> bool:
        """Whether values are lists or objects."""
        return any(each[:1] in ("[", "{") for each in self.values[:50])

    def moment(self) -> Field | None:
        """How the values are read as moments; None when they are none."""
        if self.stored or self._mostly(_ISO.fullmatch):
            return Field(column=self.name)
        if self.is_whole and (unit := self._since_1970()):
            return Field(column=self.name, number_of=unit)
        return Field(column=self.name, format=self.formats[0]) if self.formats else None

    @cached_property
    def formats(self) -> tuple[str, ...]:
        """The formats that the values have: with several, nobody can tell day from month."""
        return tuple(form for form in _FORMATS if self._mostly(partial(_is_written, form)))

    def _since_1970(self) -> Unit | None:
        numbers = sorted(float(each) for each in self.values if _WHOLE.fullmatch(each))
        low, high = numbers[len(numbers) // 20], numbers[-1 - len(numbers) // 20]
        units: tuple[tuple[Unit, int], ...] = (("seconds", 1), ("milliseconds", 1000))
        for unit, factor in units:
            if _YEAR_1990 * factor < low and high < _YEAR_2100 * factor:
                return unit
        return None

    def _mostly(self, fits: Callable[[str], object]) -> bool:
        """Whether nearly all rows fit: the others are bad rows, not another kind of column."""
        allowed = (1 - _MOST) * sum(self.times)
        for text, times in zip(self.values, self.times, strict=True):
            if not fits(text):
                allowed -= times
                if allowed < 0:
                    return False
        return bool(self.values)


def _is_written(form: str, text: str) -> bool:
    try:
        return 1900 <= datetime.strptime(text, form).year <= 2100
    except ValueError:
        return False


def columns_of(connection: duckdb.DuckDBPyConnection, path: Path, *, encoding: str, scratch: Path) -> list[Column]:
    """The columns of a file by its first 200,000 rows; nested values by their dotted paths."""
    bare = Source(
        name="unknown",
        file=path.name,
        rows="events",
        columns={"customer_id": "?", "kind": "?", "occurred_at": "?"},
        encoding=encoding,  # type: ignore[arg-type]  # one that was found
    )
    plain = unpacked(path, scratch=scratch)
    first = open_source(connection, plain, source=bare, paths=(), scratch=scratch)
    paths = _paths(plain) if is_json(plain) else list(first.names)
    opened = open_source(connection, plain, source=bare, paths=paths, scratch=scratch)
    return [_column(connection, each, opened) for each in paths] if _sample(connection, opened, paths) else []


def _paths(path: Path) -> list[str]:
    """The keys of the objects in the first lines and of some later ones, those within objects with dots."""
    found: dict[str, None] = {}

    def walk(value: object, before: str) -> None:
        for key, inner in value.items() if isinstance(value, dict) else ():
            if isinstance(inner, dict):
                walk(inner, f"{before}{key}.")
            else:
                found.setdefault(f"{before}{key}")

    with path.open(encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(islice(stream, _LAST)):
            if number > _LINES and number % _EVERY:  # rows of one kind often come first
                continue
            try:
                walk(json.loads(line), "")
            except (ValueError, RecursionError):  # thousands of brackets within each other are no row
                continue
    return list(found)


def _sample(connection: duckdb.DuckDBPyConnection, opened: Opened, paths: Sequence[str]) -> bool:
    texts = ", ".join(
        f"nullif(trim({opened.values[each].text}), '') AS {identifier(each)}"
        for each in paths
        if opened.values[each].text
    )
    if not texts:
        return False
    connection.execute(f"CREATE TEMP TABLE sample AS SELECT {texts} FROM {opened.relation} AS it LIMIT {_ROWS}")
    return True


def _column(connection: duckdb.DuckDBPyConnection, name: str, opened: Opened) -> Column:
    counted = connection.execute(
        f"SELECT {identifier(name)} AS value, count(*) AS times FROM sample GROUP BY 1 ORDER BY times DESC, value"
    ).to_arrow_table()
    rows = pc.sum(counted["times"]).as_py() or 0
    known = counted.filter(pc.is_valid(counted["value"]))
    return Column(
        name=name,
        rows=rows,
        present=pc.sum(known["times"]).as_py() or 0,
        distinct=known.num_rows,
        values=tuple(known["value"].slice(0, _VALUES).to_pylist()),
        times=tuple(known["times"].slice(0, _VALUES).to_pylist()),
        stored=bool(opened.values[name].moment),
    )


def never_before(connection: duckdb.DuckDBPyConnection, later: Column, earlier: Column) -> bool:
    """Whether ``later`` is in no row of the sample before ``earlier``, both written alike."""
    first, second, form = later.moment(), earlier.moment(), None
    if not first or not second or (first.format, first.number_of) != (second.format, second.number_of):
        return False
    form = first.formats[0] if first.formats else ""
    texts = [identifier(later.name), identifier(earlier.name)]
    read = [
        f"try_strptime({text}, {literal(form)})"
        if form
        else f"try_cast({text} AS {'DOUBLE' if first.number_of else 'TIMESTAMPTZ'})"
        for text in texts
    ]
    found = connection.execute(f"SELECT count(*) FROM sample WHERE {read[0]} < {read[1]}").fetchone()
    return bool(found) and found[0] == 0
