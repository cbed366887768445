"""Whether a log can tell the value of a policy that never ran, and the value when it can."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from experiments.estimation.influence import mean_interval
from experiments.offpolicy.estimators import estimate, expected_rewards
from experiments.offpolicy.logs import Log, read_log
from experiments.results import Diagnostics, Estimate, Evaluation

# Below so many effective decisions, intervals cover less than 93% (benchmarks/offpolicy.py), unless the log is merely
# small: it is the uneven weights that break them.
FEWEST_EFFECTIVE = 150.0
EVEN = 0.5
# Above, the value of too much is a guess.
MOST_UNSUPPORTED = 0.05
# With fewer decisions that earned anything, 95% intervals cover 87 to 97%, by how uneven the weights are (the same
# benchmark).
FEW_EARNED = 20
_NAMED = 4


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
    went, when the effective sample size is below 150 and below half of the rows, when the logged probabilities can't
    be those that chose, or when all decisions earned the same. There are no estimates then: a figure would be read.

    Raises
    ------
    InputError
        For unknown columns, probabilities outside (0, 1], a policy whose rows don't match or don't add up to 1.
    """
    read = read_log(
        log, action=action, reward=reward, probability=probability, policy=policy, key=key, features=features,
        exclude=exclude, cluster=cluster,
    )  # fmt: skip
    return value_of(read, folds=folds, threshold=threshold, seed=seed, alpha=alpha)


def value_of(
    log: Log, *, folds: int = 3, threshold: float | None = None, seed: int = 1, alpha: float = 0.05
) -> Evaluation:
    """The value of the policy of a log that was read: :func:`evaluate` without the tables."""
    found = diagnose(log)
    refused = refusal(log, found)
    estimates: tuple[Estimate, ...] = ()
    if refused is None:
        expected = expected_rewards(log, folds=folds, rng=np.random.default_rng(seed))
        estimates = estimate(log, expected=expected, threshold=threshold, alpha=alpha)
    return Evaluation(
        estimates=estimates,
        diagnostics=found,
        refused=refused,
        notes=(*log.notes, *_few(log)),
        untried={name: float(share) for name, share in zip(log.actions, log.untried, strict=True) if share > 0},
    )


def diagnose(log: Log) -> Diagnostics:
    """How much the log can say of the policy.

    ``effective_sample_size`` is Kish's, sum(w)^2 / sum(w^2). ``unsupported_share`` is the policy's probability where
    the log never went (``Log.untried``) or, where the weights add up to less than chance allows, what is missing.
    """
    weight = log.weight
    squares = float(weight @ weight)
    missing = 1.0 - float(weight.mean()) - 3.0 * _error(log)
    return Diagnostics(
        effective_sample_size=float(weight.sum()) ** 2 / squares if squares > 0 else 0.0,
        unsupported_share=max(float(log.untried.sum()), missing, 0.0),
        max_weight=float(weight.max()),
    )


def refusal(log: Log, found: Diagnostics) -> str | None:
    """Why the log can't tell the policy's value, or None when it can."""
    rows, mean = log.reward.size, float(log.weight.mean())
    if found.unsupported_share > MOST_UNSUPPORTED:
        return (
            f"{found.unsupported_share:.0%} of what the policy would do was never tried in the log "
            f"(at most {MOST_UNSUPPORTED:.0%} is allowed){_named(log)}: nothing is known of it."
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
    if np.ptp(log.reward) == 0:
        return f"All {rows:,} decisions earned the same, {log.reward[0]:g}: what sets policies apart was never seen."
    return None


def _named(log: Log) -> str:
    """The actions that were never tried where the policy takes them, those that it takes most first."""
    order = [place for place in np.argsort(-log.untried, kind="stable") if log.untried[place] > 0]
    named = [f"{log.actions[place]} {log.untried[place]:.0%}" for place in order[:_NAMED]]
    more = f" and {len(order) - _NAMED} more" if len(order) > _NAMED else ""
    return f", {', '.join(named)}{more}" if named else ""


def _few(log: Log) -> tuple[str, ...]:
    usual = float(np.median(log.reward))
    earned = int((log.reward != usual).sum())
    if earned >= FEW_EARNED:
        return ()
    return (
        f"Only {earned} of {log.reward.size:,} decisions earned anything but {usual:g}: read the intervals as rough.",
    )


def _error(log: Log) -> float:
    interval = mean_interval(log.weight, cluster=log.cluster, alpha=0.3173)
    return interval.high - interval.value
