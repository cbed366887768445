"""One look at an experiment: figures of real data, equality with tea-tasting, and what never changes a result."""

from __future__ import annotations

import dataclasses
import json
import math
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tea_tasting as tt
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.analysis import analyze
from experiments.results import MetricRow
from features.errors import InputError
from features.tables import read_table

KEYS = {
    *("metric", "arm", "control", "arm_mean", "control_mean", "difference", "ci_low", "ci_high", "p_value"),
    *("relative", "relative_ci_low", "relative_ci_high", "anytime_ci_low", "anytime_ci_high", "anytime_p_value"),
    *("adjusted_p_value", "n_arm", "n_control", "highest"),
    *("sequential_ci_low", "sequential_ci_high", "sequential_p_value"),
}


def _frame(seed: int, rows: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    before = rng.gamma(2, 3, rows)
    views = rng.poisson(5, rows) + 1
    return pd.DataFrame(
        {
            "arm": rng.choice(["none", "mail", "call"], rows),
            "before": before,
            "spend": 10 + before * rng.normal(0.5, 0.1) + rng.normal(size=rows) * 3,
            "bought": (rng.random(rows) < 0.3).astype(int),
            "views": views,
            "clicks": rng.binomial(views, 0.2),
            "views_before": rng.poisson(3, rows) + 1.0,
            "channel": rng.choice(["web", "store"], rows),
        }
    )


def test_hillstroms_published_figures(data) -> None:
    table = read_table(data("hillstrom/hillstrom.csv.gz"))
    found = analyze(
        table, arm="segment", control="No E-Mail", metrics=["visit", "conversion", "spend"], segments=["channel"]
    )
    assert [(each.arm, each.n) for each in found.arms] == [
        ("No E-Mail", 21306),
        ("Mens E-Mail", 21307),
        ("Womens E-Mail", 21387),
    ]
    assert (round(found.srm.p_value, 6), found.srm.status) == (0.903693, "green")
    published = {
        ("visit", "Mens E-Mail"): (0.106167, 0.182757, 0.07658956, 0.00338589),
        ("visit", "Womens E-Mail"): (0.106167, 0.151400, 0.04523311, 0.00323446),
        ("conversion", "Mens E-Mail"): (0.005726, 0.012531, None, None),
        ("conversion", "Womens E-Mail"): (0.005726, 0.008837, None, None),
        ("spend", "Mens E-Mail"): (0.652789, 1.422617, 0.76982716, 0.14524656),
        ("spend", "Womens E-Mail"): (0.652789, 1.077202, 0.42441222, 0.13033286),
    }
    for row in found.metrics:
        control, arm, difference, error = published[row.metric, row.arm]
        assert (row.control_mean, row.arm_mean) == pytest.approx((control, arm), abs=5e-7)
        if error is not None:
            half = (row.ci_high - row.ci_low) / 2 / 1.95998  # t with some 42,000 degrees of freedom
            assert (row.difference, half) == pytest.approx((difference, error), rel=3e-5)
    assert found.verdict.code == "roll_out"
    assert "Mens E-Mail" in found.verdict.sentence.split(":")[0]
    assert len(found.segments) == 3 * 3 * 2


def test_cuped_buys_nothing_on_hillstrom_and_the_note_says_so(data) -> None:
    table = read_table(data("hillstrom/hillstrom.csv.gz"))
    found = analyze(table, arm="segment", control="No E-Mail", metrics=["spend"], covariates=["history"])
    assert any("buys nothing" in note for note in found.notes)


def test_cookie_cats_gets_a_warning_and_no_verdict_that_overstates_it(data) -> None:
    table = read_table(data("cookie_cats/cookie_cats.csv.gz"))
    for final in (False, True):
        found = analyze(
            table, arm="test_version", control="gate_30", metrics=["retention_7", "retention_1"], final=final
        )
        assert found.srm.status == "yellow"
        assert found.verdict.code == "keep_running"
        assert "heck the split first" in found.verdict.sentence
    assert (round(found.metrics[0].control_mean, 4), round(found.metrics[0].arm_mean, 4)) == (0.1902, 0.1820)


def _close(row: MetricRow, theirs: object) -> None:
    names = {
        "control_mean": "control",
        "arm_mean": "treatment",
        "difference": "effect_size",
        "ci_low": "effect_size_ci_lower",
        "ci_high": "effect_size_ci_upper",
        "relative": "rel_effect_size",
        "relative_ci_low": "rel_effect_size_ci_lower",
        "relative_ci_high": "rel_effect_size_ci_upper",
        "p_value": "pvalue",
    }
    for ours, other in names.items():
        assert getattr(row, ours) == pytest.approx(getattr(theirs, other), rel=1e-9), ours


@pytest.mark.parametrize("seed", range(50))
def test_equals_tea_tasting(seed: int) -> None:
    frame = _frame(seed, rows=int(np.random.default_rng(seed).integers(150, 3000)))
    frame = frame[frame["arm"] != "call"]
    how = {"use_t": True, "equal_var": False}
    theirs = tt.Experiment(
        spend=tt.Mean("spend", **how),
        bought=tt.Mean("bought", **how),
        ratio=tt.RatioOfMeans("clicks", "views", **how),
        cuped=tt.Mean("spend", covariate="before", **how),
        ratio_cuped=tt.RatioOfMeans("clicks", "views", "before", "views_before", **how),
        variant="arm",
    ).analyze(frame, control="none")
    plain = analyze(frame, arm="arm", control="none", metrics=["spend", "bought", "clicks/views"]).metrics
    for row, name in zip(plain, ("spend", "bought", "ratio"), strict=True):
        _close(row, theirs[name])
    _close(
        analyze(frame, arm="arm", control="none", metrics=["spend"], covariates=["before"]).metrics[0], theirs["cuped"]
    )
    _close(
        analyze(frame, arm="arm", control="none", metrics=["clicks/views"], covariates=["before/views_before"]).metrics[
            0
        ],
        theirs["ratio_cuped"],
    )


def test_each_of_several_arms_equals_tea_tasting_on_its_own_pair() -> None:
    frame = _frame(77, rows=2000)
    theirs = tt.Experiment(
        cuped=tt.Mean("spend", covariate="before", use_t=True, equal_var=False), variant="arm"
    ).analyze(frame, control="none", all_variants=True)
    for row in analyze(frame, arm="arm", control="none", metrics=["spend"], covariates=["before"]).metrics:
        _close(row, theirs["none", row.arm]["cuped"])


def test_hillstrom_equals_tea_tasting(data) -> None:
    table = read_table(data("hillstrom/hillstrom.csv.gz"))
    names = ["visit", "conversion", "spend"]
    theirs = tt.Experiment(
        {name: tt.Mean(name, use_t=True, equal_var=False) for name in names}, variant="segment"
    ).analyze(table.to_pandas(), control="No E-Mail", all_variants=True)
    for row in analyze(table, arm="segment", control="No E-Mail", metrics=names).metrics:
        _close(row, theirs["No E-Mail", row.arm][row.metric])


METRICS = ["spend", "bought", "clicks/views"]


def _numbers(rows: tuple[MetricRow, ...]) -> np.ndarray:
    return np.array(
        [[value for value in dataclasses.astuple(row) if isinstance(value, float | int)] for row in rows], dtype=float
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_rows_changes_nothing(seed: int) -> None:
    frame = _frame(3, rows=800)
    shuffled = frame.sample(frac=1, random_state=seed)
    how = {"arm": "arm", "control": "none", "metrics": METRICS, "covariates": ["before"], "segments": ["channel"]}
    one, other = analyze(frame, **how), analyze(shuffled, **how)
    assert _numbers(other.metrics) == pytest.approx(_numbers(one.metrics), rel=1e-9)
    assert _numbers(other.segments) == pytest.approx(_numbers(one.segments), rel=1e-9)
    assert (other.verdict, other.arms, other.notes) == (one.verdict, one.arms, one.notes)


@settings(max_examples=20, deadline=None)
@given(st.permutations([0, 1, 2]), st.sampled_from([str, int, float, lambda code: f"arm {9 - code}"]))
def test_the_names_of_arms_change_nothing(places: list[int], named) -> None:
    frame = _frame(4)
    names = {arm: named(place) for arm, place in zip(("none", "mail", "call"), places, strict=True)}
    one = analyze(frame, arm="arm", control="none", metrics=METRICS)
    other = analyze(frame.assign(arm=frame["arm"].map(names)), arm="arm", control=names["none"], metrics=METRICS)
    text = {arm: str(int(name)) if isinstance(name, float) else str(name) for arm, name in names.items()}
    rows = {(row.metric, row.arm): row for row in other.metrics}
    for row in one.metrics:
        twin = rows[row.metric, text[row.arm]]
        assert _numbers((twin,)) == pytest.approx(_numbers((row,)), rel=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-6, 1e6))
def test_the_unit_of_money_scales_the_difference_and_nothing_else(unit: float) -> None:
    frame = _frame(5)
    how = {"arm": "arm", "control": "none", "metrics": ["spend"], "covariates": ["before"]}
    one, other = analyze(frame, **how), analyze(frame.assign(spend=frame["spend"] * unit), **how)
    for row, scaled in zip(one.metrics, other.metrics, strict=True):
        assert (scaled.difference, scaled.ci_low, scaled.anytime_ci_high) == pytest.approx(
            (row.difference * unit, row.ci_low * unit, row.anytime_ci_high * unit), rel=1e-9
        )
        assert (scaled.relative, scaled.p_value, scaled.anytime_p_value) == pytest.approx(
            (row.relative, row.p_value, row.anytime_p_value), rel=1e-9, nan_ok=True
        )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_swapping_arm_and_control_turns_the_sign(seed: int) -> None:
    frame = _frame(seed)
    frame = frame[frame["arm"] != "call"]
    one = analyze(frame, arm="arm", control="none", metrics=METRICS).metrics
    other = analyze(frame, arm="arm", control="mail", metrics=METRICS).metrics
    for row, back in zip(one, other, strict=True):
        assert (back.difference, back.ci_low, back.ci_high, back.anytime_ci_low) == pytest.approx(
            (-row.difference, -row.ci_high, -row.ci_low, -row.anytime_ci_high), rel=1e-9, nan_ok=True
        )
        assert back.p_value == pytest.approx(row.p_value, rel=1e-9)


def test_json_has_the_fixed_keys() -> None:
    found = analyze(_frame(6, rows=800), arm="arm", control="none", metrics=METRICS, segments=["channel"]).to_json()
    assert {"arms", "srm", "metrics", "segments", "verdict"} <= set(found)
    assert set(found["arms"][0]) == {"arm", "n", "planned_share"}
    assert set(found["srm"]) == {"p_value", "status"}
    assert set(found["metrics"][0]) == KEYS
    shrunk = {"shrunk_difference", "shrunk_ci_low", "shrunk_ci_high"}
    assert set(found["segments"][0]) == KEYS | shrunk | {"segment", "value"}
    assert set(found["verdict"]) == {"code", "sentence"}
    json.dumps(found, allow_nan=False)


def test_missing_values_are_left_out_by_metric_and_counted() -> None:
    frame = _frame(7).astype({"arm": object})
    frame.loc[:9, "spend"] = np.nan
    frame.loc[5:14, "arm"] = None
    frame.loc[20:24, "before"] = np.nan
    found = analyze(frame, arm="arm", control="none", metrics=["spend", "bought"], covariates=["before"])
    clean = frame.dropna(subset=["arm"]).assign(before=frame["before"].fillna(frame["before"].mean()))
    expected = [
        analyze(rows, arm="arm", control="none", metrics=[name], covariates=["before"]).metrics
        for name, rows in (("spend", clean.dropna(subset=["spend"])), ("bought", clean))
    ]
    for row, alone in zip(found.metrics, expected[0] + expected[1], strict=True):
        assert _numbers((row,)) == pytest.approx(
            _numbers((dataclasses.replace(alone, adjusted_p_value=row.adjusted_p_value),)), rel=1e-9
        )
    assert "10 rows have no arm and are left out." in found.notes
    assert "spend: 5 rows have no value and are left out of this metric." in found.notes
    assert "before: 5 missing values of this covariate stand at its mean." in found.notes


@pytest.mark.parametrize(
    ("arms", "control"),
    [
        ([0, 1], "0"),
        ([0.0, 1.0], 0),
        ([False, True], "False"),
        (["0", "1"], 0),
        (pd.Categorical(["c", "t"], categories=["unused", "t", "c"]), "c"),
        ([Decimal(1), Decimal(2)], "1"),
    ],
)
def test_arms_of_any_type(arms, control) -> None:
    frame = pd.DataFrame({"arm": list(arms) * 50, "y": np.arange(100) % 7})
    frame["arm"] = frame["arm"].astype("category") if isinstance(arms, pd.Categorical) else frame["arm"]
    found = analyze(frame, arm="arm", control=control, metrics=["y"])
    assert [each.n for each in found.arms] == [50, 50]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([True, False, None, True] * 25),
        pa.array([1, 0, None, 1] * 25, pa.int8()),
        pa.array([1, 0, None, 1] * 25, pa.uint64()),
        pa.array([1.0, 0.0, float("nan"), 1.0] * 25, pa.float32()),
        pa.array([Decimal("1.00"), Decimal("0.00"), None, Decimal("1.00")] * 25),
    ],
)
def test_metrics_of_any_type_of_number(column: pa.Array) -> None:
    table = pa.table({"arm": ["a", "a", "b", "b"] * 25, "y": column})
    found = analyze(table, arm="arm", control="a", metrics=["y"])
    (row,) = found.metrics
    assert (row.arm_mean, row.control_mean, row.n_arm, row.n_control) == (1.0, 0.5, 25, 50)
    assert found.rule.rates == ("y",)


def test_fifty_arms_and_not_one_more() -> None:
    table = pa.table({"arm": [f"{number % 50}" for number in range(1000)], "y": np.arange(1000.0) ** 1.5 % 11})
    table = table.append_column("unit", pa.array(range(1000)))
    assert len(analyze(table, arm="arm", control="0", metrics=["y"]).metrics) == 49
    with pytest.raises(InputError, match="too many values"):
        analyze(table, arm="unit", control="0", metrics=["y"])


BAD = {
    "unknown column": {"metrics": ["spent"]},
    "unknown part of a ratio": {"metrics": ["clicks/view"]},
    "unknown control": {"control": "nonne"},
    "no metric": {"metrics": []},
    "text as metric": {"metrics": ["channel"]},
    "text as covariate": {"covariates": ["channel"]},
    "one arm": {"arm": "constant"},
    "unknown arm in the split": {"planned": {"none": 0.4, "mail": 0.3, "phone": 0.3}},
    "an arm without a share": {"planned": {"none": 0.4, "mail": 0.6}},
    "a share of 0": {"planned": {"none": 0.4, "mail": 0.6, "call": 0}},
    "alpha": {"alpha": 1.0},
    "worth": {"worth": -1.0},
    "infinite": {"metrics": ["infinite"]},
    "no time": {"time": "channel"},
    "lower_is_better": {"lower_is_better": ["churn"]},
    "segment": {"segments": ["spend"]},
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_told_in_three_parts(case: str) -> None:
    frame = _frame(8).assign(constant="a", infinite=np.where(np.arange(400) == 7, np.inf, 1.0))
    with pytest.raises(InputError):
        analyze(frame, **{"arm": "arm", "control": "none", "metrics": ["spend"], **BAD[case]})
    with pytest.raises(InputError, match="no rows"):
        analyze(frame.iloc[:0], arm="arm", control="none", metrics=["spend"])


def test_what_cannot_be_computed_is_nan_and_named_in_a_note() -> None:
    frame = pd.DataFrame({"arm": ["a", "a", "b"], "one": [1.0, 2.0, 3.0], "same": [4, 4, 4], "none": [0, 0, 0]})
    found = analyze(frame, arm="arm", control="a", metrics=["one", "same", "one/none", "none"])
    assert all(math.isnan(row.p_value) and math.isnan(row.ci_low) for row in found.metrics)
    assert found.metrics[3].relative is None
    assert found.verdict.code == "keep_running"
    assert any("isn't above 0" in note for note in found.notes)


def test_a_cluster_in_several_arms_is_noted_and_the_split_checked_by_rows() -> None:
    frame = _frame(9).assign(household=np.arange(400) // 4)
    found = analyze(frame, arm="arm", control="none", metrics=["spend"], cluster="household")
    by_rows = analyze(frame, arm="arm", control="none", metrics=["spend"])
    assert found.srm == by_rows.srm
    assert any("clusters have rows in several arms" in note for note in found.notes)


def test_the_split_of_clusters_is_checked_by_clusters() -> None:
    # 100 households on each side, those of one arm twice as large: rows would be red, households are even.
    sizes = [2] * 100 + [1] * 100
    frame = pd.DataFrame(
        {"household": np.repeat(np.arange(200), sizes), "arm": np.repeat(["a"] * 100 + ["b"] * 100, sizes)}
    )
    frame["y"] = np.arange(300) % 5
    assert analyze(frame, arm="arm", control="a", metrics=["y"]).srm.status == "red"
    found = analyze(frame, arm="arm", control="a", metrics=["y"], cluster="household")
    assert (found.srm.status, found.srm.p_value) == ("green", 1.0)
    assert [(each.arm, each.n) for each in found.arms] == [("a", 200), ("b", 100)]


def test_segments_are_adjusted_among_themselves_and_blanks_are_a_segment() -> None:
    frame = _frame(10).astype({"channel": object})
    frame.loc[:39, "channel"] = None
    found = analyze(frame, arm="arm", control="none", metrics=["spend"], segments=["channel"])
    assert {row.value for row in found.segments} == {"web", "store", "(missing)"}
    alone = analyze(frame[frame["channel"] == "web"], arm="arm", control="none", metrics=["spend"]).metrics
    within = [row for row in found.segments if row.value == "web"]
    assert [row.ci_low for row in within] == pytest.approx([row.ci_low for row in alone], rel=1e-9)
    assert max(row.adjusted_p_value for row in found.segments) <= 1.0
    assert all(row.adjusted_p_value >= row.p_value for row in found.segments)
