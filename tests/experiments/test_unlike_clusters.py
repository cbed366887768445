"""Clusters of unlike size tell less than as many alike: errors and degrees of freedom go by their sizes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.calibration.households import wrong_looks
from experiments.analysis import analyze
from experiments.analysis.cluster_sizes import ClusterSizes


def test_few_homes_of_unlike_size_hold_their_level_and_counted_homes_do_not() -> None:
    ours, counted = wrong_looks(np.random.default_rng(41), homes=(20, 20), runs=1_000)
    assert ours <= 0.065  # 5%, and two standard errors of 0.7 points
    assert counted > 0.085


@given(sizes=st.lists(st.integers(1, 40), min_size=3, max_size=12))
def test_the_correction_is_that_of_members_who_are_alike(sizes: list[int]) -> None:
    """Of cluster means with one variance: the variance of their mean over what is expected of the measured one."""
    held = np.array(sizes) / sum(sizes)
    known = ClusterSizes.of(np.array(sizes))
    around = np.eye(len(held)) - held
    expected = np.trace(around @ around.T @ np.diag(held**2))
    if known.alike >= 2:
        assert known.correction == pytest.approx(float(held @ held) / expected, rel=1e-9)
    assert known.alike == pytest.approx(1 / float(held @ held), rel=1e-9)


def test_homes_of_one_size_are_compared_as_their_means() -> None:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"home": np.repeat(np.arange(24), 4), "y": rng.normal(size=96)})
    frame = frame.assign(arm=np.where(frame["home"] < 10, "a", "b"))
    means = frame.groupby(["arm", "home"])["y"].mean()
    other = stats.ttest_ind(means["b"], means["a"], equal_var=False)
    row = analyze(frame, arm="arm", control="a", metrics=["y"], cluster="home", final=True).metrics[0]
    low, high = other.confidence_interval(0.95)
    assert (row.ci_low, row.ci_high, row.p_value) == pytest.approx((low, high, other.pvalue), rel=1e-9)


def test_an_arm_that_is_nearly_one_home_has_no_known_error() -> None:
    sizes = [400, *[1] * 30, *[10] * 30]
    home = np.repeat(np.arange(61), sizes)
    values = np.random.default_rng(5).normal(size=len(home))
    frame = pd.DataFrame({"home": home, "arm": np.where(home <= 30, "a", "b"), "y": values})
    found = analyze(frame, arm="arm", control="b", metrics=["y"], cluster="home", final=True)
    assert np.isnan(found.metrics[0].ci_low)
    assert np.isnan(found.metrics[0].anytime_ci_low)
    assert any("tell as much as 1" in note for note in found.notes)
