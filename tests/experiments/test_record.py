"""The record of experiments in MLflow, and the command that makes a report from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from experiments.record import (
    ExperimentRecord,
    code_digest,
    find_look,
    read_report,
    recorded_experiments,
    table_digest,
    unchanged,
)
from experiments.report import Report, decision, headline, health_checks, render
from features.errors import InputError
from features.tracking import TrackingStore

# MLflow 3.17 asks SQLAlchemy for a loader strategy that 2.1 deprecates; it says so once, when MLflow is imported.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(scope="module")
def example(example_report: Callable[..., Report]) -> Report:
    return example_report(customers=6_000, weeks=1)


@pytest.fixture(scope="module")
def lean(example: Report) -> Report:
    """The same look with few charts, as drawing them takes a second."""
    analysis = replace(example.analysis, segments=())
    return replace(example, analysis=analysis, ladder=None, allocation=(), channels=(), standards=(), money=())


@pytest.fixture
def record(tracking: TrackingStore, example: Report) -> ExperimentRecord:
    return ExperimentRecord(tracking, example.experiment)


def test_a_look_becomes_one_run_with_numbers_digests_and_files(record: ExperimentRecord, example: Report) -> None:
    run_id = record.log_look(example, digests={"data": "a" * 64, "policy": "b" * 64})
    run = record.tracking.client.get_run(run_id)
    goal = next(row for row in example.analysis.metrics if (row.metric, row.arm) == ("profit", "one_to_one"))
    assert run.data.metrics["profit/one_to_one/difference"] == goal.difference
    assert run.data.metrics["profit/one_to_one/ci_low"] == goal.ci_low
    # So few buyers have no interval for any look; what isn't a number is no metric.
    assert goal.anytime_ci_low != goal.anytime_ci_low and "profit/one_to_one/anytime_ci_low" not in run.data.metrics
    assert run.data.metrics["units/static"] == goal.n_control
    assert run.data.params["sha256_data"] == "a" * 64
    assert run.data.params["sha256_code"] == code_digest()
    assert run.data.params["stop_rule"] == "anytime"
    files = {each.path for each in record.tracking.client.list_artifacts(run_id)}
    assert files == {"report.html", "report.json", "numbers.json", "numbers.csv"}
    numbers = json.loads(record.tracking.read_artifact(run_id, "numbers.json"))
    assert numbers["analysis"]["metrics"][0]["metric"] == "profit"


def test_the_report_is_made_again_from_the_run_alone_to_the_byte(record: ExperimentRecord, example: Report) -> None:
    run_id = record.log_look(example)
    logged = record.tracking.read_artifact(run_id, "report.html").decode()
    fresh = TrackingStore(record.tracking.folder)
    assert render(read_report(fresh, run_id)) == logged
    assert unchanged(fresh, run_id, page=logged) and not unchanged(fresh, run_id, page=logged + " ")
    assert f"experiment {record.name}, run look 1, 29 January 2026" in logged


def test_numbers_that_could_not_be_computed_survive_the_record(record: ExperimentRecord, lean: Report) -> None:
    first, *rest = lean.analysis.metrics
    gap = replace(first, anytime_ci_low=float("nan"), p_value=float("nan"), relative=None)
    report = replace(lean, analysis=replace(lean.analysis, metrics=(gap, *rest)))
    run_id = record.log_look(report)
    again = read_report(record.tracking, run_id).analysis.metrics[0]
    assert again.relative is None and again.anytime_ci_low != again.anytime_ci_low
    assert render(read_report(record.tracking, run_id)) == record.tracking.read_artifact(run_id, "report.html").decode()
    numbers = json.loads(record.tracking.read_artifact(run_id, "numbers.json"))
    assert numbers["analysis"]["metrics"][0]["p_value"] is None


def test_the_newest_look_is_that_with_the_newest_data(record: ExperimentRecord, lean: Report) -> None:
    later = replace(lean, look=2, as_of=lean.as_of + timedelta(days=7))
    second = record.log_look(later)
    first = record.log_look(lean)
    assert record.looks() == [first, second]
    assert find_look(record.tracking, "winter") == second
    assert find_look(record.tracking, "winter", run_id=first) == first
    days = [point.as_of for point in record.past_looks()]
    assert days == sorted(days) and set(days) == {lean.as_of, later.as_of}


def test_what_the_last_look_decided_stands_whatever_later_ones_show(record: ExperimentRecord, lean: Report) -> None:
    week = timedelta(days=7)
    start, end = lean.as_of - 30 * week, lean.as_of - 15 * week
    design = replace(lean.experiment, stop_rule="group_sequential", start=start, end=end)
    last = replace(lean, experiment=design, analysis=replace(lean.analysis, kind="group_sequential"))
    broken = replace(last, as_of=last.as_of - week, health=health_checks(contacts_to_opted_out=("d1",)))
    for look in (broken, last, replace(last, as_of=last.as_of + week)):
        record.log_look(look)
    # A look whose numbers couldn't be trusted decided nothing.
    assert record.decided(before=last.as_of) is None
    stands = record.decided(before=last.as_of + 2 * week)
    assert stands is not None and (stands.as_of, stands.verdict.code) == (last.as_of, decision(last).code)

    verdict = replace(last.analysis.verdict, code="roll_out")
    later = replace(last, as_of=last.as_of + 2 * week, analysis=replace(last.analysis, verdict=verdict))
    assert decision(later).code == "roll_out" != stands.verdict.code
    told = decision(replace(later, decided=stands))
    assert (told.code, told.word) == ("keep_running", "No clear answer")
    assert "decided by the last look, on 29 January 2026, and stands" in told.sentence
    assert "which decided: this page is for the record" in headline(replace(later, decided=stands)).below
    assert decision(replace(later, decided=stands, health=broken.health)).code == "do_not_trust"


def test_unknown_experiments_and_runs_are_named_with_the_near_ones(record: ExperimentRecord, lean: Report) -> None:
    with pytest.raises(InputError, match="unknown experiment 'wintr'"):
        find_look(record.tracking, "wintr")
    record.log_look(lean)
    assert recorded_experiments(record.tracking) == ("winter",)
    with pytest.raises(InputError, match="did you mean 'winter'"):
        find_look(record.tracking, "wintr")
    with pytest.raises(InputError, match="unknown run"):
        find_look(record.tracking, "winter", run_id="0")


def test_a_report_of_another_experiment_is_refused(record: ExperimentRecord, lean: Report) -> None:
    other = replace(lean, experiment=replace(lean.experiment, key="summer"))
    with pytest.raises(InputError, match="another experiment"):
        record.log_look(other)


def test_a_table_has_one_digest_however_it_is_cut() -> None:
    table = pa.table({"a": [1, 2, 3, 4], "b": ["x", None, "y", "z"]})
    cut = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    assert table_digest(cut) == table_digest(table)
    assert table_digest(table.slice(0, 3)) != table_digest(table)
    assert table_digest(table.rename_columns(["a", "c"])) != table_digest(table)


@pytest.fixture
def project(record: ExperimentRecord, tmp_path: Path, lean: Report) -> Path:
    """A project whose MLflow store holds one look."""
    (tmp_path / "rapport.toml").write_text('[project]\nname = "Shop"\n')
    record.log_look(lean)
    return tmp_path


def test_the_command_writes_the_page_of_the_newest_look(project: Path, rapport_cli: Callable[..., Any]) -> None:
    out, numbers = project / "pages" / "winter.html", project / "winter.json"
    ran = rapport_cli("report", "winter", "--out", out, "--project", project, "--json", numbers)
    assert ran.exit_code == 0, ran.stderr
    tracking = TrackingStore(project / "mlruns")
    assert out.read_bytes() == tracking.read_artifact(find_look(tracking, "winter"), "report.html")
    assert json.loads(numbers.read_text())["experiment"] == "winter"
    assert "Another version" not in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("wintr", "--out", "x.html"), "did you mean 'winter'"),
        (("winter", "--out", "x.html", "--run", "nope"), "unknown run"),
        (("winter", "--out", "rapport.toml/x.html"), "can't be written"),
    ],
)
def test_bad_input_to_the_command_ends_with_three_parts(
    project: Path,
    rapport_cli: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    told: str,
) -> None:
    monkeypatch.chdir(project)
    ran = rapport_cli("report", *arguments)
    assert ran.exit_code == 2
    assert told in ran.stderr.replace("\n", " ")
    assert all(part in ran.stderr for part in ("wrong", "got", "do"))


def test_a_folder_without_a_project_is_named(tmp_path: Path, rapport_cli: Callable[..., Any]) -> None:
    ran = rapport_cli("report", "winter", "--out", tmp_path / "x.html", "--project", tmp_path)
    assert ran.exit_code == 2 and "no project" in ran.stderr
