"""Sample size, run length and detectable lift, against statsmodels and against experiments that are run."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.power import NormalIndPower, normal_sample_size_one_tail
from statsmodels.stats.proportion import samplesize_proportions_2indep_onetail

from experiments.analysis.group_sequential import boundaries
from experiments.analysis.planning import Design, days, detectable, measured, sample_size
from experiments.analysis.sequential import sequence_half_width
from experiments.results import IntervalKind
from features.errors import InputError
from features.tables import read_table

KINDS: tuple[IntervalKind, ...] = ("fixed", "group_sequential", "anytime")


@pytest.mark.parametrize(("baseline", "difference"), [(0.05, 0.005), (0.1, 0.02), (0.5, -0.03), (0.006, 0.003)])
@pytest.mark.parametrize(("alpha", "power"), [(0.05, 0.8), (0.01, 0.95)])
def test_proportions_equal_statsmodels(baseline: float, difference: float, alpha: float, power: float) -> None:
    deviation = math.sqrt(sum(p * (1 - p) for p in (baseline, baseline + difference)))
    exact = normal_sample_size_one_tail(abs(difference), power, alpha / 2, deviation, std_alternative=deviation)
    found = sample_size(Design(baseline=baseline, alpha=alpha, power=power), difference)
    assert found == math.ceil(exact)
    # The pooled test differs from Welch's, which is the one that analyze runs, by less than a percent.
    pooled = samplesize_proportions_2indep_onetail(difference, baseline, power, alpha=alpha)
    assert found == pytest.approx(pooled, rel=0.01)


@pytest.mark.parametrize("size", [0.02, 0.1, 0.5])
def test_means_equal_statsmodels(size: float) -> None:
    exact = NormalIndPower().solve_power(effect_size=size, alpha=0.05, power=0.9)
    found = sample_size(Design(baseline=10.0, std=4.0, power=0.9), 4 * size)
    assert found == pytest.approx(exact, rel=1e-5, abs=1)  # the far tail, which the closed form leaves out, is 1e-6


def test_covariates_clusters_and_arms_change_the_size_as_they_should() -> None:
    plain = sample_size(Design(baseline=1.0, std=10.0), 0.1)
    assert sample_size(Design(baseline=1.0, std=10.0, variance_kept=1 - 0.6**2), 0.1) == pytest.approx(
        0.64 * plain, abs=1
    )
    assert sample_size(Design(baseline=1.0, std=10.0, design_effect=1.5), 0.1) == pytest.approx(1.5 * plain, abs=1)
    ratio = (stats.norm.isf(0.025 / 3) + stats.norm.ppf(0.8)) / (stats.norm.isf(0.025) + stats.norm.ppf(0.8))
    assert sample_size(Design(baseline=1.0, std=10.0, arms=4), 0.1) == pytest.approx(ratio**2 * plain, abs=1)


@given(st.floats(0.001, 0.6), st.floats(0.01, 0.5), st.sampled_from(KINDS), st.floats(0.1, 1.0), st.floats(0.1, 0.9))
def test_the_detectable_lift_is_the_inverse_of_the_size(
    baseline: float, lift: float, interval: IntervalKind, kept: float, share: float
) -> None:
    design = Design(baseline=baseline, interval=interval, variance_kept=kept, shares=(1 - share, share))
    units = sample_size(design, baseline * lift)
    assert detectable(design, units) <= baseline * lift * (1 + 1e-9)
    assert detectable(design, max(units - 1, 2)) >= baseline * lift * (1 - 1e-9) or units == 2


def test_means_have_the_same_inverse_and_small_shares_no_lift_at_all() -> None:
    design = Design(baseline=3.0, std=7.0)
    assert detectable(design, sample_size(design, 0.2)) == pytest.approx(0.2, rel=1e-3)
    assert detectable(Design(baseline=0.9), 5) == math.inf


def test_a_planned_experiment_sees_its_difference_as_often_as_planned() -> None:
    rng = np.random.default_rng(15)
    for interval in ("fixed", "anytime"):
        units = sample_size(Design(baseline=0.1, interval=interval), 0.03)
        control, arm = rng.binomial(units, 0.1, 4000) / units, rng.binomial(units, 0.13, 4000) / units
        error = np.sqrt((control * (1 - control) + arm * (1 - arm)) / (units - 1))
        sequence = sequence_half_width(1.0, 2 * units, alpha=0.05, units=2 * units)
        bound = sequence if interval == "anytime" else stats.norm.ppf(0.975)
        assert np.mean(arm - control > bound * error) == pytest.approx(0.8, abs=0.02)  # 3 standard errors of 4,000 runs


def test_a_campaign_of_the_planned_size_shows_its_difference_as_often_and_as_early_as_planned() -> None:
    """Ten looks at 4,000 campaigns; the size of one look, in the same campaigns, has less power than it says."""
    rng = np.random.default_rng(16)
    design, looks, runs = Design(baseline=0.1, interval="group_sequential"), 10, 4000
    found = {}
    for name, units in (("planned", sample_size(design, 0.03)), ("one look", sample_size(Design(baseline=0.1), 0.03))):
        steps = np.diff(np.linspace(0, units, looks + 1).astype(int))
        arms = [rng.binomial(steps, mean, (runs, looks)).cumsum(axis=1) / steps.cumsum() for mean in (0.1, 0.13)]
        error = np.sqrt(sum(each * (1 - each) for each in arms) / steps.cumsum())
        bounds = boundaries((steps.cumsum() / units).tolist(), alpha=0.05)
        crossed = np.abs(arms[1] - arms[0]) > bounds * error
        ended = np.where(crossed.any(axis=1), crossed.argmax(axis=1) + 1, looks)
        found[name] = (crossed.any(axis=1).mean(), ended.mean() / looks)
    # 3 standard errors of 4,000 runs are 0.019; a campaign's own size is 3.8% above that of one look.
    assert found["planned"][0] == pytest.approx(0.8, abs=0.02)
    assert found["planned"][1] == pytest.approx(design.expected_share, abs=0.015)
    assert found["one look"][0] < found["planned"][0]
    assert sample_size(design, 0.03) / sample_size(Design(baseline=0.1), 0.03) == pytest.approx(1.038, abs=0.002)


def test_the_growth_of_a_campaign_is_that_of_the_book() -> None:
    """Jennison and Turnbull (2000), table 2.4: 1.008, 1.028 and 1.040 at 2, 5 and 10 looks (alpha 0.05, power 0.8).

    Those are for O'Brien and Fleming's own bounds; spending of their kind costs about as much.
    """
    one = Design(baseline=0.0, std=1.0).reach
    for looks, constant in ((2, 1.008), (5, 1.028), (10, 1.040)):
        design = Design(baseline=0.0, std=1.0, interval="group_sequential", looks=looks)
        assert (design.reach / one) ** 2 == pytest.approx(constant, abs=0.006)


def test_arms_of_unequal_size_need_more_units_and_none_are_lost() -> None:
    equal = Design(baseline=1.0, std=10.0)
    skewed = Design(baseline=1.0, std=10.0, shares=(0.9, 0.1))
    # The variance of a difference is 1/n + 1/m: 1/0.9 + 1/0.1 against 1/0.5 + 1/0.5.
    units, even = skewed.total(sample_size(skewed, 0.1)), equal.total(sample_size(equal, 0.1))
    assert units / even == pytest.approx((1 / 0.9 + 1 / 0.1) / 4, rel=1e-3)
    assert detectable(skewed, units * 0.1) == pytest.approx(0.1, rel=1e-3)


def test_a_textbook_size() -> None:
    """Fleiss, Levin and Paik (2003), section 4.2: without their continuity correction, 0.25 against 0.40, 95% power.

    n = (1.96 * sqrt(2 * 0.325 * 0.675) + 1.645 * sqrt(0.25 * 0.75 + 0.4 * 0.6))^2 / 0.15^2 by hand, pooled under the
    null, 258; unpooled, as Welch's test is, 247.
    """
    by_hand = (1.959964 + 1.644854) ** 2 * (0.25 * 0.75 + 0.4 * 0.6) / 0.15**2
    assert sample_size(Design(baseline=0.25, power=0.95), 0.15) == math.ceil(by_hand) == 247


def test_run_length() -> None:
    assert days(10_000, daily=2000) == 5
    assert days(10_001, daily=2000) == 6


def test_a_table_tells_baseline_spread_and_what_covariates_and_clusters_do(data) -> None:
    table = read_table(data("hillstrom/hillstrom.csv.gz"))
    spend = measured(table, metric="spend", covariates=["history"])
    frame = table.to_pandas()
    assert spend.variance_kept == pytest.approx(0.999528, abs=5e-7)
    assert (spend.baseline, spend.std) == pytest.approx((frame["spend"].mean(), frame["spend"].std()), rel=1e-12)
    visit = measured(table, metric="visit")
    assert (visit.baseline, visit.std, visit.design_effect) == (pytest.approx(frame["visit"].mean()), None, 1.0)


def test_the_design_effect_of_equal_clusters_is_that_of_their_correlation() -> None:
    rng = np.random.default_rng(16)
    households = np.repeat(np.arange(20_000), 3)
    frame = pd.DataFrame({"household": households, "y": rng.normal(size=20_000)[households] + rng.normal(size=60_000)})
    assert measured(frame, metric="y", cluster="household").design_effect == pytest.approx(1 + 2 * 0.5, rel=0.02)


def test_a_ratio_is_planned_with_the_spread_of_its_delta_method() -> None:
    frame = pd.DataFrame({"clicks": [1, 0, 2, 1, 3, 0] * 10, "views": [2, 1, 5, 1, 4, 3] * 10})
    found = measured(frame, metric="clicks/views")
    ratio = frame["clicks"].sum() / frame["views"].sum()
    residual = (frame["clicks"] - ratio * frame["views"]) / frame["views"].mean()
    assert (found.baseline, found.std) == pytest.approx((ratio, residual.std()), rel=1e-12)


@pytest.mark.parametrize(
    "wrong",
    [
        {"baseline": 1.2},
        {"baseline": math.nan},
        {"std": -1.0},
        {"arms": 1},
        {"alpha": 0.0},
        {"power": 1.0},
        {"variance_kept": 0.0},
        {"design_effect": math.inf},
        {"looks": 0},
        {"shares": (0.9, 0.2)},
    ],
)
def test_a_design_out_of_range_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match="out of range"):
        Design(**{"baseline": 0.1, **wrong})


def test_a_difference_out_of_range_is_refused() -> None:
    for difference in (0.0, 0.95, -0.2, math.nan):
        with pytest.raises(InputError):
            sample_size(Design(baseline=0.1), difference)
    for refused in (lambda: detectable(Design(baseline=0.1), 1), lambda: days(10, daily=0)):
        with pytest.raises(InputError):
            refused()
    with pytest.raises(InputError, match="never varies"):
        measured(pd.DataFrame({"y": [1, 1, 1]}), metric="y")
