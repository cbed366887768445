"""Off-policy evaluation: how fast six estimators are, and where their intervals stop covering.

``python -m benchmarks offpolicy``. Speed is for ready arrays, where obp's doubly robust alone took 0.19 s.
"""

from __future__ import annotations

import time

import numpy as np

from experiments.offpolicy.estimators import estimate
from experiments.offpolicy.evaluation import diagnose
from experiments.offpolicy.logs import Log


def log_of(n: int, *, actions: int, sharp: float, seed: int) -> tuple[Log, np.ndarray, float]:
    """A log, fair expected rewards (n, actions), and the policy's true value on its rows."""
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(n, actions))
    chance = 1 / (1 + np.exp(1.0 - base))
    logging, policy = (np.exp(slope * base) for slope in (-sharp, sharp))
    logging /= logging.sum(axis=1, keepdims=True)
    policy /= policy.sum(axis=1, keepdims=True)
    action = (rng.random((n, 1)) > logging.cumsum(axis=1)).sum(axis=1).clip(0, actions - 1)
    rows = np.arange(n)
    log = Log(
        actions=tuple(map(str, range(actions))),
        action=action,
        reward=(rng.random(n) < chance[rows, action]).astype(float),
        probability=logging[rows, action],
        policy=policy,
        features=np.zeros((n, 1), dtype=np.float32),
        cluster=None,
    )
    return log, np.full_like(chance, 0.3), float((policy * chance).sum(axis=1).mean())


def speed(n: int = 1_000_000) -> None:
    """Seconds for all six estimators with intervals; the best of five."""
    log, expected, _ = log_of(n, actions=10, sharp=0.5, seed=1)
    taken = []
    for _ in range(5):
        log.__dict__.pop("weight", None)
        begun = time.perf_counter()
        estimate(log, expected=expected)
        taken.append(time.perf_counter() - begun)
    print(f"six estimators with intervals, {n:,} rows, 10 actions: {min(taken):.3f} s (goal 0.15 s)")


def coverage(runs: int = 400) -> None:
    """Coverage of nominal 95% intervals as overlap shrinks."""
    print(f"\ncoverage of nominal 95% intervals, {runs} runs of 2,000 rows, 3 actions, as overlap shrinks")
    print(f"{'effective rows (median)':>24} {'ips':>7} {'snips':>7} {'dr':>7} {'sndr':>7} {'switch':>7}")
    names = ("ips", "snips", "dr", "sndr", "switch_dr")
    for sharp in (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0):
        held, effective = np.zeros(len(names)), []
        for seed in range(runs):
            log, expected, truth = log_of(2_000, actions=3, sharp=sharp, seed=seed)
            found = {each.estimator: each for each in estimate(log, expected=expected)}
            held += [found[name].ci_low <= truth <= found[name].ci_high for name in names]
            effective.append(diagnose(log).effective_sample_size)
        print(f"{np.median(effective):24,.0f} " + " ".join(f"{share:7.1%}" for share in held / runs), flush=True)


def main() -> None:
    """Speed, then coverage."""
    speed()
    coverage()


if __name__ == "__main__":
    main()
