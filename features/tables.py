"""Tables as people have them: CSV (also gzipped), JSON lines and Parquet, in and out."""

from __future__ import annotations

import gzip
import os
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import dataset

from features.delimited import header_names, read_delimited
from features.errors import InputError, unknown
from features.sql import in_memory

_JSON = (".json", ".jsonl", ".ndjson")


def read_table(path: str | Path, *, columns: Sequence[str] | None = None, text: Sequence[str] = ()) -> pa.Table:
    """The table in a file: ``.csv``, ``.csv.gz``, ``.txt``, ``.json``, ``.jsonl`` (also ``.gz``) or ``.parquet``,
    which may be a folder of such files, as Spark writes it. With ``columns``, others than these are not kept.

    Types of text files are read from the whole file, never from a sample; encodings and delimiters are those that
    ``features.delimited`` knows. Columns named in ``text`` stay text, as ids must: ``00042`` is not 42.

    Raises
    ------
    InputError
        When the file is missing, empty, not text, ragged, or lacks one of ``columns``.
    """
    source = Path(path)
    _check_there(source)
    name = source.name.lower().removesuffix(".gz")
    try:
        _check_whole(source)
        if _is_parquet(source):
            table = _read_parquet(source, columns=columns)
        elif name.endswith(_JSON):
            table = _query("SELECT * FROM read_json($path, format = 'auto')", path=str(source))
        else:
            table = read_delimited(source, text=text, columns=columns)
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
    if not _is_parquet(source):
        return None
    _check_there(source)
    try:
        return _names(source)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{source.name} can't be read as a table", got=reason, do="save the file anew") from error


def named_columns(path: str | Path) -> list[str]:
    """The names of the columns of a Parquet or text file, of which nothing else is read.

    Raises InputError or OSError when it can't be read.
    """
    stored = stored_columns(path)
    return header_names(Path(path)) if stored is None else stored


def headed_columns(path: str | Path) -> list[str] | None:
    """The names in the header of a text file, where it leaves no doubt what its columns are called; else None.

    Raises InputError when the file is missing or empty.
    """
    source = Path(path)
    _check_there(source)
    if _is_parquet(source) or source.name.lower().removesuffix(".gz").endswith(_JSON):
        return None
    try:
        names = header_names(source)
    except (OSError, EOFError, zlib.error):
        return None  # reading it says what is wrong with it
    plain = all(name == name.strip() and "\ufffd" not in name for name in names)
    return [name for name in names if name] if plain and len({*names}) == len(names) else None


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
    prefix = f".{target.name[:40]}."
    _clear_killed(target.parent, prefix=prefix)
    handle, scratch = tempfile.mkstemp(dir=target.parent, prefix=f"{prefix}{os.getpid()}.")
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


def _clear_killed(folder: Path, *, prefix: str) -> None:
    """Remove what writers of the same table left who were killed in the middle."""
    named = re.compile(re.escape(prefix) + r"(\d{1,9})\.[a-z0-9_]{8}")
    for left in folder.iterdir():
        found = named.fullmatch(left.name)
        if found and not _alive(int(found[1])):
            left.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def _is_parquet(source: Path) -> bool:
    """Whether it is such a file by its name, or a folder that holds some."""
    if _is(source, Path.is_dir):
        return any(_part_files(source))
    return source.name.lower().endswith((".parquet", ".pq"))


def _part_files(folder: Path) -> Iterator[Path]:
    return (each for each in folder.rglob("*.parquet") if not each.name.startswith((".", "_")))


def _names(source: Path) -> list[str]:
    if _is(source, Path.is_file):
        return list(pq.read_schema(source).names)
    return list(dataset.dataset(source, format="parquet", partitioning="hive").schema.names)


def _read_parquet(source: Path, *, columns: Sequence[str] | None) -> pa.Table:
    """The table, or only those of its columns that are wanted: the others are not decoded."""
    if columns:
        names = _names(source)
        for column in columns:
            if column not in names:
                raise unknown("column", column, names)
    return pq.read_table(source, columns=list(columns) if columns else None)


def _check_there(source: Path) -> None:
    if not _is(source, Path.is_file) and not (_is(source, Path.is_dir) and any(_part_files(source))):
        raise InputError(f"there is no table at {str(source)!r}", got="no such file", do="check the path")


def _is(path: Path, kind: Callable[[Path], bool]) -> bool:
    try:
        return kind(path)
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
