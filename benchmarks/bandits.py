"""A million contextual bandit rounds (10 actions, 20 features), beside MABWiser in an environment of its own.

``python -m benchmarks bandits``. Actions are drawn and learned from with the policies that serve; CPU seconds of one
thread. Below: what it costs to know the exact probability of every action, as each logged decision does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.bandits_mabwiser import ACTIONS, BATCH, FEATURES, rounds
from experiments.policies import Bandit, LinearBeliefs, LiveBandit, Thompson, TopTwo, UpperBound
from experiments.policies.rules import Rule

NAMES = tuple(f"x{number}" for number in range(FEATURES))
CHOICES = ("nothing", *(f"offer-{number}@email" for number in range(ACTIONS - 1)))
RULES: dict[str, Rule] = {"LinUCB": UpperBound(width=1.0, mixing=0.0), "linear Thompson": Thompson()}
GOALS = {"batches": "1 s", "every round": "20 s"}


def bandit_of(rule: Rule) -> Bandit:
    return Bandit(beliefs=LinearBeliefs(names=NAMES, noise_sd=1.0), rule=rule, floor=0.0)


def ours(rule: Rule, *, n: int, size: int) -> dict[str, float]:
    """The rounds of one rule, in batches or one by one."""
    live, rng = LiveBandit(bandit_of(rule), actions=CHOICES), np.random.default_rng(3)
    if size > 1:
        return rounds(n, size=size, pull=lambda inputs: live.pull(inputs, rng), update=live.update)
    return rounds(
        n,
        size=1,
        pull=lambda inputs: np.array([live.pull_one(inputs[0], rng)]),
        update=lambda places, inputs, rewards: live.update_one(int(places[0]), inputs[0], float(rewards[0])),
    )


def theirs(batched: int, single: int) -> dict[str, dict[str, float]]:
    """MABWiser's rounds, or nothing where it can't be installed."""
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "environment" / "bin" / "python"
        install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(python), "mabwiser"]
        script = Path(__file__).with_name("bandits_mabwiser.py")
        steps = (
            [sys.executable, "-m", "venv", str(python.parent.parent)],
            install,
            [str(python), str(script), str(batched), str(single)],
        )
        for step in steps:
            done = subprocess.run(step, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                print(f"MABWiser did not run: {done.stderr.strip().splitlines()[-1:]}")
                return {}
    found: dict[str, dict[str, float]] = json.loads(done.stdout)
    return found


def speed() -> None:
    """The table of rounds."""
    found = {
        f"{name}, {how}": ours(rule, n=n, size=size)
        for name, rule in RULES.items()
        for how, n, size in (("batches", 1_000_000, BATCH), ("every round", 100_000, 1))
    }
    peers = {f"MABWiser {name}": each for name, each in theirs(100_000, 1_000).items()}
    print(f"{'':38} {'s per million':>13} {'goal':>6} {'measured on':>14} {'of the best':>12} {'peak MB':>8}")
    for name, each in (found | peers).items():
        goal = "" if name in peers else GOALS[name.partition(", ")[2]]
        print(
            f"{name:38} {each['seconds']:13,.2f} {goal:>6} {each['rounds']:14,} {each['share']:12.1%} "
            f"{each['megabytes']:8,.0f}"
        )
    print("of the best: what was earned above an action at random, as a share of what the best actions would have")


def exact(n: int = 1_000) -> None:
    """Microseconds for the exact probabilities of all actions of one customer."""
    rng = np.random.default_rng(4)
    print(f"\n{'exact probabilities of all actions':38} {'us each':>13}")
    for count in (2, 10, 50):
        actions = ("nothing", *(f"offer-{number}@email" for number in range(count - 1)))
        features = {name: rng.normal(size=n) for name in NAMES}
        for rule in (UpperBound(), Thompson(), TopTwo()):
            bandit = bandit_of(rule).update(rng.choice(actions, 5_000), rng.normal(size=5_000), features=_many(rng))
            begun = time.process_time()
            bandit.probabilities_of(actions, features)
            taken = (time.process_time() - begun) / n
            print(f"{type(rule).__name__ + f', {count} actions':38} {taken * 1e6:13,.0f}")


def _many(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {name: rng.normal(size=5_000) for name in NAMES}


def main() -> None:
    """Rounds, then exact probabilities."""
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        print("set OPENBLAS_NUM_THREADS=1: matrices of 21 columns gain nothing from threads, and CPU seconds add up")
    speed()
    exact()


if __name__ == "__main__":
    main()
