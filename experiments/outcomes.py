"""Outcomes: what each assigned unit did within its attribution window, as known at a moment."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from experiments.measures import EVENT_KINDS, Measure
from features.errors import InputError
from features.sql import in_memory
from features.tables import require_column

_ASSIGNMENT = ("customer_id", "arm", "assigned_at")
SESSION = "session_id"
"""The column of the session that was assigned."""

_EVENT = ("event_id", "customer_id", "kind", "occurred_at", "recorded_at", "amount")

# The rows that count: assigned before $as_of, each at its first time; units seen in two arms left out, and so are
# customers of two units, such as a person of two households, in different arms. A session owns what its customer did
# until the next one of the experiment began, so that nothing counts twice.
_UNITS = """
    assigned AS (SELECT * FROM assignments WHERE assigned_at < $as_of),
    twice AS (SELECT {unit} AS unit FROM assigned WHERE {unit} NOT NULL GROUP BY unit HAVING count(DISTINCT arm) > 1),
    torn AS (
        SELECT {row} AS unit FROM assigned WHERE coalesce({unit} NOT IN (FROM twice), true)
        GROUP BY {row} HAVING count(DISTINCT arm) > 1),
    firsts AS (
        SELECT * FROM assigned QUALIFY row_number() OVER (PARTITION BY {row} ORDER BY assigned_at) = 1),
    spans AS (
        SELECT *, lead(assigned_at) OVER (PARTITION BY customer_id ORDER BY assigned_at, {row}) AS next_assigned_at
        FROM firsts),
    units AS (
        SELECT * FROM spans WHERE coalesce({unit} NOT IN (FROM twice), true) AND {row} NOT IN (FROM torn))
"""
# An event is what its first recording says: whatever is sent again later changes nothing.
_KNOWN = """
    recorded AS (SELECT * FROM events WHERE recorded_at < $as_of AND occurred_at < $as_of AND kind IN $kinds),
    known AS (
        SELECT * FROM recorded
        QUALIFY row_number() OVER (
            PARTITION BY event_id ORDER BY recorded_at, occurred_at, customer_id, kind, amount) = 1)
"""
_OWNED = (
    "known.customer_id = units.customer_id AND occurred_at > assigned_at "
    "AND occurred_at <= coalesce(next_assigned_at, 'infinity'::TIMESTAMPTZ)"
)
_VALUES = {
    "any": "(count(*) FILTER ({when}) > 0)::BIGINT",
    "count": "count(*) FILTER ({when})",
    "sum": "(sum(amount) FILTER ({when}))::BIGINT",
}


@dataclass(frozen=True, kw_only=True)
class OutcomeCounts:
    """How whole the data of a look is, in counts.

    ``units`` customers were assigned to one arm, ``mature`` of them may be counted; those of ``two_arms`` units, or
    customers in several of them, seen in two arms, are left out; ``duplicates`` are re-sent events, ignored; ``late``
    events count for a unit but were recorded after its window and usual delay had passed, so an earlier look could not
    have seen them.

    >>> OutcomeCounts(units=100, mature=90, two_arms=1, duplicates=0, late=2).immature
    10
    """

    units: int
    mature: int
    two_arms: int
    duplicates: int
    late: int

    @property
    def immature(self) -> int:
        """Units whose window or usual delay has not passed."""
        return self.units - self.mature


def join_outcomes(
    assignments: pa.Table,
    events: pa.Table,
    goals: Sequence[Measure],
    *,
    as_of: datetime,
    unit: str = "customer_id",
) -> pa.Table:
    """One row per assigned customer (or session): its columns in ``assignments``, one column per goal, and ``mature``.

    An event counts when it occurred in ``(assigned_at, assigned_at + window]`` and both its times are before ``as_of``;
    re-sent events (same ``event_id``) count once. A goal whose window and usual delay have not passed is null:
    censored, never negative. ``mature`` says that those of all goals have. Rows are ordered by customer.

    Parameters
    ----------
    assignments: ``customer_id, arm, assigned_at`` and any further columns (household, segment), which are kept. A
        customer assigned again to the same arm counts from the first time. Ids that are linked accounts of one person
        must be one id here and in ``events``, as known at ``as_of`` (:func:`by_person`).
    events: of the schema ``EVENTS``: ``event_id, customer_id, kind, occurred_at, recorded_at, amount``.
    goals: goals and guardrails; those that are not made of events, ``given`` and ``ratio``, are left to later steps.
    as_of: the moment of the look, with its time zone.
    unit: the column that was assigned; with ``household_id``, customers of households seen in two arms are left out;
        with ``session_id`` there is a row per session, which counts what its customer did until the next one began.
    """
    joined = [goal for goal in goals if goal.kind in EVENT_KINDS]
    _check(assignments, events, joined, as_of=as_of, unit=unit)
    sums = "".join(f", {_value(goal, place)} AS goal{place}" for place, goal in enumerate(joined))
    columns = "".join(
        f", CASE WHEN assigned_at + $maturity{place} < $as_of THEN coalesce(goal{place}, 0) END AS {quoted(goal.name)}"
        for place, goal in enumerate(joined)
    )
    row = quoted(row_of(unit))
    sql = f"""
        WITH {units_sql(unit)}, {_KNOWN},
        sums AS (SELECT units.{row}{sums} FROM units JOIN known ON {_OWNED} GROUP BY units.{row})
        SELECT units.* EXCLUDE (next_assigned_at){columns}, assigned_at + $maturity < $as_of AS mature
        FROM units LEFT JOIN sums USING ({row}) ORDER BY customer_id, {row}
    """
    return query(sql, values=_values(joined, as_of=as_of), assignments=assignments, events=events)


def count_outcomes(
    assignments: pa.Table, events: pa.Table, goals: Sequence[Measure], *, as_of: datetime, unit: str = "customer_id"
) -> OutcomeCounts:
    """The counts behind :func:`join_outcomes` of the same arguments, for the report's health strip."""
    joined = [goal for goal in goals if goal.kind in EVENT_KINDS]
    _check(assignments, events, joined, as_of=as_of, unit=unit)
    sql = f"""
        WITH {units_sql(unit)}, {_KNOWN}
        SELECT (SELECT count(*) FROM units) AS units,
            (SELECT count(*) FROM units WHERE assigned_at + $maturity < $as_of) AS mature,
            (SELECT count(*) FROM twice) + (SELECT count(*) FROM torn) AS two_arms,
            (SELECT count(*) FROM recorded) - (SELECT count(*) FROM known) AS duplicates,
            (SELECT count(*) FROM known JOIN units ON {_OWNED}
             WHERE occurred_at <= assigned_at + $window AND recorded_at >= assigned_at + $maturity) AS late
    """
    values = _values(joined, as_of=as_of) | {"window": max(goal.window for goal in joined)}
    return OutcomeCounts(**query(sql, values=values, assignments=assignments, events=events).to_pylist()[0])


def row_of(unit: str) -> str:
    """The column that a row of the table of outcomes is one value of: a session, where those were assigned."""
    return SESSION if unit == SESSION else "customer_id"


def units_sql(unit: str) -> str:
    """The rows that count of a table ``assignments``, as common table expressions; the last one is ``units``."""
    return _UNITS.format(unit=quoted(unit), row=quoted(row_of(unit)))


def by_person(table: pa.Table, people: pa.Table) -> pa.Table:
    """``table`` with the person of each account as its ``customer_id``.

    Parameters
    ----------
    people: ``account_id, customer_id`` of the accounts that are linked, each once; others are persons of their own.
    """
    place = table.column_names.index("customer_id")
    found = pc.index_in(table["customer_id"], people["account_id"])
    person = pc.coalesce(people["customer_id"].take(found), table["customer_id"])
    return table.set_column(place, "customer_id", person)


def _value(goal: Measure, place: int) -> str:
    when = f"WHERE kind IN $kinds{place} AND occurred_at <= assigned_at + $window{place}"
    return _VALUES[goal.kind].format(when=when)


def _values(goals: Sequence[Measure], *, as_of: datetime) -> dict[str, Any]:
    values: dict[str, Any] = {
        "as_of": as_of,
        "kinds": sorted({kind for goal in goals for kind in goal.events}),
        "maturity": max(goal.maturity for goal in goals),
    }
    for place, goal in enumerate(goals):
        values |= {f"kinds{place}": list(goal.events), f"window{place}": goal.window, f"maturity{place}": goal.maturity}
    return values


def query(sql: str, *, values: Mapping[str, Any], **tables: pa.Table) -> pa.Table:
    """The rows of ``sql`` over the named ``tables`` in DuckDB; of ``values``, those that it names are bound."""
    named = set(re.findall(r"\$(\w+)", sql)) & set(values)
    with in_memory() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, table in tables.items():
            connection.register(name, table)
        return connection.execute(sql, {name: values[name] for name in sorted(named)}).to_arrow_table()


def _check(assignments: pa.Table, events: pa.Table, goals: Sequence[Measure], *, as_of: datetime, unit: str) -> None:
    for column in (*_ASSIGNMENT, unit):
        require_column(assignments, column)
    for column in _EVENT:
        require_column(events, column)
    if unit == SESSION and assignments[unit].null_count:
        empty = assignments[unit].null_count
        raise InputError("sessions have no id", got=f"{empty:,} rows without one", do="leave them out")
    if as_of.tzinfo is None:
        raise InputError("as_of has no time zone", got=str(as_of), do="give it one, such as UTC")
    if not goals:
        raise InputError("no goal is made from events", got="none, or only given ones", do="pass at least one goal")
    clash = [goal.name for goal in goals if goal.name in assignments.column_names]
    if clash:
        raise InputError(
            "a goal has the name of a column of the assignments", got=", ".join(clash), do="rename the goal"
        )


def quoted(name: str) -> str:
    """``name`` as an identifier in SQL."""
    return '"' + name.replace('"', '""') + '"'
