"""What each decision earned: a measure in the window after the decision, each decision for itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from experiments.measures import Measure
from experiments.money import unit_money
from experiments.outcomes import join_outcomes, query
from features.errors import InputError
from features.tables import require_column

_DECISION = ("decision_id", "customer_id", "decided_at", "contact_cost")
# Every decision becomes a unit of its own, with a copy of what its customer did in its window.
_UNITS = "SELECT decision_id AS customer_id, 'log' AS arm, decided_at AS assigned_at FROM decisions"
_COSTS = "SELECT decision_id, decision_id AS customer_id, decided_at, contact_cost FROM decisions"
_EVENTS = """
    SELECT event_id || ' ' || decision_id AS event_id, decision_id AS customer_id, kind, occurred_at, recorded_at,
        amount
    FROM events JOIN decisions USING (customer_id)
    WHERE occurred_at > decided_at AND occurred_at <= decided_at + $window
"""
_REWARDS = """
    SELECT decision_id, CASE WHEN decided_at + $maturity < $as_of THEN found.reward END AS reward
    FROM decisions LEFT JOIN found ON found.customer_id = decisions.decision_id
"""


def decision_rewards(
    decisions: pa.Table,
    events: pa.Table,
    *,
    measure: Measure,
    window: timedelta,
    as_of: datetime,
    margin_bp: int,
) -> pa.Table:
    """The reward of each decision: columns ``decision_id, reward``, null where the window has not closed by ``as_of``.

    An event counts for every decision in whose window it falls, so windows should end before the next decision.

    Parameters
    ----------
    decisions: ``decision_id, customer_id, decided_at, contact_cost``, each decision once.
    events: of the schema ``EVENTS``, customers by the same ids.
    measure: what is earned; of kind ``given`` it is profit in cents: margin less discounts and the contact's own cost.
        Its ``cap`` holds for each decision.
    window: how long after the decision events count, in place of the measure's own window.
    margin_bp: the share of revenue that is margin, in basis points.
    """
    for column in _DECISION:
        require_column(decisions, column)
    if measure.kind == "ratio":
        raise InputError(
            f"{measure.name!r} is a ratio, which no single decision earns",
            got=measure.metric,
            do="name another goal, such as the ratio's numerator",
        )
    units, own = query(_UNITS, values={}, decisions=decisions), _own(decisions, events, window)
    if measure.kind == "given":
        found = unit_money(
            units,
            own,
            query(_COSTS, values={}, decisions=decisions),
            as_of=as_of,
            margin_bp=margin_bp,
            since=pc.min(decisions["decided_at"]).as_py(),
            window=window,
        )
        found = found.filter(pc.is_valid(found["arm"])).select(["customer_id", "profit"])
    else:
        short = replace(measure, name="reward", window_days=window / timedelta(days=1))
        found = join_outcomes(units, own, [short], as_of=as_of).select(["customer_id", "reward"])
    found = found.rename_columns(["customer_id", "reward"])
    if measure.cap is not None:
        found = found.set_column(1, "reward", pc.min_element_wise(found["reward"], measure.cap))
    values = {"maturity": window + timedelta(days=measure.delay_days), "as_of": as_of}
    return query(_REWARDS, values=values, decisions=decisions, found=found)


def _own(decisions: pa.Table, events: pa.Table, window: timedelta) -> pa.Table:
    return query(_EVENTS, values={"window": window}, decisions=decisions, events=events)
