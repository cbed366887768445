"""``rapport analyze``: what a person reads, what a machine reads, and what bad input gets."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

HILLSTROM = (
    "--arm",
    "segment",
    "--control",
    "No E-Mail",
    "--metric",
    "visit",
    "--metric",
    "conversion",
    "--metric",
    "spend",
)


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "group": rng.choice(["static", "personal [new]"], 4000),
            "day": pd.date_range("2026-03-01", periods=4000, freq="10min").strftime("%Y-%m-%d"),
            "clicks": rng.poisson(1, 4000),
            "views": rng.poisson(5, 4000) + 1,
            "name": "x",
        }
    )
    frame["visit"] = rng.random(4000) < np.where(frame["group"] == "static", 0.2, 0.4)
    path = tmp_path / "units.csv"
    frame.to_csv(path, index=False)
    return path


def test_hillstrom_reads_as_published_at_80_columns(rapport_cli, data, tmp_path, monkeypatch) -> None:
    target = tmp_path / "found.json"
    monkeypatch.setenv("COLUMNS", "80")
    ran = rapport_cli(
        "analyze", data("hillstrom/hillstrom.csv.gz"), *HILLSTROM, "--segment", "channel", "--json", target
    )
    assert ran.exit_code == 0
    for figure in ("18.28%", "15.14%", "10.62%", "1.25%", "0.88%", "0.57%", "1.4226", "1.0772", "0.6528", "21,307"):
        assert figure in ran.stdout
    assert ran.stdout.startswith("Roll out 'Mens E-Mail'")
    assert max(map(len, ran.stdout.splitlines())) <= 80
    found = json.loads(target.read_text())
    assert found["verdict"]["code"] == "roll_out"
    assert len(found["metrics"]) == 6
    assert len(found["segments"]) == 18


def test_a_cold_start_loads_no_models_and_no_tracking(table) -> None:
    command = (
        "import sys\n"
        "from rapport.cli import main\n"
        "sys.argv[0] = 'rapport'\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    heavy = {'lightgbm', 'matplotlib', 'mlflow', 'sklearn'} & set(sys.modules)\n"
        "    print('heavy:', *sorted(heavy), file=sys.stderr)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", command, "analyze", table, "--arm", "group", "--control", "static", "--metric", "visit"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("Roll out 'personal [new]'")
    assert ran.stderr.splitlines()[-1].split() == ["heavy:"]


def test_everything_at_once(rapport_cli, table, tmp_path) -> None:
    target = tmp_path / "found.json"
    ran = rapport_cli(
        *("analyze", table, "--arm", "group", "--control", "static", "--metric", "visit", "--metric", "clicks/views"),
        *("--covariate", "views", "--time", "day", "--split", "static=1", "--split", "personal [new]=1"),
        *("--lower-is-better", "clicks/views", "--worth", "0.01", "--alpha", "0.1", "--final", "--json", target),
    )
    assert ran.exit_code == 0
    assert "personal [new]" in ran.stdout
    found = json.loads(target.read_text())
    assert found["verdict"]["code"] == "roll_out"
    assert found["looks"][0].keys() == {"metric", "arm", "until", "difference", "anytime_ci_low", "anytime_ci_high"}
    assert (found["kind"], found["rule"]["kind"]) == ("fixed", "fixed")


def test_a_limit_holds_back_what_may_break_it(rapport_cli, table, tmp_path) -> None:
    target = tmp_path / "found.json"
    asked = ("analyze", table, "--arm", "group", "--control", "static", "--metric", "visit", "--metric", "clicks")
    assert rapport_cli(*asked, "--limit", "clicks=0.5", "--json", target).exit_code == 0
    found = json.loads(target.read_text())
    assert found["verdict"]["code"] == "roll_out"
    assert (found["rule"]["limits"], found["rule"]["lower_is_better"]) == ({"clicks": 0.5}, ["clicks"])
    held = " ".join(rapport_cli(*asked, "--limit", "clicks=0.001").stdout.split())
    assert held.startswith("Keep running:")
    assert "clicks may have risen by more than the +0.001 that is allowed" in held


def test_what_cannot_be_known_is_null(rapport_cli, tmp_path) -> None:
    source, target = tmp_path / "few.csv", tmp_path / "found.json"
    source.write_text("arm,y\na,1\nb,2\n")
    assert (
        rapport_cli("analyze", source, "--arm", "arm", "--control", "a", "--metric", "y", "--json", target).exit_code
        == 0
    )
    (row,) = json.loads(target.read_text())["metrics"]
    assert (row["p_value"], row["ci_low"], row["difference"]) == (None, None, 1.0)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--arm", "groups", "--control", "static", "--metric", "visit"), "did you mean 'group'"),
        (("--arm", "group", "--control", "Statik", "--metric", "visit"), "did you mean 'static'"),
        (("--arm", "group", "--control", "static", "--metric", "vist"), "did you mean 'visit'"),
        (("--arm", "group", "--control", "static", "--metric", "name"), "holds no numbers"),
        (("--arm", "name", "--control", "x", "--metric", "visit"), "fewer than two arms"),
        (("--arm", "group", "--control", "static", "--metric", "visit", "--split", "static"), "can't be read"),
        (("--arm", "group", "--control", "static", "--metric", "visit", "--split", "a=1"), "unknown arm"),
        (("--arm", "group", "--control", "static", "--metric", "visit", "--time", "name"), "holds no times"),
        (("--arm", "group", "--control", "static"), "metric"),
        (("--arm", "group", "--control", "static", "--metric", "visit", "--limit", "clicks"), "--limit METRIC=AMOUNT"),
        (("--arm", "group", "--control", "static", "--metric", "visit", "--limit", "visits=1"), "did you mean 'visit'"),
        (("--arm", "group", "--control", "static", "--metric", "visit", "--limit", "visit=1"), "that decides has a"),
        (("--arm", "group", "--control", "static", "--metric", "visit", *["--limit", "x=1"] * 2), "a second time"),
    ],
)
def test_bad_input_ends_with_2_and_says_what_to_do(rapport_cli, table, arguments, told) -> None:
    ran = rapport_cli("analyze", table, *arguments)
    assert ran.exit_code == 2
    assert told in " ".join(ran.stderr.split())
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("content", ["", "arm,y\n", "arm,y\na,1\na,2\n"])
def test_empty_files_and_one_arm_end_with_2(rapport_cli, tmp_path, content) -> None:
    source = tmp_path / "table.csv"
    source.write_text(content)
    assert rapport_cli("analyze", source, "--arm", "arm", "--control", "a", "--metric", "y").exit_code == 2
