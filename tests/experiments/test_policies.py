"""One contract for every policy, and what is true of single ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.assignment import uniform_all
from experiments.policies import (
    Beta,
    Choice,
    Few,
    Gaussian,
    LinearThompson,
    Nothing,
    OneToOne,
    Policy,
    RandomEligible,
    Segment,
    Softmax,
    Static,
    Thompson,
    choose,
    from_json,
    to_json,
    with_floor,
)
from experiments.policies.fitting import fit_few, fit_segment, fit_static
from features.errors import InputError

ACTIONS = ("nothing", "a@email", "b@mail", "c@web")
THOMPSON = Thompson(
    prior=Beta(), arms={"a@email": Beta(a=12, b=300), "b@mail": Beta(a=20, b=310), "nothing": Beta(a=5, b=200)}
)
GAUSSIAN = Thompson(
    prior=Gaussian(mean=0, sd=500, noise_sd=3000),
    arms={"a@email": Gaussian(mean=10, sd=5, noise_sd=3000), "b@mail": Gaussian(mean=12, sd=40, noise_sd=3000)},
    floor=0.02,
)
LINEAR = LinearThompson(names=("visits", "carts"), noise_sd=2.0, floor=0.03).update(
    ["nothing", "a@email", "a@email", "b@mail"],
    np.array([0.5, 3.0, 1.0, -2.0]),
    features={"visits": np.array([0.1, 1.0, 0.3, -1.0]), "carts": np.array([0.0, 1.0, -0.4, 0.2])},
)
FEW = Few(
    names=("visits", "carts"),
    means=(3.0, 1.0),
    scales=(2.0, 0.5),
    centroids=((0.0, 0.0), (2.0, 1.0), (-1.0, 0.0)),
    treatments=("a@email", "c@web", "nothing"),
)
POLICIES: dict[str, tuple[Policy, float]] = {
    "nothing": (Nothing(), 0.0),
    "random": (RandomEligible(), 0.0),
    "random with a share": (RandomEligible(nothing_share=0.45), 0.0),
    "static": (Static(treatment="b@mail"), 0.0),
    "segment": (Segment(table={"young": "a@email", "old": "b@mail"}, default="c@web"), 0.0),
    "few": (FEW, 0.0),
    "one to one": (OneToOne(), 0.0),
    "one to one with a floor": (OneToOne(floor=0.02), 0.02),
    "softmax": (Softmax(temperature=20, floor=0.01), 0.01),
    "thompson": (THOMPSON, 0.01),
    "thompson of money": (GAUSSIAN, 0.02),
    "linear thompson": (LINEAR, 0.03),
}
EVERY = pytest.mark.parametrize(("policy", "floor"), POLICIES.values(), ids=POLICIES)
NUMBERS = st.floats(-1e4, 1e4)


@st.composite
def choices(draw: st.DrawFn) -> Choice:
    actions = ("nothing", *draw(st.permutations(ACTIONS[1:]))[: draw(st.integers(0, 3))])
    return Choice(
        actions=actions,
        values=np.array([0.0, *(draw(NUMBERS) for _ in actions[1:])]),
        features={"visits": draw(st.floats(-5, 5)), "carts": draw(st.floats(-5, 5) | st.just(float("nan")))}
        if draw(st.booleans())
        else {"visits": 1.0},
        segment=draw(st.sampled_from(["young", "old", "other", None])),
    )


def _filled(choice: Choice) -> Choice:
    """The same without missing features, for policies that want numbers."""
    return Choice(
        actions=choice.actions,
        values=choice.values,
        features={name: float(np.nan_to_num(value)) for name, value in choice.features.items()},
        segment=choice.segment,
    )


@EVERY
@given(choice=choices())
def test_chances_sum_to_one_and_keep_the_floor(policy, floor, choice):
    chances = policy.probabilities(_filled(choice))
    assert chances.shape == (len(choice.actions),) and chances.dtype == np.float64
    assert abs(chances.sum() - 1) < 1e-12
    assert chances.min() >= min(floor, 1 / len(choice.actions)) - 1e-15


@EVERY
@given(choice=choices(), data=st.data())
def test_the_order_of_the_treatments_does_not_matter(policy, floor, choice, data):
    choice = _filled(choice)
    order = [0, *data.draw(st.permutations(range(1, len(choice.actions))))]
    # Of equal values the first wins, which is the one place where order may count.
    values = choice.values + np.arange(len(choice.actions)) * 1e-3 * (len(set(choice.values)) < len(choice.values))
    straight = Choice(actions=choice.actions, values=values, features=choice.features, segment=choice.segment)
    turned = Choice(
        actions=tuple(choice.actions[place] for place in order),
        values=values[order],
        features=choice.features,
        segment=choice.segment,
    )
    assert np.allclose(policy.probabilities(straight)[order], policy.probabilities(turned), rtol=0, atol=1e-12)


@EVERY
def test_alone_nothing_is_certain(policy, floor):
    assert policy.probabilities(Choice(actions=("nothing",), values=np.zeros(1))).tolist() == [1.0]


@EVERY
def test_json_gives_back_the_same_policy(policy, floor):
    assert from_json(to_json(policy)) == policy
    assert to_json(from_json(to_json(policy))) == to_json(policy)


@EVERY
def test_choosing_follows_the_chances_and_replays(policy, floor):
    chances = policy.probabilities(Choice(actions=ACTIONS, values=np.array([0.0, 30.0, 10.0, -5.0])))
    draws = uniform_all([f"decision-{number}" for number in range(4000)], "replay")
    taken = [choose(chances, u) for u in draws]
    assert taken == [choose(chances, u) for u in draws]
    # 4.5 standard errors for 4 actions of 12 policies.
    spread = 4.5 * np.sqrt(chances * (1 - chances) / len(draws))
    assert (np.abs(np.bincount(taken, minlength=4) / len(draws) - chances) <= spread + 1e-12).all()


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
