"""What is true of single policies that don't learn; the contract of all is in test_policies_contract.py."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.policies import (
    Choice,
    Few,
    OneToOne,
    RandomEligible,
    Segment,
    Softmax,
    Static,
    choose,
    from_json,
    with_floor,
)
from experiments.policies.fitting import fit_few, fit_segment, fit_static
from features.errors import InputError

ACTIONS = ("nothing", "a@email", "b@mail", "c@web")
FEW = Few(
    names=("visits", "carts"),
    means=(3.0, 1.0),
    scales=(2.0, 0.5),
    centroids=((0.0, 0.0), (2.0, 1.0), (-1.0, 0.0)),
    treatments=("a@email", "c@web", "nothing"),
)


@given(
    chances=st.lists(st.sampled_from([0.0, 1e-9, 0.1, 0.5, 1.0]), min_size=1, max_size=8).filter(any),
    u=st.floats(0, 1, exclude_max=True) | st.just(1 - 2**-53),
)
def test_an_action_without_a_chance_is_never_chosen(chances, u):
    total = np.array(chances) / sum(chances)
    place = choose(total, u)
    assert total[place] > 0
    assert total[:place].sum() <= u + 1e-12 and u <= total[: place + 1].sum() + 1e-12


def test_static_gives_nothing_to_who_may_not_have_it():
    choice = Choice(actions=("nothing", "a@email"), values=np.zeros(2), segment="old")
    assert Static(treatment="b@mail").probabilities(choice).tolist() == [1.0, 0.0]
    assert Segment(table={"old": "b@mail"}).probabilities(choice).tolist() == [1.0, 0.0]


def test_a_segment_is_the_marketers_own_or_a_text_that_is_known_of_the_customer():
    choice = Choice(
        actions=("nothing", "a@email", "b@mail"), values=np.zeros(3), segment="old", labels={"region": "north"}
    )
    table = {"old": "a@email", "north": "b@mail"}
    assert Segment(table=table).probabilities(choice).tolist() == [0, 1, 0]
    assert Segment(table=table, by="region").probabilities(choice).tolist() == [0, 0, 1]
    assert Segment(table=table, by="town", default="a@email").probabilities(choice).tolist() == [0, 1, 0]


def test_few_takes_the_nearest_centroid_and_a_missing_feature_as_its_mean():
    choice = Choice(actions=ACTIONS, values=np.zeros(4), features={"visits": 7.2, "carts": 1.4})
    assert FEW.cluster(choice) == 1
    assert FEW.cluster(Choice(actions=ACTIONS, values=np.zeros(4), features={"visits": float("nan")})) == 0
    assert FEW.probabilities(choice).tolist() == [0, 0, 0, 1]


def test_one_to_one_takes_nothing_when_every_contact_costs_more_than_it_brings():
    assert OneToOne().probabilities(Choice(actions=ACTIONS, values=np.array([0.0, -1, -2, -3]))).tolist() == [
        1,
        0,
        0,
        0,
    ]


def test_softmax_of_huge_values_stays_finite():
    chances = Softmax(temperature=1e-3).probabilities(Choice(actions=ACTIONS, values=np.array([0.0, 1e9, 1e9, -1e9])))
    assert chances.tolist() == [0, 0.5, 0.5, 0]


def test_with_floor_gives_all_the_same_when_actions_are_too_many():
    assert with_floor(np.array([1.0, 0, 0, 0]), 0.4).tolist() == [0.25] * 4


def test_fitting_finds_the_groups():
    rng = np.random.default_rng(7)
    group = rng.integers(0, 3, 600)
    features = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 90.0]])[group] + rng.normal(0, 0.5, (600, 2))
    values = np.column_stack([np.zeros(600), np.eye(3)[group] * 9 - 1])
    few = fit_few(values, actions=ACTIONS, features=features, names=("x", "y"), clusters=3, seed=1)
    taken = [
        few.probabilities(Choice(actions=ACTIONS, values=row, features={"x": x, "y": y})).argmax()
        for row, (x, y) in zip(values, features, strict=True)
    ]
    assert (np.array(taken) == group + 1).all()
    names = np.array(["r", "s", "t"])[group]
    segment = fit_segment(values, actions=ACTIONS, segments=names)
    assert segment.table == {"r": "a@email", "s": "b@mail", "t": "c@web"}
    assert fit_static(values, actions=ACTIONS).treatment == ACTIONS[1 + np.bincount(group).argmax()]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Choice(actions=("a@email", "nothing"), values=np.zeros(2)),
        lambda: Choice(actions=("nothing", "a@email"), values=np.zeros(3)),
        lambda: Choice(actions=("nothing", "a@email"), values=np.array([0.0, np.nan])),
        lambda: OneToOne(floor=1.5),
        lambda: Softmax(temperature=0),
        lambda: RandomEligible(nothing_share=-0.1),
        lambda: Few(names=("x",), means=(0.0,), scales=(0.0,), centroids=((0.0,),), treatments=("nothing",)),
        lambda: from_json('{"type": "statik"}'),
        lambda: from_json("{"),
        lambda: from_json('{"type": "softmax", "temperature": -1}'),
        lambda: fit_few(
            np.zeros((2, 1)), actions=("nothing",), features=np.zeros((2, 1)), names=("x",), clusters=3, seed=1
        ),
        lambda: fit_static(np.zeros((2, 3)), actions=("nothing",)),
    ],
)
def test_bad_input_is_told_in_three_parts(wrong):
    with pytest.raises(InputError):
        wrong()
