"""Looking is safe (E3) and intervals cover at every look (E4), where units are assigned by hash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.calibration.table import Line
from experiments.analysis.comparison import Levels, band
from experiments.analysis.statistics import Moments, Quantity, adjusted, difference

LOOKS = 50
BATCH = 200
LIFTS = (0.0, 0.02, 0.10)
Draw = Callable[[np.random.Generator, int, float], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class World:
    """A metric with a known truth: ``draw(rng, n, lift)`` gives a block (columns, n) of one arm."""

    name: str
    draw: Draw
    quantity: Quantity
    mean: Callable[[float], float]


def conversion(rng: np.random.Generator, n: int, lift: float) -> np.ndarray:
    """5% convert."""
    return (rng.random((1, n)) < 0.05 * (1 + lift)).astype(float)


def revenue(rng: np.random.Generator, n: int, lift: float) -> np.ndarray:
    """5% buy, for amounts with a heavy tail."""
    return conversion(rng, n, lift) * rng.lognormal(3, 1.2, (1, n))


def ratio(rng: np.random.Generator, n: int, lift: float) -> np.ndarray:
    """Clicks and views of units of very different size and liking."""
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


def lines(runs: int) -> Iterator[Line]:
    """E3 and E4: A/A is a lift of 0."""
    rng = np.random.default_rng(2026)
    for world in WORLDS:
        for lift in LIFTS:
            anytime, naive, last = missed(rng, world, lift=lift, batch=BATCH, runs=runs)
            what = f"truth left out at any of {LOOKS} looks: {world.name}, {lift:+.0%}"
            yield Line(
                promise="E4" if lift else "E3", what=what,
                nominal="<= .05", high=0.05, measured=anytime, naive=naive, how="interval of one look", runs=runs,
            )  # fmt: skip
            yield Line(
                promise="", what="  by the fixed interval, at the last look only", nominal=".05", measured=last,
                low=0.03, high=0.07, runs=runs,
            )  # fmt: skip
    anytime, naive, _ = missed(rng, WORLDS[1], lift=1.0, batch=20, runs=runs // 4)
    yield Line(
        promise="E4", what="  hard: heavy-tailed revenue, +100%, a look each 20 units", nominal="<= .05", high=0.05,
        measured=anytime, naive=naive, how="interval of one look", runs=runs // 4,
    )  # fmt: skip
