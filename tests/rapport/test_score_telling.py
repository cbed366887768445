"""What ``rapport score`` says: which checks took the last treatments, and whose file can't be written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.tables import write_table
from rapport.project import Project
from serving.reasons import Reason

if TYPE_CHECKING:
    from tests.conftest import Ran

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = timedelta(days=1)
PEOPLE = [f"c{number}" for number in range(30)]


@pytest.fixture
def shop(
    tmp_path: Path,
    only_experiment: Callable[..., Project],
    letter_design: Callable[..., str],
    agree: Callable[..., None],
    buy: Callable[..., None],
) -> Project:
    """A shop of 30 customers, of whom 20 agreed to marketing."""
    project = only_experiment(tmp_path / "shop", letter=letter_design())
    agree(project, PEOPLE[:20], at=START - DAY)
    buy(project, [(each, START - DAY, 4_900) for each in PEOPLE])
    return project


def test_where_nothing_was_left_the_checks_that_took_the_last_are_counted(
    shop: Project, rapport_cli: Callable[..., Ran], tmp_path: Path
) -> None:
    out, told = tmp_path / "decisions.parquet", tmp_path / "told.json"
    (shop.root / "contact_policy.toml").write_text('[[limits]]\ncount = 0\nwindow_days = 7\nchannel = "email"\n')
    ran = rapport_cli("score", "--project", shop.root, "--at", START.isoformat(), "--out", out, "--json", told)
    assert ran.exit_code == 0, ran.stderr
    decided = pq.read_table(out).to_pylist()
    left = [each["decision_id"] for each in decided if each["reason"] == "nothing_left"]
    assert left
    counted: Counter[str] = Counter()
    for decision in left:
        assert rapport_cli("explain", decision, "--project", shop.root, "--json", tmp_path / "why.json").exit_code == 0
        counted.update(json.loads((tmp_path / "why.json").read_text())["last_checks"])
    assert {each["code"]: each["n"] for each in json.loads(told.read_text())["last_checks"]} == counted
    code, n = counted.most_common(1)[0]
    printed = " ".join(ran.stdout.split())
    assert f"{len(left)} x {Reason.NOTHING_LEFT.sentence} {n} x last to go: {Reason[code.upper()].sentence}" in printed
    ran = rapport_cli("explain", left[0], "--project", shop.root)
    assert "The last to go: " in ran.stdout


def test_an_output_of_an_unknown_kind_is_told_by_its_own_name(
    shop: Project, rapport_cli: Callable[..., Ran], tmp_path: Path
) -> None:
    ran = rapport_cli("score", "--project", shop.root, "--at", START.isoformat(), "--out", tmp_path / "nx.txt")
    assert ran.exit_code == 2
    assert "'nx.txt'" in ran.stderr
    assert list(tmp_path.glob(".*nx.txt*")) == []


def test_what_a_killed_writer_left_beside_a_table_goes_with_the_next_one(tmp_path: Path) -> None:
    command = (
        "import os, signal, sys\n"
        "import pyarrow as pa\n"
        "from features import tables\n"
        "tables.pq.write_table = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
        "tables.write_table(pa.table({'a': [1]}), sys.argv[1])\n"
    )
    out = tmp_path / "out.parquet"
    assert subprocess.run([sys.executable, "-c", command, out], check=False).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    mine = tmp_path / f".out.parquet.{os.getpid()}.abcdefgh"  # a write of this very process that goes on
    others = tmp_path / ".out.parquet.notes"
    for each in (mine, others):
        each.touch()
    write_table(pa.table({"a": [1]}), out)
    assert sorted(tmp_path.iterdir()) == sorted([mine, others, out])
    assert not left.exists()
