"""Queries over files: what joins tables of the folder of the data becomes rows that are checked as every file's are."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import InputError
from features.sql import identifier, in_memory, literal

_QUOTED = re.compile(r"'((?:[^']|'')*)'|\"((?:[^\"]|\"\")*)\"")
_READERS: Mapping[str, str] = {
    ".parquet": "read_parquet([{files}])",
    ".csv": "read_csv([{files}], all_varchar = true, header = true)",
    ".csv.gz": "read_csv([{files}], all_varchar = true, header = true)",
    ".jsonl": "read_json([{files}], format = 'newline_delimited')",
    ".jsonl.gz": "read_json([{files}], format = 'newline_delimited')",
}
_ROWS_AT_ONCE = 100_000


def files_of(query: str, *, data: Path) -> dict[str, tuple[Path, ...]]:
    """The files of the folder ``data`` that a query names in quotation marks: name or pattern -> files.

    >>> files_of("SELECT * FROM 'till.parquet' WHERE kind = 'SALE'", data=Path("/nowhere"))
    {}
    """
    found = {}
    for text, name in _QUOTED.findall(query):
        each = text.replace("''", "'") or name.replace('""', '"')
        pattern = Path(each)
        if not _reader(each) or pattern.is_absolute() or ".." in pattern.parts:
            continue
        files = tuple(sorted(path for path in data.glob(each) if path.is_file()))
        if files:
            found[each] = files
    return found


def digest(files: Mapping[str, Sequence[Path]]) -> str:
    """A digest of the content of the files that a query reads, and of how it names them."""
    told = hashlib.sha256()
    for name, paths in sorted(files.items()):
        told.update(f"{name}\n".encode())
        for path in paths:
            with path.open("rb") as stream:
                told.update(hashlib.file_digest(stream, "sha256").digest())
    return told.hexdigest()


def answer(query: str, *, files: Mapping[str, Sequence[Path]], name: str, target: Path) -> None:
    """Write the rows of a query of the source ``name`` to ``target`` (Parquet).

    It may read ``files``, and nothing else of the machine or the network; it can write nothing and load no extension.

    Raises
    ------
    InputError
        When it is no single SELECT, or can't be answered from these files.
    """
    if not files:
        raise InputError(
            f"the query of source {name!r} finds none of its files",
            got="no name in quotation marks of a Parquet, CSV or JSON lines file in the folder of the data",
            do="write FROM 'till.parquet', relative to that folder, or pass another folder with --data",
        )
    with in_memory() as connection:
        for each, paths in files.items():  # a view is found before a file by its name
            listed = ", ".join(map(literal, paths))
            read = _reader(each).format(files=listed)
            connection.execute(f"CREATE VIEW {identifier(each)} AS SELECT * FROM {read}")
        _lock(connection, [path for paths in files.values() for path in paths], scratch=target.parent)
        try:
            statements = connection.extract_statements(query)
            if [each.type for each in statements] != [duckdb.StatementType.SELECT]:
                raise InputError(
                    f"the query of source {name!r} must be one SELECT",
                    got=f"{query.strip():.60}",
                    do="write SELECT ...",
                )
            _write(connection, statements[0], target)
        except (duckdb.Error, pa.ArrowException) as error:
            raise InputError(
                f"the query of source {name!r} can't be answered",
                got=str(error).strip().splitlines()[0],
                do="name files of the folder of the data, relative to it; nothing else can be read",
            ) from error


def _reader(name: str) -> str:
    lower = name.lower()
    return next((reader for suffix, reader in _READERS.items() if lower.endswith(suffix)), "")


def _lock(connection: duckdb.DuckDBPyConnection, files: Sequence[Path], *, scratch: Path) -> None:
    """Leave a connection nothing to read but ``files``, and nothing to change about that."""
    connection.execute(
        f"""
        SET TimeZone = 'UTC';
        SET temp_directory = {literal(scratch / "spilled")};
        SET allowed_paths = [{", ".join(map(literal, files))}];
        SET python_enable_replacements = false;
        SET autoinstall_known_extensions = false;
        SET autoload_known_extensions = false;
        SET enable_external_access = false;
        SET lock_configuration = true;
        """
    )


def _write(connection: duckdb.DuckDBPyConnection, statement: duckdb.Statement, target: Path) -> None:
    rows = connection.execute(statement).to_arrow_reader(_ROWS_AT_ONCE)
    with pq.ParquetWriter(target, rows.schema) as writer:
        for batch in rows:
            writer.write_batch(batch)
