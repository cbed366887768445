"""Six estimators of a policy's value, all means of influence values.

With pi the policy's probability of an action, p the logged one, w = pi / p of the action taken, r its reward and q the
expected reward from models that have not seen the row:

- ``ips``: mean of w r (Horvitz and Thompson 1952). Unbiased; noisy where w is large.
- ``snips``: that over the mean of w (Swaminathan and Joachims 2015); adding a constant to the reward adds it here too.
- ``dm``: mean of q under pi. Wrong where the models are. Its own spread would not show that, so it gets dr's width.
- ``dr``: dm plus the mean of w (r - q) (Dudik, Langford and Li 2011). Unbiased, with less noise.
- ``sndr``: dr with its correction over the mean of w (Thomas and Brunskill 2016).
- ``switch_dr``: dr, but for dm where w is above a threshold (Wang, Agarwal and Dudik 2017).

With the same expected rewards the values are those of Open Bandit Pipeline (obp), to all digits. Its intervals are
bootstrapped; these are computed, and lean as skewed rewards make them (``experiments.estimation.influence``).
"""

from __future__ import annotations

import numpy as np

from experiments.estimation.influence import Floats, Interval, skewed_interval
from experiments.estimation.nuisance import LEARN_FROM, OutcomeModels, deal_folds
from experiments.offpolicy.logs import Log
from experiments.results import Estimate

# Where the models alone speak, their own spread leaves out that they may be wrong: these get dr's width at least.
_OF_MODELS = ("dm", "switch_dr")


def estimate(
    log: Log, *, expected: Floats, threshold: float | None = None, alpha: float = 0.05
) -> tuple[Estimate, ...]:
    """All six estimates from a log and the expected rewards (n, actions) of its decisions."""
    weight, reward = log.weight, log.reward
    limit = np.sqrt(reward.size) if threshold is None else threshold
    total = weight.mean()
    direct: Floats = np.einsum("ij,ij->i", log.policy, expected)
    rest = reward - expected[np.arange(reward.size), log.action]
    correction = weight * rest
    ratio, shift = float((weight @ reward) / weight.sum()), float(correction.mean() / total)
    influence = {
        "ips": weight * reward,
        "snips": ratio + weight * (reward - ratio) / total,
        "dm": direct,
        "dr": direct + correction,
        "sndr": direct + shift + weight * (rest - shift) / total,
        "switch_dr": direct + np.where(weight <= limit, correction, 0.0),
    }
    found = {name: skewed_interval(values, cluster=log.cluster, alpha=alpha) for name, values in influence.items()}
    return tuple(_estimate(name, each, found["dr"] if name in _OF_MODELS else each) for name, each in found.items())


def _estimate(name: str, found: Interval, least: Interval) -> Estimate:
    """The estimate, whose interval reaches at least as far as ``least`` does from its own value."""
    return Estimate(
        estimator=name,
        value=found.value,
        ci_low=found.value - max(found.value - found.low, least.value - least.low),
        ci_high=found.value + max(found.high - found.value, least.high - least.value),
    )


def expected_rewards(log: Log, *, folds: int, rng: np.random.Generator) -> Floats:
    """Expected reward (n, actions) of each decision under each action, by models of the folds that do not hold it."""
    expected = np.zeros((log.reward.size, len(log.actions)))
    fold = deal_folds(log.action, cluster=log.cluster, folds=folds, rng=rng)
    for held in range(folds):
        learn = np.flatnonzero(fold != held)
        if learn.size > LEARN_FROM:
            learn = np.sort(rng.choice(learn, LEARN_FROM, replace=False))
        models = OutcomeModels.fit(
            log.features[learn], action=log.action[learn], outcome=log.reward[learn], actions=len(log.actions), rng=rng
        )
        expected[fold == held] = models.predict(log.features[fold == held])
    return expected
