"""When customers left: by what they did, such as opting out, or by doing nothing for so many days."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pyarrow as pa

from experiments.outcomes import query, units_sql
from features.errors import InputError

_LAPSES = """
WITH {units},
bought AS (
    SELECT DISTINCT units.customer_id, occurred_at FROM units JOIN events ON events.customer_id = units.customer_id
    WHERE kind = 'purchase' AND recorded_at < $as_of AND occurred_at < $as_of AND occurred_at > assigned_at),
alive AS (SELECT customer_id, assigned_at AS seen FROM units UNION ALL SELECT customer_id, occurred_at FROM bought),
gaps AS (
    SELECT customer_id, seen + $gap AS lapses, lead(seen) OVER (PARTITION BY customer_id ORDER BY seen) AS later
    FROM alive),
first AS (
    SELECT customer_id, min(lapses) AS lapsed_at FROM gaps
    WHERE lapses < $as_of AND coalesce(later > lapses, true) GROUP BY customer_id)
SELECT units.* EXCLUDE (next_assigned_at),
    epoch(coalesce(lapsed_at, $as_of) - assigned_at) / 86400 AS days, lapsed_at NOT NULL AS lapsed
FROM units LEFT JOIN first USING (customer_id) ORDER BY customer_id
"""

_DEPARTURES = """
WITH {units},
gone AS (
    SELECT units.customer_id, min(occurred_at) AS left_at
    FROM units JOIN events ON events.customer_id = units.customer_id
    WHERE kind IN $kinds AND recorded_at < $as_of AND occurred_at < $as_of AND occurred_at > assigned_at
    GROUP BY units.customer_id)
SELECT units.* EXCLUDE (next_assigned_at),
    epoch(coalesce(left_at, $as_of) - assigned_at) / 86400 AS days, left_at NOT NULL AS gone
FROM units LEFT JOIN gone USING (customer_id) ORDER BY customer_id
"""


def departures(
    assignments: pa.Table, events: pa.Table, *, kinds: Sequence[str], as_of: datetime, unit: str = "customer_id"
) -> pa.Table:
    """One row per assigned customer: its columns, ``days`` watched since assignment, and whether it was ``gone`` then.

    A customer goes with the first event of one of ``kinds``, such as ``opt_out``; who hasn't was watched until
    ``as_of``.

    Parameters
    ----------
    assignments, events, unit: as :func:`experiments.outcomes.join_outcomes` takes them.
    """
    sql = _DEPARTURES.format(units=units_sql(unit))
    return query(sql, values={"kinds": list(kinds), "as_of": as_of}, assignments=assignments, events=events)


def lapses(
    assignments: pa.Table, events: pa.Table, *, gap: timedelta, as_of: datetime, unit: str = "customer_id"
) -> pa.Table:
    """One row per assigned customer: its columns, ``days`` watched since assignment, and whether it ``lapsed`` then.

    A customer lapses when ``gap`` has passed without a purchase, counted from assignment or the last purchase; who
    hasn't by ``as_of`` was watched until then. A purchase after a lapse does not undo it.

    Parameters
    ----------
    assignments, events, unit: as :func:`experiments.outcomes.join_outcomes` takes them.
    """
    if gap <= timedelta():
        raise InputError("the gap is no time", got=str(gap), do="say after how many days a customer counts as lapsed")
    sql = _LAPSES.format(units=units_sql(unit))
    return query(sql, values={"gap": gap, "as_of": as_of}, assignments=assignments, events=events)
