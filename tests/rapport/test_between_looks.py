"""Looks by the commands while people are merged, parted and opt out: counted once, in one arm, and restored exactly."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from rapport.project import Project

if TYPE_CHECKING:
    from tests.conftest import Ran

# MLflow 3.17 asks SQLAlchemy for a loader strategy that 2.1 deprecates; it says so once, when MLflow is imported.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:sqlalchemy.exc.SADeprecationWarning")

# A merge that somebody says is known from the moment that it is said, so the looks are taken now.
START = datetime.now(UTC).replace(microsecond=0) - timedelta(days=30)
DAY = timedelta(days=1)
PEOPLE = [f"c{number}" for number in range(200)]
SOURCE = """
[[source]]
name = "till"
file = "till-*.csv"
rows = "events"
[source.columns]
event_id = "id"
customer_id = "customer"
kind = "kind"
occurred_at = "time"
"""


@pytest.fixture
def shop(tmp_path: Path, only_experiment: Callable[..., Project], letter_design: Callable[..., str]) -> Project:
    """A shop with an experiment that began 30 days ago, and whose till is taken in."""
    project = only_experiment(tmp_path / "shop", letter=letter_design(start=START.isoformat()))
    settings = project.root / "rapport.toml"
    settings.write_text(settings.read_text(encoding="utf-8") + SOURCE, encoding="utf-8")
    return project


@pytest.fixture
def command(shop: Project, rapport_cli: Callable[..., Ran]) -> Callable[..., str]:
    """``command("ingest")``: what a command printed that ended well."""

    def run(*arguments: object) -> str:
        ran = rapport_cli(*arguments, "--project", shop.root)
        assert ran.exit_code == 0, ran.stderr
        return " ".join(ran.stdout.split())

    return run


def _till(shop: Project, name: str, kind: str, at: datetime, people: list[str]) -> None:
    rows = [f"{name}-{each},{each},{kind},{at.isoformat()}" for each in people]
    path = shop.root / f"till-{name}.csv"
    path.write_text("\n".join(["id,customer,kind,time", *rows]) + "\n", encoding="utf-8")


def test_merges_splits_and_opt_outs_between_looks(shop: Project, command: Callable[..., str], tmp_path: Path) -> None:
    def look() -> tuple[dict[str, int], list[dict[str, Any]]]:
        command("report", "letter", "--look", "--out", tmp_path / "page.html", "--json", tmp_path / "look.json")
        found = json.loads((tmp_path / "look.json").read_text(encoding="utf-8"))["analysis"]
        return {row["arm"]: row["n"] for row in found["arms"]}, found["metrics"]

    def decided(at: datetime) -> list[dict[str, Any]]:
        command("score", "--at", at.isoformat(), "--out", tmp_path / "decided.parquet")
        rows: list[dict[str, Any]] = pq.read_table(tmp_path / "decided.parquet").to_pylist()
        return rows

    _till(shop, "before", "opt_in", START - 9 * DAY, PEOPLE)
    _till(shop, "bought", "purchase", START + 2 * DAY, PEOPLE[::3])
    command("ingest", "--data", shop.root)
    arms = {each["customer_id"]: each["arm"] for each in decided(START)}
    first, compared = look()
    assert sum(first.values()) == 200

    same = [each for each in PEOPLE if arms[each] == arms["c0"]][:2]
    other = next(each for each in PEOPLE if arms[each] != arms["c0"])
    command("identity", "merge", *same, "--by", "Ann")
    merged, _ = look()
    assert merged == first | {arms["c0"]: first[arms["c0"]] - 1}
    command("identity", "merge", same[0], other, "--by", "Ann")
    crossed, _ = look()  # a person in two arms is left out of both
    assert crossed == {arm: n - (2 if arm == arms["c0"] else 1) for arm, n in first.items()}
    again = decided(START + 20 * DAY)
    assert len(again) == 198
    assert {each["arm"] for each in again if each["customer_id"] in (*same, other)} <= set(arms.values())

    command("identity", "split", same[0], other, "--by", "Ann")
    command("identity", "split", *same, "--by", "Ann")
    parted, compared_again = look()
    assert (parted, compared_again) == (first, compared)

    _till(shop, "no", "opt_out", START + 21 * DAY, PEOPLE[:30])
    command("ingest", "--data", shop.root)
    refused = {each["customer_id"]: each for each in decided(START + 25 * DAY)}
    assert {refused[each]["offer_id"] for each in PEOPLE[:30]} == {None}
    after, compared_after = look()
    assert (after, compared_after) == (first, compared)
    assert {each["arm"] for each in refused.values()} == set(arms.values())
    assert all(refused[each]["arm"] == arms[each] for each in PEOPLE)
