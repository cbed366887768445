"""Splits keep the future and the customer apart; the figures equal those of independent code."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import brier_score_loss, log_loss, ndcg_score, roc_auc_score

from features.errors import InputError
from training.evaluation import auc_difference, calibration_error, captured, delong, rank, score
from training.splits import folds_of, order_split, time_split


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=4, max_size=60).filter(lambda days: len(set(days)) > 3))
def test_no_moment_of_training_is_in_or_after_the_test(days):
    times = pd.Series(pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(days, unit="D"))
    try:
        split = time_split(times)
    except InputError:
        return  # the last quarter reaches back to the first moment
    assert times.iloc[split.train].max() < times.iloc[split.test].min()
    assert sorted([*split.train, *split.test]) == list(range(len(days)))


def test_file_order_tests_the_last_quarter():
    split = order_split(8)
    assert (split.train.tolist(), split.test.tolist()) == ([0, 1, 2, 3, 4, 5], [6, 7])


@pytest.mark.parametrize("share", [0, 1, -0.5, 2])
def test_a_share_is_a_share(share):
    with pytest.raises(InputError, match="no share"):
        order_split(8, test_share=share)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000))
def test_a_customer_is_in_one_fold_and_labels_are_shared_out(seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 100, 1000)
    label = (rng.random(1000) < 0.2).astype(float)
    folds = folds_of(label, folds=4, seed=seed, groups=groups)
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(1000))
    for train, test in folds:
        assert not set(groups[train]) & set(groups[test])
        assert len(train) + len(test) == 1000
        # A fold's share of responses is off by at most one customer's worth of them a round of dealing.
        assert label[test].sum() == pytest.approx(label.sum() / 4, abs=12)


def test_too_few_of_a_label_or_of_customers_is_said():
    with pytest.raises(InputError, match="too few rows of one label"):
        folds_of(np.array([1.0, 0, 0, 0, 0, 0]), folds=3, seed=1)
    with pytest.raises(InputError, match="too few customers"):
        folds_of(np.array([1.0, 0] * 10), folds=3, seed=1, groups=np.array([1, 2] * 10))


@pytest.fixture
def scored():
    rng = np.random.default_rng(7)
    chance = rng.beta(1, 8, 4000)
    # Rounded, so that there are ties.
    return (rng.random(4000) < chance).astype(float), chance.round(2).clip(0.01, 0.99), rng.random(4000)


def test_figures_equal_scikit_learns(scored):
    label, probability, _ = scored
    found = score(label, probability)
    assert found.auc == pytest.approx(roc_auc_score(label, probability), rel=1e-12)
    assert found.log_loss == pytest.approx(log_loss(label, probability), rel=1e-12)
    assert found.brier == pytest.approx(brier_score_loss(label, probability), rel=1e-12)


def test_delong_equals_the_sums_over_all_pairs(scored):
    """The definition: placements of each positive among the negatives and the reverse, their covariances."""
    label, probability, other = (each[:300] for each in scored)
    auc, covariance = delong(label, np.stack([probability, other]))
    parts = []
    for each in (probability, other):
        wins = np.sign(each[label == 1][:, None] - each[label == 0][None, :]) / 2 + 0.5
        parts.append((wins.mean(axis=1), wins.mean(axis=0)))
    v01, v10 = (np.stack([part[side] for part in parts]) for side in (0, 1))
    np.testing.assert_allclose(auc, v01.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(v01) / v01.shape[1] + np.cov(v10) / v10.shape[1], rtol=1e-9)


def test_the_auc_interval_covers_its_share():
    """AUC of N(1,1) against N(0,1) is Phi(1/sqrt 2); of 400 intervals 380 should cover, give or take 3.5 x 4.4."""
    rng, truth, covered = np.random.default_rng(3), norm.cdf(1 / np.sqrt(2)), 0
    label = np.repeat([1.0, 0.0], [60, 140])
    for _ in range(400):
        found = score(label, 1 / (1 + np.exp(-(rng.normal(size=200) + label))))
        covered += found.auc_low <= truth <= found.auc_high
    assert 364 <= covered <= 394


def test_a_paired_difference_is_narrower_than_two_intervals(scored):
    label, probability, _ = scored
    worse = probability + np.random.default_rng(1).normal(0, 0.02, len(label))
    gain, low, high = auc_difference(label, probability, worse)
    assert low < gain < high
    assert high - low < score(label, probability).auc_high - score(label, probability).auc_low


def test_honest_probabilities_are_calibrated_and_others_are_not():
    rng = np.random.default_rng(1)
    chance = rng.beta(2, 8, 50_000)
    label = (rng.random(50_000) < chance).astype(float)
    assert score(label, chance).calibrated
    assert not score(label, chance**2).calibrated
    assert not score(label, np.minimum(2 * chance, 0.999)).calibrated
    assert not score(label, np.full(50_000, 0.2)).calibrated, "a constant is level, but has no slope"


def test_calibration_error_by_hand():
    label = np.array([0, 0, 0, 1.0] * 5)
    assert calibration_error(label, np.full(20, 0.25)) == 0
    assert calibration_error(label, np.full(20, 0.35)) == pytest.approx(0.1)


def test_ties_count_in_proportion():
    label = np.array([1.0, 0, 0, 1])
    assert captured(label, np.zeros(4), share=0.5) == 0.5
    assert captured(label, np.array([1.0, 0, 0, 1]), share=0.25) == 0.5


def test_ranking_equals_scikit_learns_ndcg():
    rng = np.random.default_rng(1)
    listed = np.array([rng.permutation(12) for _ in range(50)])[:, :5].astype(str)
    taken = rng.integers(0, 12, 50).astype(str)
    found = rank(listed, taken)
    expected = [
        ndcg_score(
            [(np.arange(12).astype(str) == item).astype(float)],
            [[5.0 - list(row).index(str(each)) if str(each) in row else -1.0 for each in range(12)]],
            k=5,
        )
        for row, item in zip(listed, taken, strict=True)
    ]
    assert found.ndcg == pytest.approx(np.mean(expected))
    assert found.recall == np.mean([item in row for row, item in zip(listed, taken, strict=True)])
