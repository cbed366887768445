"""Whose facts a row of a spine sees: the accounts that were known, at its moment, to belong to its customer."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from features.engines.query import Tables
from features.history import History
from features.sql import in_memory

#: SQL: the columns of ``Tables.members`` from those of MEMBERS.
MEMBER_COLUMNS = "strength, account_id, customer_id, epoch_us(since) AS since, epoch_us(until) AS until"


def own_accounts() -> ir.Table:
    """The query for ``Tables.own``: the spine and, beside each row, one for each other account of the same person."""
    return _with_linked(Tables.spine, strength="personalize")


def household_accounts() -> ir.Table:
    """The query for ``Tables.household``: ``Tables.own`` and the accounts of all who share their household."""
    return _with_linked(Tables.own, strength="household")


def housemates(history: History, keys: pa.Table) -> pa.Table:
    """``row`` and ``customer_id`` of the accounts of others whose facts a row of ``keys`` sees in its household."""
    with in_memory() as connection:
        connection.register("spine", keys)
        connection.execute(f"CREATE TEMP VIEW members AS SELECT {MEMBER_COLUMNS} FROM {history.scan('members')}")
        for name, query in (("own", own_accounts()), ("household", household_accounts())):
            connection.execute(f"CREATE TEMP TABLE {name} AS {ibis.to_sql(query, dialect='duckdb')}")
        return connection.execute(
            "SELECT row, customer_id FROM household EXCEPT SELECT row, customer_id FROM own ORDER BY ALL"
        ).to_arrow_table()


def _with_linked(rows: ir.Table, *, strength: str) -> ir.Table:
    groups = Tables.members.filter(Tables.members["strength"] == strength)
    named = _known(rows.join(groups, rows["customer_id"] == groups["account_id"])).select(
        "row", "as_of", group=groups["customer_id"]
    )
    others = groups.view()
    linked = _known(named.join(others, named["group"] == others["customer_id"]))
    return rows.union(linked.select("row", customer_id=linked["account_id"], as_of=linked["as_of"]), distinct=True)


def _known(joined: ir.Table) -> ir.Table:
    lasting = joined["until"].isnull() | (joined["as_of"] <= joined["until"])
    return joined.filter((joined["since"] < joined["as_of"]) & lasting)
