"""Files as people have them, opened as a DuckDB relation whose every value can be asked for as text."""

from __future__ import annotations

import csv
import gzip
import lzma
import re
import shutil
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import duckdb

from features.errors import InputError, listed, unknown
from features.intake.sources import Source
from features.sql import identifier, literal

#: Name of a whole row of the file within a query over it.
ROW = "row_of_file"

_DELIMITERS = ",;\t|"
_HEAD_BYTES = 1 << 16
# Types whose texts have no blanks around them and are never empty.
_UNPADDED = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "BOOLEAN")
# A quoted value, which stays as it is, or a run of blanks.
_PADDING = re.compile(r'("[^"]*")| +')
_JSON = (".json", ".jsonl", ".ndjson")
_PARQUET = (".parquet", ".pq")


@dataclass(frozen=True, kw_only=True)
class Value:
    """One value of a row, as SQL: its text (empty: the file has no such column), and the date or timestamp it is."""

    text: str = ""
    moment: str = ""
    kind: str = ""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A file that was opened, as SQL.

    Parameters
    ----------
    relation: what stands in the FROM clause.
    names: columns of the file, as far as they are known.
    values: the values at the paths that were asked for.
    columns: what a person sees of a row: column -> its text; nested values by the paths that were asked for.
    line: the text of the line that a row was, where that is more than its columns tell.
    dear: whether reading the file once more costs more than keeping the columns of a bad row at once.
    readable: true for rows that could be read.
    """

    relation: str
    names: Sequence[str]
    values: Mapping[str, Value]
    columns: Mapping[str, str]
    line: str = ""
    dear: bool = True
    readable: str = "true"


def open_source(
    connection: duckdb.DuckDBPyConnection, path: Path, *, source: Source, paths: Sequence[str], scratch: Path
) -> Opened:
    """Open one file of ``source``; ``paths`` are the columns or dotted paths that will be asked for.

    Raises
    ------
    InputError
        When the file is empty, does not name its columns or can't be opened at all.
    """
    plain = unpacked(path, scratch=scratch)
    name = plain.name.lower()
    if plain.stat().st_size == 0:
        raise InputError(f"{path.name} is empty", got="0 bytes", do="export it again")
    if name.endswith(_PARQUET):
        return _open_parquet(connection, plain, paths=paths)
    if is_json(plain):
        return _open_json(plain, paths=paths)
    if source.delimiter == " ":
        plain = _squeezed(plain, scratch=scratch, encoding=source.encoding)
    return open_text(plain, paths=paths, delimiter=source.delimiter, encoding=source.encoding)


def is_json(path: Path) -> bool:
    """Whether a plain file holds JSON lines, by its name."""
    return path.name.lower().endswith(_JSON)


def texts(opened: Opened, paths: Sequence[str], *, join: str | None = None) -> str:
    """SQL for the first value that is present at ``paths``, as trimmed text, null when empty; with ``join`` for all.

    Raises
    ------
    InputError
        When the file has none of these columns; it names the near ones.
    """
    found = [opened.values[path] for path in paths if opened.values[path].text]
    if not found:
        raise unknown("column", paths[0], opened.names)
    present = [each.text if each.kind in _UNPADDED else f"nullif(trim({each.text}), '')" for each in found]
    if join is not None:
        return f"nullif(concat_ws({literal(join)}, {', '.join(present)}), '')"
    return present[0] if len(present) == 1 else f"coalesce({', '.join(present)})"


def rejected(connection: duckdb.DuckDBPyConnection) -> list[tuple[int, str]]:
    """Line number and text of the lines that the reader refused in this connection, in order.

    A quotation mark that is never closed makes one record of all lines up to the next mark; each counts as a line of
    its own, so that a file that lost half its rows to one mark is not taken for a file with one bad row.
    """
    made = connection.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'reject_errors'").fetchone()
    if not made or not made[0]:
        return []
    records = connection.execute(
        "SELECT min(line)::BIGINT, first(csv_line) FROM reject_errors GROUP BY line_byte_position ORDER BY 1"
    ).fetchall()
    return [(int(line), text) for line, record in records for text in str(record).split("\n") if text.strip()]


def open_text(path: Path, *, paths: Sequence[str], delimiter: str = "", encoding: str = "utf-8") -> Opened:
    """Open a plain CSV file; without a ``delimiter`` the one that parts its header line most counts."""
    first = _first_line(path, encoding=encoding)
    mark = delimiter or max(_DELIMITERS, key=lambda each: len(next(csv.reader([first], delimiter=each), [])))
    named = next(csv.reader([first], delimiter=mark))
    _check_once(path, [name.strip().casefold() for name in named], paths=paths)
    header = _distinct(named)
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in header)
    return Opened(
        relation=f"read_csv({literal(path)}, columns = {{{columns}}}, delim = {literal(mark)}, quote = '\"', "
        "escape = '\"', header = true, auto_detect = false, store_rejects = true, strict_mode = true, "
        f"encoding = {literal(encoding)})",
        names=header,
        values={each: Value(text=identifier(each) if each in header else "") for each in paths},
        columns={each: identifier(each) for each in header},
    )


def _squeezed(path: Path, *, scratch: Path, encoding: str) -> Path:
    """A copy of a text in which blanks part the columns, with one blank for each run that pads them."""
    target = scratch / f"squeezed-{path.name}"
    with (
        path.open(encoding=encoding, errors="surrogateescape", newline="") as given,
        target.open("w", encoding=encoding, errors="surrogateescape", newline="") as taken,
    ):
        for line in given:
            plain = line.rstrip("\r\n")
            taken.write(_PADDING.sub(lambda each: each[1] or " ", plain.strip(" ")) + line[len(plain) :])
    return target


def _open_json(path: Path, *, paths: Sequence[str]) -> Opened:
    places = ", ".join(literal("$" + "".join(f'."{key}"' for key in each.split("."))) for each in paths)
    lines = (  # a line is one column: the delimiter is a character that JSON text can't hold
        f"read_csv({literal(path)}, columns = {{'line': 'VARCHAR'}}, delim = '\x01', quote = '', escape = '', "
        "header = false, auto_detect = false, store_rejects = true)"
    )
    found = f"CASE WHEN line[1] = '{{' AND json_valid(line) THEN json_extract_string(line, [{places}]) END"
    texts = {each: f"found[{place}]" for place, each in enumerate(paths, start=1)}
    return Opened(
        relation=f"(SELECT line, {found} AS found FROM (SELECT trim(line) AS line FROM {lines}) WHERE line <> '')",
        names=(),
        values={each: Value(text=text) for each, text in texts.items()},
        columns=texts,
        line="line",
        readable="found IS NOT NULL",
    )


def _open_parquet(connection: duckdb.DuckDBPyConnection, path: Path, *, paths: Sequence[str]) -> Opened:
    relation = f"read_parquet({literal(path)})"
    kinds = {str(row[0]): str(row[1]) for row in connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()}

    def typed(each: str) -> Value:
        expression = ".".join(map(identifier, [each] if each in kinds else each.split(".")))
        try:
            described = connection.execute(f"DESCRIBE SELECT {expression} AS it FROM {relation}").fetchone()
        except duckdb.BinderException:
            return Value()
        return _typed_value(expression, kind=str(described[1]) if described else "")

    values = {each: typed(each) for each in paths}
    plain = {name: _typed_value(identifier(name), kind=kind) for name, kind in kinds.items()}
    nested = {each: value for each, value in values.items() if each not in kinds and value.text}
    return Opened(
        relation=relation,
        names=list(kinds),
        values=values,
        columns={name: value.text for name, value in (plain | nested).items()},
        dear=False,
    )


def _typed_value(expression: str, *, kind: str) -> Value:
    plain = f"CAST({expression} AS VARCHAR)"
    if kind in ("DOUBLE", "FLOAT"):  # 112000.0 is the number that other files write as 112000
        whole = f"{expression} = trunc({expression}) AND abs({expression}) < 1e15"
        return Value(text=f"CASE WHEN {whole} THEN CAST(CAST({expression} AS BIGINT) AS VARCHAR) ELSE {plain} END")
    if kind.startswith(("STRUCT", "MAP")) or kind.endswith("[]"):
        return Value(text=f"CAST(to_json({expression}) AS VARCHAR)")
    return Value(text=plain, moment=expression if kind.startswith(("DATE", "TIMESTAMP")) else "", kind=kind)


def _first_line(path: Path, *, encoding: str) -> str:
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    lines = head.decode("utf-8-sig" if encoding == "utf-8" else encoding, errors="replace").splitlines()
    if not lines or not lines[0].strip() or "\x00" in lines[0]:
        raise InputError(
            f"{path.name} does not begin with a line of column names",
            got="an empty first line" if lines and not lines[0].strip() else "what is no text",
            do="save it as CSV with a header, or say its encoding",
        )
    return lines[0]


def _check_once(path: Path, names: Sequence[str], *, paths: Sequence[str]) -> None:
    twice = [each for each in paths if names.count(each.strip().casefold()) > 1]
    if twice:
        raise InputError(
            f"columns of {path.name} have the same name", got=listed(twice), do="rename them; capitals don't count"
        )


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    taken: list[str] = []
    for place, name in enumerate(names, start=1):
        plain = name.strip() or f"column_{place}"
        lower = {each.casefold() for each in taken}
        taken.append(plain if plain.casefold() not in lower else f"{plain}_{place}")
    return tuple(taken)


def shown(opened: Opened) -> list[str]:
    """SQL for what a person sees of a row: the line, where there is one, and its columns."""
    return [*([opened.line] if opened.line else []), *opened.columns.values()]


def unpacked(path: Path, *, scratch: Path) -> Path:
    """The file itself, or its content when it is packed.

    DuckDB reads .gz itself, but takes a truncated file for a shorter one; Python checks length and checksum.
    """
    openers: Mapping[str, Callable[[Path, Literal["rb"]], BinaryIO]] = {".gz": gzip.open, ".xz": lzma.open}  # type: ignore[dict-item]  # both return a readable binary stream
    if (opener := openers.get(path.suffix.lower())) is None:
        return path
    target = scratch / path.stem
    try:
        with opener(path, "rb") as packed, target.open("wb") as plain:
            shutil.copyfileobj(packed, plain, 1 << 20)
    except (gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError) as error:
        raise InputError(f"{path.name} can't be unpacked", got=str(error), do="export it again") from error
    return target
