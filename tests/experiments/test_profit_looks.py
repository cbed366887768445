"""Profit of which every contact costs a little: its buyers are as few as revenue's, though no value is zero."""

from __future__ import annotations

import numpy as np

from benchmarks.calibration.small_arms import WORLDS, missed
from experiments.analysis.statistics import Moments


def test_profit_of_few_buyers_in_a_small_arm_waits_for_more_of_them() -> None:
    (profit,) = (world for world in WORLDS if world.name.startswith("profit"))
    ours, naive, told = missed(np.random.default_rng(5), profit, lift=0.0, runs=60)
    # Of 60 runs at a true 5%, more than 6 miss with a chance of 2%; the naive way misses a fifth of them.
    assert ours <= 0.1 < naive
    assert told > 0.2  # and it doesn't wait for ever


def test_units_apart_are_counted_on_either_side_of_the_mean() -> None:
    costs_and_buyers = np.array([[-0.1] * 97 + [20.0] * 3, [-1.0, 1.0] * 50])
    both = Moments.of(costs_and_buyers) + Moments.of(costs_and_buyers)
    assert both.sides is not None and both.sides.tolist() == [[6, 100], [194, 100]]
