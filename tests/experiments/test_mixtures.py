"""Boundaries that hold at any time: confseq's own figures, and how often they are crossed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.analysis.mixtures import (
    bernoulli_interval,
    bernoulli_log_e_value,
    mixture_rho,
    normal_boundary,
    one_sided_normal_boundary,
)
from experiments.analysis.sequential import one_sided_reach, sequence_half_width, split_log_e_value


def test_the_figures_of_confseqs_own_tests() -> None:
    assert mixture_rho(100, alpha=0.05) == pytest.approx(12.60056, abs=5e-6)
    assert normal_boundary(100, rho=mixture_rho(100, alpha=0.05), alpha=0.05) == pytest.approx(30.35209, abs=5e-6)
    one_side = one_sided_normal_boundary(100, rho=mixture_rho(100, alpha=0.10), alpha=0.05)
    assert one_side == pytest.approx(27.66071, abs=5e-6)
    assert bernoulli_interval(700, 1_000, expected=100) == pytest.approx((0.651629, 0.745949), abs=1e-6)


@given(st.floats(1e-6, 1e9), st.floats(1e-3, 1e6), st.floats(1e-6, 0.4))
def test_the_one_sided_boundary_is_where_its_mixture_is_one_over_alpha(v: float, rho: float, alpha: float) -> None:
    s = one_sided_normal_boundary(v, rho=rho, alpha=alpha)
    share = 0.5 * math.erfc(-s / math.sqrt(2 * (v + rho)))
    mixture = 2 * math.sqrt(rho / (v + rho)) * math.exp(s * s / (2 * (v + rho))) * share
    assert mixture * alpha == pytest.approx(1.0, rel=1e-6)


def test_one_side_reaches_less_far_and_is_crossed_as_seldom() -> None:
    rng, looks = np.random.default_rng(31), np.arange(50, 5_001, 50)
    sums = (rng.normal(size=(2_000, len(looks))) * math.sqrt(50)).cumsum(axis=1)
    one = np.array([n * one_sided_reach(1 / math.sqrt(n), n, alpha=0.05) for n in looks])
    both = np.array([n * sequence_half_width(1 / math.sqrt(n), n, alpha=0.05) for n in looks])
    assert (one < both).all()
    crossed = float((sums > one).any(axis=1).mean())
    naive = float((sums > 1.645 * np.sqrt(looks)).any(axis=1).mean())
    assert crossed <= 0.05
    assert naive > 0.15


@given(st.integers(0, 60), st.integers(0, 60), st.floats(0.01, 0.99))
def test_the_bernoulli_e_value_is_the_splits_of_two_arms(hits: int, misses: int, chance: float) -> None:
    ours = bernoulli_log_e_value(hits, hits + misses, chance=chance, expected=100)
    weight = mixture_rho(100, alpha=0.05) - 1
    theirs = split_log_e_value([hits, misses], [chance, 1 - chance], concentration=weight)
    assert ours == pytest.approx(float(theirs), abs=1e-8)


@pytest.mark.parametrize("chance", [0.02, 0.3, 0.9])
def test_a_rate_stays_within_its_interval_from_the_first_trial_on(chance: float) -> None:
    # Exact: the chance that 60 tosses ever leave the interval, by the paths that have not left it yet.
    alive = np.array([1.0])
    for trials in range(1, 61):
        stepped = np.zeros(trials + 1)
        stepped[:-1] += alive * (1 - chance)
        stepped[1:] += alive * chance
        inside = [low <= chance <= high for low, high in (bernoulli_interval(k, trials) for k in range(trials + 1))]
        alive = stepped * inside
    assert 1 - alive.sum() <= 0.05


def test_nothing_and_everything() -> None:
    assert bernoulli_interval(0, 0) == (0.0, 1.0)
    low, high = bernoulli_interval(0, 40)
    assert low == 0.0 and high < 0.3
    assert bernoulli_interval(40, 40) == pytest.approx((1 - high, 1.0))
