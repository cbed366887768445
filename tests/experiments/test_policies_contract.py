"""The contract that every policy keeps, in the manner of river's ``yield_checks``."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.policies import (
    ArmBeliefs,
    Bandit,
    Beta,
    Choice,
    Few,
    Gaussian,
    Greedy,
    LinearBeliefs,
    LogisticBeliefs,
    Nothing,
    OneToOne,
    Policy,
    RandomEligible,
    Segment,
    Softmax,
    Static,
    Thompson,
    TopTwo,
    UpperBound,
    choose,
    from_json,
    to_json,
)

ACTIONS = ("nothing", "a@email", "b@mail", "c@web")
NAMES = ("visits", "carts")
RULES = {
    "thompson": Thompson(),
    "top-two": TopTwo(leader=0.6),
    "greedy": Greedy(),
    "epsilon-greedy": Greedy(epsilon=0.1),
    "upper bound": UpperBound(width=1.5, mixing=0.05),
}
BELIEFS = {
    "rates": ArmBeliefs(prior=Beta()),
    "means": ArmBeliefs(prior=Gaussian(mean=0.0, sd=500.0, noise_sd=3000.0)),
    "linear": LinearBeliefs(names=NAMES, noise_sd=2.0, means=(1.0, 0.0), scales=(2.0, 1.0)),
    "logistic": LogisticBeliefs(names=NAMES),
}
FIXED: dict[str, Policy] = {
    "nothing": Nothing(),
    "random": RandomEligible(),
    "random with a share": RandomEligible(nothing_share=0.45),
    "static": Static(treatment="b@mail"),
    "segment": Segment(table={"young": "a@email", "old": "b@mail"}, default="c@web"),
    "few": Few(
        names=NAMES,
        means=(3.0, 1.0),
        scales=(2.0, 0.5),
        centroids=((0.0, 0.0), (2.0, 1.0), (-1.0, 0.0)),
        treatments=("a@email", "c@web", "nothing"),
    ),
    "one to one": OneToOne(),
    "one to one with a floor": OneToOne(floor=0.02),
    "softmax": Softmax(temperature=20, floor=0.01),
}


def _outcomes(n: int, *, seed: int = 4, actions: tuple[str, ...] = ACTIONS[:3]) -> dict:
    """Rewards of 0 or 1, which every belief takes."""
    rng = np.random.default_rng(seed)
    features = {"visits": rng.normal(1, 2, n), "carts": rng.normal(0, 1, n)}
    named = rng.choice(actions, n)
    chance = 0.2 + 0.3 * (named == "a@email") * (features["carts"] > 0)
    return {"actions": named, "rewards": (rng.random(n) < chance).astype(float), "features": features}


FRESH = {
    f"{rule} over {beliefs}": Bandit(beliefs=BELIEFS[beliefs], rule=RULES[rule], half_life_days=20.0)
    for beliefs, rule in itertools.product(BELIEFS, RULES)
}
LEARNED = {name: policy.update(**_outcomes(120)) for name, policy in FRESH.items()}
EVERY = pytest.mark.parametrize("policy", (FIXED | LEARNED).values(), ids=FIXED | LEARNED)
LEARNING = pytest.mark.parametrize("policy", FRESH.values(), ids=FRESH)
_NUMBERS = st.floats(-1e4, 1e4)


def _choice(actions: tuple[str, ...], *, seed: int = 0) -> Choice:
    rng = np.random.default_rng(seed)
    values = np.concatenate([[0.0], rng.normal(0, 40, len(actions) - 1)])
    return Choice(actions=actions, values=values, features={"visits": 2.0, "carts": -0.5}, segment="young")


@st.composite
def choices(draw: st.DrawFn) -> Choice:
    actions = ("nothing", *draw(st.permutations(ACTIONS[1:]))[: draw(st.integers(0, 3))])
    return Choice(
        actions=actions,
        values=np.array([0.0, *(draw(_NUMBERS) for _ in actions[1:])]),
        features={"visits": draw(st.floats(-5, 5)), "carts": draw(st.floats(-5, 5) | st.just(float("nan")))}
        if draw(st.booleans())
        else {"visits": 1.0},
        segment=draw(st.sampled_from(["young", "old", "other", None])),
    )


def _floor(policy: Policy) -> float:
    return getattr(policy, "floor", 0.0)


def _sound(policy: Policy, choice: Choice) -> np.ndarray:
    chances = policy.probabilities(choice)
    assert chances.shape == (len(choice.actions),)
    assert chances.dtype == np.float64
    assert abs(chances.sum() - 1) < 1e-12
    assert chances.min() >= min(_floor(policy), 1 / len(choice.actions)) - 1e-15
    return chances


@EVERY
@settings(max_examples=15)
@given(choice=choices())
def test_chances_sum_to_one_and_keep_the_floor(policy, choice):
    _sound(policy, choice)


@EVERY
@pytest.mark.parametrize("count", [2, 10, 50])
def test_few_actions_and_many(policy, count):
    _sound(policy, _choice(("nothing", *(f"offer-{number}@email" for number in range(count - 1)))))


@EVERY
def test_alone_nothing_is_certain(policy):
    assert policy.probabilities(Choice(actions=("nothing",), values=np.zeros(1))).tolist() == [1.0]


@EVERY
def test_the_same_question_has_the_same_answer(policy):
    before = to_json(policy)
    assert policy.probabilities(_choice(ACTIONS)).tobytes() == policy.probabilities(_choice(ACTIONS)).tobytes()
    assert to_json(policy) == before


@EVERY
@settings(max_examples=8)
@given(choice=choices(), data=st.data())
def test_the_order_of_the_treatments_does_not_matter(policy, choice, data):
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
    assert np.allclose(policy.probabilities(straight)[order], policy.probabilities(turned), rtol=0, atol=1e-9)


@EVERY
def test_json_gives_back_the_same_policy_in_the_same_bytes(policy):
    assert from_json(to_json(policy)) == policy
    assert to_json(from_json(to_json(policy))) == to_json(policy)


@EVERY
def test_choosing_follows_the_chances(policy):
    chances = policy.probabilities(_choice(ACTIONS))
    draws = np.random.default_rng(8).random(4000)
    taken = [choose(chances, u) for u in draws]
    # 4.5 standard errors for 4 actions of 29 policies.
    spread = 4.5 * np.sqrt(chances * (1 - chances) / len(draws))
    assert (np.abs(np.bincount(taken, minlength=4) / len(draws) - chances) <= spread + 1e-12).all()


@EVERY
def test_it_says_whether_it_reads_values_and_means_it(policy):
    raised = Choice(actions=ACTIONS, values=np.array([0.0, -5, -9, 500.0]), features={"visits": 2.0, "carts": -0.5})
    moved = not np.allclose(policy.probabilities(raised), policy.probabilities(_other_values(raised)))
    assert policy.reads_values == moved


def _other_values(choice: Choice) -> Choice:
    return Choice(actions=choice.actions, values=-choice.values, features=choice.features, segment=choice.segment)


@LEARNING
def test_it_says_that_it_learns(policy):
    assert policy.learns
    assert not any(each.learns for each in FIXED.values())


@LEARNING
def test_the_order_of_outcomes_does_not_matter(policy):
    seen = _outcomes(200)
    order = np.random.default_rng(1).permutation(200)
    turned = {
        "actions": seen["actions"][order],
        "rewards": seen["rewards"][order],
        "features": {name: column[order] for name, column in seen["features"].items()},
    }
    _same(policy.update(**seen), policy.update(**turned))


@LEARNING
def test_immature_outcomes_leave_the_state_as_it_was_and_count_once_they_are_ripe(policy):
    seen, ripe = _outcomes(200), np.arange(200) < 90
    veiled = seen | {"rewards": np.where(ripe, seen["rewards"], np.nan)}
    assert to_json(policy.update(**veiled, mature=np.zeros(200, dtype=bool))) == to_json(policy)
    late = policy.update(**veiled, mature=ripe).update(**seen, mature=~ripe)
    # Laplace's approximation is made twice on the way: the other beliefs are sums.
    _same(late, policy.update(**seen), tolerance=0.05 if isinstance(policy.beliefs, LogisticBeliefs) else 1e-9)


@LEARNING
def test_a_batch_is_what_single_questions_are(policy):
    policy = policy.update(**_outcomes(100))
    asked = _outcomes(7, seed=5)["features"]
    single = [
        policy.probabilities(
            Choice(actions=ACTIONS, values=np.zeros(4), features={name: asked[name][row] for name in NAMES})
        )
        for row in range(7)
    ]
    assert np.allclose(policy.probabilities_of(ACTIONS, asked), single, rtol=0, atol=1e-12)
    assert policy.probabilities_of(ACTIONS, {name: column[:0] for name, column in asked.items()}).shape == (0, 4)


@LEARNING
def test_what_is_aged_is_what_is_learned_from_old_outcomes(policy):
    seen, ages = _outcomes(150), np.random.default_rng(2).uniform(0, 60, 150)
    old, aged = policy.update(**seen, days_ago=ages + 10), policy.update(**seen, days_ago=ages).aged(10)
    # Laplace's approximation before ageing is not quite that after it: the other beliefs are sums.
    _same(old, aged, tolerance=0.05 if isinstance(policy.beliefs, LogisticBeliefs) else 1e-9)
    _same(policy.update(**seen).aged(10_000), policy)


@LEARNING
def test_a_warm_start_follows_the_model_until_outcomes_say_otherwise(policy):
    features = {"visits": np.full(50, 2.0), "carts": np.full(50, -0.5)}
    told = np.tile([0.05, 0.05, 0.05, 0.7], (50, 1))
    warm = policy.believing(told, actions=ACTIONS, trust=5_000_000.0, features=features)
    assert warm.probabilities(_choice(ACTIONS)).argmax() == 3
    rewards = np.where(np.arange(200) % 4 == 1, 1.0, 0.0)
    light = policy.believing(told, actions=ACTIONS, trust=4.0, features=features)
    after = light.update(
        np.tile(ACTIONS, 50_000),
        np.tile(rewards, 1000),
        features={name: np.tile(column[:4], 50_000) for name, column in features.items()},
    )
    assert after.probabilities(_choice(ACTIONS)).argmax() == 1


WIDE = ArmBeliefs(
    prior=Gaussian(mean=0, sd=1, noise_sd=1),
    arms={
        "nothing": Gaussian(mean=0.0, sd=0.001, noise_sd=1),
        "a@email": Gaussian(mean=0.0005, sd=0.001, noise_sd=1),
        "b@mail": Gaussian(mean=-0.1, sd=1.0, noise_sd=1),
        "c@web": Gaussian(mean=-900.0, sd=0.001, noise_sd=1),
    },
)
SURE = ArmBeliefs(prior=Beta(), arms={"nothing": Beta(a=9e8, b=9e8), "a@email": Beta(a=1, b=9e8), "b@mail": Beta()})


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("beliefs", [WIDE, SURE], ids=["widths of 1 to 1,000", "sure beside unknown"])
def test_extreme_beliefs_have_sound_chances(rule, beliefs):
    _sound(Bandit(beliefs=beliefs, rule=rule), _choice(ACTIONS))


def _same(one: Bandit, other: Bandit, *, tolerance: float = 1e-9) -> None:
    """Both believe the same of customers, up to the rounding of sums."""
    for visits, carts in ((1.0, 0.0), (4.0, 1.0), (-2.0, 0.5)):
        features = {"visits": visits, "carts": carts}
        pairs = zip(one.beliefs.of(ACTIONS, features), other.beliefs.of(ACTIONS, features), strict=True)
        for mine, yours in pairs:
            assert mine.mean == pytest.approx(yours.mean, rel=tolerance, abs=tolerance)
            assert mine.sd == pytest.approx(yours.sd, rel=max(tolerance, 1e-6), abs=tolerance)
