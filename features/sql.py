"""Small pieces of DuckDB SQL: quoting, so that no name or value from a file becomes code."""

from __future__ import annotations

from collections.abc import Iterable


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
