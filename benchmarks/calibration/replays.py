"""Off-policy intervals cover on worlds whose policies' values are known; without overlap it is refused (E10)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from benchmarks.calibration.table import Line
from experiments.estimation.influence import mean_interval
from experiments.offpolicy import evaluate

ESTIMATORS = ("ips", "snips", "dr", "sndr", "switch_dr")
_ACTIONS = ("nothing", "mail", "call")
_ROWS = 4_000
_SLOPES = np.array([[0.0, 0.0], [1.0, 0.0], [-0.5, 1.0]])
_TRUTH_ROWS = 2_000_000


def _chances(features: np.ndarray, *, sharp: float) -> np.ndarray:
    wanted = np.exp(sharp * features @ _SLOPES.T)
    return 0.02 + 0.94 * wanted / wanted.sum(axis=1, keepdims=True)


def _rates(features: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(1.5 - 0.8 * features @ _SLOPES.T))


def truth() -> float:
    """The value of the policy, over customers without end."""
    features = np.random.default_rng(1).normal(size=(_TRUTH_ROWS, 2))
    return float((_chances(features, sharp=1.5) * _rates(features)).sum(axis=1).mean())


def draw(rng: np.random.Generator, *, rows: int = _ROWS, tried: int = 3) -> tuple[pa.Table, pa.Table]:
    """A log whose policy leans the other way, and the candidate; only the first ``tried`` actions were tried."""
    features = rng.normal(size=(rows, 2))
    logging = _chances(features, sharp=-0.4)[:, :tried]
    logging /= logging.sum(axis=1, keepdims=True)
    action = (rng.random((rows, 1)) > logging.cumsum(axis=1)).sum(axis=1).clip(0, tried - 1)
    every = np.arange(rows)
    log = pa.table(
        {
            "action": np.array(_ACTIONS)[action],
            "reward": (rng.random(rows) < _rates(features)[every, action]).astype(float),
            "probability": logging[every, action],
            "age": features[:, 0],
            "spend": features[:, 1],
        }
    )
    policy = _chances(features, sharp=1.5)
    return log, pa.table({f"p_{name}": policy[:, place] for place, name in enumerate(_ACTIONS)})


def covered(rng: np.random.Generator, *, runs: int) -> tuple[dict[str, float], float]:
    """The share of runs whose 95% interval holds the value, by estimator; naively, of rows that did the same."""
    value = truth()
    held = dict.fromkeys(ESTIMATORS, 0)
    naive = 0
    for seed in range(runs):
        log, policy = draw(rng)
        found = evaluate(log, action="action", reward="reward", probability="probability", policy=policy, seed=seed)
        for each in found.estimates:
            if each.estimator in held:
                held[each.estimator] += each.ci_low <= value <= each.ci_high
        wanted = np.stack([np.asarray(policy[f"p_{name}"]) for name in _ACTIONS], axis=1).argmax(axis=1)
        same = np.array(_ACTIONS)[wanted] == np.asarray(log["action"])
        own = mean_interval(np.asarray(log["reward"])[same])
        naive += own.low <= value <= own.high
    return {name: count / runs for name, count in held.items()}, naive / runs


def refused(rng: np.random.Generator, *, runs: int) -> float:
    """The share of runs that are refused where a third of what the policy does was never tried."""
    answers = []
    for _ in range(runs):
        log, policy = draw(rng, tried=2)
        answers.append(
            evaluate(log, action="action", reward="reward", probability="probability", policy=policy).refused
            is not None
        )
    return float(np.mean(answers))


def lines(runs: int) -> Iterator[Line]:
    """Coverage in a quarter of the ``runs`` (500 in full), refusal in a twentieth."""
    rng = np.random.default_rng(2033)
    found, naive = covered(rng, runs=max(runs // 4, 1))
    for name, share in found.items():
        yield Line(
            promise="E10", what=f"95% interval of a policy's value covers: {name}", nominal=">= .93", low=0.93,
            measured=share, naive=naive, how="rows that did the same", runs=max(runs // 4, 1),
        )  # fmt: skip
    yield Line(
        promise="E10", what="refused, where the log never did a third of it", nominal="1", low=1.0,
        measured=refused(rng, runs=max(runs // 20, 1)), runs=max(runs // 20, 1),
    )  # fmt: skip
