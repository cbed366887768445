"""Bounds of a campaign by sums alone, a hundred thousand runs in seconds: no effect, crossed at any look (E3).

The bounds are those of the analysis; what a run is made of are the sums that it would have had at each look.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from benchmarks.calibration.table import Line
from experiments.analysis.group_sequential import PlannedLooks
from experiments.analysis.ramps import over_steps

LOOKS = 14
BATCH = 250  # units of an arm between two looks
_TIMES = 50  # of the runs that the verdict is asked in
_EVEN = tuple(each / LOOKS for each in range(1, LOOKS + 1))
Values = NDArray[np.float64]


def students(rng: np.random.Generator, *, runs: int) -> tuple[float, float]:
    """Shares of runs that leave the repeated interval, and that of one look, at any of the looks; Welch's, by sums."""
    sums = rng.normal(size=(2, runs, LOOKS)) * np.sqrt(BATCH)
    squares = (rng.chisquare(BATCH - 1, sums.shape) + sums**2 / BATCH).cumsum(axis=2)
    n = BATCH * np.arange(1, LOOKS + 1)
    means = sums.cumsum(axis=2) / n
    errors = (squares / n - means**2) / (n - 1)
    whole = errors.sum(axis=0)
    freedom = whole**2 / (errors**2 / (n - 1)).sum(axis=0)
    p = 2 * special.stdtr(freedom, -np.abs(means[1] - means[0]) / np.sqrt(whole))
    plans = [PlannedLooks(units=tuple(2.0 * n[: look + 1]), elapsed=_EVEN[: look + 1]) for look in range(LOOKS)]
    levels = np.array([plan.level(0.05) for plan in plans])
    return float((p < levels).any(axis=1).mean()), float((p < 0.05).any(axis=1).mean())


def stepped(rng: np.random.Generator, shares: Sequence[float], *, runs: int) -> tuple[float, float]:
    """The same for a campaign whose arm has ``shares`` in steps of equal length, by ours and by units alone."""
    each = LOOKS // len(shares)
    looks = each * len(shares)
    counts = np.array([[round(1_000 * each * (1 - share)), round(1_000 * each * share)] for share in shares])
    varies = np.repeat([1 / share + 1 / (1 - share) for share in shares], each)
    walks = (rng.normal(size=(runs, looks)) * np.sqrt(varies)).cumsum(axis=1) / np.sqrt(varies.cumsum())
    ours, by_units = [], []
    for look in range(1, looks + 1):
        plan = PlannedLooks(
            units=tuple(1_000.0 * np.arange(1, look + 1)), elapsed=tuple(np.arange(1, look + 1) / looks)
        )
        gone, within = divmod(look, each)
        seen = np.concatenate([counts[:gone], counts[gone : gone + 1] * within // each])
        by_units.append(plan.bound(0.05))
        ours.append(over_steps(plan, seen[seen.sum(axis=1) > 0], alpha=0.05).bound(0.05))
    return _crossed(walks, ours), _crossed(walks, by_units)


def after_the_end(rng: np.random.Generator, *, later: int, runs: int) -> tuple[float, float]:
    """Shares of runs decided where the last look's decision stands, and where the best of it and ``later`` ones does.

    Each later look holds 5% more units, and spends what the looks before the end left.
    """
    units = np.array([*range(1, LOOKS + 1), *(LOOKS * 1.05 ** (1 + np.arange(later)))], dtype=float)
    walks = (rng.normal(size=(runs, len(units))) * np.sqrt(np.diff(units, prepend=0.0))).cumsum(axis=1) / np.sqrt(units)
    bounds = [
        PlannedLooks(units=(*units[: min(look, LOOKS - 1)], units[look]), elapsed=_EVEN[: min(look + 1, LOOKS)]).bound(
            0.05
        )
        for look in range(len(units))
    ]
    return _crossed(walks[:, :LOOKS], bounds[:LOOKS]), _crossed(walks, bounds)


def _crossed(walks: Values, bounds: Sequence[float]) -> float:
    return float((np.abs(walks) > np.array(bounds)).any(axis=1).mean())


def lines(runs: int) -> Iterator[Line]:
    """Each way that a campaign goes."""
    rng, many = np.random.default_rng(2033), _TIMES * runs
    high = 0.05 + 3 * float(np.sqrt(0.05 * 0.95 / many))
    ended = f"{LOOKS} looks, no gain, decided: group_sequential"
    found = (
        (f"{ended}, by sums", "interval of one look", students(rng, runs=many)),
        ("  its arm stepped down late, from 50% to 10%", "bounds by units", stepped(rng, (0.5, 0.1), runs=many)),
        ("  and from 50% to 2%", "bounds by units", stepped(rng, (0.5, 0.02), runs=many)),
        ("  its arm stepped up, from 5% to 50%", "bounds by units", stepped(rng, (0.05, 0.5), runs=many)),
        (
            "  the last look's decision stands, of four",
            "best of four last ones",
            after_the_end(rng, later=3, runs=many),
        ),
    )
    for what, how, (ours, naive) in found:
        yield Line(
            promise="E3", what=what, nominal="<= .05", measured=ours, high=high, naive=naive, how=how, runs=many
        )  # fmt: skip
