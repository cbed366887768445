"""Tables of people as files have them, every value as text: 0822 is a postcode, not 822."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import pyarrow as pa

from features.errors import InputError, listed
from features.tables import read_table


def read_people(path: str | Path) -> pa.Table:
    """The table in a file, its column names without blanks around them, and text where the file holds text."""
    table = _read(Path(path))
    names = [name.strip() for name in table.column_names]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InputError("columns have the same name", got=listed(twice), do="rename them")
    return table.rename_columns(names)


def _read(path: Path) -> pa.Table:
    if path.name.lower().endswith((".parquet", ".pq")) or (text := _foreign(path)) is None:
        first = read_table(path)
        return first if path.name.lower().endswith((".parquet", ".pq")) else read_table(path, text=first.column_names)
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / path.name.removesuffix(".gz")
        copy.write_text(text, encoding="utf-8", newline="")
        return _read(copy)


def _foreign(path: Path) -> str | None:
    """The text of a file that is not UTF-8, as the intake of sources takes it: UTF-16 by its mark, else Latin-1."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            held = stream.read()
        if held[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return held.decode("utf-16")
        held.decode("utf-8")
    except UnicodeDecodeError:
        return held.decode("latin-1")
    except (OSError, EOFError, ValueError):  # what can't be read at all is told by who reads the table
        return None
    return None
