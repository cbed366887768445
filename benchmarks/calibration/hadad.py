"""Intervals after a bandit whose floor falls: the design of Hadad et al. (PNAS 2021) without signal, nominal 90%.

Three arms of the same value 1 with uniform noise in [-1, 1]; each is tried five times, then Thompson sampling from
normal beliefs with the arms' own variances. A chance is the share of 20 draws that an arm wins, raised to a floor of
1/3 / t^0.7. What is estimated is the first arm's value less the third's.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.calibration.bandits import Logs, scores_of
from benchmarks.calibration.table import Line
from experiments.adaptive.sums import Sums, contrast
from experiments.adaptive.weights import constant_allocation, of_contrast, two_point, uniform

ROWS = (5_000, 10_000)
DECAY = 0.7
_ARMS = 3
_TRIED = 5
_DRAWS = 20
_QUANTILE = 1.6448536269514722
_SIDE_BY_SIDE = 100


def simulate(rng: np.random.Generator, *, runs: int, rows: int) -> Logs:
    """Runs of the design, side by side."""
    count, total, squares = (np.zeros((runs, _ARMS)) for _ in range(3))
    action = np.empty((runs, rows), dtype=np.int8)
    chances = np.empty((runs, _ARMS, rows))
    reward = 1 + rng.uniform(-1, 1, (runs, 1, rows))
    every = np.arange(runs)
    for row in range(rows):
        if row < _TRIED * _ARMS:
            chance = np.full((runs, _ARMS), 1 / _ARMS)
            chosen = np.full(runs, row % _ARMS)
        else:
            chance = _floored(_won(rng, count, total, squares), 1 / _ARMS / (row + 1) ** DECAY)
            chosen = (rng.random((runs, 1)) > chance.cumsum(axis=1)[:, :-1]).sum(axis=1)
        value = reward[:, 0, row]
        count[every, chosen] += 1
        total[every, chosen] += value
        squares[every, chosen] += value**2
        action[:, row] = chosen
        chances[..., row] = chance
    return Logs(action=action, reward=reward, chances=chances)


def _won(rng: np.random.Generator, count: np.ndarray, total: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """The share of draws (runs, arms) that each arm wins, with a standard normal prior."""
    mean = total / count
    variance = squares / count - mean**2
    center, spread = count / (variance + count) * mean, np.sqrt(1 / (count / variance + 1))
    drawn = center[:, None] + spread[:, None] * rng.standard_normal((len(count), _DRAWS, _ARMS), dtype=np.float32)
    best = drawn.argmax(axis=2)
    return np.stack([(best == arm).mean(axis=1) for arm in range(_ARMS)], axis=1)


def _floored(chance: np.ndarray, floor: float) -> np.ndarray:
    over = np.maximum(chance, floor) - floor
    return floor + (1 - _ARMS * floor) * over / over.sum(axis=1, keepdims=True)


def _first(logs: Logs, rows: int) -> Logs:
    return Logs(action=logs.action[:, :rows], reward=logs.reward[..., :rows], chances=logs.chances[..., :rows])


def covered(logs: Logs) -> dict[str, np.ndarray]:
    """Whether each 90% interval of arm 0 less arm 2 holds the truth, which is 0: (runs,) for each way."""
    chances = logs.chances[:, [0, 2]]
    chosen = np.stack([logs.action == 0, logs.action == 2], axis=1)
    scores = np.stack([scores_of(logs, 0), scores_of(logs, 2)], axis=1)
    mean = np.where(chosen, logs.reward, 0.0).sum(axis=-1) / chosen.sum(axis=-1)
    spread = np.where(chosen, np.square(logs.reward - mean[..., None]), 0.0).sum(axis=-1)
    error = np.sqrt((spread / chosen.sum(axis=-1) ** 2).sum(axis=1))
    found = {"sample mean": np.abs(mean[:, 0] - mean[:, 1]) < _QUANTILE * error, "bias": mean[:, 0] - 1.0}
    both = of_contrast(chances[:, 0], chances[:, 1])
    for name, weight in (
        ("uniform", uniform(chances)),
        ("square root of the chance", constant_allocation(chances)),
        ("two-point allocation", two_point(chances, decay=DECAY)),
        ("of the contrast, as analyze", np.stack([both, both], axis=1)),
    ):
        sums = Sums.of(scores, weight=weight, chance=chances, chosen=chosen, reward=logs.reward)
        off = np.abs(contrast(sums).difference)
        found[name] = off < _QUANTILE * sums.observed_error(np.array([[-1.0], [1.0]]))
        if name.startswith("of"):
            found["with borrowed variance"] = off < _QUANTILE * contrast(sums).error
    return found


def measure(rng: np.random.Generator, *, runs: int, rows: tuple[int, ...] = ROWS) -> dict[int, dict[str, float]]:
    """Coverage by each way, and the bias of the sample mean, at each number of rows."""
    kept: dict[int, list[dict[str, np.ndarray]]] = {each: [] for each in rows}
    for _ in range(-(-runs // _SIDE_BY_SIDE)):
        logs = simulate(rng, runs=min(_SIDE_BY_SIDE, runs), rows=max(rows))
        for each in rows:
            kept[each].append(covered(_first(logs, each)))
    return {
        each: {name: float(np.concatenate([part[name] for part in parts]).mean()) for name in parts[0]}
        for each, parts in kept.items()
    }


def lines(runs: int) -> Iterator[Line]:
    """Two-point within .90 +- .02, sample mean below .82, in the same runs."""
    for rows, found in measure(np.random.default_rng(2030), runs=runs).items():
        naive, bias = found.pop("sample mean"), found.pop("bias")
        gates = {
            "two-point allocation": (0.88, 0.92),
            "uniform": (0.90, 0.95),
            "square root of the chance": (0.86, 0.92),
        }
        for name, share in found.items():
            low, high = gates.get(name, (0.88, 1.0))
            yield Line(
                promise="Hadad", what=f"T = {rows:,}, 90% interval covers, weights: {name}", nominal=".90", low=low,
                high=high, measured=share, naive=naive, how="sample mean", runs=runs,
            )  # fmt: skip
        yield Line(
            promise="Hadad", what=f"T = {rows:,}, bias of the sample mean of one arm", nominal="-.012", high=0.0,
            measured=bias, runs=runs,
        )  # fmt: skip
