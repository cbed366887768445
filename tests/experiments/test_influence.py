"""Means of influence values: Welch's where units stand alone, Bell and McCaffrey's where clusters do, none from one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from experiments.estimation.influence import Floats, Integers, mean_interval, mean_of
from experiments.ladder.live import arm_influence


def _paired(values: Floats, arm: Integers) -> Floats:
    both = arm_influence(values, arm, arms=2)
    difference: Floats = both[:, 1] - both[:, 0]
    return difference


@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(2, 40))
@settings(max_examples=40, deadline=None)
def test_two_arms_have_welch_s_interval(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    values, arm = rng.normal(size=n + m), np.repeat([0, 1], [n, m])
    found = mean_interval(_paired(values, arm), part=arm)
    oracle = stats.ttest_ind(values[n:], values[:n], equal_var=False).confidence_interval()
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), rel=1e-9)


@given(st.lists(st.integers(1, 9), min_size=3, max_size=8), st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_error_and_freedom_of_clusters_are_those_of_the_matrices(sizes: list[int], seed: int) -> None:
    """CR2 by its definition: residuals of each cluster times (I - H)^(-1/2); freedom from the form's eigenvalues."""
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    values = rng.normal(size=cluster.size)
    n = cluster.size
    residual = values - values.mean()
    square = 0.0
    for each in range(len(sizes)):
        rows = np.flatnonzero(cluster == each)
        hat = np.full((rows.size, rows.size), 1 / n)
        own, vectors = np.linalg.eigh(np.eye(rows.size) - hat)
        square += float((vectors @ np.diag(own**-0.5) @ vectors.T @ residual[rows]).sum()) ** 2 / n**2
    share = np.array(sizes) / n
    form = np.zeros((len(sizes), len(sizes)))
    for each, held in enumerate(share):
        away = np.eye(len(sizes))[each] - share
        form += held**2 / (1 - held) * np.outer(away, away)
    own = np.linalg.eigvalsh(form)
    found = mean_of(values, cluster=cluster)
    assert found.error == pytest.approx(square**0.5, rel=1e-9)
    assert found.freedom == pytest.approx(own.sum() ** 2 / (own**2).sum(), rel=1e-6)


def test_clusters_of_one_size_are_as_good_as_their_means() -> None:
    rng = np.random.default_rng(1)
    means, arm = rng.normal(size=24), np.repeat([0, 1], [10, 14])
    found = mean_interval(
        _paired(np.repeat(means, 3), np.repeat(arm, 3)), cluster=np.repeat(np.arange(24), 3), part=np.repeat(arm, 3)
    )
    oracle = stats.ttest_ind(means[10:], means[:10], equal_var=False).confidence_interval()
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), rel=1e-9)


def test_an_arm_of_one_cluster_has_no_known_error_and_units_of_no_part_do_not_count() -> None:
    values, arm = np.random.default_rng(1).normal(size=40), np.repeat([0, 1], 20)
    cluster = np.where(arm == 1, 20, np.arange(40) % 20)
    assert mean_interval(_paired(values, arm), cluster=cluster, part=arm).low == -np.inf
    paired = _paired(values, arm)
    without, beside = mean_of(paired, part=arm), mean_of(np.append(paired, paired.mean()), part=np.append(arm, -1))
    assert (beside.error, beside.freedom) == pytest.approx((without.error * 40 / 41, without.freedom), rel=1e-9)


def test_few_clusters_of_unlike_sizes_hold_their_level_and_units_taken_as_alone_do_not() -> None:
    rng = np.random.default_rng(2)
    ours = alone = 0
    for _ in range(400):
        sizes = np.ceil(rng.lognormal(1.0, 1.3, 20)).astype(int)
        cluster = np.repeat(np.arange(20), sizes)
        arm = cluster % 2
        values = _paired(rng.normal(size=20)[cluster] + rng.normal(size=cluster.size), arm)
        first, second = mean_interval(values, cluster=cluster, part=arm), mean_interval(values)
        ours += not first.low <= 0 <= first.high
        alone += not second.low <= 0 <= second.high
    assert ours <= 30  # at 5%, more come about in 1.1% of all cases
    assert alone >= 120
