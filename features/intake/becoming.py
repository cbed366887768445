"""Becoming facts: the good rows of a staged file are added to the history, each fact once."""

from __future__ import annotations

from collections.abc import Mapping

from features.history import History
from features.intake.checks import attribute_columns
from features.intake.sources import Rows, Source
from features.intake.staging import Staged
from features.sql import literal

_GOOD = "reason IS NULL"
_ROW = "staged.* EXCLUDE (reason, original)"
#: The channel of a no that names none: it stops all.
_CHANNEL = f"{_ROW} REPLACE (coalesce(channel, 'all') AS channel)"
_OWNER: Mapping[Rows, str] = {"profile": "customer_id", "events": "customer_id", "items": "item"}


def facts(source: Source) -> dict[str, str]:
    """SQL over ``staged`` of what its good rows become, by the table of the history that it belongs to."""
    origin = f"{literal(source.name)} AS source"
    if source.rows == "events":
        given, ids = (
            ("", "") if "event_id" in source.columns else ("ids.event_id, ", "JOIN ids ON ids.row = staged.rowid")
        )
        events = {"events": f"SELECT {given}{_ROW}, {origin} FROM staged {ids} WHERE {_GOOD}"}
        if not source.attributes:
            return events
        # Each row, not only changes of the value: another file or source may tell of one between two rows that agree.
        return events | {"profile": f"SELECT DISTINCT *, {origin} FROM ({_wide(source)})"}
    if source.rows == "consents":
        return {"consents": f"SELECT {_CHANNEL}, {origin} FROM staged WHERE {_GOOD}"}
    if not source.attributes:
        return {source.rows: f"SELECT {_ROW}, {origin} FROM staged WHERE {_GOOD}"}
    return {source.rows: f"SELECT *, {origin} FROM ({_wide(source)})"}


def append(staged: Staged, *, history: History, part: str) -> int:
    """Add the facts of the good rows to ``history``; returns how many it did not hold."""
    told = facts(staged.source)
    return sum(
        history.append_from(staged.connection, name, sql, part=part, distinct=name == "events")
        for name, sql in told.items()
    )


def _wide(source: Source) -> str:
    """Each attribute of each row as a row of its own."""
    owner = _OWNER[source.rows]
    return " UNION ALL ".join(
        f"SELECT {owner}, {literal(name)} AS attribute, {column} AS value, occurred_at, recorded_at "
        f"FROM staged WHERE {_GOOD} AND {column} IS NOT NULL"
        for name, column in zip(source.mapped_attributes, attribute_columns(source), strict=True)
    )
