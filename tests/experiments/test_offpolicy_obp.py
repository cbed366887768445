"""The six estimators beside those of Open Bandit Pipeline (obp) on the same rows, equal to all digits.

obp wants an environment of its own, so its figures are frozen here. They came from obp 0.4.1 on Python 3.11 with numpy
2.4.6 (what ``pip install obp`` picks there): ``InverseProbabilityWeighting``, ``DirectMethod``, ``DoublyRobust``, their
self-normalized forms and ``SwitchDoublyRobust(tau=...)``, each ``.estimate_policy_value`` on the arrays of ``made`` and
``open_bandit`` below, ``policy`` as ``action_dist``, ``expected`` as ``estimated_rewards_by_reg_model``, one position.
Its fork sb-obp 0.5.10 on numpy 1.26.4 (where ``tau`` is ``lambda_``) gives the same to 2e-13.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.offpolicy.estimators import estimate
from experiments.offpolicy.logs import Log

MADE = {
    "ips": 0.33010249980287,
    "snips": 0.3342250506686123,
    "dm": -0.3844036450710595,
    "dr": 0.28590933657877005,
    "sndr": 0.2942806738587635,
    "switch_dr": 0.05661039056392281,
}
OPEN_BANDIT = {
    ("thompson", "men"): {
        "ips": 0.005656266700835461,
        "snips": 0.005739864701951365,
        "dm": 0.007141489766482018,
        "dr": 0.0058506513451377804,
        "sndr": 0.005831573123141628,
        "switch_dr": 0.0058506513451377804,
    },
    ("random", "men"): {
        "ips": 0.003008626327256482,
        "snips": 0.0031894231622774027,
        "dm": 0.00458988328490619,
        "dr": 0.003236425307001575,
        "sndr": 0.003155092202746615,
        "switch_dr": 0.0046180805222359,
    },
    ("thompson", "women"): {
        "ips": 0.0058056917829497874,
        "snips": 0.005833036087191038,
        "dm": 0.0046672742007359954,
        "dr": 0.005842398764322182,
        "sndr": 0.005847933498991087,
        "switch_dr": 0.005842398764322182,
    },
    ("random", "women"): {
        "ips": 0.00743757754192316,
        "snips": 0.0023730461434477677,
        "dm": 0.004606246147836123,
        "dr": 0.00029926994268161914,
        "sndr": 0.0032320549927250994,
        "switch_dr": 0.0040830288330851484,
    },
}


def as_log(reward: np.ndarray, action: np.ndarray, probability: np.ndarray, policy: np.ndarray) -> Log:
    return Log(
        actions=tuple(map(str, range(policy.shape[1]))),
        action=action,
        reward=reward,
        probability=probability,
        policy=policy,
        features=np.zeros((reward.size, 1), dtype=np.float32),
        cluster=None,
    )


def made() -> tuple[Log, np.ndarray]:
    """5,000 decisions among 4 actions by a known policy, and expected rewards that are not quite right."""
    rng = np.random.default_rng(20240611)
    n, k = 5_000, 4
    scores = rng.normal(size=(n, k))
    logging, policy = np.exp(scores), np.exp(-1.5 * scores)
    logging /= logging.sum(axis=1, keepdims=True)
    policy /= policy.sum(axis=1, keepdims=True)
    action = (rng.random((n, 1)) > logging.cumsum(axis=1)).sum(axis=1).clip(0, k - 1)
    reward = rng.gamma(1.0, 1.0, n) + scores[np.arange(n), action]
    expected = 0.5 * scores + rng.normal(scale=0.2, size=(n, k))
    return as_log(reward, action, logging[np.arange(n), action], policy), expected


def open_bandit(folder: Path, *, target: str, campaign: str) -> tuple[Log, np.ndarray]:
    """``target`` valued from the other policy's log, with expected clicks from the target's own log.

    Those are its clicks by item and position, shrunk by 200 views of its mean.
    """
    tables = {
        name: pd.read_csv(folder / f"{file}_{campaign}.csv.gz")
        for name, file in (("random", "random"), ("thompson", "bts"))
    }
    other = tables.pop(target)
    (log,) = tables.values()
    k = int(log.item_id.max()) + 1
    if target == "thompson":
        shares = pd.crosstab(other.position, other.item_id, normalize="index")
        policy = shares.reindex(columns=range(k), fill_value=0.0).loc[log.position].to_numpy()
    else:
        policy = np.full((len(log), k), 1 / k)
    every = pd.MultiIndex.from_product([[1, 2, 3], range(k)])
    seen = other.groupby(["position", "item_id"]).click.agg(["sum", "size"]).reindex(every, fill_value=0)
    rate = ((seen["sum"] + 200 * other.click.mean()) / (seen["size"] + 200)).to_numpy().reshape(3, k)
    read = as_log(log.click.to_numpy(float), log.item_id.to_numpy(), log.propensity_score.to_numpy(), policy)
    return read, rate[log.position.to_numpy() - 1]


def values(log: Log, expected: np.ndarray, *, threshold: float) -> dict[str, float]:
    return {each.estimator: each.value for each in estimate(log, expected=expected, threshold=threshold)}


def test_six_estimators_are_those_of_obp_on_a_made_log():
    assert values(*made(), threshold=5.0) == pytest.approx(MADE, rel=1e-9)


@pytest.mark.parametrize(("target", "campaign"), OPEN_BANDIT)
def test_six_estimators_are_those_of_obp_on_open_bandit(target: str, campaign: str, data: Callable[[str], Path]):
    folder = data("open_bandit_small/random_men.csv.gz").parent
    log, expected = open_bandit(folder, target=target, campaign=campaign)
    assert values(log, expected, threshold=10.0) == pytest.approx(OPEN_BANDIT[target, campaign], rel=1e-9)
