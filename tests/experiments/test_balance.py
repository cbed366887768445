"""The sample ratio check: it sees lost units and doesn't cry wolf, however often it is looked at."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.calibration.splits import looked_at_splits, splits
from experiments.analysis.balance import chi_square_p_value, sample_ratio

COUNTS = st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 9)), min_size=2, max_size=8)


@given(COUNTS)
def test_the_chi_square_is_scipys(cells: list[tuple[int, int]]) -> None:
    counts, weights = np.array(cells).T
    shares = weights / weights.sum()
    expected = stats.chisquare(counts, shares * counts.sum()).pvalue
    assert chi_square_p_value(list(counts), list(shares)) == pytest.approx(expected, rel=1e-6, abs=1e-300)


def test_hillstrom_is_green_and_cookie_cats_yellow() -> None:
    hillstrom = sample_ratio([21306, 21307, 21387], [1 / 3] * 3)
    cookie_cats = sample_ratio([44700, 45489], [0.5] * 2)
    assert (round(hillstrom.p_value, 6), hillstrom.status) == (0.903693, "green")
    assert (round(cookie_cats.p_value, 4), cookie_cats.status) == (0.0086, "yellow")


def _status(counts: list[int]) -> str:
    return sample_ratio(counts, [0.5, 0.5]).status


def test_five_percent_lost_in_one_arm_of_20_000_is_flagged_and_a_clean_split_hardly_ever() -> None:
    rng = np.random.default_rng(12)
    flagged, alarms = (
        np.mean([_status(counts) != "green" for counts in splits(rng, runs=2000, lost=lost, per_arm=20_000)])
        for lost in (0.05, 0.0)
    )
    assert flagged >= 0.95
    assert alarms <= 0.02  # yellow below 0.01, and a little for chance


def test_clean_splits_looked_at_fifty_times_are_hardly_ever_red_where_a_chi_square_is() -> None:
    red, chi_square = looked_at_splits(np.random.default_rng(13), runs=10_000)
    assert red <= 0.001
    assert chi_square > 0.005  # the naive check, in the same runs: about 1%


def test_a_lost_tenth_is_red() -> None:
    assert sample_ratio([10_000, 9_000], [0.5, 0.5]).status == "red"
    assert sample_ratio([2, 1], [0.5, 0.5]).status == "green"
