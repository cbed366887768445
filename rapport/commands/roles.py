"""Columns that options name: each for one thing."""

from __future__ import annotations

from collections.abc import Mapping


def each_its_own(roles: Mapping[str, str | None]) -> None:
    """Check that the options ``roles`` name columns, and no column twice; None is an option that wasn't passed.

    A column held against itself gives a difference that looks sure and means nothing.

    Raises
    ------
    InputError
        For an empty name, and for a column that two options name.

    >>> each_its_own({"--arm": "arm", "--event": "left", "--cluster": None})
    """
    from features.errors import InputError

    taken: dict[str, str] = {}
    for option, column in roles.items():
        if column is None:
            continue
        if not column.strip():
            raise InputError(f"{option} names no column", got=repr(column), do="pass the name of one, or leave it out")
        if column in taken:
            raise InputError(
                "one column can't be two things",
                got=f"{column!r} for {taken[column]} and for {option}",
                do="name another column for one of the two",
            )
        taken[column] = option
