"""Money by arm adds up to the history, to the cent (E9)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from experiments.measures import Goal
from experiments.money import OUTSIDE, ArmMoney, increment, money_by_arm, unit_money, with_profit
from experiments.outcomes import join_outcomes
from features.errors import InputError

START = datetime(2026, 1, 5, tzinfo=UTC)
US = pa.timestamp("us", tz="UTC")


def times(days: np.ndarray) -> pa.Array:
    return pa.array((np.asarray(days) * 86_400e6).astype("int64") + int(START.timestamp()) * 1_000_000).cast(US)


def world(seed: int, *, customers: int = 40, rows: int = 300) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Assignments of some customers (two of them in both arms), a log with re-sent events, and decisions."""
    rng = np.random.default_rng(seed)
    who = [f"c{number}" for number in range(customers // 2)] + ["c0", "c1"]
    arms = ["static", "personal"] * (customers // 4) + ["personal", "static"]
    assigned = pa.table({"customer_id": who, "arm": arms, "assigned_at": times(rng.uniform(0, 20, len(who)))})
    at = rng.uniform(0, 40, rows)
    events = pa.table(
        {
            "event_id": [f"e{number}" for number in rng.integers(0, rows, rows)],
            "customer_id": [f"c{number}" for number in rng.integers(0, customers, rows)],
            "kind": rng.choice(["purchase", "return", "discount", "visit"], rows),
            "occurred_at": times(at),
            "recorded_at": times(at + rng.exponential(2, rows)),
            "amount": rng.integers(0, 100_000, rows),
        }
    )
    decisions = pa.table(
        {
            "decision_id": [f"d{number}" for number in range(len(who))],
            "customer_id": who,
            "decided_at": assigned["assigned_at"],
            "contact_cost": rng.integers(0, 80, len(who)),
        }
    )
    return assigned, events, decisions


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), window=st.sampled_from([None, 7, 28]), look=st.integers(5, 60))
def test_arms_and_outside_sum_to_the_revenue_of_the_history_to_the_cent(
    seed: int, window: int | None, look: int
) -> None:
    assigned, events, decisions = world(seed)
    as_of = START + timedelta(days=look)
    money = unit_money(
        assigned, events, decisions, as_of=as_of, margin_bp=3333, since=START,
        window=None if window is None else timedelta(days=window),
    )  # fmt: skip
    bridge = money_by_arm(money)
    rows = sorted(events.to_pylist(), key=lambda row: (row["recorded_at"], row["occurred_at"]))
    first = {}
    for row in rows:
        if row["recorded_at"] < as_of and row["occurred_at"] < as_of and row["kind"] != "visit":
            first.setdefault(row["event_id"], row)
    history = {
        kind: sum(row["amount"] for row in first.values() if row["kind"] == kind)
        for kind in ("purchase", "return", "discount")
    }
    assert sum(arm.revenue for arm in bridge) == history["purchase"]
    assert sum(arm.returned for arm in bridge) == history["return"]
    assert sum(arm.discount for arm in bridge) == history["discount"]
    assert sum(arm.contact_cost for arm in bridge) == sum(
        row["contact_cost"] for row in decisions.to_pylist() if row["decided_at"] < as_of
    )
    assert sum(arm.profit for arm in bridge) == sum(money["profit"].to_pylist())


def small() -> tuple[pa.Table, pa.Table, pa.Table]:
    assigned = pa.table(
        {"customer_id": ["a", "b"], "arm": ["static", "personal"], "assigned_at": times(np.array([1, 1]))}
    )
    events = pa.table(
        {
            "event_id": list("123456"),
            "customer_id": list("aabbbz"),
            "kind": ["purchase", "purchase", "purchase", "discount", "return", "purchase"],
            "occurred_at": times(np.array([0.5, 3, 3, 3, 5, 3])),
            "recorded_at": times(np.array([0.5, 3, 3, 3, 5, 3])),
            "amount": [700, 1000, 3000, 300, 1000, 111],
        }
    )
    decisions = pa.table(
        {
            "decision_id": ["x", "y", "y"],
            "customer_id": ["a", "b", "b"],
            "decided_at": times(np.array([1, 1, 1])),
            "contact_cost": [60, 5, 5],
        }
    )
    return assigned, events, decisions


def test_a_ledger_that_can_be_added_up_by_eye() -> None:
    money = unit_money(*small(), as_of=START + timedelta(days=30), margin_bp=4000, since=START)
    assert money_by_arm(money) == (
        ArmMoney(arm="personal", units=1, revenue=3000, returned=1000, margin=800, discount=300, contact_cost=5),
        ArmMoney(arm="static", units=1, revenue=1000, returned=0, margin=400, discount=0, contact_cost=60),
        ArmMoney(arm=OUTSIDE, units=2, revenue=811, returned=0, margin=324, discount=0, contact_cost=0),
    )
    step = increment(money_by_arm(money), arm="personal", control="static")
    assert (step.revenue, step.margin, step.discount, step.contact_cost) == (2_000_000, 400_000, -300_000, 55_000)
    assert step.profit == 155_000


@settings(max_examples=10, deadline=None)
@example(amount=1005, margin_bp=3000)
@given(amount=st.integers(0, 10**12), margin_bp=st.integers(0, 10_000))
def test_a_purchase_that_was_returned_leaves_no_margin(amount: int, margin_bp: int) -> None:
    """1005 cents at 3000 basis points once left a cent: 301.5 is rounded up, and -301.5 was, too."""
    assigned, events, decisions = small()
    events = events.slice(0, 2).set_column(2, "kind", pa.array(["purchase", "return"]))
    events = events.set_column(5, "amount", pa.array([amount, amount]))
    money = unit_money(assigned, events, decisions, as_of=START + timedelta(days=30), margin_bp=margin_bp, since=START)
    assert sum(money["margin"].to_pylist()) == 0
    bought = unit_money(
        assigned, events.slice(0, 1), decisions, as_of=START + timedelta(days=30), margin_bp=margin_bp, since=START
    )
    assert sum(bought["margin"].to_pylist()) == (amount * margin_bp + 5000) // 10_000


def test_profit_becomes_a_column_of_the_outcomes() -> None:
    assigned, events, decisions = small()
    as_of = START + timedelta(days=30)
    goal = Goal(name="revenue", kind="sum", events=("purchase",), window_days=14, money=True)
    table = with_profit(
        join_outcomes(assigned, events, (goal,), as_of=as_of),
        unit_money(assigned, events, decisions, as_of=as_of, margin_bp=4000, since=START, window=goal.window),
    )
    assert table.select(["customer_id", "revenue", "profit"]).to_pylist() == [
        {"customer_id": "a", "revenue": 1000, "profit": 340},
        {"customer_id": "b", "revenue": 3000, "profit": 495},
    ]


def test_a_margin_above_the_whole_and_an_unknown_arm_are_refused() -> None:
    with pytest.raises(InputError, match="basis points"):
        unit_money(*small(), as_of=START, margin_bp=35_000, since=START)
    money = money_by_arm(unit_money(*small(), as_of=START + timedelta(days=30), margin_bp=4000, since=START))
    with pytest.raises(InputError, match="did you mean 'static'"):
        increment(money, arm="personal", control="statc")
