"""Thompson's probabilities against draws and closed forms; learning; late outcomes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from experiments.policies import Beta, Choice, Gaussian, LinearThompson, Thompson, choose
from experiments.policies.posteriors import LinearGaussian, best_probabilities
from features.errors import InputError

CASES = {
    "two equal rates": (Beta(), Beta()),
    "a new arm among narrow ones": (Beta(a=500, b=9500), Beta(a=520, b=9480), Beta()),
    "tiny rates": (Beta(a=3, b=100_000), Beta(a=1, b=100_000), Beta(a=8, b=400_000)),
    "rates near one": (Beta(a=9000, b=2), Beta(a=40, b=1)),
    "widths of 1 to 1,000": (
        Gaussian(mean=0, sd=0.1, noise_sd=1),
        Gaussian(mean=0.05, sd=0.1, noise_sd=1),
        Gaussian(mean=-20, sd=100, noise_sd=1),
    ),
    "far apart": (Gaussian(mean=0, sd=1, noise_sd=1), Gaussian(mean=40, sd=1, noise_sd=1)),
    "twenty arms": tuple(Gaussian(mean=number % 5, sd=1 + number % 3, noise_sd=1) for number in range(20)),
    "a rate and a mean": (Beta(a=2, b=5), Gaussian(mean=0.3, sd=0.2, noise_sd=1)),
}


def _frozen(belief):
    if isinstance(belief, Beta):
        return stats.beta(belief.a, belief.b)
    return stats.norm(belief.mean, belief.sd)


@pytest.mark.parametrize("beliefs", CASES.values(), ids=CASES)
def test_chances_are_the_frequencies_of_draws(beliefs):
    rng = np.random.default_rng(11)
    draws = np.array([_frozen(each).rvs(400_000, random_state=rng) for each in beliefs])
    frequencies = np.bincount(draws.argmax(axis=0), minlength=len(beliefs)) / draws.shape[1]
    chances = np.array(best_probabilities(beliefs))
    # 4.5 standard errors of a frequency of 400,000 draws.
    assert (np.abs(chances - frequencies) <= 4.5 * np.sqrt(chances * (1 - chances) / draws.shape[1]) + 1e-9).all()


@pytest.mark.parametrize("beliefs", CASES.values(), ids=CASES)
def test_chances_are_exact_to_a_millionth(beliefs):
    frozen = [_frozen(each) for each in beliefs]
    marks = np.unique(np.concatenate([each.ppf(np.linspace(1e-12, 1 - 1e-12, 201)) for each in frozen]))

    nodes, weights = np.polynomial.legendre.leggauss(16)
    half = np.diff(marks)[:, None] / 2
    x = (marks[:-1, None] + half * (1 + nodes)).ravel()
    cdfs = np.array([each.cdf(x) for each in frozen])
    for place, each in enumerate(frozen):
        truth = each.pdf(x) * np.prod(np.delete(cdfs, place, axis=0), axis=0) @ (half * weights).ravel()
        assert best_probabilities(beliefs)[place] == pytest.approx(truth, abs=1e-6)


def test_two_normal_arms_have_a_closed_form():
    a, b = Gaussian(mean=1, sd=3, noise_sd=1), Gaussian(mean=2, sd=0.03, noise_sd=1)
    truth = stats.norm.cdf((a.mean - b.mean) / np.hypot(a.sd, b.sd))
    assert best_probabilities((a, b))[0] == pytest.approx(truth, abs=1e-9)


def test_two_rates_have_a_closed_form():
    # P(Beta(1, 1) > Beta(1, n)) is n / (n + 1).
    assert best_probabilities((Beta(), Beta(b=1e6)))[0] == pytest.approx(1e6 / (1e6 + 1), abs=1e-9)


@pytest.mark.parametrize(
    "policy",
    [
        Thompson(prior=Beta(), floor=0.02),
        Thompson(prior=Gaussian(mean=0, sd=1, noise_sd=0.5), floor=0.02),
    ],
    ids=["rates", "means"],
)
def test_a_better_arm_gets_more_and_no_arm_is_starved(policy):
    rng = np.random.default_rng(3)
    rates = np.array([0.1, 0.2, 0.4])
    choice = Choice(actions=("nothing", "a@email", "b@mail"), values=np.zeros(3))
    for _ in range(30):
        chances = policy.probabilities(choice)
        assert chances.min() >= 0.02
        taken = [choose(chances, u) for u in rng.random(100)]
        policy = policy.update(
            [choice.actions[place] for place in taken], (rng.random(100) < rates[taken]).astype(float)
        )
    # After 3,000 decisions at a gap of 0.2 the chance that the best arm is not known is below 1e-6.
    assert policy.probabilities(choice)[2] > 0.95


def test_linear_thompson_learns_who_likes_what():
    rng = np.random.default_rng(5)
    policy = LinearThompson(names=("x",), noise_sd=1.0)
    x = rng.normal(size=4000)
    actions = rng.choice(["nothing", "a@email", "b@mail"], size=4000)
    slope = np.select([actions == "a@email", actions == "b@mail"], [1.0, -1.0], 0.0)
    policy = policy.update(actions.tolist(), slope * x + rng.normal(size=4000), features={"x": x})
    choice = {"actions": ("nothing", "a@email", "b@mail"), "values": np.zeros(3)}
    assert policy.probabilities(Choice(**choice, features={"x": 1.0}))[1] > 0.95
    assert policy.probabilities(Choice(**choice, features={"x": -1.0}))[2] > 0.95


def test_linear_scores_have_the_law_of_drawn_coefficients():
    rng = np.random.default_rng(9)
    belief = LinearGaussian.prior(3).update(rng.normal(size=(50, 3)), rng.normal(size=50))
    x = np.array([1.0, -0.5, 2.0])
    score = belief.score(x, noise_sd=0.7)
    inverse = np.linalg.inv(np.array(belief.precision))
    drawn = rng.multivariate_normal(inverse @ belief.moment, 0.7**2 * inverse, size=200_000) @ x
    assert stats.kstest(drawn, stats.norm(score.mean, score.sd).cdf).pvalue > 1e-3


def test_outcomes_may_come_late_and_in_any_order():
    rng = np.random.default_rng(2)
    actions = rng.choice(["nothing", "a@email"], size=300)
    rewards = (rng.random(300) < 0.3).astype(float)
    at_once = Thompson(prior=Beta()).update(actions, rewards)
    late = Thompson(prior=Beta())
    mature = rng.random(300) < 0.5
    late = late.update(actions, rewards, mature=mature)
    assert sum(arm.a + arm.b - 2 for arm in late.arms.values()) == mature.sum()
    order = rng.permutation(300)
    late = late.update(actions[order], rewards[order], mature=~mature[order])
    assert late == at_once


def test_an_immature_reward_is_never_read():
    rewards = np.array([1.0, np.nan])
    policy = Thompson(prior=Beta()).update(["nothing", "a@email"], rewards, mature=np.array([True, False]))
    assert set(policy.arms) == {"nothing"}
    with pytest.raises(InputError, match="outcomes"):
        policy.update(["nothing", "a@email"], rewards)


def test_gaussian_posterior_is_the_textbook_one():
    rewards = np.array([3.0, 5.0, 4.0])
    posterior = Gaussian(mean=1, sd=2, noise_sd=1).update(rewards)
    assert posterior.sd**-2 == pytest.approx(1 / 4 + 3)
    assert posterior.mean == pytest.approx((1 / 4 * 1 + rewards.sum()) / (1 / 4 + 3))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Beta(a=0.5),
        lambda: Beta().update(np.array([12.0])),
        lambda: Gaussian(mean=0, sd=0, noise_sd=1),
        lambda: Thompson(prior=Beta(), floor=-1),
        lambda: LinearThompson(names=("x",), noise_sd=0),
        lambda: Thompson(prior=Beta()).update(["nothing"], np.zeros(2)),
    ],
)
def test_bad_input_is_told_in_three_parts(wrong):
    with pytest.raises(InputError):
        wrong()
