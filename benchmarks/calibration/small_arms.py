"""Looking is safe (E3) and intervals cover at every look (E4) where a tenth of the traffic or less has few events."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.calibration.table import Line
from experiments.analysis.comparison import Levels, adjust, band, exact, thin
from experiments.analysis.readings import Reading, Variable
from experiments.analysis.statistics import Gap, Moments, Quantity

LOOKS = 50
BATCH = 1_000
LIFTS = (0.0, 0.1, 1.0)
_AMOUNT = float(np.exp(3 + 1.2**2 / 2))
CAP = 300.0
_CAPPED = float(np.minimum(np.random.default_rng(1).lognormal(3, 1.2, 4_000_000), CAP).mean())
Draw = Callable[[np.random.Generator, int, float], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class SmallArms:
    """A metric that few units have: ``draw(rng, n, rate)`` gives n units of an arm in which ``rate`` of them have it.

    ``worth`` is the mean of those who have it; ``is_rate`` says that all count the same; ``share`` is the arm's;
    ``cap`` was declared before the start.
    """

    name: str
    draw: Draw
    rate: float
    worth: float = 1.0
    is_rate: bool = True
    share: float = 0.1
    cap: float | None = None

    @property
    def reading(self) -> Reading:
        """How the analysis reads it."""
        read = Variable(name=self.name, columns=(self.name,))
        return Reading(goal=read, moments=(), quantity=Quantity(numerator=0), covariates=(), missing=0, clustered=False)

    @property
    def levels(self) -> Levels:
        """What was fixed before the start."""
        rates = frozenset({self.name} if self.is_rate else ())
        ranges = {self.name: (0.0, self.cap)} if self.cap else {}
        return Levels(rates=rates, shares=(1 - self.share, self.share), ranges=ranges)


def had(rng: np.random.Generator, n: int, rate: float) -> np.ndarray:
    """Who converts."""
    return (rng.random((1, n)) < rate).astype(float)


def spent(rng: np.random.Generator, n: int, rate: float) -> np.ndarray:
    """Who buys, for amounts with a heavy tail."""
    return had(rng, n, rate) * rng.lognormal(3, 1.2, (1, n))


def capped(rng: np.random.Generator, n: int, rate: float) -> np.ndarray:
    """The same under a declared cap."""
    return np.minimum(spent(rng, n, rate), CAP)


def earned(rng: np.random.Generator, n: int, rate: float) -> np.ndarray:
    """Profit: what buyers bring, less what each of one to three contacts cost, so that nobody's is zero."""
    return spent(rng, n, rate) - 0.1 * rng.integers(1, 4, (1, n))


WORLDS = (
    *(SmallArms(name=f"conversion of {rate:.1%}", draw=had, rate=rate) for rate in (0.005, 0.01, 0.02)),
    *(
        SmallArms(name=f"revenue of {rate:.0%} buyers", draw=spent, rate=rate, worth=_AMOUNT, is_rate=False)
        for rate in (0.02, 0.05)
    ),
    SmallArms(name="profit of 5% buyers, less costs", draw=earned, rate=0.05, worth=_AMOUNT, is_rate=False),
    *(
        SmallArms(
            name="capped revenue of 2% buyers",
            draw=capped,
            rate=0.02,
            worth=_CAPPED,
            is_rate=False,
            share=share,
            cap=CAP,
        )
        for share in (0.05, 0.1)
    ),
)


def looked(rng: np.random.Generator, world: SmallArms, *, lift: float) -> Iterator[tuple[Gap, Gap]]:
    """At each look the interval that the analysis tells, and the asymptotic sequence whatever the events."""
    control, arm = Moments.none(1), Moments.none(1)
    for _ in range(LOOKS):
        mine = int(rng.binomial(BATCH, world.share))
        control += Moments.of(world.draw(rng, BATCH - mine, world.rate))
        arm += Moments.of(world.draw(rng, mine, world.rate * (1 + lift)))
        yield told(world, arm, control)


def told(world: SmallArms, arm: Moments, control: Moments) -> tuple[Gap, Gap]:
    """The interval that the analysis tells of a look, and the asymptotic sequence."""
    reading, levels = world.reading, world.levels
    both = adjust(reading, arm, control)
    few = thin(reading, arm, control, levels=levels)
    exactly = exact(reading, arm, control, place=1, levels=levels, few=few)
    return band(both, levels=levels, exactly=exactly, few=few), band(both, levels=levels)


def reach(rng: np.random.Generator, world: SmallArms, *, buyers: int, runs: int) -> tuple[float, float]:
    """Half the width of both, in means of the control, where the arm has so many buyers; on average."""
    mine = round(buyers / world.rate)
    theirs = round(mine * (1 - world.share) / world.share)
    halves = np.empty((runs, 2))
    for half in halves:
        arm, control = (Moments.of(world.draw(rng, n, world.rate)) for n in (mine, theirs))
        half[:] = [(each.high - each.low) / 2 for each in told(world, arm, control)]
    ours, naive = halves.mean(axis=0) / (world.rate * world.worth)
    return float(ours), float(naive)


def missed(rng: np.random.Generator, world: SmallArms, *, lift: float, runs: int) -> tuple[float, float, float]:
    """Shares of runs whose interval leaves out the truth at any look, ours and the naive one; and of looks with one."""
    truth = world.rate * lift * world.worth
    leaves_out = partial(_leaves_out, truth)
    ours, naive, known = 0, 0, 0
    for _ in range(runs):
        pairs = list(looked(rng, world, lift=lift))
        ours += any(leaves_out(mine) for mine, _ in pairs)
        naive += any(leaves_out(asymptotic) for _, asymptotic in pairs)
        known += sum(not math.isnan(mine.low) for mine, _ in pairs)
    return ours / runs, naive / runs, known / runs / LOOKS


def _leaves_out(truth: float, found: Gap) -> bool:
    """An interval that isn't told leaves nothing out."""
    return found.low > truth or found.high < truth


def lines(runs: int) -> Iterator[Line]:
    """E3 and E4 with few units in the arm: A/A is a lift of 0. A quarter of the runs, as each takes many looks."""
    runs //= 4
    rng = np.random.default_rng(2027)
    for world in WORLDS:
        for lift in LIFTS:
            ours, naive, known = missed(rng, world, lift=lift, runs=runs)
            yield Line(
                promise="E4" if lift else "E3",
                what=f"arm of {world.share:.0%}, truth left out: {world.name}, {lift:+.0%}",
                nominal="<= .05", high=0.05, measured=ours, naive=naive, how="asymptotic sequence", runs=runs,
            )  # fmt: skip
        if not world.is_rate:
            yield Line(promise="", what="  looks at which an interval is told", nominal="", measured=known, runs=runs)
        for buyers in (50, 150) if world.cap else ():
            ours, naive = reach(rng, world, buyers=buyers, runs=max(runs // 10, 1))
            yield Line(
                promise="", what=f"  half its width in the control's means, {buyers} buyers in the arm", nominal="",
                measured=ours, naive=naive, how="asymptotic sequence", runs=max(runs // 10, 1),
            )  # fmt: skip
