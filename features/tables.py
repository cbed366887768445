"""Tables as people have them: CSV (also gzipped), JSON lines and Parquet, in and out."""

from __future__ import annotations

import gzip
import os
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from features.delimited import header_names, read_delimited
from features.errors import InputError, unknown
from features.sql import in_memory


def read_table(path: str | Path, *, columns: Sequence[str] | None = None, text: Sequence[str] = ()) -> pa.Table:
    """The table in a file: ``.csv``, ``.csv.gz``, ``.txt``, ``.json``, ``.jsonl`` (also ``.gz``) or ``.parquet``.

    Types of text files are read from the whole file, never from a sample; encodings and delimiters are those that
    ``features.delimited`` knows. Columns named in ``text`` stay text, as ids must: ``00042`` is not 42.

    Raises
    ------
    InputError
        When the file is missing, empty, not text, ragged, or lacks one of ``columns``.
    """
    source = Path(path)
    if not _is_file(source):
        raise InputError(f"there is no table at {str(path)!r}", got="no such file", do="check the path")
    name = source.name.lower().removesuffix(".gz")
    try:
        _check_whole(source)
        if _is_parquet(name):
            table = _read_parquet(source, columns=columns)
        elif name.endswith((".json", ".jsonl", ".ndjson")):
            table = _query("SELECT * FROM read_json($path, format = 'auto')", path=str(source))
        else:
            table = read_delimited(source, text=text)
    except (
        duckdb.Error,
        pa.ArrowException,
        gzip.BadGzipFile,
        zlib.error,
        EOFError,
        UnicodeDecodeError,
        OSError,
    ) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{source.name} can't be read as a table", got=reason, do="mend that line or save the file anew"
        ) from error
    if table.num_columns == 0 or table.num_rows == 0:
        raise InputError(f"{source.name} holds no rows", got=f"columns {table.column_names}", do="pass one with rows")
    for column in columns or ():
        require_column(table, column)
    return table.select(list(columns)) if columns else table


def stored_columns(path: str | Path) -> list[str] | None:
    """The names of a Parquet file's columns, of which nothing else is read; None of any other file.

    Raises InputError when the file is missing or no Parquet.
    """
    source = Path(path)
    if not _is_parquet(source.name):
        return None
    if not _is_file(source):
        raise InputError(f"there is no table at {str(path)!r}", got="no such file", do="check the path")
    try:
        return list(pq.read_schema(source).names)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{source.name} can't be read as a table", got=reason, do="save the file anew") from error


def named_columns(path: str | Path) -> list[str]:
    """The names of the columns of a Parquet or text file, of which nothing else is read.

    Raises InputError or OSError when it can't be read.
    """
    stored = stored_columns(path)
    return header_names(Path(path)) if stored is None else stored


def require_column(table: pa.Table, column: str) -> None:
    """Raise the error that names the near columns when ``column`` is not in ``table``."""
    if column not in table.column_names:
        raise unknown("column", column, table.column_names)


def write_table(table: pa.Table, path: str | Path) -> Path:
    """Write ``table`` as CSV or Parquet, by the ending of ``path``; whole or not at all."""
    target = Path(path)
    try:
        _write(table, target)
    except (OSError, ValueError, duckdb.IOException) as error:
        raise InputError(
            f"the table can't be written to {str(target)[:200]!r}", got=str(error), do="name a file that you may write"
        ) from error
    return target


def _write(table: pa.Table, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:40]}.")
    os.close(handle)
    try:
        if target.suffix.lower() in {".parquet", ".pq"}:
            pq.write_table(table, scratch, compression="zstd")
        elif target.name.lower().endswith((".csv", ".csv.gz")):
            compression = "gzip" if target.suffix == ".gz" else "none"
            in_memory().from_arrow(table).write_csv(scratch, compression=compression)
        else:
            raise InputError(
                "the kind of the output table is unknown",
                got=repr(target.name),
                do="end it in .parquet, .csv or .csv.gz",
            )
        Path(scratch).replace(target)
    finally:
        Path(scratch).unlink(missing_ok=True)


def _is_parquet(name: str) -> bool:
    return name.lower().endswith((".parquet", ".pq"))


def _read_parquet(source: Path, *, columns: Sequence[str] | None) -> pa.Table:
    """The table, or only those of its columns that are wanted: the others are not decoded."""
    if columns:
        names = pq.read_schema(source).names
        for column in columns:
            if column not in names:
                raise unknown("column", column, names)
    return pq.read_table(source, columns=list(columns) if columns else None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _check_whole(source: Path) -> None:
    """Read a .gz through: DuckDB takes a truncated one for a shorter table; Python checks length and checksum."""
    if source.suffix.lower() == ".gz":
        with gzip.open(source, "rb") as stream:
            while stream.read(1 << 20):
                pass


def _query(sql: str, **values: str) -> pa.Table:
    with in_memory() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(sql, values).to_arrow_table()
