"""Caps: values above count as the cap, told by arm; a quantile of all arms together covers like an amount."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tea_tasting as tt

from experiments.analysis import analyze
from features.errors import InputError


def _frame(seed: int, rows: int = 2000, lift: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    arm = rng.choice(["none", "mail"], rows)
    spend = rng.pareto(2.2, rows) * 10 * np.where(arm == "mail", 1 + lift, 1.0)
    return pd.DataFrame(
        {"arm": arm, "spend": spend, "visits": rng.poisson(3, rows) + 1, "before": rng.gamma(2, 2, rows)}
    )


@pytest.mark.parametrize("seed", range(10))
def test_equals_tea_tasting_on_the_capped_column(seed: int) -> None:
    frame = _frame(seed)
    capped = frame.assign(spend=frame["spend"].clip(upper=40))
    how = {"use_t": True, "equal_var": False}
    theirs = tt.Experiment(
        spend=tt.Mean("spend", **how),
        cuped=tt.Mean("spend", covariate="before", **how),
        ratio=tt.RatioOfMeans("spend", "visits", **how),
        variant="arm",
    ).analyze(capped, control="none")
    for name, metric, covariates in (
        ("spend", "spend", []),
        ("cuped", "spend", ["before"]),
        ("ratio", "spend/visits", []),
    ):
        found = analyze(frame, arm="arm", control="none", metrics=[metric], covariates=covariates, caps={"spend": 40})
        (row,) = found.metrics
        expected = theirs[name]
        assert (row.difference, row.ci_low, row.ci_high, row.p_value) == pytest.approx(
            (expected.effect_size, expected.effect_size_ci_lower, expected.effect_size_ci_upper, expected.pvalue),
            rel=1e-9,
        )


def test_how_many_were_capped_is_told_by_arm_and_that_it_was_declared() -> None:
    frame = _frame(1)
    frame.loc[:50, "spend"] = np.nan
    frame = frame.astype({"arm": object})
    frame.loc[60:70, "arm"] = None
    found = analyze(frame, arm="arm", control="none", metrics=["spend"], caps={"spend": 40.0})
    above = {arm: int((frame["spend"][frame["arm"] == arm] > 40).sum()) for arm in ("none", "mail")}
    (cap,) = found.caps
    assert (cap.metric, cap.cap, cap.share, cap.above) == ("spend", 40.0, None, above)
    (note,) = (note for note in found.notes if "declared cap of 40" in note)
    assert f"{above['mail']:,} of " in note
    assert "with 'mail'" in note


def test_a_share_is_that_quantile_of_all_arms_together() -> None:
    frame = _frame(2)
    by_share = analyze(frame, arm="arm", control="none", metrics=["spend"], caps={"spend": "99%"})
    amount = float(np.quantile(frame["spend"], 0.99))
    by_amount = analyze(frame, arm="arm", control="none", metrics=["spend"], caps={"spend": amount})
    assert (by_share.caps[0].cap, by_share.caps[0].share) == pytest.approx((amount, 0.99))
    assert by_share.metrics == by_amount.metrics
    assert any("0.99 quantile of all arms together" in note for note in by_share.notes)


def test_a_share_covers_the_difference_of_the_means_up_to_the_true_quantile() -> None:
    """The cap is estimated, and yet the interval that takes it as known covers; without a cap it is far wider."""
    big = _frame(99, rows=2_000_000, lift=0.3)
    cap = float(np.quantile(big["spend"], 0.98))
    means = big["spend"].clip(upper=cap).groupby(big["arm"]).mean()
    truth = means["mail"] - means["none"]
    held, widths = [], []
    for seed in range(300):
        frame = _frame(seed, rows=1000, lift=0.3)
        (row,) = analyze(frame, arm="arm", control="none", metrics=["spend"], caps={"spend": "98%"}).metrics
        (plain,) = analyze(frame, arm="arm", control="none", metrics=["spend"]).metrics
        held.append(row.ci_low <= truth <= row.ci_high)
        widths.append((row.ci_high - row.ci_low) / (plain.ci_high - plain.ci_low))
    assert 0.912 <= np.mean(held) <= 0.988  # three standard errors about 95%
    assert np.median(widths) < 0.85


@pytest.mark.parametrize(
    ("caps", "told"),
    [
        ({"spent": 4}, "unknown metric with a cap"),
        ({"spend": "much"}, "is no number"),
        ({"spend": "nan"}, "is no number"),
        ({"spend": "100%"}, "is no number"),
        ({"spend": "0%"}, "is no number"),
        ({"rare": "90%"}, "would leave nothing"),
        ({"empty": "90%"}, "would leave nothing"),
        ({"before": 3}, "unknown metric with a cap"),
    ],
)
def test_caps_that_cannot_be_are_told(caps: dict[str, float | str], told: str) -> None:
    frame = _frame(3).assign(rare=lambda each: (each.index % 20 == 0) * 5.0, empty=np.nan)
    with pytest.raises(InputError, match=told):
        analyze(frame, arm="arm", control="none", metrics=["spend", "rare", "empty"], covariates=["before"], caps=caps)
