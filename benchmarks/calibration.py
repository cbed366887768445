"""How often results are wrong, beside how often they may be, and the naive way in the same runs.

Looks, intervals, verdicts, sample ratios: ``python -m benchmarks calibration`` (some minutes); quick forms of the same
run in ``make test``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

from experiments.analysis.balance import ALARM_LEVEL, WARNING_LEVEL, chi_square_p_value, sample_ratio
from experiments.analysis.comparison import Levels, adjust_p_values, band, compare
from experiments.analysis.readings import Goal, Reading
from experiments.analysis.sequential import split_log_e_value
from experiments.analysis.statistics import Moments, Quantity, adjusted, difference
from experiments.analysis.verdict import Rule, verdict
from experiments.results import ArmCount, SampleRatio

RUNS = 2000
LOOKS = 50
BATCH = 200
Draw = Callable[[np.random.Generator, int, float], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class World:
    """A metric with a known truth: ``draw(rng, n, lift)`` gives a block (columns, n) of one arm."""

    name: str
    draw: Draw
    quantity: Quantity
    mean: Callable[[float], float]


def conversion(rng: np.random.Generator, n: int, lift: float) -> np.ndarray:
    return (rng.random((1, n)) < 0.05 * (1 + lift)).astype(float)


def revenue(rng: np.random.Generator, n: int, lift: float) -> np.ndarray:
    return conversion(rng, n, lift) * rng.lognormal(3, 1.2, (1, n))


def ratio(rng: np.random.Generator, n: int, lift: float) -> np.ndarray:
    views = rng.geometric(0.3, n)
    return np.array([rng.binomial(views, rng.beta(2, 18, n) * (1 + lift) / 1.2), views], dtype=float)


WORLDS = (
    World(name="conversion", draw=conversion, quantity=Quantity(numerator=0), mean=lambda lift: 0.05 * (1 + lift)),
    World(
        name="heavy-tailed revenue",
        draw=revenue,
        quantity=Quantity(numerator=0),
        mean=lambda lift: 0.05 * (1 + lift) * float(np.exp(3 + 1.2**2 / 2)),
    ),
    World(
        name="ratio clicks/views",
        draw=ratio,
        quantity=Quantity(numerator=0, denominator=1),
        mean=lambda lift: 0.1 * (1 + lift) / 1.2,
    ),
)


def grown(rng: np.random.Generator, world: World, *, lift: float, batch: int) -> Iterator[Moments]:
    """One arm's moments after each look."""
    sofar = Moments.of(world.draw(rng, batch // 2, lift))
    yield sofar
    for _ in range(LOOKS - 1):
        sofar = sofar + Moments.of(world.draw(rng, batch // 2, lift))
        yield sofar


def missed(rng: np.random.Generator, world: World, *, lift: float, batch: int, runs: int) -> np.ndarray:
    """Shares of runs in which the truth is left out: by the band at any look, naively at any look, at the last look."""
    truth = world.mean(lift) - world.mean(0.0)
    levels = Levels()
    wrong = np.zeros((runs, 3), dtype=bool)
    for run in range(runs):
        arms = zip(*(grown(rng, world, lift=each, batch=batch) for each in (lift, 0.0)), strict=True)
        for look, (arm, control) in enumerate(arms):
            both = adjusted(arm, control, quantity=world.quantity, covariates=())
            fixed, anytime = difference(both.arm, both.control, alpha=0.05), band(both, levels=levels)
            wrong[run, 0] |= not anytime.low <= truth <= anytime.high and fixed.error > 0
            wrong[run, 1] |= not fixed.low <= truth <= fixed.high and fixed.error > 0
            if look == LOOKS - 1:
                wrong[run, 2] = not fixed.low <= truth <= fixed.high
    return wrong.mean(axis=0)


def false_verdicts(rng: np.random.Generator, *, runs: int) -> np.ndarray:
    """Shares of A/A/A runs rolled out at any of the looks: by the rule, and with the rule of one planned look."""
    goal = Goal(name="visit", columns=("visit",))
    arms = tuple(ArmCount(arm=name, n=1, planned_share=1 / 3) for name in ("static", "a", "b"))
    wrong = np.zeros((runs, 2), dtype=bool)
    for run in range(runs):
        hits = rng.binomial(BATCH // 2, 0.05, (3, LOOKS)).cumsum(axis=1)
        for look in range(LOOKS):
            n = BATCH // 2 * (look + 1)
            moments = [Moments.from_sums(n=n, total=int(each), squares=int(each)) for each in hits[:, look]]
            reading = Reading(
                goal=goal, moments=moments, quantity=Quantity(numerator=0), covariates=(), missing=0, clustered=False
            )
            rows = adjust_p_values(compare(reading, moments, ["static", "a", "b"], levels=Levels()))
            green = SampleRatio(p_value=1.0, status="green")
            for place, final in enumerate((False, True)):
                found = verdict(rows, arms=arms, srm=green, rule=Rule(final=final))
                wrong[run, place] |= found.code == "roll_out"
    return wrong.mean(axis=0)


def splits(rng: np.random.Generator, *, runs: int, lost: float, per_arm: int) -> list[list[int]]:
    assigned = rng.binomial(2 * per_arm, 0.5, runs)
    rest = 2 * per_arm - assigned
    return [[int(a), int(b)] for a, b in zip(assigned, rest - rng.binomial(rest, lost), strict=True)]


def looked_at_splits(rng: np.random.Generator, *, runs: int) -> tuple[float, float]:
    """Shares of clean splits that are ever red over the looks: by the e-process, and by a chi-square at its level."""
    first = rng.binomial(400, 0.5, (runs, LOOKS)).cumsum(axis=1)
    both = np.stack([first, 400 * np.arange(1, LOOKS + 1) - first], axis=-1)
    chi_square = stats.chi2.sf((both[..., 0] - both[..., 1]) ** 2 / both.sum(axis=-1), 1) < ALARM_LEVEL
    red = split_log_e_value(both, [0.5, 0.5]) > -np.log(ALARM_LEVEL)
    return float(red.any(axis=1).mean()), float(chi_square.any(axis=1).mean())


def line(what: str, nominal: str, measured: float, naive: float | None, runs: int) -> None:
    beside = "" if naive is None else f"{naive:9.4f}"
    print(f"{what:58}{nominal:>9}{measured:10.4f}{beside:>9}{runs:9,}", flush=True)


def main() -> None:
    begun = time.perf_counter()
    rng = np.random.default_rng(2026)
    print(f"share of runs; {LOOKS} looks of {BATCH} units where not said otherwise")
    print(f"{'':58}{'nominal':>9}{'measured':>10}{'naive':>9}{'runs':>9}")
    for world in WORLDS:
        for lift in (0.0, 0.02, 0.10):
            anytime, naive, last = missed(rng, world, lift=lift, batch=BATCH, runs=RUNS)
            line(f"truth left out, any look: {world.name}, {lift:+.0%}", "<= .05", anytime, naive, RUNS)
            line("  at the last look only, fixed interval", ".05", last, None, RUNS)
    anytime, naive, _ = missed(rng, WORLDS[1], lift=1.0, batch=20, runs=RUNS // 4)
    line("  hard: heavy-tailed revenue, +100%, a look each 20 units", "<= .05", anytime, naive, RUNS // 4)
    rolled, single = false_verdicts(rng, runs=RUNS)
    line("A/A/A rolled out, any look (naive: --final each time)", "<= .05", rolled, single, RUNS)
    for per_arm in (20_000, 10_000):
        counts = splits(rng, runs=RUNS, lost=0.05, per_arm=per_arm)
        flagged = float(np.mean([sample_ratio(each, [0.5, 0.5]).status != "green" for each in counts]))
        bound = "> .95" if per_arm == 20_000 else ""
        line(f"5% lost in one arm of {per_arm:,} is flagged, one look", bound, flagged, None, RUNS)
    clean = splits(rng, runs=RUNS, lost=0.0, per_arm=20_000)
    warned = float(np.mean([chi_square_p_value(each, [0.5, 0.5]) < WARNING_LEVEL for each in clean]))
    line("clean split is yellow, one look", ".01", warned, None, RUNS)
    red, chi_square = looked_at_splits(rng, runs=50 * RUNS)
    line("clean split red, any look (naive: chi-square at .001)", "<= .001", red, chi_square, 50 * RUNS)
    print(f"{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
