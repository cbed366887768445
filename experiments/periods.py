"""When units entered, by days: as labels in the order of time."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from experiments.observations import Labels
from features.errors import InputError

MOST_PERIODS = 60


def periods(table: pa.Table, name: str) -> Labels:
    """The day on which each unit entered, as ordered labels; with many days, spans of several, named by their last.

    A column of whole numbers is taken as day numbers. Raises InputError for a column that is neither.
    """
    column = table[name]
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        try:
            column = column.cast(pa.timestamp("us"))
        except pa.ArrowInvalid as error:
            raise InputError(
                f"column {name!r} holds no times", got=str(error).splitlines()[0], do="write them as 2026-01-31"
            ) from error
    if pa.types.is_timestamp(column.type):
        column = pc.floor_temporal(column, unit="day").cast(pa.date32(), safe=False)
    if not (pa.types.is_date(column.type) or pa.types.is_integer(column.type)):
        raise InputError(f"column {name!r} holds no times", got=str(column.type), do="pass times, dates or day numbers")
    days = pc.unique(column).drop_null().sort()
    if not len(days):
        raise InputError(f"column {name!r} is empty", got="no time in any row", do="leave out --time")
    ends = np.unique(np.linspace(0, len(days) - 1, min(len(days), MOST_PERIODS)).round().astype(int))
    place = pc.fill_null(pc.index_in(column, value_set=days), -1).to_numpy().astype(np.int32)
    codes = np.where(place < 0, -1, np.searchsorted(ends, place)).astype(np.int32)
    return Labels(values=tuple(str(days[int(end)].as_py()) for end in ends), codes=codes)
