"""Worlds with a known best action: who learns it, who keeps up when it changes, and who starts knowing it."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.policies import (
    ArmBeliefs,
    Bandit,
    Beta,
    Choice,
    Gaussian,
    Greedy,
    LinearBeliefs,
    LogisticBeliefs,
    Policy,
    RandomEligible,
    Thompson,
    TopTwo,
    UpperBound,
)

ACTIONS = ("nothing", "a@email", "b@mail", "c@web")
RULES = (Thompson(), TopTwo(leader=0.8), Greedy(epsilon=0.1), UpperBound(width=1.5, mixing=0.05))
BELIEFS = {
    "rates": ArmBeliefs(prior=Beta()),
    "means": ArmBeliefs(prior=Gaussian(mean=0.0, sd=1.0, noise_sd=0.45)),
    "linear": LinearBeliefs(names=("x",), noise_sd=0.45),
    "logistic": LogisticBeliefs(names=("x",)),
}


def _drawn(chances: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (rng.random((len(chances), 1)) > chances.cumsum(axis=1)).sum(axis=1).clip(0, chances.shape[1] - 1)


def _regret(policy: Policy, *, contextual: bool, days: int = 25, daily: int = 60, seed: int = 1) -> float:
    """Lost reward per customer against the best action of each; outcomes come three days late."""
    rng, waiting, lost = np.random.default_rng(seed), [], []
    for _ in range(days):
        x = rng.normal(size=daily)
        turned = np.sign(x) if contextual else np.ones(daily)
        rates = np.column_stack([np.full(daily, 0.3), 0.3 + 0.25 * turned, 0.3 - 0.25 * turned, np.full(daily, 0.2)])
        if policy.learns:
            chances = policy.probabilities_of(ACTIONS, {"x": x})
        else:
            chances = np.tile(policy.probabilities(Choice(actions=ACTIONS, values=np.zeros(4))), (daily, 1))
        assert not policy.learns or chances.min() >= policy.floor
        lost.append((rates.max(axis=1) - (chances * rates).sum(axis=1)).mean())
        taken = _drawn(chances, rng)
        won = (rng.random(daily) < rates[np.arange(daily), taken]).astype(float)
        waiting.append((np.array(ACTIONS)[taken], won, {"x": x}))
        if policy.learns and len(waiting) > 3:
            actions, rewards, features = waiting.pop(0)
            policy = policy.update(actions, rewards, features=features)
    return float(np.mean(lost))


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("beliefs", BELIEFS.values(), ids=BELIEFS)
def test_every_learning_policy_beats_uniform_also_when_outcomes_are_late(beliefs, rule):
    contextual = not isinstance(beliefs, ArmBeliefs)
    uniform = _regret(RandomEligible(), contextual=contextual)
    assert _regret(Bandit(beliefs=beliefs, rule=rule), contextual=contextual) < 0.6 * uniform


def test_who_likes_what_is_only_learned_from_features():
    """Where the best action differs by customer, beliefs that are the same for all can't gain."""
    alike, told_apart = (
        np.mean([_regret(Bandit(beliefs=BELIEFS[name]), contextual=True, seed=seed) for seed in range(3)])
        for name in ("rates", "linear")
    )
    assert told_apart < 0.6 * alike


def _ends_wrong(rule: Greedy | Thompson, *, floor: float, seed: int) -> bool:
    """Whether the worse of two actions is still preferred after 400 customers, five at a time."""
    rng = np.random.default_rng(seed)
    policy = Bandit(beliefs=ArmBeliefs(prior=Beta()), rule=rule, floor=floor)
    actions, rates = ("nothing", "a@email"), np.array([0.3, 0.45])
    for _ in range(80):
        chances = policy.probabilities(Choice(actions=actions, values=np.zeros(2)))
        taken = rng.choice(2, size=5, p=chances)
        policy = policy.update(np.array(actions)[taken], (rng.random(5) < rates[taken]).astype(float))
    return bool(policy.probabilities(Choice(actions=actions, values=np.zeros(2))).argmax() == 0)


def test_a_bandit_that_never_explores_can_stay_wrong_for_ever():
    """The naive twin: greedy without a floor never hears again of an action that was unlucky at first."""
    greedy = sum(_ends_wrong(Greedy(), floor=0.0, seed=seed) for seed in range(40))
    thompson = sum(_ends_wrong(Thompson(), floor=0.01, seed=seed) for seed in range(40))
    assert greedy >= 8
    assert thompson <= 2


def _share_of_the_new_best(half_life_days: float | None, *, seed: int) -> float:
    """What ``a`` gets after it overtook ``b`` 30 days ago, where 400 customers a day were decided on for 120 days."""
    rng = np.random.default_rng(seed)
    policy = Bandit(beliefs=ArmBeliefs(prior=Beta()), half_life_days=half_life_days)
    actions = ("nothing", "a@email", "b@mail")
    for day in range(120):
        policy = policy.aged(1)
        rates = np.array([0.05, 0.08, 0.16] if day < 90 else [0.05, 0.16, 0.08])
        chances = policy.probabilities(Choice(actions=actions, values=np.zeros(3)))
        taken = rng.choice(3, size=400, p=chances)
        policy = policy.update(np.array(actions)[taken], (rng.random(400) < rates[taken]).astype(float))
    return float(policy.probabilities(Choice(actions=actions, values=np.zeros(3)))[1])


def test_when_the_best_action_changes_a_half_life_follows_and_an_endless_memory_does_not():
    forgetting = [_share_of_the_new_best(10.0, seed=seed) for seed in range(3)]
    endless = [_share_of_the_new_best(None, seed=seed) for seed in range(3)]
    assert min(forgetting) > 0.9
    assert np.mean(endless) < 0.5


def test_late_outcomes_with_their_age_are_worth_what_they_were_worth_in_time():
    rng = np.random.default_rng(3)
    policy = Bandit(beliefs=ArmBeliefs(prior=Gaussian(mean=0, sd=2, noise_sd=3)), half_life_days=14.0)
    actions, rewards = rng.choice(ACTIONS, 90), rng.normal(size=90)
    day = np.arange(90) // 3
    daily = policy
    for number in range(30):
        daily = daily.aged(1).update(actions[day == number], rewards[day == number])
    at_once = policy.aged(30).update(actions, rewards, days_ago=29.0 - day)
    for action in ACTIONS:
        mine, yours = daily.beliefs.arms[action], at_once.beliefs.arms[action]
        assert (mine.mean, mine.sd) == pytest.approx((yours.mean, yours.sd), rel=1e-12)


@pytest.mark.parametrize("name", BELIEFS)
def test_a_warm_start_is_worth_the_outcomes_it_is_trusted_for(name):
    """A good model's word saves most of what learning from nothing costs; a flat one's costs little."""
    contextual = name in ("linear", "logistic")
    x = np.linspace(-2, 2, 41)
    turned = np.sign(x) if contextual else np.ones(41)
    values = np.column_stack([np.full(41, 0.3), 0.3 + 0.25 * turned, 0.3 - 0.25 * turned, np.full(41, 0.2)])
    cold = Bandit(beliefs=BELIEFS[name])
    warm = cold.believing(values, actions=ACTIONS, trust=200.0, features={"x": x})
    runs = {"contextual": contextual, "days": 8}
    assert _regret(warm, **runs) < 0.5 * _regret(cold, **runs)
