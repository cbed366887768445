"""A look that was stopped in the middle leaves a run without a report: it was none, and bars no look after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from experiments.record import ExperimentRecord, find_look
from experiments.report import Report
from features.errors import InputError
from features.tracking import TrackingStore

# MLflow 3.17 asks SQLAlchemy for a loader strategy that 2.1 deprecates; it says so once, when MLflow is imported.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(scope="module")
def report(example_report: Callable[..., Report]) -> Report:
    """A look with few charts, as drawing them takes a second."""
    example = example_report(customers=6_000, weeks=1)
    analysis = replace(example.analysis, segments=())
    return replace(example, analysis=analysis, ladder=None, allocation=(), channels=(), standards=(), money=())


@pytest.fixture
def record(tracking: TrackingStore, report: Report) -> ExperimentRecord:
    return ExperimentRecord(tracking, report.experiment)


def _stop_in_the_middle(record: ExperimentRecord, report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a kill does it between the run's tags and its files: nothing after them is done."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrackingStore, "_log_artifact", killed)
        with pytest.raises(KeyboardInterrupt):
            record.log_look(report)


def test_a_look_that_was_stopped_is_no_look(
    record: ExperimentRecord, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = record.log_look(report)
    _stop_in_the_middle(record, replace(report, look=2, as_of=report.as_of + timedelta(days=7)), monkeypatch)

    assert record.looks() == [first]
    assert find_look(record.tracking, report.experiment.key) == first
    assert {point.as_of for point in record.past_looks()} == {report.as_of}


def test_after_a_first_look_that_was_stopped_nobody_has_looked(
    record: ExperimentRecord, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stop_in_the_middle(record, report, monkeypatch)

    with pytest.raises(InputError, match="nobody has looked"):
        find_look(record.tracking, report.experiment.key)
    assert record.past_looks() == ()


def test_a_look_that_was_stopped_is_marked_as_killed_by_the_next_one(
    record: ExperimentRecord, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    record.close_killed()  # where nobody has looked yet there is nothing to mark
    first = record.log_look(report)
    _stop_in_the_middle(record, replace(report, look=2, as_of=report.as_of + timedelta(days=7)), monkeypatch)
    record.close_killed()

    client = record.tracking.client
    experiment = client.get_experiment_by_name(record.name)
    assert experiment is not None
    status = {run.info.run_id: run.info.status for run in client.search_runs([experiment.experiment_id])}
    assert sorted(status.values()) == ["FINISHED", "KILLED"]
    assert status[first] == "FINISHED"
