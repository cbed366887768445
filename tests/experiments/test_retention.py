"""Retention: equal to scipy where the method is the same; households, late entry and long holdouts hold their level."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks import retention as worlds
from experiments.retention import Survival, lapses, long_run, retention
from experiments.retention.survival import log_rank_parts
from features.errors import InputError
from features.tables import write_table

START = datetime(2026, 1, 5, tzinfo=UTC)
MOMENT = pa.timestamp("us", tz="UTC")


def _drawn(seed: int, *, n: int = 250) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    stays, watched = np.ceil(rng.exponential(10, n)), np.ceil(rng.uniform(1, 25, n))
    return np.minimum(stays, watched), stays <= watched


def _censored(time: np.ndarray, left: np.ndarray) -> stats.CensoredData:
    return stats.CensoredData(uncensored=time[left], right=time[~left])


@pytest.mark.parametrize("seed", range(5))
def test_the_curve_is_scipy_s(seed: int) -> None:
    time, left = _drawn(seed)
    curve, oracle = Survival.of(time, left), stats.ecdf(_censored(time, left)).sf
    found = [curve.share_at(each) for each in oracle.quantiles]
    assert found == pytest.approx(oracle.probabilities.tolist(), abs=1e-12)


@given(st.integers(0, 10_000), st.floats(1.0, 20.0))
@settings(max_examples=40, deadline=None)
def test_errors_are_greenwood_s_and_influence_values_have_the_estimate_as_mean(seed: int, at: float) -> None:
    time, left = _drawn(seed, n=60)
    curve = Survival.of(time, left)
    influence, mean = curve.share_influence(at), curve.mean_influence(at)
    assert influence.mean() == pytest.approx(curve.share_at(at), abs=1e-12)
    assert mean.mean() == pytest.approx(curve.mean_within(at), rel=1e-12)
    seen = (curve.times <= at) & (curve.at_risk > curve.events)
    sums = curve.events[seen] / (curve.at_risk[seen] * (curve.at_risk[seen] - curve.events[seen]))
    if curve.share_at(at) > 0:
        error = np.sqrt(((influence - influence.mean()) ** 2).sum()) / time.size
        assert error == pytest.approx(curve.share_at(at) * np.sqrt(sums.sum()), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_log_rank_test_is_scipy_s(seed: int) -> None:
    time, left = _drawn(seed)
    arm = np.random.default_rng(seed).random(time.size) < 0.4
    parts, variance = log_rank_parts(time, left, arm=arm)
    oracle = stats.logrank(_censored(time[arm], left[arm]), _censored(time[~arm], left[~arm]))
    assert parts.sum() / np.sqrt(variance) == pytest.approx(oracle.statistic, rel=1e-9)
    table = pa.table({"arm": np.where(arm, "b", "a"), "time": time, "left": left})
    row = retention(table, arm="arm", control="a", time="time", event="left").differences[0]
    assert row.p_value == pytest.approx(oracle.pvalue, rel=1e-9)


def test_the_mean_within_the_horizon_is_the_area_under_the_curve() -> None:
    time, left = _drawn(1)
    curve = Survival.of(time, left)
    fine = np.arange(0, 15, 0.001)
    assert curve.mean_within(15.0) == pytest.approx(sum(curve.share_at(each) for each in fine[::50]) * 0.05, rel=5e-3)


def test_days_gained_cover_the_truth_and_taking_all_as_gone_does_not() -> None:
    held = naive = 0
    for seed in range(60):
        table = worlds.members(n=1_500, rng=np.random.default_rng(seed))
        found = retention(table, arm="arm", control="static", time="days", event="left", horizon=worlds.HORIZON)
        row, (low, high) = found.differences[0], worlds.naive_gain(table)
        held += row.ci_low <= worlds.gained() <= row.ci_high
        naive += low <= worlds.gained() <= high
    assert held >= 53  # at 95%, fewer come about in 1.3% of all cases
    assert naive < held


def test_households_that_leave_alike_raise_no_false_alarm() -> None:
    rng = np.random.default_rng(3)
    rows = []
    for _ in range(60):
        table = worlds.members(n=1_000, rng=rng, means=worlds.ALIKE, household=8)
        rows.append(
            [
                retention(table, arm="arm", control="static", time="days", event="left", cluster=cluster)
                .differences[0]
                .p_value
                < 0.05
                for cluster in ("home", None)
            ]
        )
    by_home, alone = np.sum(rows, axis=0)
    assert by_home <= 8 and alone > by_home


def test_few_homes_of_unlike_sizes_claim_nothing_and_members_taken_as_alone_do() -> None:
    rng = np.random.default_rng(5)
    wrong = [worlds.wrong_of_few(worlds.households(homes=12, unlike=1.3, rng=rng)) for _ in range(60)]
    days, _, alone, _ = np.sum(wrong, axis=0)
    assert days <= 7  # at 5%, more come about in 1.0% of all cases
    assert alone >= 15


def test_too_few_homes_are_told_in_words() -> None:
    found = retention(
        worlds.households(homes=6, unlike=0.0, rng=np.random.default_rng(1)),
        arm="arm", control="static", time="days", event="left", cluster="home",
    )  # fmt: skip
    assert [note for note in found.notes if "'personal' holds 6 clusters: too few for any method" in note]


def test_a_share_where_nobody_has_left_is_no_certainty() -> None:
    rng = np.random.default_rng(1)
    table = pa.table({"arm": ["a", "b"] * 40, "t": rng.uniform(20, 30, 80), "e": [False] * 78 + [True] * 2})
    found = retention(table, arm="arm", control="a", time="t", event="e", horizon=20.0)
    first, *later = found.arms[0].curve
    assert (first.ci_low, first.ci_high) == (1.0, 1.0)
    # Wilson's of 40 of 40.
    assert later[0].ci_low == pytest.approx(stats.binomtest(40, 40).proportion_ci(method="wilson").low, abs=0.01)


def test_the_finding_is_told_with_its_numbers() -> None:
    table = worlds.members(n=6_000, rng=np.random.default_rng(1))
    found = retention(table, arm="arm", control="static", time="days", event="left", horizon=90)
    (row,) = found.differences
    assert row.ci_low > 0 and row.share_ci_low > 0 and row.p_value < 1e-4
    assert row.sentence.startswith("Customers stay longer with 'personal': by ") and "within 90" in row.sentence
    assert found.arms[0].curve[0].share == 1.0 and found.arms[0].curve[-1].time == 90
    shares = [each.share for each in found.arms[1].curve]
    assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize(
    ("columns", "options", "wrong"),
    [
        ({"t": [1.0, -1.0, 2.0, 3.0], "e": [0, 1, 1, 0]}, {}, "below 0"),
        ({"t": [1.0] * 4, "e": [0, 2, 1, 0]}, {}, "who left"),
        ({"t": [1.0] * 4, "e": [0] * 4}, {}, "nobody left"),
        ({"t": [1.0] * 4, "e": [1] * 4}, {"horizon": 9.0}, "horizon"),
        ({"t": [None, 1.0, None, 1.0], "e": [1] * 4}, {}, "too small"),
        ({"t": [1.0] * 4, "e": [1] * 4}, {"alpha": 0.7}, "alpha"),
    ],
)
def test_bad_input_is_told(columns: dict[str, Any], options: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        retention(
            pa.table({"arm": ["a", "b", "a", "b"], **columns}), arm="arm", control="a", time="t", event="e", **options
        )


def test_a_customer_lapses_once_so_many_days_passed_and_is_watched_until_then() -> None:
    def at(*days: float) -> pa.Array:
        return pa.array([START + timedelta(days=day) for day in days], MOMENT)

    assignments = pa.table(
        {"customer_id": ["never", "once", "back", "new"], "arm": ["a"] * 4, "assigned_at": at(0, 0, 0, 80)}
    )
    bought = [("once", 20.0), ("back", 10.0), ("back", 70.0), ("back", 99.5), ("new", 85.0), ("never", -3.0)]
    events = pa.table(
        {
            "event_id": [f"e{place}" for place in range(len(bought))],
            "customer_id": [who for who, _ in bought],
            "kind": ["purchase"] * len(bought),
            "occurred_at": at(*(day for _, day in bought)),
            "recorded_at": at(*(day + (5 if day == 99.5 else 0) for _, day in bought)),
        }
    )
    found = lapses(assignments, events, gap=timedelta(days=30), as_of=START + timedelta(days=100))
    rows = {row["customer_id"]: (row["days"], row["lapsed"]) for row in found.to_pylist()}
    assert rows == {"never": (30.0, True), "once": (50.0, True), "back": (40.0, True), "new": (20.0, False)}
    with pytest.raises(InputError, match="gap"):
        lapses(assignments, events, gap=timedelta(0), as_of=START)


def test_over_quarters_the_band_of_the_sum_holds_and_adding_up_naively_does_not() -> None:
    wrong = [
        worlds.ever_wrong(worlds.quarters(customers=400, periods=8, rng=np.random.default_rng(seed)))
        for seed in range(60)
    ]
    ours, naive = np.sum(wrong, axis=0)
    assert ours <= 7 and naive >= 15


def test_a_quarter_is_a_difference_of_means_and_the_sum_adds_them_up() -> None:
    table = worlds.quarters(customers=2_000, periods=3, rng=np.random.default_rng(1), effect=4.0)
    found = long_run(table, customer="customer", period="quarter", held="held", value="worth")
    frame = table.to_pandas().groupby(["quarter", "held"])["worth"].mean().unstack()
    apart = (frame[False] - frame[True]).to_numpy()
    assert [each.difference for each in found.periods] == pytest.approx(apart.tolist(), rel=1e-9)
    assert [each.total for each in found.periods] == pytest.approx(np.cumsum(apart).tolist(), rel=1e-9)
    first = found.periods[0]
    sides = [table.to_pandas().query(f"quarter == '2026-Q1' and held == {held}")["worth"] for held in (False, True)]
    error = np.sqrt(sum(side.var() / len(side) for side in sides))
    # No narrower than Welch's; a little wider where the values of those withheld are less spread than all.
    assert 0.998 <= (first.ci_high - first.ci_low) / 2 / (1.961 * error) <= 1.05
    assert "pays" in found.sentence


def test_households_count_once_in_the_long_run() -> None:
    rng = np.random.default_rng(1)
    home = np.repeat(np.arange(300), 4)
    table = pa.table(
        {
            "c": np.arange(1_200), "home": home, "q": ["2026-Q1"] * 1_200, "held": (rng.random(300) < 0.3)[home],
            "v": rng.normal(size=300)[home],
        }
    )  # fmt: skip
    alone, whole = (
        long_run(table, customer="c", period="q", held="held", value="v", cluster=cluster).periods[0]
        for cluster in (None, "home")
    )
    assert whole.ci_high - whole.ci_low == pytest.approx(2 * (alone.ci_high - alone.ci_low), rel=0.05)


@pytest.mark.parametrize(
    ("held", "wrong"), [([0, 2] * 50, "who was withheld"), ([0] * 90 + [1] * 10, "too few are withheld")]
)
def test_a_holdout_that_cannot_tell_is_refused(held: list[int], wrong: str) -> None:
    table = pa.table({"c": np.arange(100), "q": ["Q1"] * 100, "held": held, "v": np.ones(100)})
    with pytest.raises(InputError, match=wrong):
        long_run(table, customer="c", period="q", held="held", value="v")


def test_the_commands_print_and_write(tmp_path: Path, rapport_cli: Callable[..., Any]) -> None:
    path, out = tmp_path / "t.csv", tmp_path / "t.json"
    write_table(worlds.members(n=2_000, rng=np.random.default_rng(1)), path)
    ran = rapport_cli(
        *("retention", path, "--arm", "arm", "--control", "static", "--time", "days", "--event", "left"),
        *("--cluster", "home", "--horizon", 90, "--json", out),
    )
    assert ran.exit_code == 0, ran.stderr
    assert "still there" in ran.stdout and "log-rank" in ran.stdout
    assert json.loads(out.read_text(encoding="utf-8"))["horizon"] == 90
    write_table(worlds.quarters(customers=300, periods=2, rng=np.random.default_rng(1)), path)
    ran = rapport_cli(
        *("holdout", path, "--customer", "customer", "--period", "quarter", "--held", "held", "--value", "worth"),
        *("--json", out),
    )
    assert ran.exit_code == 0, ran.stderr
    assert "since the start" in ran.stdout and len(json.loads(out.read_text(encoding="utf-8"))["periods"]) == 2


def test_a_log_rank_test_that_cannot_be_made_is_told_in_words(tmp_path: Path, rapport_cli: Callable[..., Any]) -> None:
    """Where all leave at one time, the test has no variance; nobody is to read a p-value that is no number."""
    path = tmp_path / "t.csv"
    write_table(pa.table({"arm": ["static", "new"] * 60, "days": [30] * 120, "left": [1] * 120}), path)
    ran = rapport_cli("retention", path, "--arm", "arm", "--control", "static", "--time", "days", "--event", "left")
    assert ran.exit_code == 0, ran.stderr
    told = " ".join(ran.stdout.split())
    assert "(too few left at different times for a log-rank test)" in told and "nan" not in told


def test_one_day_is_told_in_the_singular() -> None:
    rng = np.random.default_rng(4)
    table = pa.table(
        {"arm": ["a", "b"] * 200, "days": np.ceil(rng.exponential(4, 400)), "left": rng.integers(0, 2, 400)}
    )
    found = retention(table, arm="arm", control="a", time="days", event="left", horizon=1)
    assert "; after 1 day " in found.differences[0].sentence


@pytest.mark.parametrize(
    "periods",
    [
        ["Q3 2025", "Q4 2025", "Q1 2026", "Q2 2026"],
        ["2025-Q4", "2026-Q1", "2026-Q2"],
        ["November 2025", "Dec 2025", "Jan 2026", "March 2026"],
        ["week 51 2025", "week 2 2026", "week 10 2026"],
        ["2025-12-01", "2026-01-01", "2026-02-01"],
        ["before", "since"],
    ],
)
def test_periods_come_in_the_order_of_time(periods: list[str]) -> None:
    rng = np.random.default_rng(5)
    rows = [(f"c{place}", period, place % 2) for period in reversed(periods) for place in range(100)]
    who, when, held = zip(*rows, strict=True)
    table = pa.table({"id": who, "period": when, "held": held, "worth": rng.normal(10, 1, len(rows))})
    found = long_run(table, customer="id", period="period", held="held", value="worth")
    assert [each.period for each in found.periods] == periods
