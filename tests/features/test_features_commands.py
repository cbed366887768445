"""``rapport ingest`` and ``rapport features``, from a project folder to a table."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import pyarrow as pa
import pytest

from features import History
from features.engines.offline import offline
from features.feature import Column
from features.tables import read_table, write_table

PROJECT = """
[project]
name = "Shop"
[features]
channels = ["web"]
categories = ["shoes"]
[[feature]]
name = "age"
aggregate = "latest"
of = "age"
integer = true
[[source]]
name = "till"
file = "till-*.csv"
rows = "events"
[source.columns]
customer_id = "card"
kind = {constant = "purchase"}
occurred_at = "time"
amount = "total"
[[source]]
name = "crm"
file = "crm.csv"
rows = "profile"
attributes = ["age"]
[source.columns]
customer_id = "card"
occurred_at = {constant = "2020-01-01"}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "rapport.toml").write_text(PROJECT, encoding="utf-8")
    rows = "".join(f"c{number},2024-05-01 10:00:00,2.50\n" for number in range(40))
    (tmp_path / "till-1.csv").write_text("card,time,total\n" + rows + ",2024-05-01,1\n", encoding="utf-8")
    (tmp_path / "till-2.csv").write_text("card,time,total\n007,2024-05-02,10\n", encoding="utf-8")
    (tmp_path / "crm.csv").write_text("card,age\n007,41\n", encoding="utf-8")
    (tmp_path / "spine.csv").write_text(
        "customer_id,as_of,label\n007,2024-05-03,1\nc1,2024-05-01,0\n", encoding="utf-8"
    )
    return tmp_path


def test_from_files_to_features(project: Path, rapport_cli: Callable[..., object]) -> None:
    first = rapport_cli("ingest", "--project", project, "--json", project / "i.json")
    assert first.exit_code == 0 and "missing_customer_id" in first.stdout
    files = json.loads((project / "i.json").read_text())["files"]
    assert [(each["read"], each["accepted"], each["quarantined"], each["new"]) for each in files] == [
        (41, 40, 1, 40),
        (1, 1, 0, 1),
        (1, 1, 0, 1),
    ]
    assert len(list((project / "quarantine").iterdir())) == 1
    rapport_cli("ingest", "--project", project, "--json", project / "i.json")
    assert [each["new"] for each in json.loads((project / "i.json").read_text())["files"]] == [0, 0, 0]

    out, told = project / "out.parquet", project / "f.json"
    options = ("--project", project, "--spine", project / "spine.csv", "--out", out, "--audit", "--json", told)
    ran = rapport_cli("features", *options)
    assert ran.exit_code == 0, ran.stderr
    rows = read_table(out).select(["customer_id", "label", "purchases_7d", "spend_7d", "age"]).to_pylist()
    assert rows == [
        {"customer_id": "007", "label": 1, "purchases_7d": 1, "spend_7d": 1000, "age": 41},
        {"customer_id": "c1", "label": 0, "purchases_7d": 0, "spend_7d": 0, "age": None},
    ]
    assert json.loads(told.read_text())["audit"]["leakage"] == {"rows": 2, "differences": 0}
    assert json.loads(told.read_text())["unknown_customers"] == 0 and "unknown to the history" not in ran.stdout


def test_customers_nobody_knows_are_told(project: Path, rapport_cli: Callable[..., object]) -> None:
    rapport_cli("ingest", "--project", project)
    # Ids that lost their zeros in a spreadsheet look like those of strangers.
    (project / "spine.csv").write_text("customer_id,as_of\n7,2024-05-03\n7,2024-05-04\nc1,2024-05-03\n", "utf-8")
    told = project / "f.json"
    asked = ("features", "--project", project, "--spine", project / "spine.csv", "--out", project / "o.csv")
    ran = rapport_cli(*asked, "--json", told)
    assert "1 customer is unknown to the history, such as '7'" in " ".join(ran.stdout.split())
    assert json.loads(told.read_text())["unknown_customers"] == 1


NO = """
[[source]]
name = "no"
file = "no.csv"
rows = "consents"
[source.columns]
customer_id = "card"
channel = {constant = "all"}
purpose = {constant = "personalization"}
granted = {constant = "no"}
occurred_at = "time"
"""


class FakeSpark:
    """Writes as Spark does, without a cluster."""

    def __init__(self, _: object) -> None: ...

    def write(self, columns: Sequence[Column], history: History, spine: pa.Table, out: Path) -> None:
        """What DuckDB finds, as one file."""
        write_table(offline(columns, history, spine), out)


@pytest.mark.parametrize("engine", ["duckdb", "spark"])
def test_a_table_holds_what_may_be_used_unless_it_says_otherwise(
    project: Path, rapport_cli: Callable[..., object], monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.setattr("features.engines.spark.session", nullcontext)
    monkeypatch.setattr("features.engines.spark.Spark", FakeSpark)
    monkeypatch.setattr("rapport.commands.features._ROWS_MASKED_AT_ONCE", 1)
    (project / "rapport.toml").write_text(PROJECT + NO, encoding="utf-8")
    (project / "no.csv").write_text("card,time\n007,2024-06-01\n", encoding="utf-8")  # long after the row's moment
    rapport_cli("ingest", "--project", project)
    out, told = project / "out" / "t.parquet", project / "f.json"
    asked = ("features", "--project", project, "--spine", project / "spine.csv", "--out", out, "--json", told)
    ran = rapport_cli(*asked, "--engine", engine)
    assert ran.exit_code == 0, ran.stderr
    assert read_table(out)["purchases_7d"].to_pylist() == [None, 0] and json.loads(told.read_text())["masked"]
    assert [each.name for each in out.parent.iterdir()] == ["t.parquet"]
    ran = rapport_cli(*asked, "--engine", engine, "--unmasked")
    assert "Nothing is masked" in " ".join(ran.stdout.split())
    assert read_table(out)["purchases_7d"].to_pylist() == [1, 0] and not json.loads(told.read_text())["masked"]


def test_the_list_of_features(project: Path, rapport_cli: Callable[..., object]) -> None:
    ran = rapport_cli("features", "--project", project, "--list", "--json", project / "l.json")
    told = " ".join(ran.stdout.split())
    assert ran.exit_code == 0 and "money spent" in told
    listed = json.loads((project / "l.json").read_text())["features"]
    words = {"name", "meaning", "calculation", "window", "unit", "purpose", "sensitive", "missing_share"}
    assert words == set(listed[0])
    assert all(each["meaning"] for each in listed if each["name"] != "age")
    assert {each["missing_share"] for each in listed} == {None} and "rapport ingest" in told


def test_the_list_says_how_often_a_feature_is_missing(project: Path, rapport_cli: Callable[..., object]) -> None:
    sensitive = (
        '[[feature]]\nname = "debts"\nwhere = {kind = "dunning"}\nsensitive = true\nmeaning = "letters of dunning"\n'
    )
    (project / "rapport.toml").write_text(PROJECT + sensitive, encoding="utf-8")
    rapport_cli("ingest", "--project", project)
    ran = rapport_cli("features", "--project", project, "--list", "--json", project / "l.json")
    shares = {each["name"]: each["missing_share"] for each in json.loads((project / "l.json").read_text())["features"]}
    assert (shares["purchases_7d"], shares["seconds_since_visit"], shares["debts"]) == (0, 1, 1)
    assert shares["age"] == pytest.approx(40 / 41)
    assert "1 sensitive feature for personalization, used only after a customer's yes" in " ".join(ran.stdout.split())
    assert all(len(line) <= 100 for line in ran.stdout.splitlines())


def test_an_audit_finds_its_own_moments(project: Path, rapport_cli: Callable[..., object]) -> None:
    nothing = rapport_cli("features", "--project", project, "--audit")
    assert nothing.exit_code == 2 and "nothing to audit" in nothing.stderr
    rapport_cli("ingest", "--project", project)
    ran = rapport_cli("features", "--project", project, "--audit", "--json", project / "a.json")
    assert ran.exit_code == 0, ran.stderr
    found = json.loads((project / "a.json").read_text())["audit"]
    assert found == {"parity": {"rows": 41, "differences": 0}, "leakage": {"rows": 41, "differences": 0}}


def test_a_file_with_many_bad_rows_is_refused_and_the_others_are_loaded(
    project: Path, rapport_cli: Callable[..., object]
) -> None:
    (project / "till-1.csv").write_text("card,time,total\n,2024-05-01,1\nanna,2024-05-01,1\n", encoding="utf-8")
    ran = rapport_cli("ingest", "--project", project, "--json", project / "i.json")
    assert ran.exit_code == 2 and "more than 5% bad rows" in ran.stderr
    assert [each["new"] for each in json.loads((project / "i.json").read_text())["files"]] == [0, 1, 1]
    assert rapport_cli("ingest", "--project", project, "--accept-bad").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (("features", "--spine", "spine.csv"), "nowhere to write to"),
        (("features",), "no spine was given"),
        (("features", "--list", "--engine", "duck"), "did you mean 'duckdb'"),
        (("features", "--spine", "none.csv", "--out", "o.csv"), "there is no table"),
        (("features", "--spine", "crm.csv", "--out", "o.csv"), "unknown column 'customer_id'"),
        (("features", "--spine", "spine.csv", "--out", "o.xls"), "kind of the output table"),
        (("ingest", "--data", "nowhere"), "finds no file"),
        (("ingest", "--project", "nowhere"), "there is no project"),
    ],
)
def test_bad_input_is_told(
    project: Path,
    rapport_cli: Callable[..., object],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    wrong: str,
) -> None:
    monkeypatch.chdir(project)
    ran = rapport_cli(*arguments)
    assert ran.exit_code == 2
    assert wrong in " ".join(ran.stderr.split())
    assert not list(project.glob("o.*"))
