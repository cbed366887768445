"""Ties: what an account is linked with, by what, how surely and since when, as a person reads it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from features.history import History
from features.sql import in_memory


class Tie(NamedTuple):
    """The latest fact about a pair, kind and reason. ``by``: what or who said so; ``since``: when that was known."""

    account_id: str
    other_id: str
    kind: str
    because: str
    probability: float
    since: datetime
    by: str | None


def ties_of(history: History, account_ids: Collection[str]) -> list[Tie]:
    """The ties of any of these accounts, those that were taken back (probability 0) too, in the order of accounts.

    >>> import tempfile
    >>> ties_of(History(tempfile.mkdtemp()), ["anna"])
    []
    """
    with in_memory() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.execute(
            f"""
            SELECT account_id, other_id, kind, because, probability,
                greatest(occurred_at, recorded_at) AS since, source AS by
            FROM {history.scan("links")} WHERE account_id = ANY($ids) OR other_id = ANY($ids)
            QUALIFY row_number() OVER (PARTITION BY account_id, other_id, kind, because
                                       ORDER BY occurred_at DESC, recorded_at DESC, probability) = 1
            ORDER BY kind DESC, account_id, other_id, because
            """,
            {"ids": list(account_ids)},
        ).to_arrow_table()
    return [Tie(**row) for row in found.to_pylist()]
