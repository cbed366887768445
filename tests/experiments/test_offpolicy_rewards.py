"""What each decision earned, counted by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from experiments.measures import Goal
from experiments.offpolicy.rewards import decision_rewards
from features.errors import InputError
from features.facts import TIMESTAMP

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
PROFIT = Goal(name="profit", kind="given", window_days=28, money=True)
BOUGHT = Goal(name="bought", kind="any", events=("purchase",), window_days=28)


def decisions() -> pa.Table:
    """Anna on Monday and a week later, Ben on Monday; each contact costs 60 cents, Ben's nothing costs none."""
    return pa.table(
        {
            "decision_id": ["a1", "a2", "b1"],
            "customer_id": ["anna", "anna", "ben"],
            "decided_at": pa.array([MONDAY, MONDAY + 7 * DAY, MONDAY], TIMESTAMP),
            "contact_cost": pa.array([60, 60, 0], pa.int64()),
        }
    )


def events(*rows: tuple[str, str, float, int]) -> pa.Table:
    """(customer, kind, days after Monday, cents)."""
    moments = pa.array([MONDAY + days * DAY for _, _, days, _ in rows], TIMESTAMP)
    return pa.table(
        {
            "event_id": [f"e{place}" for place in range(len(rows))],
            "customer_id": [customer for customer, *_ in rows],
            "kind": [kind for _, kind, *_ in rows],
            "occurred_at": moments,
            "recorded_at": moments,
            "amount": pa.array([cents for *_, cents in rows], pa.int64()),
        }
    )


SEEN = events(
    ("anna", "purchase", -1, 9_900),  # before any decision
    ("anna", "purchase", 3, 5_000),
    ("anna", "discount", 3, 500),
    ("anna", "purchase", 9, 2_000),
    ("ben", "purchase", 7, 1_000),  # the last moment of the week counts
    ("ben", "purchase", 7.1, 4_000),
)


def rewards(measure: Goal, *, week: float = 7, day: float = 30, seen: pa.Table = SEEN) -> dict[str, float | None]:
    found = decision_rewards(
        decisions(), seen, measure=measure, window=week * DAY, as_of=MONDAY + day * DAY, margin_bp=4_000
    )
    return dict(zip(found["decision_id"].to_pylist(), found["reward"].to_pylist(), strict=True))


def test_profit_is_what_came_in_the_week_after_each_decision_less_its_contact() -> None:
    assert rewards(PROFIT) == {"a1": 2_000 - 500 - 60, "a2": 800 - 60, "b1": 400}


def test_a_window_over_two_decisions_counts_for_both() -> None:
    assert rewards(PROFIT, week=14) == {"a1": 2_800 - 500 - 60, "a2": 800 - 60, "b1": 2_000}


def test_goals_of_events_are_counted_within_the_same_window() -> None:
    assert rewards(BOUGHT) == {"a1": 1, "a2": 1, "b1": 1}
    assert rewards(BOUGHT, week=2) == {"a1": 0, "a2": 1, "b1": 0}


def test_a_decision_whose_window_has_not_closed_has_no_reward() -> None:
    late = Goal(name="profit", kind="given", window_days=28, delay_days=2, money=True)
    assert rewards(PROFIT, day=10) == {"a1": 1_440, "a2": None, "b1": 400}
    assert rewards(late, day=8.9) == {"a1": None, "a2": None, "b1": None}


def test_a_cap_holds_for_each_decision() -> None:
    capped = Goal(name="profit", kind="given", window_days=28, money=True, cap=700)
    assert rewards(capped) == {"a1": 700, "a2": 700, "b1": 400}


def test_who_did_nothing_earned_nothing_but_the_contact() -> None:
    assert rewards(PROFIT, seen=SEEN.slice(0, 0)) == {"a1": -60, "a2": -60, "b1": 0}


def test_a_ratio_is_refused() -> None:
    ratio = Goal(name="size", kind="ratio", numerator="revenue", denominator="orders", window_days=7)
    with pytest.raises(InputError, match="no single decision earns"):
        rewards(ratio)
