"""Outcomes: attribution windows, two times, re-sent events, maturity, units seen in two arms."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.measures import Goal
from experiments.outcomes import OutcomeCounts, by_person, count_outcomes, join_outcomes
from features.errors import InputError

START = datetime(2026, 1, 5, tzinfo=UTC)
US = pa.timestamp("us", tz="UTC")
BOUGHT = Goal(name="bought", kind="any", events=("purchase",), window_days=7, delay_days=2)
ORDERS = Goal(name="orders", kind="count", events=("purchase",), window_days=7, delay_days=2)
REVENUE = Goal(name="revenue", kind="sum", events=("purchase",), window_days=14, money=True)
GOALS = (BOUGHT, ORDERS, REVENUE)


class Event(NamedTuple):
    event_id: str
    customer_id: str
    kind: str
    day: float
    recorded: float
    amount: int | None = 100


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def events(*rows: Event) -> pa.Table:
    return pa.table(
        {
            "event_id": pa.array([row.event_id for row in rows], pa.string()),
            "customer_id": pa.array([row.customer_id for row in rows], pa.string()),
            "kind": pa.array([row.kind for row in rows], pa.string()),
            "occurred_at": pa.array([day(row.day) for row in rows], US),
            "recorded_at": pa.array([day(row.recorded) for row in rows], US),
            "amount": pa.array([row.amount for row in rows], pa.int64()),
        }
    )


def assignments(*rows: tuple[str, str, float], household: dict[str, str | None] | None = None) -> pa.Table:
    table = pa.table(
        {
            "customer_id": [row[0] for row in rows],
            "arm": [row[1] for row in rows],
            "assigned_at": pa.array([day(row[2]) for row in rows], US),
        }
    )
    if household is None:
        return table
    return table.append_column("household_id", pa.array([household[row[0]] for row in rows], pa.string()))


def one(*rows: Event, as_of: float = 60) -> dict[str, object]:
    """The outcomes of one customer assigned at day 0."""
    return join_outcomes(assignments(("a", "static", 0)), events(*rows), GOALS, as_of=day(as_of)).to_pylist()[0]


def test_a_purchase_within_the_window_counts() -> None:
    row = one(Event("1", "a", "purchase", 3, 3, 2500), Event("2", "a", "purchase", 10, 10, 400))
    assert (row["bought"], row["orders"], row["revenue"], row["mature"]) == (1, 1, 2900, True)


def test_the_window_is_open_at_assignment_and_closed_at_its_end() -> None:
    assert one(Event("1", "a", "purchase", 0, 0))["orders"] == 0
    assert one(Event("1", "a", "purchase", 7, 7))["orders"] == 1
    assert one(Event("1", "a", "purchase", 7 + 1 / 86400, 8))["orders"] == 0


def test_kinds_and_customers_that_no_goal_names_count_nothing() -> None:
    row = one(
        Event("1", "a", "visit", 3, 3), Event("2", "b", "purchase", 3, 3), Event("3", "a", "purchase", 3, 3, None)
    )
    assert (row["bought"], row["revenue"]) == (1, 0)


def test_immature_goals_are_null_each_by_its_own_window() -> None:
    row = one(Event("1", "a", "purchase", 3, 3), as_of=10)
    assert (row["bought"], row["revenue"], row["mature"]) == (1, None, False)
    assert one(as_of=9)["bought"] is None, "window and delay end at day 9; the look at that very moment is too early"


def test_an_event_known_only_later_is_not_seen_earlier() -> None:
    late = Event("1", "a", "purchase", 3, 20)
    assert one(late, as_of=20)["bought"] == 0
    assert one(late, as_of=21)["bought"] == 1


def test_a_customer_assigned_later_than_the_look_is_not_there() -> None:
    table = join_outcomes(assignments(("a", "static", 0), ("b", "static", 5)), events(), GOALS, as_of=day(5))
    assert table["customer_id"].to_pylist() == ["a"]


def test_units_in_two_arms_are_left_out_and_counted() -> None:
    rows = assignments(("a", "static", 0), ("a", "personal", 3), ("b", "static", 0), ("b", "static", 2))
    table = join_outcomes(rows, events(), GOALS, as_of=day(60))
    assert table.select(["customer_id", "assigned_at"]).to_pylist() == [{"customer_id": "b", "assigned_at": day(0)}]
    assert count_outcomes(rows, events(), GOALS, as_of=day(60)).two_arms == 1


def test_a_household_in_two_arms_takes_all_its_customers_with_it() -> None:
    homes = {"a": "h1", "b": "h1", "c": "h2", "d": None, "e": None}
    rows = assignments(
        ("a", "static", 0), ("b", "personal", 0), ("c", "static", 0), ("d", "static", 0), ("e", "personal", 0),
        household=homes,
    )  # fmt: skip
    table = join_outcomes(rows, events(), GOALS, as_of=day(60), unit="household_id")
    assert table["customer_id"].to_pylist() == ["c", "d", "e"], "customers without a household stand alone"


def test_the_counts_tell_what_was_ignored_and_what_came_late() -> None:
    log = events(
        Event("1", "a", "purchase", 3, 3),
        Event("1", "a", "purchase", 3, 4),
        Event("2", "a", "purchase", 3, 30),
    )
    counts = count_outcomes(assignments(("a", "static", 0), ("b", "static", 50)), log, GOALS, as_of=day(60))
    assert counts == OutcomeCounts(units=2, mature=1, two_arms=0, duplicates=1, late=1)
    assert counts.immature == 1


def test_bad_input_is_told_in_three_parts() -> None:
    rows = assignments(("a", "static", 0))
    with pytest.raises(InputError, match="time zone"):
        join_outcomes(rows, events(), GOALS, as_of=datetime(2026, 1, 1))
    with pytest.raises(InputError, match="'arm'"):
        join_outcomes(rows.drop_columns(["arm"]), events(), GOALS, as_of=day(60))
    with pytest.raises(InputError, match="no goal"):
        join_outcomes(rows, events(), (), as_of=day(60))
    with pytest.raises(InputError, match="rename the goal"):
        join_outcomes(rows.rename_columns(["customer_id", "arm", "assigned_at"]).append_column("bought", [[1]]), events(), GOALS, as_of=day(60))  # fmt: skip  # noqa: E501


def test_words_of_sql_and_quotes_are_only_names() -> None:
    goal = Goal(name="select", kind="any", events=("pur'chase",), window_days=7)
    log = events(Event("1", "a", "pur'chase", 3, 3))
    assert join_outcomes(assignments(("a", "s", 0)), log, (goal,), as_of=day(60))[goal.name].to_pylist() == [1]


LOG = st.lists(
    st.builds(
        Event,
        event_id=st.integers(0, 12).map(str),
        customer_id=st.sampled_from("abc"),
        kind=st.sampled_from(["purchase", "visit"]),
        day=st.integers(0, 20),
        recorded=st.integers(0, 40),
        amount=st.integers(0, 500),
    ),
    max_size=25,
)
ASSIGNED = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["static", "personal"]), st.integers(0, 15)),
    max_size=6,
    min_size=1,
)


def by_hand(rows: list[tuple[str, str, float]], log: list[Event], *, now: float) -> list[dict[str, object]]:
    """The same table, one customer after the other, in plain Python."""
    known: dict[str, Event] = {}
    for event in sorted(log, key=lambda each: (each.recorded, each.day, each.kind, each.amount)):
        if event.recorded < now and event.day < now and event.kind == "purchase":
            known.setdefault(event.event_id, event)
    table = []
    for customer in sorted({name for name, _, when in rows if when < now}):
        arms = {arm for name, arm, when in rows if name == customer and when < now}
        if len(arms) > 1:
            continue
        begun = min(when for name, _, when in rows if name == customer)
        mine = [each for each in known.values() if each.customer_id == customer and each.day > begun]
        short = [each for each in mine if each.day <= begun + 7]
        table.append(
            {
                "customer_id": customer,
                "arm": arms.pop(),
                "assigned_at": day(begun),
                "bought": int(bool(short)) if begun + 9 < now else None,
                "orders": len(short) if begun + 9 < now else None,
                "revenue": sum(each.amount or 0 for each in mine if each.day <= begun + 14)
                if begun + 14 < now
                else None,
                "mature": begun + 14 < now,
            }
        )
    return table


@settings(max_examples=30, deadline=None)
@given(rows=ASSIGNED, log=LOG, now=st.integers(1, 45), order=st.randoms(use_true_random=False))
def test_a_look_as_of_a_day_equals_the_replay_of_the_log_to_that_day(rows, log, now, order) -> None:  # type: ignore[no-untyped-def]
    """E7 and A4: whatever was recorded later, or came in another order, changes nothing."""
    log = list({(each.event_id, each.recorded): each for each in log}.values())
    replayed = [each for each in log if each.recorded < now]
    shuffled = order.sample(log, len(log))
    whole = join_outcomes(assignments(*rows), events(*shuffled), GOALS, as_of=day(now))
    assert whole.equals(join_outcomes(assignments(*rows), events(*replayed), GOALS, as_of=day(now)))
    assert whole.to_pylist() == by_hand(rows, log, now=now)


def test_thirty_percent_sent_again_up_to_five_times_counts_once() -> None:
    """A2 in small: the table from a log with re-sent events equals the one from the clean log."""
    clean = [Event(f"e{i}", f"c{i % 50}", "purchase", i % 13, i % 13 + 1, i) for i in range(1000)]
    again = [
        each._replace(recorded=each.recorded + k)
        for i, each in enumerate(clean)
        if i % 3 == 0
        for k in range(1, i % 5 + 2)
    ]
    rows = assignments(*((f"c{i}", "static" if i % 2 else "personal", 0) for i in range(50)))
    assert join_outcomes(rows, events(*again, *clean), GOALS, as_of=day(60)).equals(
        join_outcomes(rows, events(*clean), GOALS, as_of=day(60))
    )
    assert count_outcomes(rows, events(*again, *clean), GOALS, as_of=day(60)).duplicates == len(again)


@pytest.mark.slow
def test_a_million_events_a_third_of_them_sent_again_give_the_counts_of_the_clean_log() -> None:
    """A2 in full: counts equal those of numpy over the de-duplicated log, exactly."""
    rng = np.random.default_rng(2)
    n, people = 1_000_000, 50_000
    who, amount, at = rng.integers(0, people, n), rng.integers(0, 90_000, n), rng.integers(1, 27 * 86_400, n)
    again = np.repeat(np.arange(n), np.where(rng.random(n) < 0.3, rng.integers(1, 6, n), 0))
    order = rng.permutation(np.concatenate([np.arange(n), again]))
    start = int(START.timestamp())
    log = pa.table(
        {
            "event_id": order.astype(str),
            "customer_id": who[order].astype(str),
            "kind": np.full(len(order), "purchase"),
            "occurred_at": pa.array((at[order] + start) * 1_000_000).cast(US),
            "recorded_at": pa.array((at[order] + start + rng.integers(0, 600, len(order))) * 1_000_000).cast(US),
            "amount": amount[order],
        }
    )
    rows = pa.table(
        {
            "customer_id": np.arange(people).astype(str),
            "arm": np.where(np.arange(people) % 2, "static", "personal"),
            "assigned_at": pa.array([START] * people, US),
        }
    )
    table = join_outcomes(rows, log, GOALS, as_of=day(60))
    customer = table["customer_id"].to_numpy().astype(int)
    week, fortnight = at <= 7 * 86_400, at <= 14 * 86_400
    assert (table["orders"].to_numpy() == np.bincount(who[week], minlength=people)[customer]).all()
    revenue = np.bincount(who[fortnight], weights=amount[fortnight], minlength=people)
    assert (table["revenue"].to_numpy() == revenue[customer]).all()
    assert count_outcomes(rows, log, GOALS, as_of=day(60)).duplicates == len(again)


def test_a_person_of_two_households_in_two_arms_is_left_out_and_counted() -> None:
    """Two accounts of one person were assigned with a household each: the person belongs to neither arm."""
    rows = assignments(("a", "static", 0), ("b", "static", 0), ("c", "personal", 0)).append_column(
        "household_id", [["h1", "h1", "h2"]]
    )
    twins = pa.table({"account_id": ["a", "c"], "customer_id": ["a", "a"]})
    merged = by_person(rows, twins)
    assert merged["customer_id"].to_pylist() == ["a", "b", "a"]
    table = join_outcomes(merged, events(), GOALS, as_of=day(60), unit="household_id")
    assert table["customer_id"].to_pylist() == ["b"]
    assert count_outcomes(merged, events(), GOALS, as_of=day(60), unit="household_id").two_arms == 1
    assert count_outcomes(rows, events(), GOALS, as_of=day(60), unit="household_id").two_arms == 0


def test_without_links_every_account_is_a_person() -> None:
    rows = assignments(("a", "static", 0), ("b", "personal", 0))
    nobody = pa.table({"account_id": pa.array([], pa.string()), "customer_id": pa.array([], pa.string())})
    assert by_person(rows, nobody).equals(rows)
