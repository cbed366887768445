"""The spine: the rows that features are wanted for, each a customer and a moment."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import InputError, listed
from features.facts import TIMESTAMP
from features.tables import require_column


def spine_keys(spine: pa.Table) -> pa.Table:
    """``row`` (position, int64), ``customer_id`` and ``as_of`` (int64 microseconds of the epoch) of each row.

    ``as_of`` may be a timestamp, a date or ISO 8601 text; where it names no zone it is UTC.

    Raises
    ------
    InputError
        When a column is absent, incomplete or not readable as an id or a moment.
    """
    for name in ("customer_id", "as_of"):
        require_column(spine, name)
        if spine[name].null_count:
            raise InputError(
                f"column {name!r} of the spine must be complete",
                got=f"{spine[name].null_count} missing values",
                do="remove those rows",
            )
    return pa.table(
        {
            "row": np.arange(spine.num_rows, dtype=np.int64),
            "customer_id": spine["customer_id"].cast(pa.string()),
            "as_of": moments(spine["as_of"]).cast(pa.int64()),
        }
    )


def refuse_clash(spine: pa.Table, names: tuple[str, ...]) -> None:
    """Raise when a column of the spine has the name of a feature."""
    clash = sorted(set(spine.column_names) & set(names))
    if clash:
        raise InputError("columns of the spine have names of features", got=listed(clash), do="rename or drop them")


def moments(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """``column`` as microseconds in UTC."""
    try:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            return _from_text(column)
        if pa.types.is_date(column.type):
            column = column.cast(pa.timestamp("us"))
        if not pa.types.is_timestamp(column.type):
            raise pa.ArrowInvalid(f"type {column.type}")
        if column.type.tz is None:
            column = pc.assume_timezone(column, "UTC")
        return column.cast(TIMESTAMP, safe=False)
    except pa.ArrowException as error:
        raise InputError(
            "column 'as_of' of the spine can't be read as a moment",
            got=str(error).splitlines()[0],
            do="write it as 2024-05-01T12:00:00Z or save a timestamp column",
        ) from error


def _from_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    # Arrow reads text with a zone only into zoned types and text without only into naive ones: so each by itself.
    zoned = pc.match_substring_regex(column, r"(Z|[+-]\d{2}:?\d{2})$")
    zoned = pc.and_(zoned, pc.match_substring(column, ":"))
    with_zone = pc.if_else(zoned, column, pa.scalar(None, pa.string())).cast(TIMESTAMP)
    naive = pc.if_else(zoned, pa.scalar(None, pa.string()), column).cast(pa.timestamp("us"))
    return pc.coalesce(with_zone, pc.assume_timezone(naive, "UTC"))
