"""A sample ratio mismatch is seen, and a clean split is hardly ever red (E6)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import stats

from benchmarks.calibration.looks import LOOKS
from benchmarks.calibration.table import Line
from experiments.analysis.balance import ALARM_LEVEL, WARNING_LEVEL, chi_square_p_value, sample_ratio
from experiments.analysis.sequential import split_log_e_value


def splits(rng: np.random.Generator, *, runs: int, lost: float, per_arm: int) -> list[list[int]]:
    """Counts of two equal arms, the second of which lost a share of its units."""
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


def lines(runs: int) -> Iterator[Line]:
    """Lost and clean splits, at one look and at many."""
    rng = np.random.default_rng(2028)
    for per_arm, bound in ((20_000, 0.95), (10_000, 0.0)):
        counts = splits(rng, runs=runs, lost=0.05, per_arm=per_arm)
        flagged = float(np.mean([sample_ratio(each, [0.5, 0.5]).status != "green" for each in counts]))
        yield Line(
            promise="E6", what=f"5% lost in one arm of {per_arm:,} is flagged, one look",
            nominal=">= .95" if bound else "", low=bound, measured=flagged, runs=runs,
        )  # fmt: skip
    clean = splits(rng, runs=runs, lost=0.0, per_arm=20_000)
    warned = float(np.mean([chi_square_p_value(each, [0.5, 0.5]) < WARNING_LEVEL for each in clean]))
    yield Line(
        promise="E6", what="clean split is yellow, one look", nominal=".01", high=0.02, measured=warned, runs=runs
    )
    red, chi_square = looked_at_splits(rng, runs=50 * runs)
    yield Line(
        promise="E6", what=f"clean split is red at any of {LOOKS} looks", nominal="<= .001", high=0.001, measured=red,
        naive=chi_square, how="chi-square at .001", runs=50 * runs,
    )  # fmt: skip
