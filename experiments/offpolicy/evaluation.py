"""Whether a log can tell the value of a policy that never ran, and the value when it can."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from scipy import stats

from experiments.estimation.influence import Floats, few_clusters, mean_interval
from experiments.offpolicy.differences import against_what_ran, differences, earned
from experiments.offpolicy.estimators import Terms, estimates, expected_rewards, terms_of
from experiments.offpolicy.logs import Log, read_log
from experiments.offpolicy.telling import Telling
from experiments.results import Against, Diagnostics, Difference, Evaluation

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
# So rarely logs hold what they hold when their probabilities are right; looked for among so many of the least ones.
_IMPOSSIBLE = 1e-6
_LEAST = 1_000


class Rival(NamedTuple):
    """A policy that another is held against: its name for people, its chances (n, actions)."""

    name: str
    policy: Floats


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
    policy: one column per action, named as the action or with a prefix such as ``p_``, holding its probability; or one
        column of the action that it would take. One row for all decisions, or one per row of the log: in the same
        order, or joined by the column ``key``.
    features: columns of the log that the reward models may use; by default all that look known before the decision.
    cluster: column whose rows belong together, such as the customer.
    threshold: weight above which ``switch_dr`` trusts the models; by default the square root of the rows, where one
        decision would move the estimate by as much as chance moves it.

    Beside the estimates stands what the log itself earned and the difference of each to it, paired by row.

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
    log: Log,
    *,
    control: Rival | None = None,
    telling: Telling | None = None,
    folds: int = 3,
    threshold: float | None = None,
    seed: int = 1,
    alpha: float = 0.05,
) -> Evaluation:
    """The value of the policy of a log that was read: :func:`evaluate` without the tables.

    ``control``: another policy over the same actions, to hold it against. ``telling``: how amounts are said.
    """
    found = diagnose(log)
    refused = refusal(log, found)
    telling = telling or Telling.of(log)
    told = Evaluation(
        estimates=(),
        diagnostics=found,
        refused=refused,
        notes=()
        if refused
        else (*log.notes, *_few(log), *_few_clusters(log), *([said] if (said := _too_rare(log)) else [])),
        untried={name: float(share) for name, share in zip(log.actions, log.untried, strict=True) if share > 0},
        logged=earned(log, alpha=alpha),
        features=log.known,
        left_out=log.left_out,
        unit=telling.unit,
        scale=telling.scale,
    )
    if refused is not None:
        return told
    expected = expected_rewards(log, folds=folds, rng=np.random.default_rng(seed))
    terms = terms_of(log, expected=expected, threshold=threshold)
    apart = against_what_ran(log, terms, alpha=alpha)
    return replace(
        told,
        estimates=estimates(log, terms, alpha=alpha),
        differences=apart,
        sentence=telling.apart(_headline(apart), than="what ran"),
        control=None if control is None else _against(control, log, terms, expected, telling, threshold, alpha),
    )


def _against(
    rival: Rival,
    log: Log,
    terms: Mapping[str, Terms],
    expected: Floats,
    telling: Telling,
    threshold: float | None,
    alpha: float,
) -> Against:
    other = replace(log, policy=rival.policy)
    others = terms_of(other, expected=expected, threshold=threshold)
    apart = differences(terms, others, cluster=log.cluster, alpha=alpha)
    return Against(
        name=rival.name,
        estimates=estimates(other, others, alpha=alpha),
        differences=apart,
        sentence=telling.apart(_headline(apart), than=f"the arm {rival.name!r}"),
    )


def _headline(apart: Sequence[Difference]) -> Difference:
    return next(each for each in apart if each.estimator == "dr")


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
    if found.effective_sample_size < needed and (said := _too_rare(log)):
        return said
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


def _too_rare(log: Log) -> str:
    """A sentence where decisions of so little probability occur as chance would hardly ever let; else nothing.

    At most rows x actions x p decisions are expected to be of probability p or less, whatever the policy was. A cluster
    counts once, with its least: its decisions may all be one draw.
    """
    rows, actions = log.reward.size, len(log.actions)
    lowest = log.probability
    if log.cluster is not None:
        lowest = np.ones(int(log.cluster.max()) + 1)
        np.minimum.at(lowest, log.cluster, log.probability)
    least = np.sort(lowest)[:_LEAST]
    chance = stats.poisson.sf(np.arange(least.size), rows * actions * least)
    place = int(np.argmin(chance))
    if chance[place] > _IMPOSSIBLE:
        return ""
    return (
        f"{int((log.probability <= least[place]).sum()):,} of {rows:,} decisions had a logged probability of "
        f"{least[place]:.2g} or less. Chance brings that about in fewer than one of a million such logs, so they were "
        "hardly chosen with it."
    )


def _named(log: Log) -> str:
    """The actions that were never tried where the policy takes them, those that it takes most first."""
    order = [place for place in np.argsort(-log.untried, kind="stable") if log.untried[place] > 0]
    named = [f"{log.actions[place]} {log.untried[place]:.0%}" for place in order[:_NAMED]]
    more = f" and {len(order) - _NAMED} more" if len(order) > _NAMED else ""
    return f", {', '.join(named)}{more}" if named else ""


def _few_clusters(log: Log) -> Iterator[str]:
    """That the log's clusters are too few, where they are: the effective sample size counts decisions."""
    if log.cluster is not None:
        yield from few_clusters(["log"], np.zeros(log.reward.size, dtype=np.int64), cluster=log.cluster)


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
