"""`rapport analyze` on tables as people have them: names, numbers as text, and columns that aren't what they seem."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.analysis import analyze
from features.errors import InputError

N = 4_000


def _units(seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    got = rng.random(N) < 0.5
    spend = rng.gamma(2, 600, N).round(2) + 100 * got
    return pd.DataFrame({"sent": np.where(got, "Yes", "No"), "spend": spend, "before": rng.gamma(2, 600, N)})


def test_arms_are_called_as_the_file_calls_them(tmp_path: Path) -> None:
    path = tmp_path / "units.csv"
    _units().to_csv(path)
    found = analyze(path, arm="sent", control="No", metrics=["spend"])
    assert [each.arm for each in found.arms] == ["No", "Yes"]


def test_amounts_as_text_give_the_numbers_of_plain_ones_and_are_told(tmp_path: Path) -> None:
    units = _units()
    path = tmp_path / "units.csv"
    units.assign(spend=units["spend"].map("${:,.2f}".format)).to_csv(path)
    told = analyze(path, arm="sent", control="No", metrics=["spend"])
    plain = analyze(units, arm="sent", control="No", metrics=["spend"])
    assert told.metrics[0].difference == pytest.approx(plain.metrics[0].difference, rel=1e-12)
    assert any(note.startswith("spend is text, read as numbers: '$") for note in told.notes)


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"metrics": ["spend"], "covariates": ["spend"]}, "a covariate is the metric itself"),
        ({"metrics": ["sent"]}, "arm and metric are one column"),
        ({"metrics": ["spend"], "currency": "EUR"}, "nothing is in that currency"),
    ],
)
def test_a_column_in_a_part_it_cannot_play_is_refused(options: dict[str, object], wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        analyze(_units(), arm="sent", control="No", **options)


def test_a_copy_of_the_metric_as_covariate_is_told() -> None:
    units = _units()
    copied = units.assign(copy=units["spend"] + 1e-3 * units["before"])
    found = analyze(copied, arm="sent", control="No", metrics=["spend"], covariates=["copy"])
    assert any("Were they known before the start?" in note for note in found.notes)


def test_shares_that_nobody_named_are_asked_for() -> None:
    units = _units()
    few = pd.concat([units[units["sent"] == "Yes"], units[units["sent"] == "No"].head(100)])
    assumed = analyze(few, arm="sent", control="No", metrics=["spend"]).verdict
    assert (assumed.code, "--split ARM=SHARE" in assumed.sentence) == ("do_not_trust", True)
    wrong = analyze(few, arm="sent", control="No", metrics=["spend"], planned={"No": 0.5, "Yes": 0.5}).verdict
    assert (wrong.code, "--split" in wrong.sentence) == ("do_not_trust", False)


def test_an_interval_holds_its_estimate_however_far_the_split_is_off() -> None:
    # Of few events the comparison is exact by the planned shares: here they are 1:1, and the arms hold 6,667:1.
    table = pd.DataFrame(
        {"arm": ["a"] * 20_000 + ["b"] * 3, "y": [int(not each % 7) for each in range(20_000)] + [1, 0, 0]}
    )
    (row,) = analyze(table, arm="arm", control="a", metrics=["y"]).metrics
    assert row.anytime_ci_low <= row.difference <= row.anytime_ci_high


def test_a_segment_that_the_arm_decides_is_named() -> None:
    rng = np.random.default_rng(2)
    units = _units()
    units["page"] = np.where((units["sent"] == "Yes") ^ (rng.random(N) < 0.02), "new", "old")
    units["region"] = rng.choice(["north", "south"], N)
    found = analyze(units, arm="sent", control="No", metrics=["spend"], segments=["page", "region"])
    assert [note.split(":")[0] for note in found.notes if "at the same share, far beyond chance" in note] == ["page"]


def test_money_is_told_in_its_currency(rapport_cli, tmp_path: Path) -> None:
    path, target = tmp_path / "units.csv", tmp_path / "found.json"
    _units().to_csv(path)
    options = ("--arm", "sent", "--control", "No", "--metric", "spend", "--money", "spend", "--currency", "EUR")
    ran = rapport_cli("analyze", path, *options, "--json", target)
    told = " ".join(ran.stdout.split())
    assert "EUR of" in json.loads(target.read_text())["verdict"]["sentence"]
    assert "spend, EUR per unit" in told
    assert "difference in EUR (95%)" in told


def test_few_clusters_are_told_by_a_single_look() -> None:
    rng = np.random.default_rng(4)
    shops = pd.DataFrame({"shop": range(60), "arm": ["old", "new"] * 30, "level": rng.normal(60, 8, 60)})
    weeks = shops.merge(pd.DataFrame({"week": range(4)}), how="cross")
    weeks["sales"] = weeks["level"] + rng.normal(0, 3, len(weeks)) + 15 * (weeks["arm"] == "new")
    found = analyze(weeks, arm="arm", control="old", metrics=["sales"], cluster="shop")
    assert found.verdict.code == "keep_running"
    assert "Of a single look that was planned before the start (--final), sales is" in found.verdict.sentence


def test_the_ladder_reads_amounts_and_names_of_arms_as_the_file_has_them(rapport_cli, tmp_path: Path) -> None:
    path, target = tmp_path / "units.csv", tmp_path / "found.json"
    units = _units()
    units.assign(spend=units["spend"].map("{:.2f} €".format).where(units.index % 3 > 0)).to_csv(path, index=False)
    ran = rapport_cli("ladder", path, "--arm", "sent", "--control", "No", "--outcome", "spend", "--json", target)
    assert ran.exit_code == 0, ran.stderr
    found = json.loads(target.read_text())
    assert found["rungs"][1]["shares"] == {"No": 0.0, "Yes": 1.0}
    told = " ".join(found["notes"])
    assert "spend is text, read as numbers" in told
    assert "Where an empty outcome means that nothing happened, write 0." in told


def test_retention_names_arms_as_the_file_does(rapport_cli, tmp_path: Path) -> None:
    path, target = tmp_path / "units.csv", tmp_path / "found.json"
    rng = np.random.default_rng(5)
    _units().assign(days=rng.integers(1, 90, N), left=rng.integers(0, 2, N)).to_csv(path, index=False)
    options = ("--arm", "sent", "--control", "No", "--time", "days", "--event", "left")
    ran = rapport_cli("retention", path, *options, "--json", target)
    assert ran.exit_code == 0, ran.stderr
    assert [each["arm"] for each in json.loads(target.read_text())["arms"]] == ["No", "Yes"]


@pytest.mark.parametrize(
    ("action", "policy"), [("Yes", "p_Yes,p_No\n1,0\n"), ("Yes", "sent\nYes\n"), ("1.0", "p_1,p_No\n1,0\n")]
)
def test_a_log_names_actions_as_the_file_does(rapport_cli, tmp_path: Path, action: str, policy: str) -> None:
    log, wished, target = (tmp_path / name for name in ("log.csv", "policy.csv", "found.json"))
    units = _units().assign(chance=0.5)
    units.assign(sent=units["sent"].replace("Yes", action)).to_csv(log, index=False)
    wished.write_text(policy, encoding="utf-8")
    options = ("--action", "sent", "--reward", "spend", "--probability", "chance", "--policy", wished)
    ran = rapport_cli("evaluate", log, *options, "--json", target)
    assert ran.exit_code == 0, ran.stderr
    ips = json.loads(target.read_text())["estimates"][0]
    sent = units["sent"] == "Yes"
    assert (ips["estimator"], ips["value"]) == ("ips", pytest.approx(2 * (units["spend"] * sent).mean()))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_missing_option_tells_the_columns_there_are(rapport_cli, tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "units.csv"
    path.write_text("sent;größe\nYes;1\n", encoding=encoding)
    ran = rapport_cli("analyze", path)
    assert (ran.exit_code, "columns are 'sent', 'größe'" in " ".join(ran.stderr.split())) == (2, True)
