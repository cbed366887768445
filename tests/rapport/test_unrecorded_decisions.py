"""Batch decisions that the ledger did not take: nobody is contacted by them, and the run does not end as a good one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import func, select

from rapport.init import create_project
from rapport.project import Project, load_project
from serving import desk, schema
from serving.ledger import Ledger, LedgerError

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def shop(tmp_path: Path) -> Project:
    """Three customers who visited."""
    create_project(tmp_path / "shop", name="Shop")
    found = load_project(tmp_path / "shop")
    before = NOON - timedelta(days=3)
    rows = [
        {"event_id": f"v{n}", "customer_id": f"c{n}", "kind": "visit", "occurred_at": before, "recorded_at": before}
        for n in range(3)
    ]
    found.history.append(pa.Table.from_pylist(rows), part="start")
    return found


def recorded(shop: Project) -> int:
    with closing(Ledger(shop.ledger)) as ledger, ledger.reading() as book:
        return book.connection.scalar(select(func.count()).select_from(schema.decisions)) or 0


def test_a_run_that_the_ledger_did_not_take_fails_and_the_next_one_mends_it(
    shop: Project, rapport_cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shop.root / "out.parquet"
    options = ["score", "--project", shop.root, "--at", NOON.isoformat(), "--seed", "monday", "--out", out]

    def full(_: object) -> None:
        raise LedgerError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(desk._Sitting, "write", full)
        failed = rapport_cli(*options)
    nobody = pq.read_table(out)

    assert failed.exit_code == 2
    assert "3 of 3 decisions are not in the ledger" in " ".join(failed.stderr.split())
    assert set(nobody["action"].to_pylist()) == {"nothing"}
    assert recorded(shop) == 0

    again = rapport_cli(*options)

    assert again.exit_code == 0, again.stderr
    assert recorded(shop) == 3
