"""Which experiment a decision belongs to: exactly one, by placement, layer and audience, else the standing trial."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from itertools import pairwise

import pytest
from sqlalchemy import select

from experiments.design import Arm, Experiment
from experiments.layers import check_together
from experiments.measures import Goal
from experiments.policies import Nothing, OneToOne, RandomEligible, Static
from features.errors import InputError
from serving import schema
from serving.ask import Ask
from serving.desk import Case, Desk
from serving.trial import Trial
from serving.trials import Trials

POLICIES = {
    "nothing": Nothing(),
    "random": RandomEligible(),
    "static": Static(treatment="shoes@web"),
    "one_to_one": OneToOne(floor=0.01),
}
NAMES = [f"c{number}" for number in range(400)]
FEATURES = ("purchases_365d", "returns_365d", "cart_1d", "state")


def design(key, monday, **changes):
    told = {
        "title": key.title(),
        "hypothesis": "what fits sells more",
        "arms": tuple(Arm(name=name, shows=name, policy=name, share=0.5) for name in ("static", "random")),
        "control": "static",
        "goals": (Goal(name="bought", kind="any", events=("purchase",), window_days=14),),
        "start": monday,
    }
    return Experiment(key=key, **(told | changes))


def trials(*designs):
    made = (Trial.of_experiment(each, policies=POLICIES, feature_names=FEATURES) for each in designs)
    return Trials(standing=Trial.standing(POLICIES), designed=tuple(made))


@pytest.fixture
def decide(ledger, shop, agree, monday):
    """``decide(trials, names)``: the decisions; customers with an odd number have bought nothing yet."""
    agree(*NAMES)

    def at_the_desk(running, names, day=0, rows=True, **told):
        desk = Desk(ledger, rules=shop.rules, trials=running)
        moment = monday + timedelta(days=day)
        asks = [
            Ask(customer_id=name, moment=moment, seed="s", **{key: each(name) for key, each in told.items()})
            for name in names
        ]
        bought = [2 * (1 - int(name[1:]) % 2) for name in names]
        cases = [
            Case(ask=ask, row=(own, 0, 0, "CA") if rows else None, values=None)
            for ask, own in zip(asks, bought, strict=True)
        ]
        return desk.decide(cases)

    return at_the_desk


def where(decisions):
    return {each.ask.customer_id: (each.experiment, each.arm) for each in decisions}


def test_slices_of_a_layer_share_no_unit_and_leave_the_rest_to_the_standing_trial(decide, monday):
    running = trials(design("spring", monday, slice=(0.0, 0.4)), design("summer", monday, slice=(0.4, 0.8)))
    found = where(decide(running, NAMES))
    counted = Counter(experiment for experiment, _ in found.values())
    # 400 customers at 40, 40 and 20%, by more than four standard deviations of a share each.
    assert abs(counted["spring"] - 160) < 40
    assert abs(counted["summer"] - 160) < 40
    assert abs(counted["standing"] - 80) < 32
    # Whoever has an arm stays, even when the other experiment is over and its slice is free.
    later = where(decide(trials(running.designed[0].design), NAMES, day=5))
    assert {name: later[name] for name in NAMES if found[name][0] == "spring"} == {
        name: each for name, each in found.items() if each[0] == "spring"
    }
    assert {later[name][0] for name in NAMES if found[name][0] != "spring"} == {"standing"}


def test_whom_the_audience_leaves_out_is_in_no_arm(decide, monday, ledger):
    buyers = ({"feature": "purchases_365d", "at_least": 1},)
    running = trials(design("spring", monday, audience=buyers))
    found = where(decide(running, NAMES))
    assert {name for name in NAMES if found[name][0] == "spring"} == {name for name in NAMES if not int(name[1:]) % 2}
    assert {experiment for name, (experiment, _) in found.items() if int(name[1:]) % 2} == {"standing"}
    # What can't be read admits nobody, and moves nobody who is in.
    assert where(decide(running, NAMES, day=4, rows=False)) == found
    with ledger.reading() as book:
        assert set(book.arms("spring", NAMES)) == {name for name in NAMES if not int(name[1:]) % 2}


def test_a_customer_who_leaves_the_audience_stays_in_the_arm(decide, monday):
    (before,) = decide(trials(design("spring", monday, audience=({"feature": "state", "equals": "CA"},))), ["c1"])
    moved = trials(design("spring", monday, audience=({"feature": "state", "equals": "CA"},)))
    asked = Ask(customer_id="c1", moment=monday + timedelta(days=4), seed="s")
    assert moved.proposed(asked, (0, 0, 0, "TX")) is moved.standing
    (after,) = decide(moved, ["c1"], day=4, rows=False)
    assert (before.experiment, before.arm) == (after.experiment, after.arm) == ("spring", before.arm)


def test_layers_decide_different_placements_and_are_independent(decide, monday):
    shown = design("banner", monday, layer="site", placements=("hero",))
    running = trials(shown, design("letters", monday))
    here = where(decide(running, NAMES, placement=lambda _: "hero"))
    there = where(decide(running, NAMES, day=4, placement=lambda _: None))
    assert {each[0] for each in here.values()} == {"banner"}
    assert {each[0] for each in there.values()} == {"letters"}
    # Half of each arm of the one is in each arm of the other: 100 of 400, standard deviation 9.
    crossed = Counter((here[name][1], there[name][1]) for name in NAMES)
    assert len(crossed) == 4
    assert all(abs(count - 100) < 45 for count in crossed.values())


def test_each_session_is_a_unit_of_its_own(decide, monday, ledger):
    running = trials(design("sessions", monday, unit="session"))
    first = decide(running, NAMES, session_id=lambda name: f"{name}-1")
    second = decide(running, NAMES, day=1, session_id=lambda name: f"{name}-2")
    again = decide(running, NAMES, day=2, session_id=lambda name: f"{name}-1")
    assert where(again) == where(first)
    changed = sum(one.arm != other.arm for one, other in zip(first, second, strict=True))
    assert abs(changed - 200) < 60
    assert {experiment for experiment, _ in where(decide(running, NAMES, day=5)).values()} == {"standing"}
    with ledger.writing() as book:
        assert len(book.arms("sessions", [f"{name}-1" for name in NAMES])) == 400
        book.remove(["c7"])
        assert not book.arms("sessions", ["c7-1", "c7-2"])
        assert book.count(schema.assignments) == 800 - 2 + 399


def test_an_experiment_decides_from_its_start_until_its_end(monday):
    one = design("spring", monday, end=monday + timedelta(days=7), stopped=monday + timedelta(days=5))
    running = trials(one)
    kept = [
        running.proposed(Ask(customer_id="c1", moment=monday + timedelta(days=day), seed="s"), None).key
        for day in (-1, 0, 4.9, 5, 6)
    ]
    assert kept == ["standing", "spring", "spring", "standing", "standing"]


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ({}, {}, "'a' and 'b' run at once and share units of layer 'main'"),
        ({"slice": (0.0, 0.6)}, {"slice": (0.5, 1.0)}, "share units of layer"),
        ({"slice": (0.0, 0.5), "unit": "household"}, {"slice": (0.5, 1.0)}, "assign different units"),
        ({"layer": "x"}, {}, "'a' and 'b' of different layers would decide the same asks"),
        ({"layer": "x", "placements": ("hero",)}, {"placements": ("hero", "inbox")}, "placements hero in both"),
    ],
)
def test_experiments_that_get_in_each_others_way_are_refused_by_name(monday, one, other, told):
    with pytest.raises(InputError, match=told):
        check_together([design("a", monday, **one), design("b", monday, **other)])


def test_experiments_beside_each_other_are_fine(monday):
    edges = (0.0, 0.2, 0.7, 1.0)
    check_together([design(f"a{low}", monday, slice=(low, high)) for low, high in pairwise(edges)])
    check_together([design("a", monday), design("b", monday, layer="x", placements=("hero",))])


def test_an_audience_that_makes_no_sense_is_refused(monday):
    for audience, told in (
        (({"feature": "purchases_356d", "at_least": 1},), "did you mean 'purchases_365d'"),
        (({"feature": "state"},), "exactly one comparison"),
        (({"featur": "state"},), "no list of conditions"),
    ):
        with pytest.raises(InputError, match=told):
            trials(design("spring", monday, audience=audience))


def test_a_request_names_its_session(web):
    answer = web.decide("anna", "k-1", session_id="visit-1")
    assert answer.status_code == 200
    with web.site.ledger.reading() as book:
        (kept,) = book.connection.scalars(select(schema.decisions.c.session_id)).all()
        assert kept == "visit-1"
        assert book.latest(1)[0].ask.session_id == "visit-1"
