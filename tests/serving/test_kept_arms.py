"""A unit keeps its arm: whatever happens to the shares, it is never seen in two (promise E2)."""

from __future__ import annotations

import itertools
import sqlite3
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from sqlalchemy import select

from experiments.assignment import assign
from experiments.design import Arm, Experiment
from experiments.holdout import Holdout
from experiments.measures import Goal
from experiments.policies import Nothing, RandomEligible, Static
from experiments.rules import Ramp
from features.errors import InputError
from features.facts import micros
from features.identity import Person
from serving import schema
from serving.ask import Ask
from serving.designs import check_kept, keep_design, recorded_design
from serving.desk import Case, Desk
from serving.explanation import differences, explain, recorded, replay
from serving.people import person_id
from serving.trial import Trial
from serving.trials import HOLDOUT, Trials

POLICIES = {"nothing": Nothing(), "random": RandomEligible(), "static": Static(treatment="shoes@web")}
NAMES = [f"c{number}" for number in range(400)]


def trial(monday, shares, *, unit="customer", ramp=(), key="spring", **changes):
    design = Experiment(
        key=key,
        title="Spring",
        hypothesis="what fits sells more",
        arms=tuple(Arm(name=name, shows=name, policy=name, share=share) for name, share in shares.items()),
        control="static",
        personalized="random",
        goals=(Goal(name="bought", kind="any", events=("purchase",), window_days=14),),
        start=monday,
        stop_rule="anytime",
        unit=unit,
        ramp=ramp,
        **changes,
    )
    return Trial.of_experiment(design, policies=POLICIES)


def at_day(monday, day, shares):
    """Shares from a day on."""
    return (Ramp(at=monday + timedelta(days=day), shares=shares),)


@pytest.fixture
def decide(ledger, shop, agree, monday):
    """``decide(trial, names, day)``: the decisions for customers, two of whom share a household."""
    agree(*NAMES)

    def at_the_desk(running, names, day=0, holdout=None):
        desk = Desk(ledger, rules=shop.rules, trials=Trials(standing=running, holdout=holdout))
        moment = monday + timedelta(days=day)
        asks = [Ask(customer_id=name, household_id=f"h{int(name[1:]) // 2}", moment=moment, seed="s") for name in names]
        return desk.decide([Case(ask=ask, row=(2, 0, 0, "CA"), values=None) for ask in asks])

    return at_the_desk


def arms(decisions):
    return {each.ask.customer_id: each.arm for each in decisions}


def test_changed_shares_move_nobody_who_has_an_arm(decide, monday, ledger):
    before, after = {"random": 0.5, "static": 0.5}, {"random": 0.9, "static": 0.1}
    first = arms(decide(trial(monday, before), NAMES[:200]))
    assert first == {name: assign(name, experiment="spring", shares=before) for name in NAMES[:200]}
    ramp = at_day(monday, 10, after)
    second = arms(decide(trial(monday, before, ramp=ramp), NAMES, day=20))
    assert {name: second[name] for name in first} == first
    # The hash alone would have moved many: 40% to the other arm.
    moved = [name for name in first if assign(name, experiment="spring", shares=after) != first[name]]
    assert len(moved) > 40
    # Who is new comes under the new shares.
    assert {name: second[name] for name in NAMES[200:]} == {
        name: assign(name, experiment="spring", shares=after) for name in NAMES[200:]
    }
    back = (*ramp, *at_day(monday, 30, before))
    third = arms(decide(trial(monday, before, ramp=back), NAMES, day=40))
    assert third == second
    with ledger.reading() as book:
        assert book.count(schema.assignments) == 400
        assert book.arms("spring", NAMES) == second
        assert book.arms("autumn", NAMES) == {}


def test_a_ramp_that_was_planned_takes_effect_at_its_moment(decide, monday):
    shares, more = {"random": 0.05, "static": 0.95}, {"random": 0.5, "static": 0.5}
    running = trial(monday, shares, ramp=at_day(monday, 7, more))
    found = arms(decide(running, NAMES[:200], day=6)) | arms(decide(running, NAMES[200:], day=7))
    assert found == {
        name: assign(name, experiment="spring", shares=shares if number < 200 else more)
        for number, name in enumerate(NAMES)
    }


def test_a_household_keeps_the_arm_of_its_first_member(decide, monday, ledger):
    first = arms(decide(trial(monday, {"random": 0.5, "static": 0.5}, unit="household"), NAMES[:200:2]))
    ramp = at_day(monday, 10, {"random": 0.1, "static": 0.9})
    running = trial(monday, {"random": 0.5, "static": 0.5}, unit="household", ramp=ramp)
    both = arms(decide(running, NAMES[:200], day=20))
    for older, younger in zip(NAMES[:200:2], NAMES[1:200:2], strict=True):
        assert first[older] == both[older] == both[younger]
    with ledger.reading() as book:
        assert book.count(schema.assignments) == 100


def test_an_arm_that_is_gone_keeps_its_units_out_of_the_others(decide, monday, ledger):
    shares = {"nothing": 0.3, "random": 0.4, "static": 0.3}
    before = arms(decide(trial(monday, shares), NAMES))
    after = decide(replace(trial(monday, {"random": 0.5, "static": 0.5}), design=None), NAMES, day=20)
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
    running, holdout = trial(monday, {"random": 0.5, "static": 0.5}), Holdout(share=0.4)
    decided = decide(running, NAMES, holdout=holdout)
    held = [each for each in decided if each.arm == HOLDOUT]
    assert [each.ask.customer_id for each in held] == [name for name in NAMES if holdout.withholds(name, at=monday)]
    assert len(held) > 100
    for each in held:
        assert (each.action, each.source, each.degraded, each.withheld) == ("receipt@email", "policy", False, True)
        assert each.experiment == HOLDOUT
        why = {told.action: told.code for told in explain(each, shop.rules).removed}
        assert why.pop("cart@web") == "no_scenario"
        assert set(why.values()) == {"held_out"}
        assert len(why) == 5
    with ledger.reading() as book:
        decision, rules, policy = recorded(book, held[0].decision_id)
        assert book.count(schema.assignments) == len(NAMES) - len(held)
    assert differences(decision, replay(decision, rules=rules, policy=policy)) == {}
    # The service contact has its limits too: here the cooldown of three days.
    again = [each for each in decide(running, NAMES, day=1, holdout=holdout) if each.withheld]
    assert len(again) == len(held)
    assert {each.action for each in again} == {"nothing"}


def test_the_holdout_passes_on_and_nobody_is_held_twice_running(decide, monday, ledger):
    running, holdout = trial(monday, {"random": 0.5, "static": 0.5}), Holdout(share=0.25, months=1)
    seen = []
    for month in range(4):
        decided = decide(running, NAMES, day=31 * month, holdout=holdout)
        seen.append({each.ask.customer_id for each in decided if each.withheld})
    for one, other in itertools.combinations(seen, 2):
        assert not one & other
    # Four periods of a quarter each: everybody's turn came once, and their arm waits for them meanwhile.
    assert set().union(*seen) == set(NAMES)
    with ledger.reading() as book:
        assert set(book.arms("spring", NAMES)) == set(NAMES)


def test_persons_are_withheld_as_often_as_planned_however_many_accounts_they_have(ledger, shop, agree, monday):
    """400 persons of four accounts: were one withheld account enough, most of them would be (1 - 0.8^4 = 59%)."""
    holdout = Holdout(share=0.2, channels={"web": 0.3})
    trials = Trials(standing=Trial.of_policy(RandomEligible(), arm="all"), holdout=holdout)
    desk = Desk(ledger, rules=shop.rules, trials=trials)
    persons = [tuple(f"{name}-{number}" for number in range(4)) for name in NAMES]
    agree(*(account for own in persons for account in own))

    def decided(day, accounts):
        """Each person's decisions, one for each of the ``accounts``, as the links are known by then."""
        cases = []
        for own in persons:
            linked = own[: 1 + day]  # a further account is linked every day
            person = Person(own[0], None, linked, linked, linked)
            for account in own[:accounts]:
                whose = person if account in linked else Person.alone(account)
                moment = monday + timedelta(days=day)
                ask = Ask(customer_id=account, moment=moment, seed="s", person_id=person_id(account, whose))
                cases.append(Case(ask=ask, row=(2, 0, 0, "CA"), values=None, person=whose))
        answers = desk.decide(cases)
        return [answers[start : start + accounts] for start in range(0, len(answers), accounts)]

    first = [one[0] for one in decided(0, 4)]
    for told, share in ((lambda each: each.withheld, 0.2), (lambda each: "web" in each.withheld_channels, 0.3 * 0.8)):
        # Four standard errors of a share of 400 persons.
        assert abs(sum(map(told, first)) / 400 - share) < 4 * (share * (1 - share) / 400) ** 0.5
        # Whatever is linked later, the person stays, and what was linked follows.
        for day in (1, 2, 3):
            every = decided(day, day + 1)
            assert [{told(each) for each in one} for one in every] == [{told(each)} for each in first]
    assert [each.ask.customer_id for each in first if each.withheld] == [
        own[0] for own in persons if holdout.withholds(own[0], at=monday)
    ]


def test_a_household_is_withheld_as_one(monday):
    trials = Trials(standing=Trial.of_policy(Nothing(), arm="quiet"), holdout=Holdout(share=0.2))
    held = next(name for name in NAMES if trials.holdout.withholds(name, at=monday))
    free = next(name for name in NAMES if not trials.holdout.withholds(name, at=monday))
    assert not trials.withholds(Ask(customer_id=free, household_id=held, moment=monday, seed="s"))
    of_homes = Trials(standing=trials.standing, holdout=Holdout(share=0.2, unit="household"))
    assert of_homes.withholds(Ask(customer_id=free, household_id=held, moment=monday, seed="s"))
    assert not of_homes.withholds(Ask(customer_id=held, household_id=free, moment=monday, seed="s"))


def test_a_design_that_was_changed_after_its_first_decision_is_refused(decide, monday, ledger):
    shares = {"random": 0.5, "static": 0.5}
    decide(trial(monday, shares, alpha=0.1), NAMES[:1])
    with pytest.raises(InputError, match=r"changed after its first decision; got other arms, alpha than"):
        decide(trial(monday, {"random": 0.6, "static": 0.4}), NAMES)
    decide(trial(monday, shares, alpha=0.1, ramp=at_day(monday, 3, {"random": 0.6, "static": 0.4})), NAMES, day=4)
    with pytest.raises(InputError, match=r"ramp of experiment 'spring' was changed for a time in which"):
        decide(trial(monday, shares, alpha=0.1), NAMES)
    with pytest.raises(InputError, match=r"ramp of experiment 'spring' was changed for a time in which"):
        decide(trial(monday, shares, alpha=0.1, ramp=at_day(monday, 2, {"random": 0.6, "static": 0.4})), NAMES)
    with ledger.reading() as book:
        bodies = book.connection.scalars(select(schema.designs.c.body)).all()
        assert len(bodies) == 2
        assert recorded_design(book, "spring").steps[1][1] == {"random": 0.6, "static": 0.4}
        assert recorded_design(book, "autumn") is None


def test_a_design_is_free_until_its_first_decision(monday, ledger, shop):
    for alpha in (0.1, 0.05):
        Desk(ledger, rules=shop.rules, trials=Trials.only(trial(monday, {"random": 0.5, "static": 0.5}, alpha=alpha)))
    with ledger.reading() as book:
        assert recorded_design(book, "spring").alpha == 0.05


def test_what_a_file_left_at_its_default_may_be_written_out_but_not_changed(monday, ledger):
    plain = trial(monday, {"random": 0.5, "static": 0.5}).design
    told = {name: value for name, value in msgspec.to_builtins(plain).items() if name != "alpha"}
    with ledger.writing() as book:
        keep_design(book, msgspec.convert(told, Experiment), at=monday)
        check_kept(book, replace(plain, alpha=0.4))  # nobody has an arm yet
        book.insert(
            schema.assignments, [{"experiment": "spring", "unit": "c1", "arm": "random", "assigned_at": micros(monday)}]
        )
        check_kept(book, plain)
        with pytest.raises(InputError, match=r"other alpha than"):
            check_kept(book, replace(plain, alpha=0.4))


def test_an_experiment_that_was_stopped_stays_so(decide, monday):
    shares, day = {"random": 0.5, "static": 0.5}, timedelta(days=1)
    decide(trial(monday - day, shares), NAMES)
    with pytest.raises(InputError, match=r"stop of experiment 'spring' doesn't fit"):
        decide(trial(monday - day, shares, stopped=monday), NAMES)
    decide(trial(monday - day, shares, stopped=monday + 5 * day), NAMES, day=4)
    with pytest.raises(InputError, match=r"stop of experiment 'spring' doesn't fit"):
        decide(trial(monday - day, shares), NAMES, day=6)
