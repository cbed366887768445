"""Money: what each arm turned over, earned and cost, adding up to the history to the cent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa

from experiments.outcomes import SESSION, query, quoted, row_of, units_sql
from features.errors import InputError, unknown
from features.tables import require_column

OUTSIDE = "outside the experiment"
_DECISION = ("decision_id", "customer_id", "decided_at", "contact_cost")
_SUMS = ("revenue", "returned", "margin", "discount", "contact_cost")

# The margin is rounded once per event, half up, so that every sum over units or arms is a sum of the same whole cents.
# A return is rounded as its purchase was, then taken away: a purchase that was returned whole leaves nothing.
_ENTRIES = """
    known AS (
        SELECT * FROM events WHERE recorded_at < $as_of AND occurred_at < $as_of AND occurred_at >= $since
            AND kind IN ('purchase', 'return', 'discount')
        QUALIFY row_number() OVER (
            PARTITION BY event_id ORDER BY recorded_at, occurred_at, customer_id, kind, amount) = 1),
    decided AS (
        SELECT * FROM decisions WHERE decided_at < $as_of AND decided_at >= $since
        QUALIFY row_number() OVER (PARTITION BY decision_id ORDER BY decided_at, customer_id) = 1),
    entries AS (
        SELECT customer_id, occurred_at AS moment, 2 * epoch_us(occurred_at) AS place,
            CASE WHEN kind = 'purchase' THEN amount ELSE 0 END AS revenue,
            CASE WHEN kind = 'return' THEN amount ELSE 0 END AS returned,
            ((revenue::HUGEINT * $margin_bp + 5000) // 10000 - (returned::HUGEINT * $margin_bp + 5000) // 10000)::BIGINT
                AS margin,
            CASE WHEN kind = 'discount' THEN amount ELSE 0 END AS discount,
            0 AS contact_cost
        FROM known WHERE amount NOT NULL
        UNION ALL
        SELECT customer_id, decided_at, 2 * epoch_us(decided_at) + 1, 0, 0, 0, 0, contact_cost FROM decided)
"""
# Money belongs to the arm within the window after assignment, and to a session until the next one began; the rest of
# the history stays, with no arm.
#
# A contact decided at the very moment of an assignment comes just after it, all else of that moment just before: places
# in that order are whole numbers, twice the microsecond and one more. A join by comparisons alone takes a second where
# one with words like "or" takes half a minute.
_BY_UNIT = f"""
    held AS (
        SELECT *, 2 * epoch_us(assigned_at) AS from_place,
            coalesce(2 * epoch_us(next_assigned_at), 9223372036854775807) AS to_place FROM units),
    owned AS (
        SELECT entries.*, held.{{row}} AS unit_row, held.arm AS unit_arm, moment <= assigned_at + $window AS within
        FROM entries LEFT JOIN held
            ON held.customer_id = entries.customer_id AND place > from_place AND place <= to_place),
    placed AS (
        SELECT customer_id, CASE WHEN within THEN unit_row END AS unit_row, {", ".join(_SUMS)},
            CASE WHEN within THEN unit_arm END AS arm
        FROM owned
        UNION ALL BY NAME
        SELECT customer_id, {{row}} AS unit_row, arm, {", ".join(f"0 AS {name}" for name in _SUMS)} FROM units)
    SELECT customer_id, {{shown}}arm, {", ".join(f"sum({name})::BIGINT AS {name}" for name in _SUMS)},
        sum(margin - discount - contact_cost)::BIGINT AS profit
    FROM placed GROUP BY customer_id, unit_row, arm ORDER BY customer_id, unit_row, arm NULLS LAST
"""


@dataclass(frozen=True, kw_only=True)
class ArmMoney:
    """The money of one arm in cents: ``profit = margin - discount - contact_cost``; margin is on revenue less returns.

    >>> ArmMoney(arm="a", units=2, revenue=1000, returned=0, margin=400, discount=50, contact_cost=20).profit
    330
    """

    arm: str
    units: int
    revenue: int
    returned: int
    margin: int
    discount: int
    contact_cost: int

    @property
    def profit(self) -> int:
        """What is left, in cents."""
        return self.margin - self.discount - self.contact_cost


@dataclass(frozen=True, kw_only=True)
class Increment:
    """What an arm brought beyond the control, per 1,000 units, in cents: the steps of the money bridge.

    >>> Increment(arm="a", control="b", revenue=1000.0, margin=400.0, discount=-50.0, contact_cost=-20.0).profit
    330.0
    """

    arm: str
    control: str
    revenue: float
    margin: float
    discount: float
    contact_cost: float

    @property
    def profit(self) -> float:
        """The last step, in cents per 1,000 units."""
        return self.margin + self.discount + self.contact_cost


def unit_money(
    assignments: pa.Table,
    events: pa.Table,
    decisions: pa.Table,
    *,
    as_of: datetime,
    margin_bp: int,
    since: datetime,
    window: timedelta | None = None,
    unit: str = "customer_id",
) -> pa.Table:
    """The money of each customer (or session) in cents.

    Columns: ``customer_id, arm, revenue, returned, margin, discount, contact_cost, profit``.
    A customer's money within ``(assigned_at, assigned_at + window]`` is its arm's; all other money (before, after, of
    customers without an arm or seen in two) stands in rows whose arm is null, so that nothing of the history is lost.
    Contacts decided at the very moment of assignment are the arm's. With ``unit="session_id"`` there is a row per
    session, with a column ``session_id`` after the first, and money belongs to one session until the next one began.

    Parameters
    ----------
    assignments: as :func:`experiments.outcomes.join_outcomes` takes them.
    events: of the schema ``EVENTS``; purchases, returns and discounts are used, as known at ``as_of``.
    decisions: ``decision_id, customer_id, decided_at, contact_cost``.
    margin_bp: the share of revenue that is margin, in basis points (3500 = 35%).
    since: where the history begins.
    window: the attribution window; without one, everything after assignment is the arm's.
    """
    for column in _DECISION:
        require_column(decisions, column)
    if not 0 <= margin_bp <= 10_000:
        raise InputError("the margin is no share", got=f"{margin_bp} basis points", do="use 0 to 10000; 3500 is 35%")
    row = row_of(unit)
    by_unit = _BY_UNIT.format(row=quoted(row), shown=f"unit_row AS {quoted(row)}, " if row == SESSION else "")
    sql = f"WITH {units_sql(unit)}, {_ENTRIES}, {by_unit}"
    values = {
        "as_of": as_of,
        "since": since,
        "margin_bp": margin_bp,
        "window": window or as_of - since + timedelta(days=1),
    }
    return query(sql, values=values, assignments=assignments, events=events, decisions=decisions)


def money_by_arm(money: pa.Table) -> tuple[ArmMoney, ...]:
    """The money of each arm, and last that outside the experiment, from :func:`unit_money`; together, the history."""
    sums = ", ".join(f"sum({name})::BIGINT AS {name}" for name in _SUMS)
    rows = query(
        f"SELECT coalesce(arm, $outside) AS arm, count(*) AS units, {sums} FROM money GROUP BY money.arm "
        "ORDER BY money.arm NULLS LAST",
        values={"outside": OUTSIDE},
        money=money,
    )
    return tuple(ArmMoney(**row) for row in rows.to_pylist())


def increment(arms: Sequence[ArmMoney], *, arm: str, control: str) -> Increment:
    """What ``arm`` brought beyond ``control``, per 1,000 units."""
    named = {each.arm: each for each in arms}
    for name in (arm, control):
        if name not in named:
            raise unknown("arm", name, named)
    more, base = named[arm], named[control]

    def step(name: str) -> float:
        return 1000.0 * (float(getattr(more, name)) / more.units - float(getattr(base, name)) / base.units)

    return Increment(
        arm=arm,
        control=control,
        revenue=step("revenue"),
        margin=step("margin"),
        discount=-step("discount"),
        contact_cost=-step("contact_cost"),
    )


def with_profit(outcomes: pa.Table, money: pa.Table, *, name: str = "profit") -> pa.Table:
    """``outcomes`` with each unit's profit in cents as a column ``name``: a goal of kind ``given``."""
    row = SESSION if SESSION in money.column_names else "customer_id"
    return query(
        f"SELECT outcomes.*, profit AS {quoted(name)} FROM outcomes LEFT JOIN money "
        f"ON money.{row} = outcomes.{row} AND money.arm = outcomes.arm ORDER BY outcomes.customer_id, outcomes.{row}",
        values={},
        outcomes=outcomes,
        money=money,
    )
