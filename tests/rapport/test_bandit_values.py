"""What the actions of a project's bandit earned, from the chances that its ledger kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from experiments.adaptive import ActionValue
from experiments.measures import Goal
from experiments.policies import AnyPolicy, ArmBeliefs, Bandit, Beta, Static
from rapport.trials.bandits import bandit_values
from serving.batch import decide_all
from serving.book import Consent
from serving.catalogue import Catalogue, Content, Offer
from serving.desk import Desk
from serving.ledger import Ledger
from serving.rules import RuleBook, Rules
from serving.trial import Trial
from serving.trials import Trials

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
GOAL = Goal(name="bought", kind="any", events=("purchase",), window_days=7)
RATES = {"nothing": 0.1, "hats@web": 0.1, "shoes@web": 0.4}


def _people(week: int) -> list[str]:
    return [f"w{week}-{number}" for number in range(250)]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(tmp_path / "ledger.db")
    joined = {"occurred_at": START - timedelta(days=9), "recorded_at": START - timedelta(days=9)}
    everybody = [name for week in range(4) for name in _people(week)]
    with ledger.writing() as book:
        book.consent(
            [Consent(customer_id=each, channel="all", granted=True, source="customer", **joined) for each in everybody]
        )
    return ledger


def _run(ledger: Ledger, policy: AnyPolicy) -> tuple[pa.Table, pa.Table]:
    """Four weeks of decisions, taught after each, and what the customers bought."""
    offers = tuple(Offer(offer_id=each, title=each, treatments=(Content(channel="web"),)) for each in ("hats", "shoes"))
    rules = Rules(RuleBook(catalogue=Catalogue(offers=offers)))
    rng = np.random.default_rng(1)
    decided, buyers = [], []
    for week in range(4):
        at = START + timedelta(weeks=week)
        trial = Trial.of_policy(policy, arm="bandit", key="shoes")
        desk = Desk(ledger, rules=rules, trials=Trials.only(trial))
        with ledger.writing() as book:
            trial.publish(book, at=at)
        table = decide_all(pa.table({"customer_id": _people(week)}), desk=desk, at=at, seed=f"s{week}", values=None)
        bought = rng.random(table.num_rows) < np.array([RATES[each] for each in table["action"].to_pylist()])
        if isinstance(policy, Bandit):
            policy = policy.update(table["action"].to_pylist(), bought.astype(float))
        decided.append(table)
        buyers += [(name, at) for name, buys in zip(table["customer_id"].to_pylist(), bought, strict=True) if buys]
    moments = pa.array([at + timedelta(days=2) for _, at in buyers], pa.timestamp("us", tz="UTC"))
    events = pa.table(
        {
            "event_id": [f"p-{name}" for name, _ in buyers],
            "customer_id": [name for name, _ in buyers],
            "kind": ["purchase"] * len(buyers),
            "occurred_at": moments,
            "recorded_at": moments,
            "amount": pa.array([100] * len(buyers), pa.int64()),
        }
    )
    return pa.concat_tables(decided), events


def _values(ledger: Ledger, decisions: pa.Table, events: pa.Table, *, days: int) -> tuple[ActionValue, ...]:
    return bandit_values(
        ledger, decisions, events, measure=GOAL, as_of=START + timedelta(days=days), margin_bp=3_000, alpha=0.05
    )


def test_each_action_has_its_value_though_the_bandit_starved_most_of_them(ledger: Ledger) -> None:
    decisions, events = _run(ledger, Bandit(beliefs=ArmBeliefs(prior=Beta()), floor=0.02))
    found = _values(ledger, decisions, events, days=60)
    assert found[0].action == "shoes@web"
    assert sum(each.decisions for each in found) == decisions.num_rows
    for each in found:
        assert each.ci_low <= RATES[each.action] <= each.ci_high
        assert each.least >= 0.02 - 1e-12
    hats = next(each for each in found if each.action == "hats@web")
    assert hats.reference == "shoes@web"
    assert hats.difference_low is not None
    assert hats.difference_low <= -0.3 <= (hats.difference_high or 0.0)


def test_decisions_whose_window_is_open_and_policies_that_do_not_learn_are_left_out(ledger: Ledger) -> None:
    decisions, events = _run(ledger, Bandit(beliefs=ArmBeliefs(prior=Beta()), floor=0.02))
    early = _values(ledger, decisions, events, days=10)
    first = decisions.filter(pc.equal(decisions["decided_at"], pa.scalar(START, decisions["decided_at"].type)))
    assert sum(each.decisions for each in early) == first.num_rows
    assert _values(ledger, decisions.slice(0, 0), events, days=60) == ()


def test_a_policy_that_never_moves_has_plain_lift_instead(ledger: Ledger) -> None:
    decisions, events = _run(ledger, Static(treatment="shoes@web"))
    assert _values(ledger, decisions, events, days=60) == ()
