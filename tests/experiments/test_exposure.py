"""The exposed: more exact than all units, the same when diluted; not trusted where the arm decides who they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from experiments.analysis import analyze
from experiments.analysis.balance import exposure_ratio
from experiments.results import ExposedRow, MetricRow
from features.errors import InputError


def _frame(seed: int, rows: int = 4000, share: float = 0.2, effect: float = 1.0, pull: float = 0.0) -> pd.DataFrame:
    """``pull``: by how much the arm makes it likelier to be exposed."""
    rng = np.random.default_rng(seed)
    mail = rng.random(rows) < 0.5
    seen = rng.random(rows) < share + pull * mail
    spend = rng.gamma(2, 5, rows) + effect * (mail & seen)
    return pd.DataFrame(
        {
            "arm": np.where(mail, "mail", "none"),
            "seen": seen.astype(int),
            "spend": spend,
            "views": rng.poisson(3, rows) + 1,
            "household": np.arange(rows) // 2,
        }
    )


def _both(frame: pd.DataFrame, **more: object) -> tuple[MetricRow, ExposedRow]:
    found = analyze(frame, arm="arm", control="none", metrics=["spend"], exposed="seen", **more)
    assert found.exposure is not None
    return found.metrics[0], found.exposure.metrics[0]


def test_the_row_among_the_exposed_is_the_analysis_of_them_alone() -> None:
    frame = _frame(1)
    _, row = _both(frame)
    alone = analyze(frame[frame["seen"] == 1], arm="arm", control="none", metrics=["spend"]).metrics[0]
    assert (row.difference, row.ci_low, row.anytime_ci_high) == (alone.difference, alone.ci_low, alone.anytime_ci_high)
    assert row.diluted == pytest.approx(frame["seen"].mean() * alone.difference, rel=1e-12)


def test_diluted_covers_what_it_brings_per_unit_of_all_and_is_narrower_than_all() -> None:
    held, naive, narrower = [], [], []
    truth = 0.2 * 3.0
    for seed in range(200):
        headline, row = _both(_frame(seed, rows=2000, effect=3.0), final=True)
        assert row.diluted_ci_low is not None
        assert row.diluted_ci_high is not None
        held.append(row.diluted_ci_low <= truth <= row.diluted_ci_high)
        naive.append(row.ci_low <= truth <= row.ci_high)  # the effect among the exposed, read as that of everybody
        narrower.append((row.diluted_ci_high - row.diluted_ci_low) / (headline.ci_high - headline.ci_low))
    assert 0.904 <= np.mean(held) <= 0.996  # three standard errors about 95%
    assert np.mean(naive) < 0.1
    assert np.mean(narrower) < 0.6


def test_an_arm_that_decides_who_is_exposed_is_seen_and_all_units_stay_the_headline() -> None:
    reds = 0
    for seed in range(20):
        found = analyze(
            _frame(seed, rows=20_000, pull=0.05), arm="arm", control="none", metrics=["spend"], exposed="seen"
        )
        assert found.exposure is not None
        reds += found.exposure.status == "red"
        assert found.verdict.code != "do_not_trust"
    assert reds >= 19
    assert "Do not trust the effect among the exposed" in found.exposure.sentence


def test_clean_exposure_is_hardly_ever_red_however_often_it_is_looked_at() -> None:
    rng = np.random.default_rng(2)
    red = chi_square = 0
    for _ in range(500):
        arms, seen = rng.random(10_000) < 0.5, rng.random(10_000) < 0.3
        looks = [exposure_ratio(*_counted(arms[:n], seen[:n]), [0.5, 0.5]) for n in range(500, 10_001, 500)]
        red += any(look.status == "red" for look in looks)
        chi_square += any(look.p_value < 0.001 for look in looks)
    # At most 0.1% of runs are red for ever; a chi-square at that level is wrong in several times as many.
    assert red <= 1
    assert chi_square >= 2


def _counted(arms: np.ndarray, seen: np.ndarray) -> tuple[list[int], list[int]]:
    return [int((seen & ~arms).sum()), int((seen & arms).sum())], [int((~arms).sum()), int(arms.sum())]


def test_clusters_are_counted_as_drawn_and_ratios_have_no_diluted_difference() -> None:
    rng = np.random.default_rng(3)
    frame = _frame(4)
    frame["arm"] = np.repeat(rng.choice(["none", "mail"], 2000), 2)
    found = analyze(
        frame, arm="arm", control="none", metrics=["spend", "spend/views"], exposed="seen", cluster="household"
    )
    assert found.exposure is not None
    assert found.exposure.status == "green"
    assert found.exposure.metrics[1].diluted is None
    assert found.exposure.metrics[0].diluted is not None


@pytest.mark.parametrize(("column", "told"), [("views", "doesn't say who"), ("never", "nobody is exposed")])
def test_columns_that_say_nothing_of_exposure_are_refused(column: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        analyze(_frame(5).assign(never=0), arm="arm", control="none", metrics=["spend"], exposed=column)


def test_the_exposed_of_a_ramp_are_refused() -> None:
    with pytest.raises(InputError, match="exposed of a ramp"):
        analyze(_frame(7), arm="arm", control="none", metrics=["spend"], exposed="seen", ramp="views")


def test_a_missing_exposure_is_none() -> None:
    frame = _frame(6).astype({"seen": object})
    one, other = frame.copy(), frame.copy()
    one.loc[:99, "seen"], other.loc[:99, "seen"] = None, 0
    assert _both(one.astype({"seen": float}))[1] == _both(other.astype({"seen": float}))[1]
