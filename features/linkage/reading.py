"""Tables of people as files have them, every value as text: 0822 is a postcode, not 822."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from features.errors import InputError, listed
from features.tables import read_table


def read_people(path: str | Path) -> pa.Table:
    """The table in a file, its column names without blanks around them, and text where the file holds text."""
    first = read_table(path)
    table = first if str(path).lower().endswith((".parquet", ".pq")) else read_table(path, text=first.column_names)
    names = [name.strip() for name in table.column_names]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InputError("columns have the same name", got=listed(twice), do="rename them")
    return table.rename_columns(names)
