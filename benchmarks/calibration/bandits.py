"""While a bandit moves the traffic: looking is safe (E3), intervals cover (E4), estimates are unbiased (E5).

Three arms, the first of which is the control; Thompson sampling in batches, learned from all that came before. Many
runs stand side by side in one array.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import special

from benchmarks.calibration.looks import BATCH, LIFTS, LOOKS
from benchmarks.calibration.table import Line
from experiments.adaptive.scores import arm_scores, running_mean
from experiments.adaptive.sums import Sums, contrast
from experiments.adaptive.weights import of_contrast
from experiments.analysis.sequential import sequence_half_width

ARMS = 3
FLOOR = 0.01
_SIDE_BY_SIDE = 50
_GRID = np.linspace(-6, 6, 65)


@dataclass(frozen=True, kw_only=True)
class BanditWorld:
    """A metric under a bandit: ``draw(rng, lift)`` gives (columns, *lift.shape) rewards; ``mean(lift)`` is their value.

    The bandit learns from the first column, taken as normal with standard deviation ``noise`` around ``usual``.
    """

    name: str
    draw: Callable[[np.random.Generator, np.ndarray], np.ndarray]
    mean: Callable[[float], float]
    usual: float
    noise: float


def _conversion(rng: np.random.Generator, lift: np.ndarray) -> np.ndarray:
    return (rng.random((1, *lift.shape)) < 0.05 * (1 + lift)).astype(float)


def _revenue(rng: np.random.Generator, lift: np.ndarray) -> np.ndarray:
    return _conversion(rng, lift) * rng.lognormal(3, 1.2, lift.shape)


def _ratio(rng: np.random.Generator, lift: np.ndarray) -> np.ndarray:
    views = rng.geometric(0.3, lift.shape)
    return np.array([rng.binomial(views, rng.beta(2, 18, lift.shape) * (1 + lift) / 1.2), views], dtype=float)


_BASKET = float(np.exp(3 + 1.2**2 / 2))
WORLDS = (
    BanditWorld(
        name="conversion", draw=_conversion, mean=lambda lift: 0.05 * (1 + lift), usual=0.05, noise=0.22
    ),
    BanditWorld(
        name="heavy-tailed revenue", draw=_revenue, mean=lambda lift: 0.05 * _BASKET * (1 + lift),
        usual=0.05 * _BASKET, noise=20.0,
    ),
    BanditWorld(
        name="ratio clicks/views", draw=_ratio, mean=lambda lift: 0.1 * (1 + lift) / 1.2, usual=0.28, noise=0.6
    ),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Logs:
    """Runs side by side: ``action`` (runs, rows), ``reward`` (runs, columns, rows), ``chances`` (runs, arms, rows)."""

    action: np.ndarray
    reward: np.ndarray
    chances: np.ndarray


def thompson(mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """The chance (runs, arms) that each arm's normal draw is the largest, by quadrature."""
    found = np.empty_like(mean)
    for arm in range(mean.shape[1]):
        draw = mean[:, [arm]] + deviation[:, [arm]] * _GRID
        below = np.ones_like(draw)
        for other in set(range(mean.shape[1])) - {arm}:
            below *= special.ndtr((draw - mean[:, [other]]) / deviation[:, [other]])
        found[:, arm] = below @ np.exp(-np.square(_GRID) / 2)
    return found / found.sum(axis=1, keepdims=True)


def simulate(rng: np.random.Generator, world: BanditWorld, *, lift: float, runs: int, floor: float = FLOOR) -> Logs:
    """Bandits that choose ``LOOKS`` batches; only the last arm is better, by ``lift``."""
    lifts = np.array([0.0] * (ARMS - 1) + [lift])
    count, total = np.zeros((runs, ARMS)), np.zeros((runs, ARMS))
    actions, rewards, chances = [], [], []
    weight = (world.noise / world.usual) ** 2
    for _ in range(LOOKS):
        mean = (total + weight * world.usual) / (count + weight)
        chance = floor + (1 - ARMS * floor) * thompson(mean, world.noise / np.sqrt(count + weight))
        action = (rng.random((runs, BATCH))[..., None] > chance.cumsum(axis=1)[:, None, :-1]).sum(axis=-1)
        reward = world.draw(rng, lifts[action])
        for arm in range(ARMS):
            count[:, arm] += (action == arm).sum(axis=1)
            total[:, arm] += np.where(action == arm, reward[0], 0.0).sum(axis=1)
        actions.append(action)
        rewards.append(np.moveaxis(reward, 0, 1))
        chances.append(np.repeat(chance[..., None], BATCH, axis=-1))
    return Logs(
        action=np.concatenate(actions, axis=1),
        reward=np.concatenate(rewards, axis=2),
        chances=np.concatenate(chances, axis=2),
    )


def scores_of(logs: Logs, arm: int) -> np.ndarray:
    """The scores (runs, columns, rows) of an arm."""
    chosen = np.broadcast_to((logs.action == arm)[:, None], logs.reward.shape)
    expected = running_mean(chosen, logs.reward)
    return arm_scores(chosen, logs.reward, chance=logs.chances[:, [arm]], expected=expected)


def looks_of(logs: Logs, *, arm: int) -> Sums:
    """The sums of the control and an arm after each look: leading shape (runs, looks)."""
    pair = [0, arm]
    chances = logs.chances[:, pair]
    weight = of_contrast(chances[:, 0], chances[:, 1])

    def by_look(values: np.ndarray) -> np.ndarray:
        return np.moveaxis(values.reshape(*values.shape[:-1], LOOKS, BATCH), -2, 1)

    return Sums.of(
        by_look(np.stack([scores_of(logs, each) for each in pair], axis=1)),
        weight=by_look(np.stack([weight, weight], axis=1)),
        chance=by_look(chances),
        chosen=by_look(np.stack([logs.action == each for each in pair], axis=1)),
        reward=by_look(logs.reward),
    ).grown(axis=1)


def naive_of(logs: Logs, *, arm: int) -> tuple[np.ndarray, np.ndarray]:
    """The difference (runs, looks) of the arms' own means, or ratios, and its error: as if chances had been equal."""
    values, squares = [], []
    for each in (0, arm):
        chosen = (logs.action == each)[:, None]
        mine = np.where(chosen, logs.reward, 0.0)
        ends = slice(BATCH - 1, None, BATCH)
        count = np.maximum(chosen.cumsum(axis=-1)[:, 0, ends], 2)
        sums = mine.cumsum(axis=-1)[..., ends]
        below = sums[:, 1] if mine.shape[1] == 2 else count
        value = sums[:, 0] / below
        crossed = [
            (mine[:, first] * mine[:, second]).cumsum(axis=-1)[..., ends]
            for first, second in ((0, 0), (0, -1), (-1, -1))
        ]
        spread = (
            crossed[0] - 2 * value * crossed[1] + value**2 * crossed[2]
            if mine.shape[1] == 2
            else crossed[0] - count * value**2
        )
        values.append(value)
        squares.append(spread / below**2)
    return values[1] - values[0], np.sqrt(squares[0] + squares[1])


@dataclass(frozen=True, kw_only=True)
class Found:
    """Over all runs: errors in units of their standard error, by the scores and naively, of shape (runs, looks).

    ``reach`` (looks,) is the half width of the anytime-valid interval in standard errors; ``least`` (runs, arms) the
    smallest chance of each arm; ``error`` and ``naive_error`` (runs,) are those of the last look, in the metric's unit.
    """

    deviation: np.ndarray
    naive: np.ndarray
    reach: np.ndarray
    least: np.ndarray
    error: np.ndarray
    naive_error: np.ndarray

    def missed(self) -> tuple[float, float]:
        """The share of runs whose truth is left out at any look: by the anytime-valid interval, and naively."""
        return (
            float((np.abs(self.deviation) > self.reach).any(axis=1).mean()),
            float((np.abs(self.naive) > 1.96).any(axis=1).mean()),
        )

    def bias(self) -> tuple[float, float]:
        """The bias at the last look in standard errors of the estimate: by the scores, and naively."""
        found, naive = (abs(float(each.mean() / each.std())) for each in (self.error, self.naive_error))
        return found, naive


def measure(rng: np.random.Generator, world: BanditWorld, *, lift: float, runs: int) -> Found:
    """Run the bandit and look after each batch, at the last arm against the control."""
    truth = world.mean(lift) - world.mean(0.0)
    parts = []
    for _ in range(-(-runs // _SIDE_BY_SIDE)):
        logs = simulate(rng, world, lift=lift, runs=_SIDE_BY_SIDE)
        with np.errstate(all="ignore"):
            found = contrast(looks_of(logs, arm=ARMS - 1))
            value, error = naive_of(logs, arm=ARMS - 1)
            off, naive = found.difference - truth, value - truth
            parts.append((off / found.error, naive / error, logs.chances.min(axis=2), off[:, -1], naive[:, -1]))
    deviation, naive, least, last, naive_last = (np.concatenate(each)[:runs] for each in zip(*parts, strict=True))
    reach = [sequence_half_width(1.0, BATCH * (look + 1), alpha=0.05) for look in range(LOOKS)]
    return Found(
        deviation=deviation, naive=naive, reach=np.array(reach), least=least, error=last, naive_error=naive_last
    )


def lines(runs: int) -> Iterator[Line]:
    """E3 to E5, with a floor of 1%."""
    rng = np.random.default_rng(2029)
    for world in WORLDS:
        for lift in LIFTS:
            found = measure(rng, world, lift=lift, runs=runs)
            missed, naive = found.missed()
            yield Line(
                promise="E4" if lift else "E3", what=f"bandit, truth left out at any look: {world.name}, {lift:+.0%}",
                nominal="<= .05", high=0.05, measured=missed, naive=naive, how="each arm's own mean", runs=runs,
            )  # fmt: skip
            bias, naive = found.bias()
            yield Line(
                promise="E5", what="  bias of the estimate at the end, in standard errors", nominal="< .1", high=0.1,
                measured=bias, naive=naive, how="each arm's own mean", runs=runs,
            )  # fmt: skip
    yield Line(
        promise="E5", what="bandit, least chance that any arm ever had", nominal=">= .01", low=FLOOR - 1e-12,
        measured=float(found.least.min()), runs=runs,
    )  # fmt: skip
