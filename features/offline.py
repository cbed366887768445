"""Features of a spine on the embedded engine: the compiled query, run by DuckDB over the history's parts."""

from __future__ import annotations

from collections.abc import Sequence

import ibis
import pyarrow as pa
import pyarrow.compute as pc

from features.feature import Column
from features.history import History
from features.query import BITS, FactTables, compile_features
from features.spine import refuse_clash, spine_keys

_EVENT_COLUMNS = "customer_id, kind, channel, item, category, source, amount, quantity"
_PROFILE_COLUMNS = "customer_id, attribute, value"
_TIMES = "epoch_us(occurred_at) AS occurred, epoch_us(recorded_at) AS recorded"


def offline(columns: Sequence[Column], history: History, spine: pa.Table, *, bits: int = BITS) -> pa.Table:
    """``spine`` with ``columns`` added: the same rows in the same order.

    ``bits``: width of a packed count; rows with more events than it holds are counted window by window instead.
    """
    keys = spine_keys(spine)
    refuse_clash(spine, tuple(each.name for each in columns))
    values = _run(columns, history, keys, bits=bits)
    if spine.num_rows and (pc.max(values["n_events"]).as_py() or 0) >= 1 << bits:
        values = _run(columns, history, keys, bits=None)
    for column in columns:
        spine = spine.append_column(pa.field(column.name, column.type), values[column.name].cast(column.type))
    return spine


def _run(columns: Sequence[Column], history: History, keys: pa.Table, *, bits: int | None) -> pa.Table:
    connection = ibis.duckdb.connect()
    try:
        tables = embedded_tables(connection, history, keys)
        query = compile_features(columns, tables, bits=bits)
        values = connection.to_pyarrow(query)
        # Sorting one column here and taking the others costs less than a sort of the whole rows in the engine.
        return values.take(pc.sort_indices(values["row"]))
    finally:
        connection.disconnect()


def embedded_tables(connection: ibis.backends.duckdb.Backend, history: History, keys: pa.Table) -> FactTables:
    """The tables of the compiled query on a DuckDB connection of Ibis."""
    connection.con.register("spine", keys)
    connection.raw_sql(f"CREATE TEMP VIEW events AS SELECT {_EVENT_COLUMNS}, {_TIMES} FROM {history.scan('events')}")
    connection.raw_sql(
        f"CREATE TEMP VIEW profile AS SELECT {_PROFILE_COLUMNS}, {_TIMES} FROM {history.scan('profile')}"
    )
    return FactTables(
        spine=connection.table("spine"), events=connection.table("events"), profile=connection.table("profile")
    )
