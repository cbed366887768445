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
        "    heavy = {'lightgbm', 'matplotlib', 'mlflow', 'scipy.stats', 'sklearn'} & set(sys.modules)\n"
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


@pytest.fixture
def odd(tmp_path):
    """Names that a shell, a pattern or a separator would trip over, and missing values."""
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(
        {
            "the arm/group": rng.choice(["a=b", "Größe ☃", "x/y [bold]"], 3000),
            "revenue (€)": rng.gamma(2, 5, 3000),
            "a=b": rng.poisson(3, 3000),
            "x.y": rng.normal(size=3000),
            "views, all": rng.poisson(3, 3000) + 1,
            "région": rng.choice(["N", "S", None], 3000),
            "--seen": rng.integers(0, 2, 3000),
        }
    )
    frame.loc[::7, "revenue (€)"] = np.nan
    frame.loc[::11, "x.y"] = np.nan
    paths = {"csv": tmp_path / "odd table.csv", "parquet": tmp_path / "odd table.parquet"}
    frame.to_csv(paths["csv"], index=False)
    frame.to_parquet(paths["parquet"])
    return paths


ODD = (
    ("--metric", "revenue (€)", "--cap", "revenue (€)=20", "--covariate", "x.y", "--stratum", "région"),
    ("--metric", "a=b", "--cap", "a=b=99%", "--metric", "revenue (€)", "--limit", "revenue (€)=1", "--money", "a=b"),
    ("--metric", "a=b/views, all", "--segment", "région", "--stratum=--seen", "--split", "a=b=1", "--split",
     "Größe ☃=1", "--split", "x/y [bold]=1"),
    ("--metric", "a=b", "--exposed=--seen", "--covariate", "x.y/views, all"),
)  # fmt: skip


@pytest.mark.parametrize("options", ODD)
def test_names_as_people_have_them_mean_the_same_in_csv_and_parquet(rapport_cli, odd, tmp_path, options) -> None:
    found = []
    for kind, source in odd.items():
        target = tmp_path / f"{kind}.json"
        ran = rapport_cli("analyze", source, "--arm", "the arm/group", "--control", "a=b", *options, "--json", target)
        assert ran.exit_code == 0, ran.stderr
        found.append(json.loads(target.read_text()))
    for one, other in zip(found[0]["metrics"], found[1]["metrics"], strict=True):
        assert one["arm"] == other["arm"]
        assert one["ci_low"] == pytest.approx(other["ci_low"], rel=1e-9)


def test_caps_strata_money_and_the_exposed_are_told(rapport_cli, odd, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ran = rapport_cli(
        *("analyze", odd["csv"], "--arm", "the arm/group", "--control", "a=b", "--metric", "revenue (€)"),
        *("--cap", "revenue (€)=20", "--stratum", "région", "--exposed=--seen", "--money", "revenue (€)"),
        *("--currency", "EUR", "--segment", "région"),
    )
    assert ran.exit_code == 0, ran.stderr
    assert max(map(len, ran.stdout.splitlines())) <= 80
    told = " ".join(ran.stdout.split())
    for words in ("declared cap of 20", "3 strata at the same shares", "alike before the start", "EUR against 'a=b'",
                  "units were exposed", "per unit of all", "shrunk (95%)"):  # fmt: skip
        assert words in told


def test_an_arm_that_decides_who_is_exposed_has_no_table_of_them(rapport_cli, tmp_path) -> None:
    rng = np.random.default_rng(3)
    mail = rng.random(20_000) < 0.5
    seen = (rng.random(20_000) < 0.2 + 0.1 * mail).astype(int)
    source = tmp_path / "units.parquet"
    pd.DataFrame({"arm": np.where(mail, "mail", "none"), "seen": seen, "y": rng.random(20_000)}).to_parquet(source)
    ran = rapport_cli("analyze", source, "--arm", "arm", "--control", "none", "--metric", "y", "--exposed", "seen")
    told = " ".join(ran.stdout.split())
    assert "Do not trust the effect among the exposed" in told
    assert "among the exposed arm" not in told
    assert "per unit of all" not in told


def test_of_parquet_only_the_columns_that_are_named_are_read(rapport_cli, tmp_path) -> None:
    source = tmp_path / "units.parquet"
    frame = pd.DataFrame({"arm": ["a", "b"] * 50, "y": np.arange(100.0), "notes": ["x" * 1000] * 100})
    frame.to_parquet(source)
    raw = bytearray(source.read_bytes())
    at = raw.find(b"x" * 50)
    raw[at - 40 : at + 40] = b"\xff" * 80  # the column of notes can't be decoded any more
    source.write_bytes(raw)
    assert rapport_cli("analyze", source, "--arm", "arm", "--control", "a", "--metric", "y").exit_code == 0
    assert rapport_cli("analyze", source, "--arm", "arm", "--control", "a", "--metric", "z").exit_code == 2


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
        (("--arm", "group", "--control", "static", "--metric", "visit", "--cap", "clicks=2"), "metric with a cap"),
        (("--arm", "group", "--control", "static", "--metric", "clicks", "--cap", "clicks"), "--cap METRIC=VALUE"),
        (("--arm", "group", "--control", "static", "--metric", "clicks", "--cap", "clicks=all"), "such as 99%"),
        (("--arm", "group", "--control", "static", "--metric", "clicks/views", "--money", "clicks/views"), "no total"),
        (("--arm", "group", "--control", "static", "--metric", "visit", "--stratum", "days"), "did you mean 'day'"),
        (("--arm", "group", "--control", "static", "--metric", "visit", "--exposed", "views"), "of 0 and 1"),
        (
            ("--arm", "group", "--control", "static", "--metric", "visit", "--probabilities", "p_", "--cap", "v=1"),
            "--cap",
        ),
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
