"""Links between accounts that come after assignment: persons count, as known at the look (E2, E7, E9)."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from experiments.policies import Nothing, Static
from features import History
from features.facts import MEMBERS
from rapport.decided import decided_so_far
from rapport.init import create_project
from rapport.looks import Look, take_look, units_of
from rapport.project import Project, load_project
from serving.batch import decide_all
from serving.book import Consent
from serving.catalogue import Catalogue
from serving.desk import Desk
from serving.ledger import Ledger
from serving.people import LinkedAccounts
from serving.rules import RuleBook, Rules
from serving.trial import Trial
from serving.trials import Trials

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
DESIGN = """
key = "letter"
title = "The letter against nothing"
hypothesis = "The letter sells."
control = "nothing"
start = 2026-03-02T00:00:00Z
stop_rule = "anytime"
[[arms]]
name = "nothing"
shows = "nothing"
policy = "nothing"
share = 0.5
[[arms]]
name = "static"
shows = "the letter"
policy = "static"
share = 0.5
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


def link(history: History) -> None:
    rows = [
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
    (history.folder / "members").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=MEMBERS), history.folder / "members" / "m.parquet")


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
def shop(tmp_path_factory: pytest.TempPathFactory, purchases: list[tuple[str, float, int]]) -> Project:
    """A shop that decided for every account on day 0, as if no link were known."""
    root = tmp_path_factory.mktemp("linked") / "shop"
    create_project(root, name="Shop")
    (root / "experiments" / "letter.toml").write_text(DESIGN, encoding="utf-8")
    project = load_project(root)
    ledger = Ledger(project.ledger)
    told = {"channel": "all", "granted": True, "source": "customer", "occurred_at": day(-9), "recorded_at": day(-9)}
    with ledger.writing() as book:
        book.consent([Consent(customer_id=each, **told) for each in ACCOUNTS])
    policies = {"nothing": Nothing(), "static": Static(treatment="coats-new@mail")}
    trial = Trial.of_experiment(project.experiment("letter"), policies=policies)
    rules = Rules(RuleBook(catalogue=Catalogue(offers=project.catalogue.offers[1:])))
    table = pa.table({"customer_id": ACCOUNTS[:60]})
    decide_all(table, desk=Desk(ledger, rules=rules, trials=Trials.only(trial)), at=day(0), seed="s", values=None)
    ledger.close()
    rows = [
        {
            "event_id": f"p{number}",
            "customer_id": who,
            "kind": "purchase",
            "occurred_at": day(at),
            "recorded_at": day(at),
            "amount": amount,
        }
        for number, (who, at, amount) in enumerate(purchases)
    ]
    project.history.append(pa.Table.from_pylist(rows), part="till")
    link(project.history)
    return project


def look(project: Project, at: float) -> Look:
    design = project.experiment("letter")
    decisions = decided_so_far(project, "letter")
    return take_look(project, design, units=units_of(decisions, design), decisions=decisions, as_of=day(at))


@pytest.mark.parametrize("at", [8.5, 11.0, 15.0])
def test_a_person_is_one_unit_whatever_account_was_assigned(
    shop: Project, purchases: list[tuple[str, float, int]], at: float
) -> None:
    """A walk over people in Python, by the links of that day, gives the same units, outcomes and exclusions."""
    decisions = decided_so_far(shop, "letter")
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
    found = look(shop, at)
    columns = (found.outcomes[name].to_pylist() for name in ("customer_id", "arm", "bought"))
    assert {who: (arm, count) for who, arm, count in zip(*columns, strict=True)} == expected
    torn = sum(1 for of in arms.values() if len(of) > 1)
    assert found.counts.two_arms == torn
    assert torn > 0


@pytest.mark.parametrize("at", [8.5, 15.0])
def test_the_money_adds_up_with_links(shop: Project, purchases: list[tuple[str, float, int]], at: float) -> None:
    found = look(shop, at)
    assert sum(each.revenue for each in found.money) == sum(amount for _, when, amount in purchases if when < at)
    costs = sum(each.contact_cost for each in found.money)
    assert costs == sum(decided_so_far(shop, "letter")["contact_cost"].to_pylist()) > 0


@pytest.mark.parametrize("at", [8.5, 11.0])
def test_a_look_as_of_a_day_equals_the_replay_of_the_log_to_that_day(shop: Project, tmp_path: Path, at: float) -> None:
    """Facts and links that came later are taken away from a copy: every figure stays the same (E7)."""
    copy = tmp_path / "history"
    history = History(copy)
    history.append(shop.history.events(until=day(at)), part="log")
    rows = [
        row | {"until": row["until"] if row["until"] and row["until"] < day(at) else None}
        for row in shop.history.members().to_pylist()
        if row["since"] < day(at)
    ]
    (copy / "members").mkdir()
    pq.write_table(pa.Table.from_pylist(rows, schema=MEMBERS), copy / "members" / "m.parquet")
    replayed = load_project(shop.root)
    replayed.__dict__["history"] = history
    before, after = look(replayed, at), look(shop, at)
    assert before.outcomes.equals(after.outcomes)
    assert (before.counts, before.money) == (after.counts, after.money)
    assert repr(before.findings) == repr(after.findings)  # what is not told is NaN, which equals nothing


def test_those_linked_in_time_have_one_arm_by_decision(shop: Project, tmp_path: Path) -> None:
    """Decided as accounts, pairs fall into two arms half of the time; decided as people they never do."""
    trial = Trial.of_experiment(
        shop.experiment("letter"), policies={"nothing": Nothing(), "static": Static(treatment="coats-new@mail")}
    )
    ledger = Ledger(tmp_path / "ledger.db")
    desk = Desk(
        ledger, rules=Rules(RuleBook(catalogue=Catalogue(offers=shop.catalogue.offers[1:]))), trials=Trials.only(trial)
    )
    table = pa.table({"customer_id": ACCOUNTS[10:30]})
    people = LinkedAccounts(shop.history)
    decided = decide_all(table, desk=desk, at=day(3), seed="s", values=None, people=people)
    arms = decided["arm"].to_pylist()
    assert arms[::2] == arms[1::2]
    assert len(set(arms)) == 2
    ledger.close()
