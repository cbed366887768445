"""Features of a spine on any engine; here on the embedded one: DuckDB runs the compiled query over the parts."""

from __future__ import annotations

from collections.abc import Sequence
from tempfile import TemporaryDirectory
from typing import Protocol

import duckdb
import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc

from features.engines.owners import household_accounts, own_accounts
from features.engines.query import BITS, compile_features, longest_window
from features.feature import Column
from features.history import History
from features.spine import refuse_clash, spine_keys
from features.sql import in_memory, literal

#: Values of features that are computed at once: few enough for their sums to stay near the processor.
MOST_VALUES = 10_000_000
_MEMORY = "2500MB"
_EVENT_COLUMNS = "customer_id, kind, channel, item, category, brand, source, amount, quantity"
_PROFILE_COLUMNS = "customer_id, attribute, value"
_MEMBER_COLUMNS = "strength, account_id, customer_id, epoch_us(since) AS since, epoch_us(until) AS until"
_TIMES = "epoch_us(occurred_at) AS occurred, epoch_us(recorded_at) AS recorded"


class Engine(Protocol):
    """What runs the compiled query."""

    def values(self, columns: Sequence[Column], history: History, keys: pa.Table, *, bits: int | None) -> pa.Table:
        """``row``, ``columns`` and ``n_events`` of each row of ``keys`` (``spine_keys``), by row."""


def offline(
    columns: Sequence[Column], history: History, spine: pa.Table, *, engine: Engine | None = None, bits: int = BITS
) -> pa.Table:
    """``spine`` with ``columns`` added: the same rows in the same order.

    ``bits``: width of a packed count; rows with more events than it holds are counted window by window instead.
    """
    keys = spine_keys(spine)
    refuse_clash(spine, tuple(each.name for each in columns))
    chosen = engine or DuckDB()
    values = chosen.values(columns, history, keys, bits=bits)
    if spine.num_rows and (pc.max(values["n_events"]).as_py() or 0) >= 1 << bits:
        values = chosen.values(columns, history, keys, bits=None)
    for column in columns:
        spine = spine.append_column(pa.field(column.name, column.type), values[column.name].cast(column.type))
    return spine


class DuckDB:
    """The embedded engine. What does not fit into its memory goes to a temporary folder.

    ``most_values``: of a longer spine ranges of customers are computed one after the other. As a part of the history is
    sorted by customer, each range reads its own share of it.

    >>> import tempfile
    >>> from features import Feature
    >>> spine = pa.table({"customer_id": ["anna"], "as_of": ["2024-05-01"]})
    >>> columns = Feature(name="visits", where={"kind": "visit"}, windows=("7d",)).columns
    >>> offline(columns, History(tempfile.mkdtemp()), spine, engine=DuckDB(most_values=10**6))["visits_7d"].to_pylist()
    [0]
    """

    def __init__(self, *, most_values: int = MOST_VALUES) -> None:
        self._most_values = most_values

    def values(self, columns: Sequence[Column], history: History, keys: pa.Table, *, bits: int | None) -> pa.Table:
        """``row``, ``columns`` and ``n_events`` of each row of ``keys`` (``spine_keys``), by row."""
        query = _query(columns, bits=bits)
        longest = longest_window(columns)
        most = max(1, self._most_values // (len(columns) + 1))
        if keys.num_rows <= most:
            return _computed(query, history, keys, longest=longest, ranged=False)
        ordered = keys.take(pc.sort_indices(keys["customer_id"]))
        starts = range(0, keys.num_rows, most)
        found = pa.concat_tables(
            _computed(query, history, ordered.slice(start, most), longest=longest, ranged=True) for start in starts
        )
        return found.take(pc.sort_indices(found["row"]))


def _query(columns: Sequence[Column], *, bits: int | None) -> str:
    types = [("row", "BIGINT"), *((each.name, _sql_type(each)) for each in columns), ("n_events", "BIGINT")]
    wanted = ", ".join(f'CAST("{name}" AS {kind}) AS "{name}"' for name, kind in types)
    return f"SELECT {wanted} FROM ({_sql(compile_features(columns, bits=bits))}) ORDER BY row"


def _computed(query: str, history: History, keys: pa.Table, *, longest: int | None, ranged: bool) -> pa.Table:
    with TemporaryDirectory(prefix="rapport-features-") as scratch, in_memory() as connection:
        connection.execute(f"SET TimeZone = 'UTC'; SET memory_limit = '{_MEMORY}'; SET temp_directory = '{scratch}'")
        connection.execute("SET preserve_insertion_order = false")  # the query orders its rows; kept, less is spilled
        _make_tables(connection, history, keys, longest=longest, ranged=ranged)
        return connection.execute(query).to_arrow_table()


def _sql(query: ir.Table) -> str:
    return str(ibis.to_sql(query, dialect="duckdb", pretty=False))


def _sql_type(column: Column) -> str:
    return "VARCHAR" if pa.types.is_string(column.type) else "BIGINT"


def _make_tables(
    connection: duckdb.DuckDBPyConnection, history: History, keys: pa.Table, *, longest: int | None, ranged: bool
) -> None:
    """The tables that the query reads (``features.engines.query.Tables``)."""
    connection.register("spine", keys)
    _make_owners(connection, history)
    # Parts and row groups that are all too new or too old for every row, or of other customers, are not read.
    known = f"occurred_at < make_timestamptz({pc.max(keys['as_of']).as_py() or 0})"
    if longest is not None:
        known += f" AND occurred_at >= make_timestamptz({(pc.min(keys['as_of']).as_py() or 0) - longest})"
    if ranged:
        ends = connection.execute("SELECT min(customer_id), max(customer_id) FROM household").fetchone() or ()
        known += " AND customer_id BETWEEN " + " AND ".join(map(literal, ends))
    connection.execute(
        f"""
        CREATE TEMP VIEW events AS SELECT {_EVENT_COLUMNS}, {_TIMES} FROM {history.scan("events")} WHERE {known};
        CREATE TEMP VIEW profile AS SELECT {_PROFILE_COLUMNS}, {_TIMES} FROM {history.scan("profile")}
        """
    )


def _make_owners(connection: duckdb.DuckDBPyConnection, history: History) -> None:
    if not history.parts("members"):
        connection.execute("CREATE TEMP VIEW own AS FROM spine; CREATE TEMP VIEW household AS FROM spine")
        return
    connection.execute(f"CREATE TEMP VIEW members AS SELECT {_MEMBER_COLUMNS} FROM {history.scan('members')}")
    for name, query in (("own", own_accounts()), ("household", household_accounts())):
        # As tables, so that DuckDB knows how few they are and never takes the events for the smaller side of the join.
        connection.execute(f"CREATE TEMP TABLE {name} AS {_sql(query)}")
