"""The world of the bandits' benchmark, and MABWiser in it; runs by itself in an environment of its own."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable

import numpy as np

ACTIONS, FEATURES, BATCH = 10, 20, 1_000
Pull = Callable[[np.ndarray], np.ndarray]
Update = Callable[[np.ndarray, np.ndarray, np.ndarray], None]


def world(seed: int = 1) -> np.ndarray:
    """What each action's reward depends on: (actions, 1 + features)."""
    return np.random.default_rng(seed).normal(scale=0.3, size=(ACTIONS, 1 + FEATURES))


def rounds(n: int, *, size: int, pull: Pull, update: Update) -> dict[str, float]:
    """CPU seconds of ``n`` rounds in batches of ``size``, and what was earned beside the best and the mean action.

    Only drawing and learning are timed; ``pull`` takes inputs (size, 1 + features), a constant first.
    """
    rng, truth = np.random.default_rng(2), world()
    taken, earned, best, mean = 0.0, 0.0, 0.0, 0.0
    for _ in range(n // size):
        inputs = np.column_stack([np.ones(size), rng.normal(size=(size, FEATURES))])
        values, noise = inputs @ truth.T, rng.normal(size=size)
        begun = time.process_time()
        places = pull(inputs)
        taken += time.process_time() - begun
        own = values[np.arange(size), places]
        rewards = own + noise
        begun = time.process_time()
        update(places, inputs, rewards)
        taken += time.process_time() - begun
        earned, best, mean = earned + own.mean(), best + values.max(axis=1).mean(), mean + values.mean()
    share = (earned - mean) / (best - mean)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rounds": n, "seconds": taken * 1e6 / n, "share": share, "megabytes": peak}


def main() -> None:
    """MABWiser's LinUCB and LinTS, in batches and round by round; prints JSON."""
    from mabwiser.mab import MAB, LearningPolicy

    found = {}
    for name, policy in (("LinUCB", LearningPolicy.LinUCB(alpha=1.0)), ("LinTS", LearningPolicy.LinTS(alpha=1.0))):
        for size, n in ((BATCH, int(sys.argv[1])), (1, int(sys.argv[2]))):
            bandit = MAB(arms=list(range(ACTIONS)), learning_policy=policy, seed=1)
            first = np.column_stack([np.ones(ACTIONS), np.zeros((ACTIONS, FEATURES))])
            bandit.fit(list(range(ACTIONS)), [0.0] * ACTIONS, contexts=first)

            def pull(inputs: np.ndarray, bandit: MAB = bandit) -> np.ndarray:
                return np.atleast_1d(bandit.predict(inputs)).astype(int)

            def update(places: np.ndarray, inputs: np.ndarray, rewards: np.ndarray, bandit: MAB = bandit) -> None:
                bandit.partial_fit(places, rewards, contexts=inputs)

            found[f"{name}, {'batches' if size > 1 else 'every round'}"] = rounds(
                n, size=size, pull=pull, update=update
            )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
