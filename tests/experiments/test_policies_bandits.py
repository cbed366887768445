"""Exact chances against draws, closed forms and brute force; what others got wrong, seen by the same checks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from experiments.policies import (
    ArmBeliefs,
    Bandit,
    Beta,
    Choice,
    Gaussian,
    Greedy,
    LinearBeliefs,
    LiveBandit,
    LogisticBeliefs,
    Thompson,
    TopTwo,
    UpperBound,
)
from experiments.policies.posteriors import best_probabilities
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


def _draws(beliefs, *, n: int = 400_000, seed: int = 11) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.array([_frozen(each).rvs(n, random_state=rng) for each in beliefs])


def _agree(chances: np.ndarray, counts: np.ndarray) -> bool:
    """Within 4.5 standard errors of a frequency."""
    n = counts.sum()
    spread = 4.5 * np.sqrt(chances * (1 - chances) / n) + 1e-9
    return bool((np.abs(counts / n - chances) <= spread).all())


@pytest.mark.parametrize("beliefs", CASES.values(), ids=CASES)
def test_chances_are_the_frequencies_of_draws(beliefs):
    leaders = _draws(beliefs).argmax(axis=0)
    assert _agree(np.array(best_probabilities(beliefs)), np.bincount(leaders, minlength=len(beliefs)))


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


def test_nodes_that_follow_one_arm_only_would_be_seen():
    """Gauss-Hermite nodes of each arm's own width, the common choice, miss a far narrower arm between them."""
    wide, narrow = Gaussian(mean=0.0, sd=10.0), Gaussian(mean=1.0, sd=0.1)
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    own = weights @ narrow.cdf(wide.mean + wide.sd * nodes) / weights.sum()
    truth = stats.norm.cdf((wide.mean - narrow.mean) / np.hypot(wide.sd, narrow.sd))
    assert abs(own - truth) > 0.02
    assert best_probabilities((wide, narrow))[0] == pytest.approx(truth, abs=1e-9)


def test_two_normal_arms_have_a_closed_form():
    a, b = Gaussian(mean=1, sd=3), Gaussian(mean=2, sd=0.003)
    truth = stats.norm.cdf((a.mean - b.mean) / np.hypot(a.sd, b.sd))
    assert best_probabilities((a, b))[0] == pytest.approx(truth, abs=1e-9)


def test_two_rates_have_a_closed_form():
    # P(Beta(1, 1) > Beta(1, n)) is n / (n + 1).
    assert best_probabilities((Beta(), Beta(b=1e6)))[0] == pytest.approx(1e6 / (1e6 + 1), abs=1e-9)


@pytest.mark.parametrize("beliefs", CASES.values(), ids=CASES)
@pytest.mark.parametrize("leader", [0.3, 0.5, 1.0])
def test_top_two_is_drawing_until_the_second_is_another(beliefs, leader):
    rng = np.random.default_rng(3)
    chances = TopTwo(leader=leader).chances(beliefs)
    assert chances.sum() == pytest.approx(1, abs=1e-12)
    draws = _draws(beliefs, n=300_000, seed=4).argmax(axis=0)
    first, pool = draws[:60_000], draws[60_000:]
    played, waiting = first.copy(), np.flatnonzero(rng.random(60_000) >= leader)
    for _ in range(60):
        played[waiting] = rng.choice(pool, waiting.size)
        waiting = waiting[played[waiting] == first[waiting]]
    if not waiting.size:  # else the first is so sure that drawing never ends, which is why the chances are computed
        assert _agree(chances, np.bincount(played, minlength=len(beliefs)))


def test_top_two_favours_the_best_arm_of_two_also_where_less_is_better():
    """A mirrored branch for goals that are to fall gave the best arm 1%, and two arms an IndexError (GrowthBook)."""
    rng = np.random.default_rng(1)
    policy = Bandit(beliefs=ArmBeliefs(prior=Gaussian(mean=0, sd=1, noise_sd=1)), rule=TopTwo(leader=0.8))
    cost = np.where(np.arange(4000) % 2 == 0, 1.0, 2.0) + rng.normal(size=4000)
    learned = policy.update(np.tile(["nothing", "a@email"], 2000), -cost)
    chances = learned.probabilities(Choice(actions=("nothing", "a@email"), values=np.zeros(2)))
    assert chances == pytest.approx([0.01 + 0.98 * 0.8, 0.01 + 0.98 * 0.2], abs=1e-6)


def test_top_two_of_a_certain_leader_plays_who_would_be_best_without_it():
    sure = (Gaussian(mean=90, sd=1), Gaussian(mean=0, sd=1), Gaussian(mean=0, sd=1))
    assert TopTwo(leader=0.5).chances(sure) == pytest.approx([0.5, 0.25, 0.25], abs=1e-12)


def _learned(beliefs, *, n: int = 300, seed: int = 2) -> Bandit:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    actions = rng.choice(["nothing", "a@email", "b@mail"], size=n, p=[0.6, 0.3, 0.1])
    means = np.select([actions == "a@email", actions == "b@mail"], [0.4 + 0.3 * x, 0.5 - 0.2 * x], 0.35)
    return Bandit(beliefs=beliefs, floor=0.0).update(
        actions, (rng.random(n) < means).astype(float), features={"x": x, "y": rng.normal(size=n)}
    )


OVER_FEATURES = {
    "linear": LinearBeliefs(names=("x", "y"), noise_sd=0.5),
    "logistic": LogisticBeliefs(names=("x", "y")),
}


@pytest.mark.parametrize("beliefs", OVER_FEATURES.values(), ids=OVER_FEATURES)
def test_exact_chances_are_those_of_drawn_coefficients_and_a_wrong_covariance_is_seen(beliefs):
    """contextualbandits 0.3.30 draws with the precision as covariance, and plays at random for ever."""
    actions, point = ("nothing", "a@email", "b@mail"), np.array([1.0, -0.5, 1.5])
    policy = _learned(beliefs)
    rng = np.random.default_rng(6)

    def frequencies(covariance_of):
        scores = []
        for action in actions:
            precision, moment = policy.beliefs.belief(action)
            mean = np.linalg.solve(precision, moment)
            spread = policy.beliefs.spread**2 * covariance_of(precision)
            scores.append(rng.multivariate_normal(mean, spread, size=100_000) @ point)
        return np.bincount(np.argmax(scores, axis=0), minlength=3)

    chances = policy.probabilities(Choice(actions=actions, values=np.zeros(3), features={"x": -0.5, "y": 1.5}))
    assert _agree(chances, frequencies(np.linalg.inv))
    assert not _agree(chances, frequencies(lambda precision: precision))


def test_linear_beliefs_are_the_textbook_posterior():
    rng = np.random.default_rng(9)
    x, rewards, weights = rng.normal(size=50), rng.normal(size=50), rng.uniform(0.1, 1, 50)
    policy = Bandit(beliefs=LinearBeliefs(names=("x",), noise_sd=0.7, ridge=2.0), half_life_days=1.0)
    policy = policy.update(["nothing"] * 50, rewards, features={"x": x}, days_ago=-np.log2(weights))
    rows = np.column_stack([np.ones(50), x])
    precision = rows.T @ (weights[:, None] * rows) + 2 * np.eye(2)
    (score,) = policy.beliefs.of(("nothing",), {"x": 0.3})
    point = np.array([1, 0.3])
    assert score.mean == pytest.approx(point @ np.linalg.solve(precision, rows.T @ (weights * rewards)))
    assert score.sd == pytest.approx(0.7 * np.sqrt(point @ np.linalg.solve(precision, point)))


def test_logistic_beliefs_are_close_to_the_posterior_on_a_grid():
    rng = np.random.default_rng(5)
    x = rng.normal(size=400)
    won = (rng.random(400) < 1 / (1 + np.exp(1 - x))).astype(float)
    beliefs = Bandit(beliefs=LogisticBeliefs(names=("x",))).update(["nothing"] * 400, won, features={"x": x}).beliefs
    (score,) = beliefs.of(("nothing",), {"x": 0.5})
    a, b = np.meshgrid(np.linspace(-3, 1, 161), np.linspace(-1, 3, 161), indexing="ij")
    scores = a[..., None] + b[..., None] * x
    density = (won * scores - np.logaddexp(0, scores)).sum(axis=-1) - (a**2 + b**2) / 2
    weight = np.exp(density - density.max())
    at = a + 0.5 * b
    mean = (weight * at).sum() / weight.sum()
    sd = np.sqrt((weight * (at - mean) ** 2).sum() / weight.sum())
    # Laplace's approximation puts the mode where the mean is: off by a tenth of the deviation at 400 outcomes.
    assert score.mean == pytest.approx(mean, abs=0.15 * sd)
    assert score.sd == pytest.approx(sd, rel=0.03)


def test_logistic_beliefs_stay_finite_where_everybody_says_yes():
    far = np.full(2000, 50.0)
    beliefs = Bandit(beliefs=LogisticBeliefs(names=("x",))).update(
        ["nothing"] * 2000, np.ones(2000), features={"x": far}
    )
    (score,) = beliefs.beliefs.of(("nothing",), {"x": 50.0})
    assert 2 < score.mean < 50
    assert 0 < score.sd < 60


def test_an_immature_reward_is_never_read():
    policy = Bandit(beliefs=ArmBeliefs(prior=Beta()))
    rewards = np.array([1.0, np.nan])
    learned = policy.update(["nothing", "a@email"], rewards, mature=np.array([True, False]))
    assert set(learned.beliefs.arms) == {"nothing"}
    with pytest.raises(InputError, match="outcomes"):
        policy.update(["nothing", "a@email"], rewards)


def test_gaussian_posterior_is_the_textbook_one():
    rewards = np.array([3.0, 5.0, 4.0])
    posterior = Gaussian(mean=1, sd=2, noise_sd=1).update(rewards)
    assert posterior.sd**-2 == pytest.approx(1 / 4 + 3)
    assert posterior.mean == pytest.approx((1 / 4 * 1 + rewards.sum()) / (1 / 4 + 3))


LIVE_ACTIONS = ("nothing", "a@email", "b@mail")


@pytest.mark.parametrize("rule", [Thompson(), TopTwo(), Greedy(epsilon=0.2), UpperBound(mixing=0.2)], ids=repr)
def test_a_live_bandit_draws_with_the_exact_chances(rule):
    bandit = Bandit(beliefs=_learned(OVER_FEATURES["linear"]).beliefs, rule=rule, floor=0.05)
    live, rng = LiveBandit(bandit, actions=LIVE_ACTIONS), np.random.default_rng(13)
    row = np.array([1.0, -0.5, 1.5])
    n = 2_000 if isinstance(rule, TopTwo) else 40_000
    chances = bandit.probabilities(Choice(actions=LIVE_ACTIONS, values=np.zeros(3), features={"x": -0.5, "y": 1.5}))
    assert _agree(chances, np.bincount(live.pull(np.tile(row, (n, 1)), rng), minlength=3))
    assert _agree(chances, np.bincount([live.pull_one(row, rng) for _ in range(2_000)], minlength=3))


def test_before_anything_is_learned_a_live_bandit_favours_nobody():
    live = LiveBandit(Bandit(beliefs=OVER_FEATURES["linear"], rule=UpperBound(mixing=0.0)), actions=LIVE_ACTIONS)
    rng = np.random.default_rng(1)
    taken = np.bincount([live.pull_one(np.ones(3), rng) for _ in range(3_000)], minlength=3)
    assert _agree(np.full(3, 1 / 3), taken)


def test_a_live_bandit_ends_where_updates_end_also_one_by_one():
    rng = np.random.default_rng(3)
    bandit = _learned(OVER_FEATURES["linear"])
    one, many = (LiveBandit(bandit, actions=LIVE_ACTIONS) for _ in range(2))
    inputs = np.column_stack([np.ones(3_000), rng.normal(size=(3_000, 2))])
    places, rewards = rng.integers(0, 3, 3_000), rng.normal(size=3_000)
    for start in range(0, 3_000, 500):
        part = slice(start, start + 500)
        many.update(places[part], inputs[part], rewards[part])
    for place, row, reward in zip(places, inputs, rewards, strict=True):
        one.update_one(place, row, reward)
    # 952 rank-one steps since the last solution, and still the same to ten digits.
    assert np.allclose(one.scores(inputs[:9]), many.scores(inputs[:9]), rtol=0, atol=1e-10)
    plain = bandit.update(
        np.array(LIVE_ACTIONS)[places], rewards, features={"x": inputs[:, 1], "y": inputs[:, 2]}
    ).beliefs
    for live in (one, many):
        closed = live.closed().beliefs
        for action in LIVE_ACTIONS:
            for mine, yours in zip(closed.belief(action), plain.belief(action), strict=True):
                assert np.allclose(mine, yours, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Beta(a=0.5),
        lambda: Beta().update(np.array([12.0])),
        lambda: Gaussian(mean=0, sd=0, noise_sd=1),
        lambda: ArmBeliefs(prior=Beta(), arms={"a@email": Gaussian(mean=0, sd=1)}),
        lambda: Bandit(beliefs=ArmBeliefs(prior=Beta()), floor=-1),
        lambda: Bandit(beliefs=ArmBeliefs(prior=Beta()), half_life_days=0),
        lambda: LinearBeliefs(names=("x",), noise_sd=0),
        lambda: LinearBeliefs(names=(), noise_sd=1),
        lambda: LogisticBeliefs(names=("x",), means=(1.0,)),
        lambda: Greedy(epsilon=2),
        lambda: UpperBound(width=-1),
        lambda: TopTwo(leader=1.5),
        lambda: Bandit(beliefs=ArmBeliefs(prior=Beta())).update(["nothing"], np.zeros(2)),
        lambda: Bandit(beliefs=OVER_FEATURES["logistic"]).update(
            ["nothing"], np.array([3.0]), features={"x": np.zeros(1), "y": np.zeros(1)}
        ),
        lambda: Bandit(beliefs=OVER_FEATURES["linear"]).update(["nothing"], np.zeros(1), features={"x": np.zeros(1)}),
        lambda: Bandit(beliefs=ArmBeliefs(prior=Beta())).believing(np.zeros((2, 3)), actions=("nothing",), trust=1),
        lambda: LiveBandit(Bandit(beliefs=ArmBeliefs(prior=Beta())), actions=("nothing",)),
    ],
)
def test_bad_input_is_told_in_three_parts(wrong):
    with pytest.raises(InputError):
        wrong()
