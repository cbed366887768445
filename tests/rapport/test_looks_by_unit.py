"""A look at a ramped experiment, and at one on sessions, from the ledger to the findings."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from rapport.trials.insight import with_insight
from rapport.trials.looks import report_of
from serving.ask import Ask
from serving.desk import Case

if TYPE_CHECKING:
    from tests.rapport.conftest import LetterShop

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = timedelta(days=1)
AS_OF = START + 30 * DAY
GOALS = """
[[goals]]
name = "bought"
kind = "any"
events = ["purchase"]
window_days = 3
[[goals]]
name = "order_value"
kind = "ratio"
numerator = "revenue"
denominator = "orders"
window_days = 3
money = true
[[parts]]
name = "orders"
kind = "count"
events = ["purchase"]
window_days = 3
[[parts]]
name = "revenue"
kind = "sum"
events = ["purchase"]
window_days = 3
money = true
cap = 2000
"""
RAMP = "[[ramp]]\nat = 2026-03-09\nshares = {nothing = 0.5, static = 0.5}\n"


@pytest.fixture
def shop(letter_shop: Callable[..., LetterShop]) -> Callable[..., LetterShop]:
    """``shop(folder, more='unit = "session"', ramp=RAMP)``: a tenth gets the letter, under a stop rule."""

    def opened(folder: Path, *, more: str = "", ramp: str = "") -> LetterShop:
        return letter_shop(folder, more=f"largest_loss = 1\n{more}", letter=0.1, goals=GOALS + ramp)

    return opened


def decide(opened: LetterShop, asks: list[Ask]) -> None:
    with opened.desk() as desk:
        desk.decide([Case(ask=ask, row=None, values=None) for ask in asks])


def test_a_ramped_look_holds_everybody_against_the_shares_of_their_day(
    tmp_path: Path, shop: Callable[..., LetterShop]
) -> None:
    opened, rng = shop(tmp_path / "shop", ramp=RAMP), np.random.default_rng(2)
    early = [Ask(customer_id=f"c{number}", moment=START, seed="s") for number in range(400)]
    late = [Ask(customer_id=f"c{number}", moment=START + 9 * DAY, seed="s") for number in range(300, 800)]
    decide(opened, [*early, *late])
    # Early customers buy three times as often as late ones, whatever they are sent.
    first = {f"c{number}": START if number < 400 else START + 9 * DAY for number in range(800)}
    buys = [who for place, who in enumerate(first) if rng.random() < (0.6 if place < 400 else 0.2)]
    opened.buy([(who, first[who] + DAY, 1000 + place * 10) for place, who in enumerate(buys)])
    found = opened.look(AS_OF)
    assert {arm.arm: arm.planned_share for arm in found.findings.arms} == {"nothing": 0.7, "static": 0.3}
    assert found.findings.srm.status == "green"
    assert found.findings.balance is None
    by_hand = []
    for rows in (range(400), range(400, 800)):
        here = {f"c{number}" for number in rows}
        arms = {row["customer_id"]: row["arm"] for row in found.units.to_pylist() if row["customer_id"] in here}
        own = {arm: [who in buys for who, there in arms.items() if there == arm] for arm in ("nothing", "static")}
        by_hand.append(np.mean(own["static"]) - np.mean(own["nothing"]))
    row = found.findings.metrics[0]
    assert row.difference == pytest.approx(np.mean(by_hand), abs=1e-9)
    assert [each.metric for each in found.findings.metrics] == ["bought", "revenue/orders"]
    report = with_insight(report_of(found, project=opened.project, number=1), found, project=opened.project)
    told = {each.sentence for each in report.health if each.name == "Stop rules"}
    assert any("more than the largest loss" in each for each in told) == (-row.difference * row.n_arm > 1)
    # What isn't compared step by step would hold early customers against late ones.
    assert (report.ladder, report.gains, report.retention) == (None, None, None)
    assert any("early customers against late ones" in note for note in report.notes)


def test_a_ramped_look_at_homes_and_persons_whose_accounts_came_in_several_steps(
    tmp_path: Path, shop: Callable[..., LetterShop], link: Callable[..., None]
) -> None:
    """The step is the one in which the household was assigned, or the person: nobody is cut in two."""
    late = START + 9 * DAY
    homes = {f"{who}{number}": f"h{number}" if number % 7 else None for number in range(400) for who in "ab"}
    came = {each: START if each[0] == "a" and int(each[1:]) < 200 else late for each in homes}
    asks = [Ask(customer_id=each, household_id=homes[each], moment=came[each], seed="s") for each in homes]
    asks.sort(key=lambda ask: ask.moment)
    for unit, first in (("household", "household_id"), ("customer", "customer_id")):
        opened = shop(tmp_path / unit, more=f'unit = "{unit}"', ramp=RAMP)
        if unit == "customer":
            pairs = [(f"a{number}", f"b{number}") for number in range(400) if number % 7]
            known = {"strength": "personalize", "since": START - DAY, "until": None}
            rows = [{**known, "account_id": each, "customer_id": pair[0]} for pair in pairs for each in pair]
            link(opened.project.history, rows)
        decide(opened, asks)
        opened.buy([(ask.customer_id, ask.moment + DAY, 1500) for ask in asks[::3]])
        found = opened.look(AS_OF)
        assert found.findings.srm.status == "green"
        rows = found.outcomes.to_pylist()
        begun: dict[str, datetime] = {}
        for row in rows:
            mine = row[first] or row["customer_id"]
            begun[mine] = min(begun.get(mine, late), row["assigned_at"])
        early = sum(moment == START for moment in begun.values()) / len(begun)
        planned = {arm.arm: arm.planned_share for arm in found.findings.arms}
        assert planned == pytest.approx({"nothing": 0.5 + 0.4 * early, "static": 0.5 - 0.4 * early})
        assert {arm.arm: arm.n for arm in found.findings.arms} == {
            arm: sum(row["arm"] == arm for row in rows) for arm in planned
        }


def test_a_look_at_sessions_counts_each_and_allows_for_their_customers(
    tmp_path: Path, shop: Callable[..., LetterShop]
) -> None:
    opened = shop(tmp_path / "shop", more='unit = "session"')
    visits = [(f"c{number % 150}", f"s{number}", START + number // 150 * DAY) for number in range(600)]
    decide(opened, [Ask(customer_id=who, session_id=visit, moment=at, seed="s") for who, visit, at in visits])
    opened.buy([(who, at + DAY / 2, 1500) for place, (who, _, at) in enumerate(visits) if place % 3 == 0])
    found = opened.look(AS_OF)
    assert found.outcomes.num_rows == 600
    assert sum(found.outcomes["orders"].to_pylist()) == 200
    assert sum(arm.n for arm in found.findings.arms) == 600
    assert any("clusters have rows in several arms" in note for note in found.findings.notes)
    assert sum(each.revenue for each in found.money) == 200 * 1500
