"""The value of a policy that never ran, from the decisions of another whose chances were logged.

Six estimators, all means of influence values. With pi the policy's probability of an action, p the logged one,
w = pi / p of the action taken, r its reward and q the expected reward from models that have not seen the row:

- ``ips``: mean of w r (Horvitz and Thompson 1952). Unbiased; noisy where w is large.
- ``snips``: that over the mean of w (Swaminathan and Joachims 2015); adding a constant to the reward adds it here too.
- ``dm``: mean of q under pi. Wrong where the models are. Its own spread would not show that, so it gets dr's width.
- ``dr``: dm plus the mean of w (r - q) (Dudik, Langford and Li 2011). Unbiased, with less noise.
- ``sndr``: dr with its correction over the mean of w (Thomas and Brunskill 2016).
- ``switch_dr``: dr, but for dm where w is above a threshold (Wang, Agarwal and Dudik 2017).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from experiments.influence import Floats, mean_interval
from experiments.logs import Log, read_log
from experiments.nuisance import LEARN_FROM, OutcomeModels, deal_folds
from experiments.results import Diagnostics, Estimate, Evaluation

# Below so many effective decisions, intervals cover less than 93% (benchmarks/offpolicy.py), unless the log is merely
# small: it is the uneven weights that break them.
FEWEST_EFFECTIVE = 150.0
EVEN = 0.5
# Above, the value of too much is a guess.
MOST_UNSUPPORTED = 0.05


def evaluate(
    log: pa.Table,
    *,
    action: str,
    reward: str,
    probability: str,
    policy: pa.Table,
    key: str | None = None,
    features: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    cluster: str | None = None,
    folds: int = 3,
    threshold: float | None = None,
    seed: int = 1,
    alpha: float = 0.05,
) -> Evaluation:
    """The value of ``policy`` per decision, in units of the reward, from the logged decisions of another policy.

    Parameters
    ----------
    log: one row per decision: the action taken, its reward, the probability with which it was chosen.
    policy: one column per action, named as the action or ``p_<action>``, holding its probability; one row for all
        decisions, or one per row of the log: in the same order, or joined by the column ``key``.
    features: columns of the log that the reward models may use; by default all that look known before the decision.
    cluster: column whose rows belong together, such as the customer.
    threshold: weight above which ``switch_dr`` trusts the models; by default the square root of the rows, where one
        decision would move the estimate by as much as chance moves it.

    The log can't tell, and ``refused`` says why, when more than 5% of the policy's probability is where the log never
    went, when the effective sample size is below 150 and below half of the rows, or when the logged probabilities can't
    be those that chose. There are no estimates then: a figure would be read.

    Raises
    ------
    InputError
        For unknown columns, probabilities outside (0, 1], a policy whose rows don't match or don't add up to 1.
    """
    read = read_log(
        log, action=action, reward=reward, probability=probability, policy=policy, key=key, features=features,
        exclude=exclude, cluster=cluster,
    )  # fmt: skip
    found = diagnose(read)
    refused = refusal(read, found)
    if refused is not None:
        return Evaluation(estimates=(), diagnostics=found, refused=refused, notes=read.notes)
    expected = expected_rewards(read, folds=folds, rng=np.random.default_rng(seed))
    return Evaluation(
        estimates=estimate(read, expected=expected, threshold=threshold, alpha=alpha),
        diagnostics=found,
        refused=None,
        notes=read.notes,
    )


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
    found = {name: mean_interval(values, cluster=log.cluster, alpha=alpha) for name, values in influence.items()}
    # The width of dr where the models alone speak: their own spread leaves out that they may be wrong.
    reach = {name: interval.high - interval.value for name, interval in found.items()}
    reach["dm"], reach["switch_dr"] = (max(reach[name], reach["dr"]) for name in ("dm", "switch_dr"))
    return tuple(
        Estimate(estimator=name, value=each.value, ci_low=each.value - reach[name], ci_high=each.value + reach[name])
        for name, each in found.items()
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


def diagnose(log: Log) -> Diagnostics:
    """How much the log can say of the policy.

    ``effective_sample_size`` is Kish's, sum(w)^2 / sum(w^2). ``unsupported_share`` is the policy's probability on
    actions that the log never shows or, where the weights add up to less than chance allows, the part that is missing.
    """
    weight = log.weight
    squares = float(weight @ weight)
    seen = np.bincount(log.action, minlength=len(log.actions)) > 0
    never = float(log.policy[:, ~seen].sum() / log.reward.size)
    missing = 1.0 - float(weight.mean()) - 3.0 * _error(log)
    return Diagnostics(
        effective_sample_size=float(weight.sum()) ** 2 / squares if squares > 0 else 0.0,
        unsupported_share=max(never, missing, 0.0),
        max_weight=float(weight.max()),
    )


def refusal(log: Log, found: Diagnostics) -> str | None:
    """Why the log can't tell the policy's value, or None when it can."""
    rows, mean = log.reward.size, float(log.weight.mean())
    if found.unsupported_share > MOST_UNSUPPORTED:
        return (
            f"{found.unsupported_share:.0%} of what the policy would do was never tried in the log "
            f"(at most {MOST_UNSUPPORTED:.0%} is allowed): nothing is known of it."
        )
    needed = min(FEWEST_EFFECTIVE, EVEN * rows)
    if found.effective_sample_size < needed:
        return (
            f"The log's {rows:,} decisions say as much of this policy as {found.effective_sample_size:.1f} of its own "
            f"would (at least {needed:.0f} are needed): the log hardly ever did what the policy does."
        )
    if mean - 1.0 > 5.0 * _error(log) + 1e-2:
        return (
            f"The weights average {mean:.2f} where 1 is due: the logged probabilities can't be those with which "
            "the actions were chosen."
        )
    return None


def _error(log: Log) -> float:
    interval = mean_interval(log.weight, cluster=log.cluster, alpha=0.3173)
    return interval.high - interval.value
