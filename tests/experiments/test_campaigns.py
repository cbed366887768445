"""A campaign with an end: its looks by the verdict, on a bare table and from the command line."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.calibration.campaigns import decided
from experiments.analysis import analyze
from experiments.analysis.group_sequential import boundaries
from features.errors import InputError
from features.tables import write_table


def test_fourteen_looks_cost_a_campaign_hardly_any_power_and_the_naive_ways_err_or_see_little() -> None:
    # In full, benchmarks/calibration: naive .2195 and .876, Bonferroni .0219 and .544, group-sequential .0497 and .784,
    # the sequence .0099 and about .49.
    idle = decided(np.random.default_rng(51), runs=150, gain=False)
    told = decided(np.random.default_rng(52), runs=150, gain=True)
    assert idle["naive"][0] > 0.13
    assert idle["group_sequential"][0] < 0.10  # three standard errors above 5%
    assert idle["anytime"][0] <= idle["Bonferroni"][0] + 0.02 <= 0.09
    assert abs(told["group_sequential"][1] - 0.784) < 0.10
    assert told["anytime"][1] < told["Bonferroni"][1] + 0.05 < told["group_sequential"][1]


def _table(n: int, *, gain: float, seed: int = 3) -> pa.Table:
    rng = np.random.default_rng(seed)
    arm = rng.random(n) < 0.5
    return pa.table({"arm": np.where(arm, "personal", "static"), "spend": rng.normal(10, 4, n) + gain * arm})


def _look(table: pa.Table, **plan: object) -> tuple[str, float, float]:
    found = analyze(table, arm="arm", control="static", metrics=["spend"], **plan)  # type: ignore[arg-type]
    (row,) = found.metrics
    assert found.kind == found.rule.kind == "group_sequential"
    assert row.sequential_ci_low is not None and row.sequential_ci_high is not None
    return found.verdict.code, row.sequential_ci_low, row.sequential_ci_high


def test_the_interval_of_a_look_is_the_estimate_with_its_bound() -> None:
    table = _table(4_000, gain=0.3)
    _, low, high = _look(table, planned_units=10_000, looked_at=[2_000])
    fixed = analyze(table, arm="arm", control="static", metrics=["spend"], final=True).metrics[0]
    # With 4,000 units Student's t is the normal to three digits.
    ratio = boundaries([0.2, 0.4])[1] / 1.96
    assert (high - low) / (fixed.ci_high - fixed.ci_low) == pytest.approx(ratio, rel=3e-3)
    assert (low + high) / 2 == pytest.approx(fixed.difference, rel=1e-12)


def test_time_spends_as_units_do_and_the_end_spends_what_is_left() -> None:
    table = _table(4_000, gain=0.0)
    by_units = _look(table, planned_units=10_000, looked_at=[2_000])
    assert _look(table, elapsed=[0.2, 0.4], looked_at=[2_000]) == by_units
    end = _look(table, planned_units=10_000, looked_at=[2_000], final=True)
    assert end[2] - end[1] < 0.6 * (by_units[2] - by_units[1])


def test_a_single_look_at_the_end_is_the_planned_one_to_the_last_digit() -> None:
    table = _table(500, gain=0.5)
    one = analyze(table, arm="arm", control="static", metrics=["spend"], planned_units=400).metrics[0]
    fixed = analyze(table, arm="arm", control="static", metrics=["spend"], final=True).metrics[0]
    assert one.interval("group_sequential") == fixed.interval("fixed")
    assert one.p("group_sequential") == fixed.p("fixed")


def test_a_clear_gain_ends_a_campaign_early_and_an_unclear_end_says_so() -> None:
    code, low, _ = _look(_table(6_000, gain=0.5), planned_units=12_000, looked_at=[3_000])
    assert code == "roll_out" and low > 0
    found = analyze(_table(3_000, gain=0.0), arm="arm", control="static", metrics=["spend"], planned_units=3_000)
    assert found.verdict.code == "keep_running" and found.rule.last
    assert found.verdict.sentence.startswith("No clear answer at the end: ")
    assert "over all looks of the campaign" in found.verdict.sentence


def test_without_a_plan_there_is_no_such_interval_and_an_impossible_one_is_refused() -> None:
    table = _table(200, gain=0.0)
    (row,) = analyze(table, arm="arm", control="static", metrics=["spend"]).metrics
    assert (row.sequential_ci_low, row.sequential_ci_high, row.sequential_p_value) == (None, None, None)
    with pytest.raises(InputError, match="leave out a look"):
        _look(table, planned_units=100, looked_at=[150])


def test_the_command_takes_the_plan_and_shows_one_kind(rapport_cli, tmp_path) -> None:
    source, target = tmp_path / "units.parquet", tmp_path / "found.json"
    write_table(_table(4_000, gain=0.4), source)
    asked = ("analyze", source, "--arm", "arm", "--control", "static", "--metric", "spend", "--json", target)
    ran = rapport_cli(*asked, "--planned-units", "8000", "--looked-at", "1000", "--looked-at", "2500")
    assert ran.exit_code == 0, ran.stdout
    words = " ".join(ran.stdout.split())
    assert "over all looks of the campaign" in words and "however often" not in words
    found = json.loads(target.read_text())
    assert found["kind"] == "group_sequential"
    (row,) = found["metrics"]
    assert row["anytime_ci_low"] < row["sequential_ci_low"] < row["ci_low"]
    wrong = rapport_cli(*asked, "--planned-units", "8000", "--looked-at", "9000")
    assert wrong.exit_code != 0 and "don't ascend" in " ".join((wrong.stdout + wrong.stderr).split())


def test_cookie_cats_is_no_reason_to_move_the_gate_by_any_kind_of_look(data, rapport_cli, tmp_path) -> None:
    source, target = data("cookie_cats/cookie_cats.csv.gz"), tmp_path / "found.json"
    for plan in ((), ("--final",), ("--planned-units", "90189"), ("--planned-units", "200000", "--looked-at", "30000")):
        ran = rapport_cli(
            *("analyze", source, "--arm", "test_version", "--control", "gate_30"),
            *("--metric", "retention_7", "--metric", "retention_1", "--json", target, *plan),
        )
        assert ran.exit_code == 0, ran.stdout
        found = json.loads(target.read_text())
        words = " ".join(ran.stdout.split())
        assert found["srm"]["status"] == "yellow" and round(found["srm"]["p_value"], 4) == 0.0086
        assert (round(found["metrics"][0]["control_mean"], 4), round(found["metrics"][0]["arm_mean"], 4)) == (
            0.1902,
            0.182,
        )
        # Retention fell by every kind of interval; but somebody is missing, so neither stop nor roll out is said.
        assert found["verdict"]["code"] == "keep_running"
        assert "heck the split first" in words and "18.20%" in words and "19.02%" in words
