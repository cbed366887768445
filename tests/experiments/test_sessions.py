"""Sessions as units: what a customer did counts for the session it was done in, once, whenever one looks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.measures import Goal
from experiments.money import money_by_arm, unit_money, with_profit
from experiments.outcomes import count_outcomes, join_outcomes
from features.errors import InputError

START = datetime(2026, 1, 5, tzinfo=UTC)
US = pa.timestamp("us", tz="UTC")
GOALS = (
    Goal(name="orders", kind="count", events=("purchase",), window_days=2, delay_days=1),
    Goal(name="revenue", kind="sum", events=("purchase",), window_days=2, delay_days=1, money=True, cap=500),
    Goal(name="order_value", kind="ratio", numerator="revenue", denominator="orders", window_days=2, delay_days=1),
)


def at(days: float) -> datetime:
    return START + timedelta(days=float(days))


def sessions(*rows: tuple[str, str, str, float]) -> pa.Table:
    names = ("customer_id", "session_id", "arm", "assigned_at")
    columns = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(names, ())
    columns["assigned_at"] = pa.array([at(each) for each in columns["assigned_at"]], US)
    return pa.table({name: pa.array(list(column), pa.string()) if name != "assigned_at" else column
                     for name, column in columns.items()})  # fmt: skip


def events(*rows: tuple[str, str, str, float, float, int]) -> pa.Table:
    names = ("event_id", "customer_id", "kind", "occurred_at", "recorded_at", "amount")
    columns = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(names, ())
    kinds = dict.fromkeys(names[:3], pa.string()) | {"occurred_at": US, "recorded_at": US, "amount": pa.int64()}
    told = {name: [at(each) for each in column] if kinds[name] == US else list(column)
            for name, column in columns.items()}  # fmt: skip
    return pa.table({name: pa.array(told[name], kinds[name]) for name in names})


def test_what_was_done_counts_for_the_session_that_began_last() -> None:
    two = sessions(("anna", "s1", "static", 1), ("anna", "s2", "personal", 2), ("ben", "s3", "static", 1))
    log = events(
        ("e1", "anna", "purchase", 1.5, 1.5, 900),
        ("e2", "anna", "purchase", 2.5, 2.5, 300),
        ("e3", "ben", "purchase", 4.0, 4.0, 700),
    )
    found = join_outcomes(two, log, GOALS, as_of=at(20), unit="session_id")
    assert found.select(["session_id", "arm", "orders", "revenue"]).to_pylist() == [
        {"session_id": "s1", "arm": "static", "orders": 1, "revenue": 900},
        {"session_id": "s2", "arm": "personal", "orders": 1, "revenue": 300},
        {"session_id": "s3", "arm": "static", "orders": 0, "revenue": 0},
    ]
    counts = count_outcomes(two, log, GOALS, as_of=at(20), unit="session_id")
    assert (counts.units, counts.two_arms) == (3, 0)


def test_a_session_in_two_arms_is_left_out_and_its_money_is_in_no_arm() -> None:
    torn = sessions(("anna", "s1", "static", 1), ("anna", "s1", "personal", 1.1), ("anna", "s2", "static", 2))
    log = events(("e1", "anna", "purchase", 1.5, 1.5, 900), ("e2", "anna", "purchase", 2.5, 2.5, 300))
    found = join_outcomes(torn, log, GOALS, as_of=at(20), unit="session_id")
    assert found.select(["session_id", "revenue"]).to_pylist() == [{"session_id": "s2", "revenue": 300}]
    assert count_outcomes(torn, log, GOALS, as_of=at(20), unit="session_id").two_arms == 1


def test_sessions_without_an_id_are_refused() -> None:
    two = sessions(("anna", "s1", "static", 1))
    two = two.set_column(1, "session_id", pa.array([None], pa.string()))
    with pytest.raises(InputError, match="sessions have no id"):
        join_outcomes(two, events(), GOALS, as_of=at(20), unit="session_id")


CUSTOMERS, ARMS = ("anna", "ben", "cleo"), ("static", "personal")
DAYS = st.integers(0, 40).map(lambda number: number / 4)
ROWS = st.lists(st.tuples(st.sampled_from(CUSTOMERS), st.sampled_from(ARMS), DAYS), max_size=8)
LOG = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from(CUSTOMERS), DAYS, st.integers(0, 12), st.integers(1, 999)), max_size=14
)


def by_hand(rows: list[tuple[str, str, str, float]], log: list[tuple[str, str, str, float, float, int]], now: float
            ) -> list[dict[str, object]]:  # fmt: skip
    """The table of outcomes by going through the log once, as it was known at ``now``."""
    known: dict[str, tuple[str, str, str, float, float, int]] = {}
    for each in sorted(log, key=lambda row: (row[4], row[3], row[1], row[2], row[5])):
        if each[4] < now and each[3] < now:
            known.setdefault(each[0], each)
    begun = sorted((row for row in rows if row[3] < now), key=lambda row: (row[0], row[3], row[1]))
    found: list[dict[str, object]] = []
    for place, (customer, session, arm, start) in enumerate(begun):
        following = [row[3] for row in begun[place + 1 :] if row[0] == customer]
        until = min([start + 2, *following[:1]])
        own = [each for each in known.values() if each[1] == customer and start < each[3] <= until]
        mature = start + 3 < now
        found.append(
            {
                "session_id": session,
                "arm": arm,
                "orders": len(own) if mature else None,
                "revenue": sum(each[5] for each in own) if mature else None,
            }
        )
    return sorted(found, key=lambda row: str(row["session_id"]))


@settings(max_examples=25, deadline=None)
@given(rows=ROWS, log=LOG, now=st.integers(1, 14), order=st.randoms(use_true_random=False))
def test_a_look_at_sessions_equals_the_replay_of_the_log_to_that_day(rows, log, now, order) -> None:  # type: ignore[no-untyped-def]
    named = [(customer, f"s{place}", arm, start) for place, (customer, arm, start) in enumerate(rows)]
    told = [(f"e{number}", who, "purchase", when, when + late / 4, amount) for number, who, when, late, amount in log]
    shuffled, again = named[:], told[:]
    order.shuffle(shuffled)
    order.shuffle(again)
    found = join_outcomes(sessions(*shuffled), events(*again), GOALS, as_of=at(now), unit="session_id")
    wanted = ["session_id", "arm", "orders", "revenue"]
    assert sorted(found.select(wanted).to_pylist(), key=lambda row: row["session_id"]) == by_hand(named, told, now)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), look=st.integers(5, 60))
def test_the_money_of_sessions_adds_up_to_the_history(seed: int, look: int) -> None:
    rng = np.random.default_rng(seed)
    visits, rows = 60, 300
    who = [f"c{number}" for number in rng.integers(0, 20, visits)]
    begun = rng.uniform(0, 30, visits).round(1)
    arms = rng.choice(ARMS, visits)
    assigned = sessions(*((who[each], f"s{each}", str(arms[each]), begun[each]) for each in range(visits)))
    when = rng.uniform(0, 40, rows).round(1)
    kinds = rng.choice(["purchase", "return", "discount"], rows)
    log = events(
        *(
            (
                f"{kinds[each]}-{rng.integers(0, 100)}",
                f"c{rng.integers(0, 25)}",
                str(kinds[each]),
                when[each],
                when[each] + rng.exponential(2),
                int(rng.integers(0, 100_000)),
            )
            for each in range(rows)
        )
    )
    decisions = pa.table(
        {
            "decision_id": [f"d{each}" for each in range(visits)],
            "customer_id": who,
            "decided_at": assigned["assigned_at"],
            "contact_cost": rng.integers(1, 80, visits),
        }
    )
    as_of, window = at(look), timedelta(days=2)
    money = unit_money(
        assigned, log, decisions, as_of=as_of, margin_bp=3333, since=START, window=window, unit="session_id"
    )
    bridge = money_by_arm(money)
    first: dict[str, dict[str, object]] = {}
    order = ("recorded_at", "occurred_at", "customer_id", "kind", "amount")
    for row in sorted(log.to_pylist(), key=lambda each: tuple(each[name] for name in order)):
        if row["recorded_at"] < as_of and row["occurred_at"] < as_of:
            first.setdefault(row["event_id"], row)
    for kind, name in (("purchase", "revenue"), ("return", "returned"), ("discount", "discount")):
        assert sum(getattr(each, name) for each in bridge) == sum(
            int(str(row["amount"])) for row in first.values() if row["kind"] == kind
        )
    spent = [row["contact_cost"] for row in decisions.to_pylist() if row["decided_at"] < as_of]
    assert sum(each.contact_cost for each in bridge) == sum(spent)
    # What a session's goal counts is the money that stands beside it, cent for cent; the cap is the analysis's.
    outcomes = join_outcomes(assigned, log, GOALS, as_of=as_of, unit="session_id")
    earned = with_profit(outcomes, money)
    assert earned["profit"].null_count == 0
    revenue = {row["session_id"]: row["revenue"] for row in money.to_pylist() if row["session_id"]}
    for row in outcomes.filter(outcomes["mature"]).to_pylist():
        assert row["revenue"] == revenue[row["session_id"]]
