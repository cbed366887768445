"""Strata: post-stratified differences are those of a regression with interactions, and cover where weights matter."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

from experiments.analysis import analyze
from experiments.analysis.statistics import LEAST_IN_STRATUM
from experiments.results import MetricRow
from features.errors import InputError


def _frame(seed: int, rows: int = 3000) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    region = rng.choice(["north", "south", "west"], rows, p=[0.5, 0.3, 0.2])
    level = np.select([region == "north", region == "south"], [20.0, 5.0], 1.0)
    arm = rng.choice(["mail", "none"], rows, p=[0.3, 0.7])
    before = rng.gamma(2, 2, rows)
    effect = np.where(region == "north", 2.0, 0.5) * (arm == "mail")
    views = rng.poisson(4, rows) + 1
    return pd.DataFrame(
        {
            "arm": arm,
            "region": region,
            "before": before,
            "spend": level + before + effect + rng.normal(size=rows) * 3,
            "views": views,
            "clicks": rng.binomial(views, np.where(region == "north", 0.4, 0.1)),
            "household": rng.integers(0, rows // 3, rows),
        }
    )


def _row(frame: pd.DataFrame, metric: str = "spend", **more: object) -> MetricRow:
    return analyze(frame, arm="arm", control="none", metrics=[metric], **more).metrics[0]


@pytest.mark.parametrize("seed", range(10))
def test_equals_the_regression_with_all_interactions_and_what_strata_add_for_customers_to_come(seed: int) -> None:
    frame = _frame(seed)
    row = _row(frame, strata=["region"])
    dummies = pd.get_dummies(frame["region"], dtype=float).iloc[:, 1:]
    centred = dummies - dummies.mean()
    treated = (frame["arm"] == "mail").astype(float)
    design = np.column_stack([np.ones(len(frame)), treated, centred, centred.mul(treated, axis=0)])
    fit = sm.OLS(frame["spend"].to_numpy(), design).fit(cov_type="HC2")
    assert row.difference == pytest.approx(fit.params[1], rel=1e-9)
    # The regression takes the strata's sizes as known: added is how much the difference varies with them.
    cells = frame.groupby(["region", "arm"])["spend"].mean().unstack()
    apart = cells["mail"] - cells["none"]
    shares = frame["region"].value_counts(normalize=True).reindex(apart.index)
    added = float((shares * (apart - (shares * apart).sum()) ** 2).sum()) / len(frame)
    error = (row.ci_high - row.ci_low) / 2 / stats.t.ppf(0.975, 1500)
    assert error == pytest.approx(np.sqrt(fit.bse[1] ** 2 + added), rel=2e-4)  # t of some 1,500 degrees of freedom


def test_a_ratio_is_that_of_the_weighted_sums() -> None:
    frame = _frame(3)
    shares = frame["region"].value_counts(normalize=True)
    means = frame.groupby(["arm", "region"])[["clicks", "views"]].mean()
    ratio = {
        arm: (means.loc[arm].mul(shares, axis=0)["clicks"].sum() / means.loc[arm].mul(shares, axis=0)["views"].sum())
        for arm in ("mail", "none")
    }
    row = _row(frame, "clicks/views", strata=["region"])
    assert (row.arm_mean, row.control_mean) == pytest.approx((ratio["mail"], ratio["none"]), rel=1e-12)


def test_covariates_and_strata_together_take_away_what_each_explains() -> None:
    frame = _frame(4)
    widths = [
        row.ci_high - row.ci_low
        for row in (
            _row(frame),
            _row(frame, covariates=["before"]),
            _row(frame, strata=["region"]),
            _row(frame, strata=["region"], covariates=["before"]),
        )
    ]
    assert widths[3] < 0.8 * min(widths[1], widths[2]) < 0.8 * widths[0]


def test_coverage_is_that_promised_where_the_effect_depends_on_the_stratum_and_the_plain_one_is_wider() -> None:
    held, narrower, biased = [], [], []
    for seed in range(300):
        frame = _frame(seed, rows=600)
        row, plain = _row(frame, strata=["region"]), _row(frame)
        truth = 0.5 * 2.0 + 0.5 * 0.5
        held.append(row.ci_low <= truth <= row.ci_high)
        narrower.append((row.ci_high - row.ci_low) / (plain.ci_high - plain.ci_low))
        biased.append(row.difference - truth)
    # 300 runs: three standard errors of a coverage of 95% are 3.8 points.
    assert 0.912 <= np.mean(held) <= 0.988
    assert np.mean(narrower) < 0.6
    assert abs(np.mean(biased)) < 3 * np.std(biased) / np.sqrt(300)


def test_customers_to_come_are_covered_where_strata_gain_and_lose_and_known_sizes_alone_would_not() -> None:
    rng = np.random.default_rng(12)
    held, naive = [], []
    for _ in range(300):
        north, treated = rng.random(400) < 0.5, rng.random(400) < 0.5
        spend = np.where(north, 3.0, -3.0) * treated + rng.normal(size=400)
        frame = pd.DataFrame({"arm": np.where(treated, "mail", "none"), "north": north, "spend": spend})
        row = _row(frame, strata=["north"])
        held.append(row.ci_low <= 0 <= row.ci_high)
        known = 1.96 * np.sqrt(
            sum(0.25 * frame.groupby(["north", "arm"])["spend"].agg(lambda each: each.var() / len(each)))
        )
        naive.append(abs(row.difference) <= known)
    assert 0.912 <= np.mean(held) <= 0.988
    assert np.mean(naive) < 0.8


def test_clusters_within_strata_are_as_much_wider_as_a_clustered_regression() -> None:
    rng = np.random.default_rng(6)
    households = pd.DataFrame(
        {
            "region": rng.choice(["north", "south"], 500),
            "arm": rng.choice(["mail", "none"], 500),
            "own": rng.normal(size=500),
        }
    )
    frame = households.loc[np.repeat(np.arange(500), 4)].reset_index(names="household")
    frame["spend"] = frame["own"] + 5 * (frame["region"] == "north") + rng.normal(size=2000)
    row = _row(frame, strata=["region"], cluster="household")
    treated = (frame["arm"] == "mail").to_numpy(dtype=float)
    north = (frame["region"] == "north").to_numpy(dtype=float)
    centred = north - north.mean()
    design = np.column_stack([np.ones(2000), treated, centred, centred * treated])
    fit = sm.OLS(frame["spend"].to_numpy(), design).fit(
        cov_type="cluster", cov_kwds={"groups": frame["household"].to_numpy(), "use_correction": False}
    )
    assert row.difference == pytest.approx(fit.params[1], rel=1e-9)
    error = (row.ci_high - row.ci_low) / 2 / stats.t.ppf(0.975, 490)
    assert error == pytest.approx(fit.bse[1], rel=0.02)  # theirs without the factor n / (n - 1) of each stratum


def test_strata_through_clusters_are_refused() -> None:
    with pytest.raises(InputError, match="cut through clusters"):
        _row(_frame(5), strata=["region"], cluster="household")


def test_small_strata_stand_together_and_a_single_one_changes_nothing() -> None:
    frame = _frame(7)
    frame["rare"] = np.where(np.arange(len(frame)) < 12, [f"rare {n % 12}" for n in range(len(frame))], frame["region"])
    few = analyze(frame, arm="arm", control="none", metrics=["spend"], strata=["rare"])
    assert np.isfinite(few.metrics[0].ci_low)
    assert any(f"12 with fewer than {LEAST_IN_STRATUM} units in an arm stand together" in note for note in few.notes)
    one = _row(frame.assign(same="x"), strata=["same"])
    assert (one.difference, one.ci_low) == pytest.approx((_row(frame).difference, _row(frame).ci_low), rel=1e-12)


def test_several_columns_are_strata_together_and_missing_values_have_one_of_their_own() -> None:
    frame = _frame(8)
    frame["half"] = np.where(np.arange(len(frame)) % 2, "a", "b")
    crossed = frame.assign(both=frame["region"] + frame["half"])
    one, other = _row(frame, strata=["region", "half"]), _row(crossed, strata=["both"])
    assert (one.difference, one.ci_low) == pytest.approx((other.difference, other.ci_low), rel=1e-12)
    gone = frame.assign(region=frame["region"].where(frame["region"] != "west", None))
    assert _row(gone, strata=["region"]).ci_low == pytest.approx(_row(frame, strata=["region"]).ci_low, rel=1e-12)


def test_too_many_strata_are_refused() -> None:
    frame = _frame(9).assign(one=np.arange(3000) % 60, other=np.arange(3000) // 60 % 50)
    with pytest.raises(InputError, match="too many values"):
        _row(frame, strata=["one", "other"])


def test_each_look_is_post_stratified_too() -> None:
    frame = _frame(10).assign(day=np.arange(3000) // 1000)
    found = analyze(frame, arm="arm", control="none", metrics=["spend"], strata=["region"], time="day")
    until = _row(frame[frame["day"] < 2], strata=["region"])
    assert found.looks[1].anytime_ci_low == pytest.approx(until.anytime_ci_low, rel=1e-9)
