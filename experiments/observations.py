"""The units of an experiment as arrays: arms as codes, metrics as numbers, taken from any kind of table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.amounts import amounts
from features.errors import InputError, listed, unknown
from features.tables import headed_columns, read_table, stored_columns

MOST_ARMS = 50
MOST_VALUES = 100
MOST_STRATA = 1_000
MISSING = "(missing)"
_LARGEST = 1e100
# As a column of 0 and 1 becomes once a value is missing from it.
_WHOLE = re.compile(r"-?\d+\.0+")

Column = NDArray[np.generic]


@dataclass(frozen=True, kw_only=True)
class Labels:
    """A column of labels: ``codes`` (n,) point into ``values``; -1 where the label is missing.

    >>> found = labels(pa.table({"arm": ["b", None, "a", "b"]}), "arm", most=50)
    >>> found.values, found.codes.tolist(), found.counts()
    (('a', 'b'), [1, -1, 0, 1], [1, 2])
    """

    values: tuple[str, ...]
    codes: NDArray[np.int32]

    def counts(self) -> list[int]:
        """Units per value."""
        return [int(each) for each in np.bincount(self.codes + 1, minlength=len(self.values) + 1)[1:]]

    def arranged(self, values: Sequence[str]) -> Labels:
        """The same labels with their values in another order."""
        place = np.array([*(values.index(each) for each in self.values), -1], dtype=np.int32)
        return Labels(values=tuple(values), codes=place[self.codes])


def crossed(parts: Sequence[Labels]) -> Labels:
    """The labels of several columns together, those combinations that are there; a missing one has to have a label.

    Raises InputError for more than 1,000 of them.

    >>> both = crossed([labels(pa.table({"c": column}), "c", most=9) for column in (["a", "b", "b"], [1, 2, 2])])
    >>> both.values, both.codes.tolist()
    (('a, 1', 'b, 2'), [0, 1, 1])
    """
    together = parts[0]
    for other in parts[1:]:
        cells = together.codes.astype(np.int64) * len(other.values) + other.codes
        there, places = np.unique(cells, return_inverse=True)
        if len(there) > MOST_STRATA:
            raise InputError(
                "the columns together have too many values",
                got=f"{len(there):,} combinations",
                do=f"pass fewer columns, or coarser ones: at most {MOST_STRATA:,}",
            )
        names = [
            f"{together.values[cell // len(other.values)]}, {other.values[cell % len(other.values)]}" for cell in there
        ]
        together = Labels(values=tuple(names), codes=places.astype(np.int32))
    return together


def opened(table: Any, *, text: Sequence[str] = ()) -> Any:
    """A table as it is; of the path of a file what ``select`` reads the columns from that it needs.

    Columns named in ``text`` stay text: of arms named Yes and No the names count, not what they may stand for.
    """
    if not isinstance(table, str | Path) or stored_columns(table) is not None:
        return table
    names = headed_columns(table)
    return read_table(table, text=text) if names is None else _TextFile(path=table, names=names, text=text)


class _TextFile(NamedTuple):
    """A text file, the ``names`` of its columns, and those that stay ``text``."""

    path: str | Path
    names: Sequence[str]
    text: Sequence[str]


def column_names(table: Any) -> list[str]:
    """The names of the columns of an Arrow, pandas or polars table, or of a Parquet file."""
    if isinstance(table, _TextFile):
        return list(table.names)
    if isinstance(table, str | Path):
        return stored_columns(table) or []
    return [str(each) for each in (table.column_names if isinstance(table, pa.Table) else table.columns)]


def select(table: Any, names: Iterable[str]) -> pa.Table:
    """The named columns of an Arrow, pandas or polars table, or of a Parquet file, as an Arrow table.

    The other columns are not touched.

    Raises InputError for a column that isn't there, and for a table without rows.
    """
    wanted = list(dict.fromkeys(names))
    there = column_names(table)
    for name in wanted:
        if name not in there:
            raise unknown("column", name, there)
        if there.count(name) > 1:
            raise InputError("a column's name stands twice", got=repr(name), do="rename one of the two")
    if isinstance(table, str | Path):
        # One by one, as a column in one piece is used as it is: together they would be held twice.
        return pa.table({name: read_table(table, columns=[name]).combine_chunks()[name] for name in wanted})
    if isinstance(table, _TextFile):
        return read_table(table.path, columns=wanted, text=[each for each in table.text if each in wanted])
    if not len(table):
        raise InputError("the table holds no rows", got=f"columns {listed(there)}", do="pass one with a row per unit")
    if isinstance(table, pa.Table):
        return table.select(wanted)
    try:
        return pa.table({name: pa.chunked_array([_array(table[name])]) for name in wanted})
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InputError(
            "a column mixes kinds of values", got=str(error).splitlines()[0], do="give each column one type"
        ) from error


def _array(series: Any) -> pa.Array:
    if hasattr(series, "to_arrow"):
        series = series.to_arrow()
    elif isinstance(series.dtype, np.dtype) and series.dtype.kind in "biuf":
        # Plain numbers need no search for what pandas takes as missing: NaN is understood as it is.
        series = series.to_numpy()
    elif getattr(series.dtype, "tz", None) is not None:
        # The moments in UTC; pyarrow's own way through pandas drops the zone, and pandas warns of it.
        series = series.dt.tz_convert(None)
    found = pa.array(series)
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def numbers(table: pa.Table, name: str) -> Column:
    """A column as an array of numbers or booleans, NaN where missing; text as ``features.amounts`` reads it.

    Raises InputError when it holds other text, dates, or values that are infinite or beyond 1e100.
    """
    column = table[name]
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if is_text(kind) and (read := amounts(column, name)) is not None:
        return read
    if pa.types.is_decimal(kind) or pa.types.is_null(kind):
        column = column.cast(pa.float64(), safe=False)
    elif not (pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        examples = dict.fromkeys(str(each) for each in column.slice(0, 1000).to_pylist())
        raise InputError(
            f"column {name!r} holds no numbers",
            got=f"{kind} such as {listed(examples, most=3)}",
            do="pass a column of numbers, or of 0 and 1",
        )
    if column.null_count and not pa.types.is_floating(column.type):
        column = column.cast(pa.float64(), safe=False)
    values: Column = column.to_numpy()
    if values.dtype == np.float16:
        values = values.astype(np.float64)  # its sums and squares end at 65,504
    if np.issubdtype(values.dtype, np.floating):
        _check_size(name, values)
    return values


def is_text(kind: pa.DataType) -> bool:
    """Whether values of this type are text, encoded or not."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def text_notes(table: pa.Table, names: Iterable[str]) -> Iterator[str]:
    """Of each of these columns that holds numbers as text, a sentence that says how it was read."""
    for name in dict.fromkeys(names):
        if is_text(table[name].type):
            values = _first_numbers(table, name)
            first = int(np.argmax(values == values))
            yield f"{name} is text, read as numbers: {table[name][first].as_py()!r} as {float(values[first]):.12g}."


def _first_numbers(table: pa.Table, name: str) -> Column:
    """The numbers of the first rows; of all where these alone leave a doubt that the others settle, or hold none."""
    try:
        values = numbers(table.slice(0, 1000), name)
    except InputError:
        return numbers(table, name)
    return values if (values == values).any() else numbers(table, name)


def _check_size(name: str, values: Column) -> None:
    # fmin and fmax pass over NaN, which is a missing value; beyond the limit squares leave the range of numbers.
    # In doubles, as in single precision the limit itself is out of range.
    if max(float(np.fmax.reduce(values)), -float(np.fmin.reduce(values))) > _LARGEST:
        beyond = int((np.abs(values.astype(np.float64)) > _LARGEST).sum())
        raise InputError(
            f"column {name!r} holds infinite or absurd values",
            got=f"{beyond} of {len(values)} rows beyond {_LARGEST:g}",
            do="mend or leave out these rows",
        )


def codes(table: pa.Table, name: str) -> tuple[pa.Array, NDArray[np.int32]]:
    """A column's distinct values and each row's place among them, -1 where missing."""
    try:
        column = table[name]
        # Encoding shares one dictionary among the chunks; those that come encoded may each have their own.
        encoded = pa.types.is_dictionary(column.type)
        column = column.unify_dictionaries() if encoded else column.dictionary_encode()
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise InputError(
            f"column {name!r} can't tell groups apart", got=str(table[name].type), do="pass text or numbers"
        ) from error
    distinct = column.chunk(0).dictionary if column.num_chunks else pa.array([])
    parts = [pc.fill_null(each.indices.cast(pa.int32()), -1).to_numpy(zero_copy_only=False) for each in column.chunks]
    return distinct, np.concatenate(parts)


def labels(table: pa.Table, name: str, *, most: int) -> Labels:
    """A column's values as text, sorted (numbers as numbers), with at most ``most`` distinct ones; blank is missing."""
    distinct, places = codes(table, name)
    seen = np.bincount(places + 1, minlength=len(distinct) + 1)[1:] > 0
    if int(seen.sum()) > most:
        raise InputError(
            f"column {name!r} has too many values",
            got=f"{int(seen.sum())} different ones such as {listed(distinct.slice(0, 3).to_pylist())}",
            do=f"pass one with at most {most}",
        )
    texts = [_text(each) for each in distinct.to_pylist()]
    values = sorted({text for text, used in zip(texts, seen, strict=True) if used and text}, key=_natural)
    place = {text: number for number, text in enumerate(values)}
    lookup = np.array([*(place.get(text, -1) for text in texts), -1], dtype=np.int32)
    return Labels(values=tuple(values), codes=lookup[places])


def arms_of(table: pa.Table, name: str, *, control: object) -> Labels:
    """The arm of each unit, the control first; values are compared as text.

    Raises InputError for fewer than 2 or more than 50 arms, and for a control that is none of them.

    >>> arms_of(pa.table({"arm": [2.0, 1.0, None]}), "arm", control="2").values
    ('2', '1')
    """
    found = labels(table, name, most=MOST_ARMS)
    if len(found.values) < 2:
        raise InputError(
            f"column {name!r} holds fewer than two arms",
            got=listed(found.values),
            do="pass the column that says which arm a unit is in",
        )
    first = named("arm", control, found.values)
    return found.arranged([first, *(each for each in found.values if each != first)])


def named(noun: str, name: object, known: Sequence[str]) -> str:
    """The one of ``known`` that ``name`` means: compared as text, ``1`` means ``1.0`` and ``False`` means ``false``."""
    wanted = _text(name)
    alike = [each for each in known if each == wanted] or [
        each for each in known if each.casefold() == wanted.casefold() or _text(_number(wanted)) == each
    ]
    if len(alike) != 1:
        raise unknown(noun, wanted, known)
    return alike[0]


def shares(planned: Mapping[str, float] | None, arms: Sequence[str]) -> list[float]:
    """The planned share of each arm, scaled to a sum of 1; equal ones where nothing was planned."""
    if not planned:
        return [1 / len(arms)] * len(arms)
    given = {named("arm", arm, arms): float(share) for arm, share in planned.items()}
    left = [arm for arm in arms if arm not in given]
    if left:
        raise InputError(
            "an arm has no planned share", got=f"none for {listed(left)}", do="name the share of every arm"
        )
    if not all(0 < share < float("inf") for share in given.values()):
        raise InputError("a planned share isn't above 0", got=str(planned), do="pass shares such as 0.5")
    total = sum(given.values())
    return [given[arm] / total for arm in arms]


def _text(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else str(int(value)) if value.is_integer() else repr(value)
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    text = (value.decode(errors="replace") if isinstance(value, bytes) else str(value)).strip()
    return text.partition(".")[0] if _WHOLE.fullmatch(text) else text


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _natural(text: str) -> tuple[bool, float, str]:
    number = _number(text)
    return (False, number, text) if isinstance(number, float) and number == number else (True, 0.0, text)
