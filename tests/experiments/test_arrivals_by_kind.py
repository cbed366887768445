"""One kind of event that stops while others go on is told; a rare kind that keeps us waiting is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from experiments.arrivals import KindArrivals, arrivals_by_kind
from experiments.measures import Goal, Guardrail, Measure
from features.facts import TIMESTAMP

START = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)
BOUGHT = Goal(name="bought", kind="any", events=("purchase",), window_days=14)
LEFT = Guardrail(name="left", kind="any", events=("opt_out",), window_days=14, limit=0.01)
OPENS = [("open", day + 0.5) for day in range(120)]


def found(
    rows: list[tuple[str, float]], *, day: float, measures: tuple[Measure, ...] = (BOUGHT,)
) -> list[KindArrivals]:
    table = pa.table(
        {
            "kind": [kind for kind, _ in rows],
            "recorded_at": pa.array([START + at * DAY for _, at in rows], TIMESTAMP),
        }
    )
    return list(arrivals_by_kind(table, measures, as_of=START + day * DAY))


@pytest.mark.parametrize(
    ("silent", "status"), [(1, "green"), (2, "green"), (3, "yellow"), (6, "yellow"), (7, "red"), (30, "red")]
)
def test_purchases_that_stop_while_opens_go_on_are_told(silent: int, status: str) -> None:
    (told,) = found([*OPENS, *(("purchase", day + 0.2) for day in range(80))], day=80 + silent)
    assert (told.kind, told.silent, told.status) == ("purchase", silent, status)


def test_when_everything_stops_it_is_no_kind_s_own_fault() -> None:
    rows = [(kind, day + 0.2) for day in range(80) for kind in ("open", "purchase")]
    assert [each.status for each in found(rows, day=110)] == ["green"]


def test_the_usual_delay_and_the_day_of_the_look_are_no_silence() -> None:
    rows = [*OPENS, *(("purchase", day + 0.2) for day in range(80))]
    slow = Goal(name="bought", kind="any", events=("purchase",), window_days=14, delay_days=5)
    assert [each.silent for each in found(rows, day=90, measures=(slow,))] == [5]
    assert [each.silent for each in found([*rows, ("purchase", 89.9)], day=89.95)] == [0]


def test_profit_is_fed_by_purchases_and_a_kind_is_told_once() -> None:
    profit = Goal(name="profit", kind="given", window_days=14)
    told = found([*OPENS, ("purchase", 3)], day=90, measures=(profit, BOUGHT, LEFT))
    assert [each.kind for each in told] == ["purchase"]  # nobody ever opted out, which is no fault


def test_a_goal_whose_kind_never_came_may_be_misnamed() -> None:
    (told,) = found(OPENS, day=90, measures=(Goal(name="b", kind="any", events=("purchse",), window_days=14),))
    assert told.status == "yellow" and "'purchse' has ever arrived" in told.sentence


def test_the_chance_is_that_of_a_permutation_of_the_days() -> None:
    told = KindArrivals(kind="opt_out", newest=START, days=12, present=5, silent=6, pause=3)
    rng = np.random.default_rng(3)
    order = rng.permuted(np.tile(np.arange(18) < 5, (40_000, 1)), axis=1)
    # 40,000 draws of a chance of 0.092 have a standard error of 0.0014.
    assert told.p_value == pytest.approx(np.mean(~order[:, 12:].any(axis=1)), abs=0.006)


def _alarms(rate: float, rng: np.random.Generator, *, weekends: float) -> tuple[bool, bool, bool]:
    """Whether any of 60 daily looks at a feed without any fault says yellow, says red, or sees a week without one."""
    days = np.arange(120)
    came = rng.random(120) < -np.expm1(-rate * np.where(days % 7 > 4, weekends, 1.0))
    rows = [*OPENS, *(("purchase", float(day) + 0.2) for day in days[came])]
    told = [found(rows, day=float(look)) for look in range(61, 121)]
    states = {each.status for (each,) in told if each.newest is not None}
    naive = any(not came[look - 7 : look].any() for look in range(61, 121))
    return bool(states & {"yellow", "red"}), "red" in states, naive


@pytest.mark.slow
@pytest.mark.parametrize("weekends", [1.0, 0.1])
@pytest.mark.parametrize("rate", [0.03, 0.1, 0.3, 1.0, 3.0])
def test_a_feed_without_a_fault_is_hardly_ever_told(rate: float, weekends: float) -> None:
    """Of campaigns with 60 daily looks at most 3% are ever told that a healthy feed is silent, 1% that it stopped."""
    rng = np.random.default_rng(7)
    alarms = np.array([_alarms(rate, rng, weekends=weekends) for _ in range(120)])
    assert alarms[:, 0].mean() <= 0.03 and alarms[:, 1].mean() <= 0.01
    if rate <= 0.1:  # the naive rule, a week without one, alarms of every rare kind
        assert alarms[:, 2].mean() > 0.9


def test_of_a_hundred_rare_kinds_none_is_told_and_the_naive_rule_tells_all() -> None:
    """The quick form: 25 feeds each of kinds that come once in ten days, in three, and daily, with 60 daily looks."""
    rng = np.random.default_rng(11)
    alarms = np.array([_alarms(rate, rng, weekends=1.0) for rate in (0.1, 0.3, 1.0) for _ in range(25)])
    assert alarms[:, 0].sum() <= 2 and alarms[:, 1].sum() == 0
    assert alarms[:25, 2].mean() > 0.9
