"""Estimates under a bandit, against sums by hand; right where the naive way is wrong (E3 to E5, quick forms)."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.calibration import bandits, hadad
from experiments.adaptive import action_values, analyze_bandit
from experiments.adaptive.chances import Fit
from experiments.adaptive.scores import arm_scores, running_mean
from experiments.adaptive.sums import Sums, arm_value, contrast
from experiments.adaptive.weights import constant_allocation, known_before, two_point, uniform
from experiments.analysis import analyze
from experiments.analysis.sequential import sequence_half_width
from features.errors import InputError

ARMS = ("static", "mail", "call")


def log_of(rows: int = 6_000, *, seed: int = 1, lift: float = 0.3, **more: Any) -> pa.Table:
    """A log of Thompson sampling in batches of 200: 5% convert, with a call ``lift`` more."""
    world = bandits.WORLDS[0]
    logs = bandits.simulate(np.random.default_rng(seed), world, lift=lift, runs=1)
    chances = logs.chances[0, :, :rows]
    return pa.table(
        {
            "action": np.array(ARMS)[logs.action[0, :rows]],
            "buy": logs.reward[0, 0, :rows],
            "day": np.arange(rows) // 500,
            **{f"p_{name}": chance for name, chance in zip(ARMS, chances, strict=True)},
            **more,
        }
    )


def test_running_means_and_scores_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(1)
    action, reward, chance = rng.integers(0, 2, 40), rng.normal(size=40), rng.uniform(0.2, 0.8, 40)
    chosen = action == 1
    expected = running_mean(chosen, reward)
    for row in range(1, 40):
        own = reward[:row][chosen[:row]]
        assert expected[row] == pytest.approx((own.sum() + reward[:row].mean()) / (own.size + 1))
    scores = arm_scores(chosen, reward, chance=chance, expected=expected)
    for row in range(40):
        correction = (reward[row] - expected[row]) / chance[row] if chosen[row] else 0.0
        assert scores[row] == pytest.approx(expected[row] + correction)


@pytest.mark.parametrize("decay", [0.0, 0.7])
def test_two_point_weights_break_the_stick_row_by_row(decay: float) -> None:
    chance = np.random.default_rng(2).uniform(0.05, 0.9, 60)
    left, found = 1.0, two_point(chance, decay=decay)
    for row, each in enumerate(chance, start=1):
        falling = row**-decay / (row**-decay + (60 ** (1 - decay) - row ** (1 - decay)) / (1 - decay))
        part = min((1 - each) * falling + each / (1 + 60 - row), 1.0)
        assert found[row - 1] == pytest.approx(np.sqrt(left * part * each))
        left *= 1 - part
    if decay == 0.0:
        np.testing.assert_allclose(found * np.sqrt(60), constant_allocation(chance), rtol=1e-12)


def _sums(action: np.ndarray, reward: np.ndarray, chances: np.ndarray, weight: np.ndarray, **more: Any) -> Sums:
    scores = [
        arm_scores(action == arm, reward, chance=chances[arm], expected=running_mean(action == arm, reward))
        for arm in (0, 1)
    ]
    chosen = np.stack([action == arm for arm in (0, 1)])
    return Sums.of(np.stack(scores)[:, None], weight=weight, chance=chances, chosen=chosen, reward=reward[None], **more)


def test_where_chances_never_move_it_is_the_comparison_of_means() -> None:
    rng = np.random.default_rng(3)
    action, reward = rng.integers(0, 2, 20_000), rng.exponential(size=20_000)
    reward += 0.1 * action
    chances = np.full((2, 20_000), 0.5)
    found = contrast(_sums(action, reward, chances, uniform(chances)))
    row = analyze(pa.table({"arm": action, "y": reward}), arm="arm", control="0", metrics=["y"]).metrics[0]
    # The two differ by what chance made of the arms' sizes, and by the first rows' poor guesses.
    assert found.difference == pytest.approx(row.difference, abs=0.1 * float(found.error))
    assert 2 * 1.96 * float(found.error) == pytest.approx(row.ci_high - row.ci_low, rel=0.02)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1_000), cut=st.integers(1, 59), clustered=st.booleans())
def test_sums_of_parts_add_up_and_errors_are_those_of_a_brute_force(seed: int, cut: int, clustered: bool) -> None:
    rng = np.random.default_rng(seed)
    scores, weight, chance = rng.normal(size=(2, 1, 60)), rng.uniform(0.1, 1, (2, 60)), rng.uniform(0.1, 1, (2, 60))
    chosen, reward = rng.random((2, 60)) < 0.5, rng.normal(size=(1, 60))
    parts = [
        Sums.of(
            scores[..., part], weight=weight[:, part], chance=chance[:, part], chosen=chosen[:, part],
            reward=reward[:, part],
        )
        for part in (slice(0, cut), slice(cut, None))
    ]  # fmt: skip
    cluster = rng.integers(0, 20, 60)
    whole = Sums.of(
        scores, weight=weight, chance=chance, chosen=chosen, reward=reward,
        cluster=np.unique(cluster, return_inverse=True)[1] if clustered else None,
    )  # fmt: skip
    np.testing.assert_allclose((parts[0] + parts[1]).values, whole.values, rtol=1e-9)
    values = (weight * scores[:, 0]).sum(axis=1) / weight.sum(axis=1)
    influence = weight * (scores[:, 0] - values[:, None]) / weight.sum(axis=1, keepdims=True)
    apart = influence[1] - influence[0]
    if clustered:
        apart = np.bincount(cluster, weights=apart)
    observed = whole.observed_error(np.array([[-1.0], [1.0]]))
    assert float(observed) == pytest.approx(float(np.sqrt(apart @ apart)), rel=1e-9)
    assert float(contrast(whole).difference) == pytest.approx(values[1] - values[0], rel=1e-9)


def test_an_arm_with_few_rewards_borrows_variance_from_all() -> None:
    """A hundred starved decisions without a purchase are no proof that nobody ever buys."""
    rows = 4_000
    action = (np.arange(rows) % 40 == 0).astype(int)
    reward = np.where(action == 1, 0.0, np.random.default_rng(4).random(rows) < 0.05).astype(float)
    chances = np.stack([np.full(rows, 39 / 40), np.full(rows, 1 / 40)])
    sums = _sums(action, reward, chances, uniform(chances))
    seen = float(sums.observed_error(np.array([[-1.0], [1.0]])))
    assert float(contrast(sums).error) > 2 * seen


def test_rare_rewards_of_a_seldom_chosen_action_are_no_proof_that_nobody_buys() -> None:
    """Three in a thousand buy, whatever is done; one decision in twenty is for the action."""
    rng, rows, runs = np.random.default_rng(7), 12_000, 60
    chances, wrong, seen = np.stack([np.full(rows, 0.95), np.full(rows, 0.05)]), 0, 0
    for _ in range(runs):
        action, reward = (rng.random(rows) < 0.05).astype(int), (rng.random(rows) < 0.003).astype(float)
        missed = [False, False]
        for upto in range(2_000, rows + 1, 2_000):
            part = chances[:, :upto]
            sums = _sums(action[:upto], reward[:upto], part, uniform(part))
            found = contrast(sums)
            for place, error in enumerate((found.error, sums.observed_error(np.array([[-1.0], [1.0]])))):
                missed[place] |= abs(found.difference) > sequence_half_width(float(error), upto, alpha=0.05)
        wrong, seen = wrong + missed[0], seen + missed[1]
    assert wrong <= 0.05 * runs
    assert seen >= 0.15 * runs


def test_a_weight_never_knows_the_chance_of_its_own_block() -> None:
    chance = np.random.default_rng(5).uniform(0.05, 0.9, (2, 500))
    changed = chance.copy()
    changed[:, 300:] = 0.5
    known, other = (known_before(each, block=100, start=0.5) for each in (chance, changed))
    np.testing.assert_array_equal(known[:, :400], other[:, :400])


def test_after_the_bandit_of_hadad_the_sample_mean_misses_and_the_scores_do_not() -> None:
    # Nominal 90%, s.e. 1.7 points in 300 runs; the full form of 2,000 runs of 5,000 and 10,000 rows is a benchmark.
    found = hadad.measure(np.random.default_rng(6), runs=300, rows=(2_000,))[2_000]
    assert abs(found["two-point allocation"] - 0.90) < 0.05
    assert found["sample mean"] < 0.86
    assert found["bias"] < -0.01


@pytest.mark.parametrize("world", bandits.WORLDS, ids=lambda each: str(each.name))
def test_looking_is_safe_and_estimates_unbiased_while_a_bandit_moves_the_traffic(world: bandits.BanditWorld) -> None:
    """E3 to E5. In 150 runs, 5% has a standard error of 1.8 points, and a bias one of .08 standard errors."""
    found = bandits.measure(np.random.default_rng(7), world, lift=0.1, runs=150)
    missed, naive = found.missed()
    assert missed <= 0.05 + 2 * 0.018
    assert naive > 0.2
    assert found.bias()[0] < 0.1 + 2 * 0.082
    assert found.least.min() >= bandits.FLOOR


def test_the_same_keys_as_an_analysis_of_a_split() -> None:
    table = log_of()
    found = analyze_bandit(table, arm="action", control="static", metrics=["buy"], time="day")
    other = analyze(table, arm="action", control="static", metrics=["buy"], time="day")
    assert found.to_json().keys() == other.to_json().keys()
    assert [row.arm for row in found.metrics] == [row.arm for row in other.metrics]
    assert found.srm.status == "green"
    assert other.verdict.code == "do_not_trust"
    assert sum(each.planned_share for each in found.arms) == pytest.approx(1.0)


def test_each_look_is_the_analysis_of_the_rows_until_then() -> None:
    table = log_of()
    found = analyze_bandit(table, arm="action", control="static", metrics=["buy"], time="day")
    for look in found.looks[2::5]:
        until = table.filter(pa.array(np.asarray(table["day"]) <= int(look.until)))
        row = next(
            row
            for row in analyze_bandit(until, arm="action", control="static", metrics=["buy"]).metrics
            if row.arm == look.arm
        )
        assert (look.difference, look.anytime_ci_low) == pytest.approx((row.difference, row.anytime_ci_low), rel=1e-9)


def test_rows_are_put_in_the_order_of_time_and_ratios_segments_and_clusters_are_read() -> None:
    rng = np.random.default_rng(8)
    table = log_of(who=rng.integers(0, 3_000, 6_000), region=rng.choice(["north", "south"], 6_000), one=np.ones(6_000))
    table = table.set_column(table.column_names.index("day"), "day", pa.array(np.arange(6_000)))
    how: dict[str, Any] = {"arm": "action", "control": "static", "metrics": ["buy", "buy/one"], "time": "day"}
    found = analyze_bandit(table, cluster="who", segments=["region"], **how)
    again = analyze_bandit(table.take(pa.array(rng.permutation(6_000))), cluster="who", segments=["region"], **how)
    assert found.metrics == again.metrics
    plain, ratio = found.metrics[:2], found.metrics[2:]
    # Before the first row nothing is expected, of what is always 1 either.
    assert [row.difference for row in ratio] == pytest.approx([row.difference for row in plain], rel=0.01)
    assert {(row.segment, row.value) for row in found.segments} == {("region", "north"), ("region", "south")}
    assert any("share a 'who'" in note for note in found.notes)


def test_what_is_known_of_customers_narrows_the_interval() -> None:
    rng = np.random.default_rng(9)
    known = rng.normal(size=6_000)
    table = log_of(known=known, spend=5.0 * known + rng.normal(size=6_000))
    how: dict[str, Any] = {"arm": "action", "control": "static", "metrics": ["spend"]}
    plain, modelled = (analyze_bandit(table, covariates=each, **how).metrics[0] for each in ([], ["known"]))
    assert abs(modelled.difference) < modelled.ci_high - modelled.difference
    assert modelled.ci_high - modelled.ci_low < 1.02 * (plain.ci_high - plain.ci_low)


def test_where_chances_depend_on_the_customer_values_are_those_of_all_customers() -> None:
    """A policy that calls the rich: those called spend more, though calls do nothing."""
    rng, rows = np.random.default_rng(10), 20_000
    rich = rng.normal(size=rows)
    call = 1 / (1 + np.exp(-1.5 * rich))
    chances = 0.05 + 0.9 * np.stack([1 - call, call])
    action = (rng.random(rows) < chances[1]).astype(int)
    table = pa.table(
        {
            "action": np.array(["static", "call"])[action],
            "spend": 3 * rich + rng.normal(size=rows),
            "p_static": chances[0],
            "p_call": chances[1],
        }
    )
    row = analyze_bandit(table, arm="action", control="static", metrics=["spend"]).metrics[0]
    naive = analyze(table, arm="action", control="static", metrics=["spend"]).metrics[0]
    assert row.ci_low <= 0 <= row.ci_high
    assert naive.ci_low > 2


def test_chances_that_did_not_choose_are_found() -> None:
    table = log_of()
    shuffled = np.random.default_rng(11).permutation(6_000)
    wrong = table
    for name in ARMS:
        place = wrong.column_names.index(f"p_{name}")
        wrong = wrong.set_column(place, f"p_{name}", table[f"p_{name}"].take(pa.array(shuffled)))
    found = analyze_bandit(wrong, arm="action", control="static", metrics=["buy"])
    assert found.verdict.code == "do_not_trust"
    assert "can't have been drawn" in found.verdict.sentence


def test_right_chances_are_hardly_ever_doubted_though_looked_at_often() -> None:
    rng, runs = np.random.default_rng(12), 300
    doubted = 0
    for _ in range(runs):
        chance = rng.uniform(0.02, 0.98, 2_000)
        chosen = rng.random(2_000) < chance
        looks = [Fit.of([chosen[:n], ~chosen[:n]], [chance[:n], 1 - chance[:n]]).status for n in range(200, 2_001, 200)]
        doubted += "red" in looks
    assert doubted <= 2  # one in a thousand is promised


def test_a_starved_arm_and_one_that_was_not_eligible_are_told() -> None:
    table = log_of()
    few = np.full(6_000, 0.002)
    starved = table.set_column(table.column_names.index("p_mail"), "p_mail", pa.array(few))
    rest = 1 - few - np.asarray(table["p_call"])
    starved = starved.set_column(table.column_names.index("p_static"), "p_static", pa.array(rest))
    notes = analyze_bandit(starved, arm="action", control="static", metrics=["buy"]).notes
    assert any("'mail' was starved: its chance fell to 0.002" in note for note in notes)

    mail = np.asarray(table["action"]) == "mail"
    nowhere = table.filter(pa.array(~mail | (np.arange(6_000) < 3_000)))
    chances = np.stack([np.asarray(nowhere[f"p_{name}"]) for name in ARMS])
    late = np.arange(nowhere.num_rows) >= 3_000
    chances[1, late] = 0.0
    chances /= chances.sum(axis=0)
    for name, chance in zip(ARMS, chances, strict=True):
        nowhere = nowhere.set_column(nowhere.column_names.index(f"p_{name}"), f"p_{name}", pa.array(chance))
    notes = analyze_bandit(nowhere, arm="action", control="static", metrics=["buy"]).notes
    assert any("'mail' had no chance in" in note for note in notes)


def _without(table: pa.Table, name: str) -> pa.Table:
    return table.drop_columns([name])


def _set(table: pa.Table, name: str, value: float) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(np.full(table.num_rows, value)))


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (lambda table: _without(table, "p_mail"), {}, "no column of its chances: 'mail'"),
        (lambda table: _set(table, "p_mail", 1.5), {}, "holds no chances"),
        (lambda table: _set(table, "p_mail", 0.9), {}, "don't add up to 1"),
        (lambda table: table, {"planned": {"static": 0.5}}, "no planned split"),
        (lambda table: table, {"metrics": []}, "no metric"),
        (lambda table: table, {"alpha": 2.0}, "alpha"),
        (lambda table: table, {"probabilities": "chance_"}, "no column of its chances"),
    ],
)
def test_bad_input_is_told_in_words(change: Callable[[pa.Table], pa.Table], options: dict[str, Any], said: str) -> None:
    how = {"arm": "action", "control": "static", "metrics": ["buy"]} | options
    with pytest.raises(InputError, match=said):
        analyze_bandit(change(log_of(rows=1_000)), **how)


def test_an_action_taken_without_a_chance_is_refused() -> None:
    chances = {"p_a": [0.0, 0.5, 0.5], "p_b": [1.0, 0.5, 0.5]}
    with pytest.raises(InputError, match="its chance is 0"):
        analyze_bandit(
            pa.table({"action": ["a", "a", "b"], "y": [1.0, 2.0, 3.0], **chances}),
            arm="action",
            control="a",
            metrics=["y"],
        )


def test_the_value_of_each_action_beside_another() -> None:
    found = action_values(log_of(), arm="bandit", action="action", reward="buy", reference="static", time="day")
    assert [each.decisions for each in found] == sorted((each.decisions for each in found), reverse=True)
    for each in found:
        assert each.ci_low < each.value < each.ci_high
        assert (each.difference is None) == (each.action == "static")
        assert each.ci_low <= (0.065 if each.action == "call" else 0.05) <= each.ci_high
    assert action_values(log_of(), arm="b", action="action", reward="buy", reference="never", time="day") == ()
    leading = action_values(log_of(), arm="bandit", action="action", reward="buy", time="day")
    assert leading[0].action == leading[0].reference
    assert leading[0].difference is None


def test_one_arm_alone_has_a_value_of_its_own() -> None:
    ones = np.ones((1, 50))
    reward = np.random.default_rng(13).normal(3.0, 1.0, 50)
    value, error = arm_value(
        Sums.of(reward[None, None], weight=ones, chance=ones, chosen=ones > 0, reward=reward[None])
    )
    assert float(value) == pytest.approx(reward.mean())
    assert float(error) == pytest.approx(reward.std() / 50**0.5)


def test_the_command_reads_a_log_of_a_bandit(tmp_path: Path, rapport_cli: Callable[..., Any]) -> None:
    table = log_of(rows=3_000)
    with (tmp_path / "log.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, table.column_names)
        writer.writeheader()
        writer.writerows(table.to_pylist())
    told = rapport_cli(
        "analyze", tmp_path / "log.csv", "--arm", "action", "--control", "static", "--metric", "buy",
        "--probabilities", "p_", "--json", tmp_path / "found.json",
    )  # fmt: skip
    assert told.exit_code == 0, told.stderr
    assert "The actions fit the logged chances" in " ".join(told.stdout.split())
    assert {"arms", "srm", "metrics", "segments", "verdict"} <= json.loads((tmp_path / "found.json").read_text()).keys()


@pytest.mark.parametrize("rows", [3, 8, 40])
@pytest.mark.parametrize("more", [{}, {"time": "day"}, {"cluster": "day"}, {"segments": ["day"]}, {"final": True}])
def test_the_smallest_logs_are_analysed_or_refused_in_words(rows: int, more: dict[str, Any]) -> None:
    rng = np.random.default_rng(rows)
    table = pa.table(
        {
            "action": ["a", "b", *rng.choice(["a", "b"], rows - 2)],
            "buy": pa.array([None, *rng.integers(0, 2, rows - 1).tolist()], pa.float64()),
            "day": np.arange(rows) // 3,
            "p_a": np.full(rows, 0.5),
            "p_b": np.full(rows, 0.5),
        }
    )
    found = analyze_bandit(table, arm="action", control="a", metrics=["buy"], **more)
    assert found.verdict.code in ("keep_running", "stop", "roll_out")
    assert any("1 rows have no value" in note for note in found.notes)


def test_the_values_after_a_bandit_are_told_as_estimates_and_the_same_everywhere() -> None:
    found = analyze_bandit(log_of(rows=3_000), arm="action", control="static", metrics=["buy"])
    assert len({row.control_mean for row in found.metrics}) == 1
    for row in found.metrics:
        assert row.arm_mean - row.control_mean == pytest.approx(row.difference, abs=1e-12)
        if row.relative is not None:
            assert row.relative == pytest.approx(row.difference / row.control_mean)
    told = found.verdict.sentence
    best = max(found.metrics, key=lambda row: row.difference)
    assert f"buy, estimated over all decisions, is {found.rule.mean(best, best.arm_mean)} with {best.arm!r}" in told
    assert f"(chosen {best.n_arm:,} times)" in told and f"of {best.n_arm:,}" not in told


def test_a_bandits_log_read_as_a_split_is_told_how_to_read_it() -> None:
    log = log_of(rows=3_000)
    told = analyze(log, arm="action", control="static", metrics=["buy"]).verdict
    assert told.code == "do_not_trust"
    assert "did a bandit choose?" in told.sentence and told.sentence.endswith("with --probabilities p_.")
    without = log.drop_columns([name for name in log.column_names if name.startswith("p_")][:1])
    assert "bandit" not in analyze(without, arm="action", control="static", metrics=["buy"]).verdict.sentence
