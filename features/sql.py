"""Small pieces of DuckDB SQL: quoting, so that no name or value from a file becomes code."""

from __future__ import annotations

from collections.abc import Iterable

import duckdb


def identifier(name: str) -> str:
    """``name`` as a quoted identifier.

    >>> identifier('5" pipe')
    '"5"" pipe"'
    """
    return '"' + name.replace('"', '""') + '"'


def literal(text: object) -> str:
    """``text`` as a string literal.

    >>> literal("it's")
    "'it''s'"
    """
    return "'" + str(text).replace("'", "''") + "'"


def literals(texts: Iterable[object]) -> str:
    """String literals with commas between."""
    return ", ".join(map(literal, texts))


def in_memory() -> duckdb.DuckDBPyConnection:
    """A database in memory that prints no progress among the steps of a command.

    >>> in_memory().execute("SELECT 1").fetchone()
    (1,)
    """
    connection = duckdb.connect()
    connection.execute("SET enable_progress_bar = false")
    return connection
