"""Delimited text as people save it: other encodings, lines before the header, and what is wrong with a line."""

from __future__ import annotations

import csv
import gzip
import io
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import InputError, listed
from features.sql import identifier, in_memory, literal

_DELIMITERS = ",;\t|"
_HEAD_BYTES = 1 << 16
_CHUNK = 1 << 20
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_NOT_TEXT = {
    b"PK\x03\x04": "an Excel workbook or another zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "a gzip file",
    b"SQLite format 3": "an SQLite database",
    b"%PDF": "a PDF",
}
# What DuckDB takes for truth and falsehood though it may as well be the letter.
_LETTERS = frozenset("tTfF")
# What a first column without a name is called, as tables saved with their row numbers have one.
_UNNAMED = "unnamed first column"
_WIDE = re.compile(rb"[\x80-\xff]{2,}")
_HIGH = re.compile(rb"[\x80-\xff]")


def read_delimited(source: Path, *, text: Sequence[str], columns: Sequence[str] | None = None) -> pa.Table:
    """The table in a ``.csv``, ``.txt`` or ``.tsv`` file, plain or gzipped; columns named in ``text`` stay text.

    Of other than the ``columns`` nothing is kept, where the header line names them all.

    It is UTF-8, UTF-16 with its mark, or Windows-1252 (and so Latin-1) where nothing but single letters such as ``ü``
    is outside ASCII. The delimiter is the one of the header line, or of a line ``sep=;`` above it; lines above it that
    begin with ``#`` are left out.

    Raises
    ------
    InputError
        Naming the line where the file is no such text, or a line has too many or too few values.
    """
    head = _head(source)
    kind = next((what for magic, what in _NOT_TEXT.items() if head.startswith(magic)), "")
    if kind:
        raise InputError(
            f"{source.name} is no text", got=f"{kind} by its first bytes", do="save it as CSV, or name it as what it is"
        )
    encoding = _MARKS.get(head[:2], "")
    if encoding:
        return _from_copy(source, encoding=encoding, text=text, columns=columns)
    try:
        return _from_utf8(source, text=text, columns=columns, called=source.name)
    except duckdb.Error as error:
        if _is_western(source):
            return _from_copy(source, encoding="cp1252", text=text, columns=columns)
        if told := _at_line(source, called=source.name):
            raise told from error
        raise


def header_names(source: Path) -> list[str]:
    """The names in the header line of a text file, plain or gzipped."""
    head = _head(source)
    if encoding := _MARKS.get(head[:2], ""):
        head = head[: len(head) // 2 * 2].decode(encoding, errors="replace").encode()
    return _header(head, called=source.name)[2]


def _from_copy(source: Path, *, encoding: str, text: Sequence[str], columns: Sequence[str] | None) -> pa.Table:
    """The table by way of a copy in UTF-8."""
    with tempfile.TemporaryDirectory(prefix="rapport-") as folder:
        copy = Path(folder) / "copy.csv"
        with _text(source, encoding=encoding) as given, copy.open("w", encoding="utf-8", newline="") as made:
            for part in _parts(given):
                made.write(part)
        try:
            return _from_utf8(copy, text=text, columns=columns, called=source.name)
        except duckdb.Error as error:
            if told := _at_line(copy, called=source.name):
                raise told from error
            raise


def _parts(stream: IO[str]) -> Iterator[str]:
    while part := stream.read(_CHUNK):
        yield part


def _from_utf8(source: Path, *, text: Sequence[str], columns: Sequence[str] | None, called: str) -> pa.Table:
    skip, delimiter, names = _header(_head(source), called=called)
    _check_names(called, names)
    present = set(names)
    kept = [name for name in text if name in present]
    wanted = ", ".join(map(identifier, columns)) if columns and present.issuperset(columns) else "*"
    table = _query(wanted, source, skip=skip, delimiter=delimiter, text=kept)
    doubtful = [each for each in table.column_names if each in present and _is_one_truth(table[each])]
    if doubtful:
        # A column of nothing but "t" may as well be a letter: its words decide.
        words = _query(
            ", ".join(map(identifier, doubtful)), source, skip=skip, delimiter=delimiter, text=[*kept, *doubtful]
        )
        for name in doubtful:
            if _LETTERS.issuperset(pc.unique(words[name].drop_null()).to_pylist()):
                table = table.set_column(table.column_names.index(name), name, words[name])
    if wanted == "*" and len(names) > 1 and not names[0].strip() and _UNNAMED not in present:
        table = table.rename_columns([_UNNAMED, *table.column_names[1:]])
    return table


def _is_one_truth(column: pa.ChunkedArray) -> bool:
    return bool(pa.types.is_boolean(column.type) and pc.any(column) == pc.all(column))


def _query(columns: str, source: Path, *, skip: int, delimiter: str, text: Sequence[str]) -> pa.Table:
    types = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in text)
    with in_memory() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        # An empty comment mark: else rows whose first value begins with # might be taken for comments.
        return connection.execute(
            f"SELECT {columns} FROM read_csv($path, delim = $delim, header = true, skip = $skip, sample_size = -1, "
            "quote = $quote, comment = ''" + (f", types = {{{types}}})" if types else ")"),
            {"path": str(source), "delim": delimiter, "quote": '"', "skip": skip},
        ).to_arrow_table()


def _bytes(source: Path) -> IO[bytes]:
    if source.suffix.lower() == ".gz":
        return io.BufferedReader(gzip.open(source, "rb"))
    return source.open("rb")


def _text(source: Path, *, encoding: str) -> IO[str]:
    return io.TextIOWrapper(_bytes(source), encoding=encoding, newline="")


def _head(source: Path) -> bytes:
    with _bytes(source) as stream:
        return stream.read(_HEAD_BYTES)


def _header(head: bytes, *, called: str) -> tuple[int, str, list[str]]:
    """How many lines stand above the header, the delimiter, and the names of the columns."""
    lines = head.decode("utf-8-sig", errors="replace").splitlines()
    if not lines or not lines[0].strip():
        raise InputError(f"{called} is empty", got="no header line", do="pass a file whose first line names columns")
    if lines[0].lower().startswith("sep=") and len(lines[0]) == 5 and len(lines) > 1:
        return 1, lines[0][4], _split(lines[1], lines[0][4])
    above = next((place for place, line in enumerate(lines) if not line.startswith("#")), 0)
    widths = [max(line.count(mark) for mark in _DELIMITERS) for line in lines[: above + 1]]
    skip = above if above and max(widths[:above]) < widths[above] else 0
    delimiter = max(_DELIMITERS, key=lambda mark: len(_split(lines[skip], mark)))
    return skip, delimiter, _split(lines[skip], delimiter)


def _split(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [])


def _check_names(called: str, names: Sequence[str]) -> None:
    """DuckDB, to which capitals make no difference, would call the second of two columns otherwise without a word."""
    times = Counter(name.strip().lower() for name in names if name.strip())
    twice = [name for name in names if times[name.strip().lower()] > 1]
    if twice:
        raise InputError(
            f"columns of {called} have the same name", got=listed(twice), do="rename them; capitals don't count"
        )


def _is_western(source: Path) -> bool:
    """Whether bytes that are no UTF-8 stand alone among ASCII, as the letters of Western words in Windows-1252 do."""
    alone = together = 0
    broken = False
    with _bytes(source) as stream:
        for line in stream:
            if line.isascii():
                continue
            broken = broken or not _is_utf8(line)
            if b"\0" in line:
                return False
            together += len(_WIDE.findall(line))
            alone += len(_HIGH.findall(line))
    return broken and together * 10 <= alone


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _at_line(source: Path, *, called: str) -> InputError | None:
    """The first line that is no UTF-8, or that has more or fewer values than the header; None where none is found."""
    with _bytes(source) as stream:
        for number, line in enumerate(stream, start=1):
            if not _is_utf8(line):
                return InputError(
                    f"{called} is not text in UTF-8",
                    got=f"line {number:,}: {line.strip()[:60].decode('utf-8', errors='backslashreplace')}",
                    do=f"save it as UTF-8, as by: iconv -f CP1251 -t UTF-8 {called} (with its own encoding)",
                )
    skip, delimiter, names = _header(_head(source), called=called)
    return _ragged(source, called=called, skip=skip, delimiter=delimiter, width=len(names))


def _ragged(source: Path, *, called: str, skip: int, delimiter: str, width: int) -> InputError | None:
    csv.field_size_limit(max(csv.field_size_limit(), _CHUNK))
    with _text(source, encoding="utf-8-sig") as stream:
        rows = csv.reader(stream, delimiter=delimiter)
        before = 0
        try:
            for row in rows:
                begun, before = before + 1, rows.line_num
                if begun > skip and row and len(row) != width:
                    return _unlike(called, begun, before, len(row), width)
        except csv.Error as error:
            return InputError(
                f"{called} can't be read from line {before + 1:,} on", got=str(error), do="mend that line"
            )
    return None


def _unlike(called: str, first: int, last: int, found: int, width: int) -> InputError:
    if last > first:
        return InputError(
            f"a quotation mark in line {first:,} of {called} is not closed in that line",
            got=f"lines {first:,} to {last:,} read as one row of {found} values for {width} columns",
            do="close it, or write a quotation mark within a value twice",
        )
    return InputError(
        f"line {first:,} of {called} has {'more' if found > width else 'fewer'} values than there are columns",
        got=f"{found} values for {width} columns",
        do="mend that line; a value that holds the delimiter stands in quotation marks",
    )
