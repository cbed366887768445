"""Links between accounts that come after assignment: persons count, as known at the look (E2, E7, E9)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from features import History
from rapport.trials.decided import decided_so_far
from serving.people import LinkedAccounts

if TYPE_CHECKING:
    from tests.rapport.conftest import LetterShop

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
GOALS = """
[[goals]]
name = "bought"
kind = "count"
events = ["purchase"]
window_days = 7
money = true
"""
ACCOUNTS = [f"c{number}" for number in range(80)]
#: (accounts, linked on day, parted on day or None): before the first decisions, between them and the purchases, later.
LINKS = [
    *((("c0", "c1"), -2.0, None), (("c2", "c3"), -2.0, 5.0)),
    *(((f"c{number}", f"c{number + 1}"), 2.0, None) for number in range(10, 30, 2)),
    *(((f"c{number}", f"x{number}"), 2.0, 12.0) for number in range(40, 50)),
]


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def links() -> list[dict[str, object]]:
    return [
        {
            "strength": "personalize",
            "account_id": each,
            "customer_id": pair[0],
            "since": day(since),
            "until": None if until is None else day(until),
        }
        for pair, since, until in LINKS
        for each in pair
    ]


def person(account: str, at: float) -> str:
    """Whose account it is at a day, read from the list above by eye."""
    for pair, since, until in LINKS:
        if account in pair and since < at and (until is None or at <= until):
            return pair[0]
    return account


@pytest.fixture(scope="module")
def purchases() -> list[tuple[str, float, int]]:
    """(account, day, cents) of accounts in the experiment, of their other accounts, and of strangers."""
    rng = np.random.default_rng(4)
    names = [*ACCOUNTS, *(f"x{number}" for number in range(40, 50)), "stranger"]
    return [(str(rng.choice(names)), float(rng.uniform(0.1, 20)), int(rng.integers(100, 9_999))) for _ in range(400)]


@pytest.fixture(scope="module")
def shop(
    tmp_path_factory: pytest.TempPathFactory,
    letter_shop: Callable[..., LetterShop],
    link: Callable[..., None],
    purchases: list[tuple[str, float, int]],
) -> LetterShop:
    """A shop that decided for every account on day 0, as if no link were known."""
    shop = letter_shop(tmp_path_factory.mktemp("linked") / "shop", goals=GOALS)
    shop.agree(ACCOUNTS, at=day(-9))
    shop.decide(ACCOUNTS[:60], at=day(0))
    shop.buy([(who, day(at), cents) for who, at, cents in purchases])
    link(shop.project.history, links())
    return shop


@pytest.mark.parametrize("at", [8.5, 11.0, 15.0])
def test_a_person_is_one_unit_whatever_account_was_assigned(
    shop: LetterShop, purchases: list[tuple[str, float, int]], at: float
) -> None:
    """A walk over people in Python, by the links of that day, gives the same units, outcomes and exclusions."""
    decisions = decided_so_far(shop.project, "letter")
    arms = defaultdict(set)
    for who, arm in zip(decisions["customer_id"].to_pylist(), decisions["arm"].to_pylist(), strict=True):
        arms[person(who, at)].add(arm)
    expected = {
        who: (
            next(iter(of)),
            sum(1 for buyer, when, _ in purchases if person(buyer, at) == who and 0 < when <= 7 and when < at),
        )
        for who, of in arms.items()
        if len(of) == 1
    }
    found = shop.look(day(at))
    columns = (found.outcomes[name].to_pylist() for name in ("customer_id", "arm", "bought"))
    assert {who: (arm, count) for who, arm, count in zip(*columns, strict=True)} == expected
    torn = sum(1 for of in arms.values() if len(of) > 1)
    assert found.counts.two_arms == torn
    assert torn > 0


@pytest.mark.parametrize("at", [8.5, 15.0])
def test_the_money_adds_up_with_links(shop: LetterShop, purchases: list[tuple[str, float, int]], at: float) -> None:
    found = shop.look(day(at))
    assert sum(each.revenue for each in found.money) == sum(amount for _, when, amount in purchases if when < at)
    costs = sum(each.contact_cost for each in found.money)
    assert costs == sum(decided_so_far(shop.project, "letter")["contact_cost"].to_pylist()) > 0


@pytest.mark.parametrize("at", [8.5, 11.0])
def test_a_look_as_of_a_day_equals_the_replay_of_the_log_to_that_day(
    shop: LetterShop, letter_shop: Callable[..., LetterShop], link: Callable[..., None], tmp_path: Path, at: float
) -> None:
    """Facts and links that came later are taken away from a copy: every figure stays the same (E7)."""
    history = History(tmp_path / "history")
    history.append(shop.project.history.events(until=day(at)), part="log")
    rows = [
        row | {"until": row["until"] if row["until"] and row["until"] < day(at) else None}
        for row in shop.project.history.members().to_pylist()
        if row["since"] < day(at)
    ]
    link(history, rows)
    replayed = letter_shop(shop.project.root)
    replayed.project.__dict__["history"] = history
    before, after = replayed.look(day(at)), shop.look(day(at))
    assert before.outcomes.equals(after.outcomes)
    assert (before.counts, before.money) == (after.counts, after.money)
    assert repr(before.findings) == repr(after.findings)  # what is not told is NaN, which equals nothing


def test_those_linked_in_time_have_one_arm_by_decision(
    letter_shop: Callable[..., LetterShop], link: Callable[..., None], tmp_path: Path
) -> None:
    """Decided as accounts, pairs fall into two arms half of the time; decided as people they never do."""
    shop = letter_shop(tmp_path / "shop", goals=GOALS)
    link(shop.project.history, links())
    decided = shop.decide(ACCOUNTS[10:30], at=day(3), people=LinkedAccounts(shop.project.history))
    arms = decided["arm"].to_pylist()
    assert arms[::2] == arms[1::2]
    assert len(set(arms)) == 2
