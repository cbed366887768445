"""The arithmetic of means and differences, against exact sums and the figures that others print."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pyarrow import csv
from scipy import special, stats
from statsmodels.stats.multitest import multipletests

from experiments.analysis import analyze, statistics
from experiments.analysis.statistics import Moments, Quantity, Sample
from experiments.results import MetricRow

BLOCKS = arrays.arrays(float, (2, 12), elements=st.floats(-1e6, 1e6, width=32))


def _sample(n: int, total: float, squares: float) -> Sample:
    return statistics.sample(Moments.from_sums(n=n, total=total, squares=squares), Quantity(numerator=0))


def test_welch_from_sums_gives_the_figures_of_gbstats() -> None:
    control, arm = _sample(3407, 1396.87, 52377.9767), _sample(3461, 2422.7, 134698.29)
    apart = statistics.difference(arm, control, alpha=0.05)
    share = statistics.relative_by_delta(arm, control, alpha=0.05)
    assert (apart.estimate, apart.low, apart.high, apart.error) == pytest.approx(
        (0.29, 0.04538, 0.53462, 0.12478), abs=5e-6
    )
    assert statistics.p_value(arm, control) == pytest.approx(0.02016, abs=5e-6)
    assert (share.estimate, share.low, share.high, share.error) == pytest.approx(
        (0.70732, -0.03526, 1.44989, 0.37879), abs=5e-6
    )


def test_proportions_from_counts_give_the_figures_of_gbstats() -> None:
    control, arm = (Sample(n=n, mean=k / n, variance=k / n * (1 - k / n)) for k, n in ((14, 28), (16, 30)))
    share = statistics.relative_by_delta(arm, control, alpha=0.05)
    assert (share.estimate, share.low, share.high, share.error) == pytest.approx(
        (0.06667, -0.47767, 0.61101, 0.2717), abs=5e-6
    )
    freedom = _freedom(arm.error, control.error, arm.n, control.n)
    assert 2 * stats.t.sf(share.estimate / share.error, freedom) == pytest.approx(0.80707, abs=5e-6)


def test_the_chance_to_win_under_a_flat_prior_is_that_of_gbstats() -> None:
    control, arm = (Sample(n=100, mean=k / 100, variance=k / 100 * (1 - k / 100)) for k in (49, 51))
    share = statistics.relative_by_delta(arm, control, alpha=0.05)
    assert special.ndtr(share.estimate / share.error) == pytest.approx(0.60918, abs=5e-6)


def test_a_tiny_p_value_is_not_rounded_to_zero() -> None:
    control, arm = Sample(n=100_000, mean=0.0, variance=1.0), Sample(n=100_000, mean=0.042, variance=1.0)
    expected = stats.ttest_ind_from_stats(0.042, 1, 100_000, 0, 1, 100_000, equal_var=False).pvalue
    assert statistics.p_value(arm, control) == pytest.approx(expected, rel=1e-9)
    assert 1e-21 < expected < 1e-20  # 1 - cdf would print 0.0


def test_benjamini_hochberg_gives_the_figures_of_tea_tasting_and_leaves_out_what_is_not_known() -> None:
    adjusted = statistics.benjamini_hochberg([0.118, 0.0211, math.nan, 0.0213, 0.00218])
    assert [round(each, 5) for each in (adjusted[0], adjusted[1], adjusted[3], adjusted[4])] == [
        0.118,
        0.0284,
        0.0284,
        0.00872,
    ]
    assert math.isnan(adjusted[2])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_benjamini_hochberg_equals_statsmodels(values: list[float]) -> None:
    expected = multipletests(values, method="fdr_bh")[1]
    assert statistics.benjamini_hochberg(values) == pytest.approx(list(expected), abs=1e-12)


@given(BLOCKS, st.integers(1, 11))
def test_moments_of_parts_add_up_to_those_of_the_whole(block: np.ndarray, cut: int) -> None:
    parts = Moments.of(block[:, :cut]) + Moments.of(block[:, cut:])
    scale = float(np.abs(block).max()) + 1
    assert parts.n == 12
    assert parts.mean == pytest.approx(block.mean(axis=1), abs=1e-9 * scale)
    assert parts.covariance == pytest.approx(np.cov(block), abs=1e-9 * scale**2)


def _million() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(20)
    codes = rng.integers(0, 3, 1_000_000)
    # A large mean over a small spread, and a column sorted by size: both cost digits where squares are summed raw.
    return codes, 1e6 + rng.normal(size=1_000_000), np.sort(rng.lognormal(3, 2, 1_000_000))


KINDS = {
    "pandas": lambda frame: frame,
    "arrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
    "chunked arrow": lambda frame: pa.concat_tables(
        [
            pa.Table.from_pandas(frame.iloc[start : start + 77_777], preserve_index=False)
            for start in range(0, 1_000_000, 77_777)
        ]
    ),
    "dictionaries that differ by chunk": lambda frame: pa.concat_tables(
        [
            pa.Table.from_pandas(
                frame.iloc[start : start + 250_000].assign(
                    arm=lambda part: part["arm"].iloc[::-1].astype("category").values[::-1]
                ),
                preserve_index=False,
            )
            for start in range(0, 1_000_000, 250_000)
        ]
    ),
}


def _stored(frame: pd.DataFrame, folder: Path) -> dict[str, Path]:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table, folder / "units.parquet", row_group_size=123_457)
    csv.write_csv(table, folder / "units.csv")
    return {"parquet": folder / "units.parquet", "csv": folder / "units.csv"}


def _exact_mean(values: np.ndarray) -> tuple[float, float]:
    """The mean and its squared error, each from an exact sum."""
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((values - mean) ** 2) / (len(values) - 1) / len(values)


@pytest.mark.parametrize("kind", ["parquet", "csv", "pandas", "chunked arrow"])
def test_every_estimator_of_a_million_rows_is_exact_from_a_file_as_from_memory(kind: str, tmp_path: Path) -> None:
    """Capped, stratified and as a ratio, each against sums that lose no digit."""
    codes, high, skewed = _million()
    rng = np.random.default_rng(21)
    region, views = rng.integers(0, 3, 1_000_000), 1.0 + rng.poisson(3, 1_000_000)
    frame = pd.DataFrame(
        {
            "arm": np.array(["c", "a", "a"])[codes],
            "high": high + region,
            "skewed": skewed,
            "views": views,
            "region": np.array(["n", "s", "w"])[region],
        }
    )
    table = _stored(frame, tmp_path)[kind] if kind in ("parquet", "csv") else KINDS[kind](frame)
    cap = 5_000.0
    capped, ratio = analyze(
        table, arm="arm", control="c", metrics=["skewed", "skewed/views"], caps={"skewed": cap}, final=True
    ).metrics
    (weighted,) = analyze(table, arm="arm", control="c", metrics=["high"], strata=["region"], final=True).metrics
    sides = [codes > 0, codes == 0]
    low = np.minimum(skewed, cap)
    means = [_exact_mean(low[side]) for side in sides]
    assert (capped.arm_mean, capped.control_mean) == pytest.approx([mean for mean, _ in means], rel=1e-13)
    assert _error(capped) == pytest.approx(math.sqrt(sum(error for _, error in means)), rel=1e-6)
    for own, side in ((ratio.arm_mean, sides[0]), (ratio.control_mean, sides[1])):
        assert own == pytest.approx(math.fsum(low[side]) / math.fsum(views[side]), rel=1e-13)
    influences = [
        (low[side] - own * views[side]) / views[side].mean()
        for own, side in ((ratio.arm_mean, sides[0]), (ratio.control_mean, sides[1]))
    ]
    assert _error(ratio) == pytest.approx(math.sqrt(sum(_exact_mean(each)[1] for each in influences)), rel=1e-6)
    cells = [[_exact_mean((high + region)[side & (region == place)]) for place in range(3)] for side in sides]
    shares = [float((region == place).mean()) for place in range(3)]
    apart = [arm[0] - control[0] for arm, control in zip(*cells, strict=True)]
    whole = math.fsum(share * each for share, each in zip(shares, apart, strict=True))
    added = math.fsum(share * (each - whole) ** 2 for share, each in zip(shares, apart, strict=True)) / 1_000_000
    error = math.fsum(share**2 * each[1] for side in cells for share, each in zip(shares, side, strict=True)) + added
    assert weighted.difference == pytest.approx(whole, rel=1e-6)
    assert weighted.arm_mean == pytest.approx(
        math.fsum(share * each[0] for share, each in zip(shares, cells[0], strict=True)), rel=1e-13
    )
    assert _error(weighted) == pytest.approx(math.sqrt(error), rel=1e-6)


def _error(row: MetricRow) -> float:
    """The standard error: with hundreds of thousands of degrees of freedom, t is the normal to six digits."""
    return (row.ci_high - row.ci_low) / 2 / float(special.stdtrit(700_000, 0.975))


@pytest.mark.parametrize("kind", KINDS)
def test_means_and_errors_of_a_million_rows_are_exact_on_every_kind_of_table(kind: str) -> None:
    codes, high, skewed = _million()
    frame = pd.DataFrame({"arm": np.array(["c", "a", "b"])[codes], "high": high, "skewed": skewed})
    found = analyze(KINDS[kind](frame), arm="arm", control="c", metrics=["high", "skewed"])
    for name, column in (("high", high), ("skewed", skewed)):
        sides = [column[codes == code] for code in range(3)]
        means = [math.fsum(side) / len(side) for side in sides]
        errors = [
            math.fsum((side - mean) ** 2) / (len(side) - 1) / len(side) for side, mean in zip(sides, means, strict=True)
        ]
        rows = [row for row in found.metrics if row.metric == name]
        for place, row in enumerate(rows, start=1):
            half = stats.t.ppf(0.975, _freedom(errors[place], errors[0], len(sides[place]), len(sides[0]))) * math.sqrt(
                errors[place] + errors[0]
            )
            assert row.arm_mean == pytest.approx(means[place], rel=1e-13)
            assert (row.ci_high - row.ci_low) / 2 == pytest.approx(half, rel=1e-9)


def _freedom(arm: float, control: float, n_arm: int, n_control: int) -> float:
    return (arm + control) ** 2 / (arm**2 / (n_arm - 1) + control**2 / (n_control - 1))


def test_several_covariates_are_least_squares_on_both_arms_together() -> None:
    rng = np.random.default_rng(4)
    covariates = rng.normal(size=(2, 3000)) * [[1.0], [1000.0]]
    codes = rng.integers(0, 2, 3000)
    outcome = 5 + covariates[0] + covariates[1] / 700 + 0.3 * codes + rng.normal(size=3000)
    frame = pd.DataFrame({"arm": codes, "y": outcome, "x1": covariates[0], "x2": covariates[1]})
    (row,) = analyze(frame, arm="arm", control=0, metrics=["y"], covariates=["x1", "x2"]).metrics
    slopes = sm.OLS(outcome, sm.add_constant(covariates.T)).fit().params[1:]
    rest = outcome - slopes @ covariates
    expected = stats.ttest_ind(rest[codes == 1], rest[codes == 0], equal_var=False)
    low, high = expected.confidence_interval()
    assert (row.ci_low, row.ci_high, row.p_value) == pytest.approx((low, high, expected.pvalue), rel=1e-9)


def test_collinear_and_constant_covariates_change_nothing() -> None:
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"arm": rng.integers(0, 2, 500), "x": rng.normal(size=500)})
    frame = frame.assign(y=frame["x"] + rng.normal(size=500), same=2e6 * frame["x"] + 7, constant=3.0)
    one, more = (
        analyze(frame, arm="arm", control=0, metrics=["y"], covariates=names).metrics[0]
        for names in (["x"], ["x", "same", "constant"])
    )
    assert (more.ci_low, more.ci_high) == pytest.approx((one.ci_low, one.ci_high), rel=1e-9)


def test_clusters_are_those_of_a_regression_with_clustered_errors() -> None:
    rng = np.random.default_rng(6)
    households = rng.integers(0, 400, 2000)
    arm = households % 2
    outcome = rng.normal(size=400)[households] + rng.normal(size=2000) + 0.2 * arm
    frame = pd.DataFrame({"arm": arm, "y": outcome, "household": households})
    (row,) = analyze(frame, arm="arm", control=0, metrics=["y"], cluster="household").metrics
    # statsmodels without its own small-sample factor; ours is that of a sample variance, n / (n - 1) in each arm.
    fit = sm.OLS(outcome, sm.add_constant(arm)).fit(
        cov_type="cluster", cov_kwds={"groups": households, "use_correction": False}
    )
    assert row.difference == pytest.approx(fit.params[1], rel=1e-9)
    normal_half = (row.ci_high - row.ci_low) / 2 / stats.t.ppf(0.975, 2 * 199)
    assert normal_half == pytest.approx(fit.bse[1], rel=0.005)
    assert (row.n_arm, row.n_control) == (int((arm == 1).sum()), int((arm == 0).sum()))
