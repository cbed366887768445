"""A unit keeps its arm: whatever happens to the shares, it is never seen in two (promise E2)."""

from __future__ import annotations

import sqlite3
from collections import Counter
from datetime import timedelta

import pytest

from experiments.assignment import assign
from experiments.design import Arm, Experiment
from experiments.measures import Goal
from experiments.policies import Nothing, RandomEligible, Static
from features.errors import InputError
from serving import schema
from serving.decision import Ask
from serving.desk import Case, Desk
from serving.explanation import differences, explain, recorded, replay
from serving.trial import HOLDOUT, Trial

POLICIES = {"nothing": Nothing(), "random": RandomEligible(), "static": Static(treatment="shoes@web")}
NAMES = [f"c{number}" for number in range(400)]


def trial(monday, shares, *, unit="customer", holdout=0.0):
    design = Experiment(
        key="spring",
        title="Spring",
        hypothesis="what fits sells more",
        arms=tuple(Arm(name=name, shows=name, policy=name, share=share) for name, share in shares.items()),
        control="static",
        personalized="random",
        goals=(Goal(name="bought", kind="any", events=("purchase",), window_days=14),),
        start=monday,
        stop_rule="anytime",
        unit=unit,
        holdout_share=holdout,
    )
    return Trial.of_experiment(design, policies=POLICIES)


@pytest.fixture
def decide(ledger, shop, agree, monday):
    """``decide(trial, names, day)``: the decisions for customers, two of whom share a household."""
    agree(*NAMES)

    def at_the_desk(running, names, day=0):
        desk = Desk(ledger, rules=shop.rules, trial=running)
        moment = monday + timedelta(days=day)
        asks = [Ask(customer_id=name, household_id=f"h{int(name[1:]) // 2}", moment=moment, seed="s") for name in names]
        arms = running.assignments_of(asks)
        cases = zip(asks, arms, strict=True)
        return desk.decide([Case(ask=ask, assignment=arm, row=(2, 0, 0, "CA"), values=None) for ask, arm in cases])

    return at_the_desk


def arms(decisions):
    return {each.ask.customer_id: each.arm for each in decisions}


def test_changed_shares_move_nobody_who_has_an_arm(decide, monday, ledger):
    before, after = {"random": 0.5, "static": 0.5}, {"random": 0.9, "static": 0.1}
    first = arms(decide(trial(monday, before), NAMES[:200]))
    assert first == {name: assign(name, experiment="spring", shares=before) for name in NAMES[:200]}
    second = arms(decide(trial(monday, after, holdout=0.3), NAMES, day=20))
    assert {name: second[name] for name in first} == first
    # The hash alone would have moved many: 40% to the other arm, 30% to the holdout.
    moved = [name for name in first if assign(name, experiment="spring", shares=after) != first[name]]
    assert len(moved) > 40
    # Who is new comes under the new shares: of 200, 60 into the holdout and 14 to static, by more than five sd each.
    new = Counter(second[name] for name in NAMES[200:])
    assert 28 < new[HOLDOUT] < 92
    assert new["static"] < 33
    third = arms(decide(trial(monday, before), NAMES, day=40))
    assert third == second
    with ledger.reading() as book:
        assert book.count(schema.assignments) == 400
        assert book.arms("spring", NAMES) == second
        assert book.arms("autumn", NAMES) == {}


def test_a_household_keeps_the_arm_of_its_first_member(decide, monday, ledger):
    first = arms(decide(trial(monday, {"random": 0.5, "static": 0.5}, unit="household"), NAMES[:200:2]))
    both = arms(decide(trial(monday, {"random": 0.1, "static": 0.9}, unit="household"), NAMES[:200], day=20))
    for older, younger in zip(NAMES[:200:2], NAMES[1:200:2], strict=True):
        assert first[older] == both[older] == both[younger]
    with ledger.reading() as book:
        assert book.count(schema.assignments) == 100


def test_an_arm_that_is_gone_keeps_its_units_out_of_the_others(decide, monday, ledger):
    shares = {"nothing": 0.3, "random": 0.4, "static": 0.3}
    before = arms(decide(trial(monday, shares), NAMES))
    after = decide(trial(monday, {"random": 0.5, "static": 0.5}), NAMES, day=20)
    assert arms(after) == before
    stranded = [each for each in after if each.arm == "nothing"]
    assert {each.action for each in stranded} == {"shoes@web"}
    with ledger.reading() as book:
        decision, rules, policy = recorded(book, stranded[0].decision_id)
    assert policy == POLICIES["static"]
    assert differences(decision, replay(decision, rules=rules, policy=policy)) == {}


def test_an_arm_is_kept_with_its_decision_or_not_at_all(decide, monday, ledger):
    running = trial(monday, {"random": 0.5, "static": 0.5})
    decide(running, NAMES[:1])
    with sqlite3.connect(ledger.path) as raw:
        raw.execute("CREATE TRIGGER full BEFORE INSERT ON assignments BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    assert {each.source for each in decide(running, NAMES[:3], day=20)} == {"no_contact"}
    with ledger.reading() as book:
        assert (book.count(schema.decisions), book.count(schema.assignments)) == (1, 1)
        assert book.count(schema.slots) <= 1
    raw.close()


def test_without_an_experiment_no_arms_are_kept(decide, ledger):
    decide(Trial.of_policy(Nothing(), arm="quiet"), NAMES)
    with ledger.reading() as book:
        assert book.count(schema.assignments) == 0


def test_an_erased_customer_leaves_no_arm_behind(decide, monday, ledger):
    decide(trial(monday, {"random": 0.5, "static": 0.5}), NAMES)
    with ledger.writing() as book:
        assert book.remove(["c7"])["assignments"] == 1
        assert "c7" not in book.arms("spring", NAMES)


def test_the_holdout_gets_service_contacts_and_no_marketing(decide, shop, monday, ledger):
    decided = decide(trial(monday, {"random": 0.5, "static": 0.5}, holdout=0.4), NAMES)
    held = [each for each in decided if each.arm == HOLDOUT]
    assert len(held) > 100
    for each in held:
        assert (each.action, each.source, each.degraded, each.withheld) == ("receipt@email", "policy", False, True)
        why = {told.action: told.code for told in explain(each, shop.rules).removed}
        assert why.pop("cart@web") == "no_scenario"
        assert set(why.values()) == {"held_out"}
        assert len(why) == 5
    with ledger.reading() as book:
        decision, rules, policy = recorded(book, held[0].decision_id)
    assert differences(decision, replay(decision, rules=rules, policy=policy)) == {}
    # The service contact has its limits too: here the cooldown of three days.
    again = [each for each in decide(trial(monday, {"random": 0.5, "static": 0.5}), NAMES, day=1) if each.withheld]
    assert len(again) == len(held)
    assert {each.action for each in again} == {"nothing"}


def test_no_arm_may_be_called_holdout(monday):
    design = {"random": 0.5, HOLDOUT: 0.25, "static": 0.25}
    with pytest.raises(InputError, match="has the holdout's name"):
        trial(monday, design)
