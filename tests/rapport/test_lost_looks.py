"""Looks count though their record is lost, and one look at an experiment is taken after the other."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from experiments.record import find_look, read_report
from experiments.report import Report
from features.tracking import TrackingStore
from rapport.project import Project, load_project
from rapport.trials import insight
from rapport.trials.looks import MISSING_LOOKS

if TYPE_CHECKING:
    from tests.conftest import Ran
    from tests.rapport.conftest import LetterShop

# MLflow 3.17 asks SQLAlchemy for a loader strategy that 2.1 deprecates; it says so once, when MLflow is imported.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:sqlalchemy.exc.SADeprecationWarning")

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
WEEK = timedelta(weeks=1)
GOALS = """
[[goals]]
name = "bought"
kind = "any"
events = ["purchase"]
window_days = 7
"""


@pytest.fixture(scope="module")
def looked_twice(
    tmp_path_factory: pytest.TempPathFactory, migrated_store: Path, letter_shop: Callable[..., LetterShop]
) -> Path:
    """A campaign of six weeks with 200 new customers a week, looked at after 2 and 3 weeks."""
    folder = tmp_path_factory.mktemp("lost") / "shop"
    shop = letter_shop(folder, start="2026-03-02T09:00:00Z", more="end = 2026-04-13T09:00:00Z", goals=GOALS)
    people = [f"c{number}" for number in range(800)]
    shop.agree(people, at=START - WEEK)
    for week in range(4):
        shop.decide(people[200 * week : 200 * (week + 1)], at=START + week * WEEK)
    buys = np.flatnonzero(np.random.default_rng(1).random(800) < 0.3)
    shop.buy([(people[each], START + (each // 200) * WEEK + timedelta(days=2), 4_900) for each in buys.tolist()])
    shutil.copytree(migrated_store, folder / "mlruns")
    for week in (2, 3):
        insight.record_insight(shop.project, "letter", as_of=START + week * WEEK + timedelta(hours=1))
    return folder


@dataclass(frozen=True)
class Reporter:
    """A project, and the command that reports on its experiment."""

    project: Project
    run: Callable[..., Ran]

    def look(self, *options: str) -> tuple[Report, str]:
        """The newest look after the command, and what it printed."""
        ran = self.run("report", "letter", "--project", self.project.root, "--out", self.page, *options)
        assert ran.exit_code == 0, ran.stderr
        store = TrackingStore(self.project.tracking.folder)
        return read_report(store, find_look(store, "letter")), " ".join(ran.stdout.split())

    @property
    def page(self) -> Path:
        """Where the page is written."""
        return self.project.root / "report.html"


@pytest.fixture
def whole(looked_twice: Path, tmp_path: Path, rapport_cli: Callable[..., Ran]) -> Reporter:
    """A copy of the project of its own."""
    return Reporter(load_project(shutil.copytree(looked_twice, tmp_path / "whole")), rapport_cli)


@pytest.fixture
def without(looked_twice: Path, migrated_store: Path, tmp_path: Path, rapport_cli: Callable[..., Ran]) -> Reporter:
    """A copy of the project whose MLflow store was lost."""
    folder = shutil.copytree(looked_twice, tmp_path / "without", ignore=shutil.ignore_patterns("mlruns"))
    shutil.copytree(migrated_store, folder / "mlruns")
    return Reporter(load_project(folder), rapport_cli)


def test_looks_without_a_record_count_and_the_ranges_allow_for_them(whole: Reporter, without: Reporter) -> None:
    one, said = whole.look("--as-of", "2026-03-30")
    assert "no record" not in said
    other, said = without.look("--as-of", "2026-03-30")
    assert one.look == other.look == 3
    assert one.analysis.metrics == other.analysis.metrics
    assert one.analysis.kind == "group_sequential"
    told = "2 earlier looks, as of 16 March 2026 to 23 March 2026, have no record in MLflow any more."
    assert told in said
    assert [each.status for each in other.health if each.name == MISSING_LOOKS] == ["yellow"]
    assert told in without.page.read_text(encoding="utf-8")


def test_a_first_look_in_the_record_is_not_called_the_first(without: Reporter) -> None:
    found, said = without.look()
    assert found.look == 3
    assert "2 earlier looks" in said
    # The one that was taken now has its record, so the next one misses two and not three.
    later, said = without.look("--look")
    assert later.look == 4
    assert "2 earlier looks" in said


def test_nobody_else_looks_at_an_experiment_meanwhile(whole: Reporter, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = insight.record_insight

    def alone(project: Project, key: str, *, as_of: datetime) -> str:
        with (project.history.folder / ".look-letter").open("w") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return taken(project, key, as_of=as_of)

    monkeypatch.setattr(insight, "record_insight", alone)
    found, _ = whole.look("--look")
    assert found.look == 3
