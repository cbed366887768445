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


def facts(source: Source, *, history: History) -> dict[str, str]:
    """SQL over ``staged`` of what its good rows become, by the table of the history that it belongs to."""
    origin = f"{literal(source.name)} AS source"
    if source.rows == "events":
        given, ids = (
            ("", "") if "event_id" in source.columns else ("ids.event_id, ", "JOIN ids ON ids.row = staged.rowid")
        )
        events = {"events": f"SELECT {given}{_ROW}, {origin} FROM staged {ids} WHERE {_GOOD}"}
        return events | ({"profile": _first_told(source, origin, history=history)} if source.attributes else {})
    if source.rows == "consents":
        return {"consents": f"SELECT {_CHANNEL}, {origin} FROM staged WHERE {_GOOD}"}
    if not source.attributes:
        return {source.rows: f"SELECT {_ROW}, {origin} FROM staged WHERE {_GOOD}"}
    return {source.rows: f"SELECT *, {origin} FROM ({_wide(source)})"}


def append(staged: Staged, *, history: History, part: str) -> int:
    """Add the facts of the good rows to ``history``; returns how many it did not hold."""
    told = facts(staged.source, history=history)
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


def _first_told(source: Source, origin: str, *, history: History) -> str:
    """What events tell of their customers: each value once, at the earliest time, and not what was told before."""
    return f"""
        SELECT told.*, {origin}
        FROM (SELECT customer_id, attribute, value, min(occurred_at) AS occurred_at,
                  arg_min(recorded_at, (occurred_at, recorded_at)) AS recorded_at
              FROM ({_wide(source)}) GROUP BY customer_id, attribute, value) AS told
        ANTI JOIN (SELECT * FROM {history.scan("profile")} WHERE source = {literal(source.name)}) AS held
            ON told.customer_id = held.customer_id AND told.attribute = held.attribute AND told.value = held.value
                AND held.occurred_at <= told.occurred_at
    """
