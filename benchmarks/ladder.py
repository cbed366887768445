"""Worlds with known truth: does the ladder stop where it should, and do its intervals cover?

``python -m benchmarks ladder`` is the full form; the quick form runs in tests/experiments/test_ladder_worlds.py.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from experiments.estimation.columns import Column, feature_matrix
from experiments.estimation.influence import Interval, mean_interval
from experiments.estimation.nuisance import OutcomeModels, deal_folds
from experiments.ladder import ladder
from experiments.ladder.rungs import Lesson, Policies, robust_scores
from experiments.ladder.units import Units
from experiments.results import RungName

ARMS = ("nothing", "letter", "mail", "call")
KNOWN = ("x1", "x2", "x3", "x4", "region", "kind")
Effects = Callable[[dict[str, np.ndarray]], list[np.ndarray]]
STATIC, SEGMENT, FEW, ONE_TO_ONE = range(4)


def harmful(known):
    """No contact helps anybody."""
    return [np.full(known["x1"].size, effect) for effect in (-0.3, -0.4, -0.2)]


def homogeneous(known):
    """Everybody responds alike."""
    return [np.full(known["x1"].size, effect) for effect in (0.1, 0.4, 0.2)]


def tied(known):
    """Everybody responds alike, to every contact: the worst case for intervals, as any choice is noise."""
    return [np.full(known["x1"].size, 0.3)] * 3


def by_segment(known):
    """The best contact depends on the region, and on nothing else."""
    return [np.where(known["region"] == name, 0.9, 0.1) for name in ("north", "south", "west")]


def by_group(known):
    """The best contact depends on two features together: no single column tells."""
    up, right = known["x1"] > 0, known["x2"] > 0
    return [np.where(up & right, 0.9, 0.0), np.where(~up & right, 0.9, 0.0), np.where(~right, 0.9, 0.0)]


def by_person(known):
    """Each effect rises with a feature of its own, so everybody is a case of their own."""
    return [known["x1"], known["x2"], known["x3"]]


WORLDS: dict[RungName, Effects] = {
    "nothing": harmful,
    "static": homogeneous,
    "segment": by_segment,
    "few": by_group,
    "one_to_one": by_person,
}


def draw(effects: Effects, *, n: int, rng: np.random.Generator, household: int = 1) -> tuple[pa.Table, np.ndarray]:
    """A randomized table of a world, and the true expected outcome (n, arms) of each of its units.

    Households of ``household`` units on average share their arm and half of the noise.
    """
    home = rng.integers(0, n // household, n) if household > 1 else np.arange(n)
    known = {f"x{i}": rng.normal(size=n) for i in range(1, 5)}
    known["region"] = rng.choice(["north", "south", "west"], n)
    known["kind"] = rng.choice(["old", "new"], n)
    base = 1.0 + 0.5 * known["x1"]
    truth = np.stack([base, *(base + effect for effect in effects(known))], axis=1)
    arm = rng.integers(0, len(ARMS), n)[home]
    noise = rng.normal(size=n) + (rng.normal(size=n)[home] if household > 1 else 0.0)
    outcome = truth[np.arange(n), arm] + noise
    return pa.table({**known, "home": home, "arm": np.array(ARMS)[arm], "y": outcome}), truth


def answers(effects: Effects, *, n: int, seed: int, repeats: int = 3) -> tuple[RungName, RungName]:
    """The rung that the ladder recommends on one table of a world; and naively, the one with the highest estimate."""
    table, _ = draw(effects, n=n, rng=np.random.default_rng(seed))
    found = ladder(table, arm="arm", control="nothing", outcome="y", features=KNOWN, repeats=repeats, seed=seed)
    return found.recommended, max(found.rungs, key=lambda each: each.value).rung


def recommended(effects: Effects, *, n: int, seed: int, repeats: int = 3) -> RungName:
    """The rung that the ladder recommends on one table of a world."""
    return answers(effects, n=n, seed=seed, repeats=repeats)[0]


def units_of(table: pa.Table) -> Units:
    """The units of a drawn table in its own order, so that its truth stays beside them."""
    columns = [Column.read(table, name) for name in KNOWN]
    arm = np.array([ARMS.index(name) for name in table.column("arm").to_pylist()])
    return Units(
        arms=ARMS, arm=arm, outcome=table.column("y").to_numpy(), cost=np.zeros(len(ARMS)),
        chance=np.full(len(ARMS), 1 / len(ARMS)), cluster=None,
        features=feature_matrix(columns, rows=arm.size), segments=tuple(columns), notes=(),
    )  # fmt: skip


def lesson_of(units: Units, models: OutcomeModels, rows: np.ndarray) -> tuple[Lesson, np.ndarray]:
    """What is known of some units, and their doubly robust values (n, arms)."""
    features = units.features[rows]
    expected = models.predict(features)
    scores = robust_scores(expected, arm=units.arm[rows], outcome=units.outcome[rows], chance=units.chance_at(rows))
    return Lesson(features=features, levels=[each.levels[rows] for each in units.segments], net=expected), scores


def intervals(
    effects: Effects, *, n: int, seed: int, folds: int = 2, repeats: int = 3, household: int = 1, fresh: int = 20_000
) -> dict[str, tuple[Interval, float]]:
    """Intervals on n units beside what the policies are worth on ``fresh`` units of the same world.

    ``naive`` is the gain of one-to-one over static, chosen and valued on the same units.
    """
    rng = np.random.default_rng(seed)
    table, _ = draw(effects, n=n, rng=rng, household=household)
    others, truth = draw(effects, n=fresh, rng=rng)
    units = units_of(pa.concat_tables([table, others]))
    mine, new = np.arange(n), n + np.arange(fresh)
    cluster = np.unique(table.column("home").to_numpy(), return_inverse=True)[1] if household > 1 else None
    influence, worth = np.zeros((repeats, n, 4)), np.zeros(4)
    for repeat in range(repeats):
        fold = deal_folds(units.arm[mine], cluster=cluster, folds=folds, rng=rng)
        for held in range(folds):
            models, policies = _teach(units, mine[fold != held], rng)
            lesson, scores = lesson_of(units, models, mine[fold == held])
            influence[repeat, fold == held] = np.take_along_axis(scores, policies.apply(lesson), axis=1)
            arms = policies.apply(lesson_of(units, models, new)[0])
            worth += np.take_along_axis(truth, arms, axis=1).mean(axis=0) * (fold == held).mean() / repeats
    models, policies = _teach(units, mine, rng)
    lesson, scores = lesson_of(units, models, mine)
    same = np.take_along_axis(scores, policies.apply(lesson), axis=1)
    same_worth = np.take_along_axis(truth, policies.apply(lesson_of(units, models, new)[0]), axis=1).mean(axis=0)
    found = {
        "one-to-one": (influence[..., ONE_TO_ONE], worth[ONE_TO_ONE]),
        "static": (influence[..., STATIC], worth[STATIC]),
        "gain": (influence[..., ONE_TO_ONE] - influence[..., STATIC], worth[ONE_TO_ONE] - worth[STATIC]),
        "naive": (same[:, ONE_TO_ONE] - same[:, STATIC], same_worth[ONE_TO_ONE] - same_worth[STATIC]),
    }
    return {name: (mean_interval(each, cluster=cluster), float(value)) for name, (each, value) in found.items()}


def _teach(units: Units, rows: np.ndarray, rng: np.random.Generator) -> tuple[OutcomeModels, Policies]:
    models = OutcomeModels.fit(
        units.features[rows], action=units.arm[rows], outcome=units.outcome[rows], actions=len(ARMS), rng=rng
    )
    lesson, scores = lesson_of(units, models, rows)
    return models, Policies.learn(lesson, scores=scores, groups=5, rng=rng)


def coverage(effects: Effects, *, runs: int, **options) -> dict[str, float]:
    """The share of runs in which each interval holds the truth."""
    held = Counter()
    for seed in range(runs):
        for name, (interval, value) in intervals(effects, seed=seed, **options).items():
            held[name] += interval.low <= value + 1e-12 and value <= interval.high + 1e-12
    return {name: held[name] / runs for name in ("static", "one-to-one", "gain", "naive")}


def main(runs: int = 200) -> None:
    """The right rung in each world, coverage with the naive twin beside it."""
    print(f"world        recommended as it should be in {runs} runs of 3,000 units (goal: static 95%, others 90%)")
    for rung, effects in WORLDS.items():
        begun = time.perf_counter()
        got = Counter(recommended(effects, n=3_000, seed=seed) for seed in range(runs))
        others = ", ".join(f"{name} {times}" for name, times in got.items() if name != rung)
        print(f"{rung:12} {got[rung] / runs:6.1%}  {others}  ({(time.perf_counter() - begun) / runs:.2f} s each)")
    print(f"\ncoverage of nominal 95% intervals, {runs} runs of 1,000 units")
    print(f"{'world':26} {'static':>8} {'1-to-1':>8} {'gain':>8} {'naive':>8}   (naive: valued on what chose it)")
    for name, effects, options in (
        ("alike", homogeneous, {}),
        ("tied", tied, {}),
        ("tied, households of 3", tied, {"household": 3}),
        ("tied, five folds once", tied, {"folds": 5, "repeats": 1}),
        ("by person", by_person, {}),
    ):
        found = coverage(effects, runs=runs, n=1_000, **options)
        print(f"{name:26} " + " ".join(f"{share:8.1%}" for share in found.values()), flush=True)


if __name__ == "__main__":
    main()
