"""Worlds with known truth: does the analysis of gains claim a difference only where there is one?

``python -m benchmarks gains`` is the full form; the quick form runs in tests/experiments/test_gains.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa
from scipy import stats

from experiments.estimation.influence import mean_interval
from experiments.estimation.nuisance import OutcomeModels
from experiments.heterogeneity import gains, rate_influence
from experiments.ladder.rungs import robust_scores

KNOWN = ("days", "visits", "age", "region", "member")
World = Callable[[dict[str, np.ndarray], np.random.Generator], tuple[np.ndarray, np.ndarray]]


def draw(world: World, *, n: int, rng: np.random.Generator, household: int = 1) -> pa.Table:
    """A randomized table of a world: what is known of each unit, its arm, and what came of it."""
    home = rng.integers(0, n // household, n) if household > 1 else np.arange(n)
    known = {
        "days": rng.exponential(60, n)[home].round(),
        "visits": rng.poisson(2, n)[home],
        "age": rng.normal(45, 12, n).round(),
        "region": rng.choice(["north", "south", "west"], n)[home],
        "member": rng.random(n)[home] < 0.4,
    }
    arm = rng.integers(0, 2, n)[home]
    base, effect = world(known, rng)
    shared = rng.normal(size=n)[home] if household > 1 else 0.0
    return pa.table({**known, "home": home, "arm": np.array(["none", "mail"])[arm], "y": base + arm * effect + shared})


def alike(known, rng):
    """Everybody gains 0.5."""
    return 0.02 * known["visits"] + rng.normal(size=known["days"].size), np.full(known["days"].size, 0.5)


def buyers(known, rng):
    """One in fifty buys, for a heavy-tailed amount; the contact helps nobody."""
    n = known["days"].size
    chance = 0.02 * np.exp(-known["days"] / 100) / 0.6
    return (rng.random(n) < chance) * rng.lognormal(4, 1, n), np.zeros(n)


def recent(known, rng):
    """Who bought within 30 days gains 0.6, the others nothing."""
    return rng.normal(size=known["days"].size), np.where(known["days"] <= 30, 0.6, 0.0)


def together(known, rng):
    """Only two columns together tell who gains."""
    tells = (known["days"] <= 40) ^ (known["visits"] >= 2)
    return rng.normal(size=known["days"].size), np.where(tells, 0.8, 0.0)


def claims(world: World, *, n: int, seed: int, household: int = 1) -> bool:
    """Whether the analysis finds that customers differ, on one table of a world."""
    table = draw(world, n=n, rng=np.random.default_rng(seed), household=household)
    cluster = "home" if household > 1 else None
    exclude = () if household > 1 else ("home",)
    return gains(
        table, arm="arm", control="none", outcome="y", cluster=cluster, exclude=exclude, seed=seed
    ).arms[0].differ  # fmt: skip


def naive_claims(world: World, *, n: int, seed: int) -> bool:
    """The same by a model that is judged on the customers it learned from: the fifth it likes best against the last."""
    rng = np.random.default_rng(seed)
    table = draw(world, n=n, rng=rng)
    features = np.column_stack([table[name].to_numpy().astype(float) for name in ("days", "visits", "age")])
    arm = (table["arm"].to_numpy() == "mail").astype(np.int64)
    y, matrix = table["y"].to_numpy(), features.astype(np.float32)
    expected = OutcomeModels.fit(matrix, action=arm, outcome=y, actions=2, rng=rng).predict(matrix)
    scores = robust_scores(expected, arm=arm, outcome=y, chance=np.full(arm.size, 0.5))
    order = np.argsort(expected[:, 0] - expected[:, 1])
    effect = (scores[:, 1] - scores[:, 0])[order]
    return bool(stats.ttest_ind(effect[: n // 5], effect[-(n // 5) :], equal_var=False).pvalue < 0.05)


def rate_ratios(*, n: int, runs: int, seed: int) -> tuple[list[float], list[float]]:
    """Estimate over standard error of AUTOC where the first fifth gains more: as defined, and with the weight 1/q."""
    rng = np.random.default_rng(seed)
    ours, weighted = [], []
    for _ in range(runs):
        priority = rng.random(n)
        effect = 0.1 + 0.5 * (priority > 0.8) + 2 * rng.normal(size=n)
        found = mean_interval(rate_influence(priority, effect), alpha=0.3173)
        ours.append(found.value / (found.high - found.value))
        again = [_weighted_by_inverse(priority[rows], effect[rows]) for rows in rng.integers(0, n, (50, n))]
        weighted.append(_weighted_by_inverse(priority, effect) / float(np.std(again)))
    return ours, weighted


def _weighted_by_inverse(priority: np.ndarray, effect: np.ndarray) -> float:
    effect = effect[np.argsort(-priority)]
    share = np.arange(1, effect.size + 1) / effect.size
    above = np.cumsum(effect) / np.arange(1, effect.size + 1) - effect.mean()
    return float((above / share).sum() / (1 / share).sum())


def main(*, runs: int = 400) -> None:
    """Print how often a difference is claimed, beside the nominal share and the naive twin."""
    print(f"{'world':34}{'should':>10}{'claimed':>10}{'seconds':>10}")
    worlds: list[tuple[str, str, Callable[[int], bool]]] = [
        ("alike, 2,000", "<= 5%", lambda seed: claims(alike, n=2_000, seed=seed)),
        ("alike, 2,000, households of 2", "<= 5%", lambda seed: claims(alike, n=2_000, seed=seed, household=2)),
        ("alike, buyers' amounts, 10,000", "<= 5%", lambda seed: claims(buyers, n=10_000, seed=seed)),
        ("alike, in-sample (naive)", "5%", lambda seed: naive_claims(alike, n=2_000, seed=seed)),
        ("recent buyers gain, 4,000", "most", lambda seed: claims(recent, n=4_000, seed=seed)),
        ("two columns together, 4,000", "most", lambda seed: claims(together, n=4_000, seed=seed)),
    ]
    for name, should, claimed in worlds:
        begun = time.perf_counter()
        share = sum(claimed(seed) for seed in range(runs)) / runs
        print(f"{name:34}{should:>10}{share:>10.1%}{time.perf_counter() - begun:>10.0f}", flush=True)
    ours, weighted = rate_ratios(n=2_000, runs=200, seed=1)
    print(f"\nAUTOC over its error: {np.mean(ours):.2f} as defined, {np.mean(weighted):.2f} with the weight 1/q")


if __name__ == "__main__":
    main()
