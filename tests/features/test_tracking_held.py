"""An MLflow store that is whole but held by others is not to be moved away: that would lose the record of all looks."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from features import tracking as module
from features.errors import InputError
from features.tracking import TrackingStore


def test_a_store_that_is_held_is_waited_for_and_one_that_is_broken_is_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE anything (x)")

    def held(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database is locked")

    with monkeypatch.context() as patch, pytest.raises(InputError, match="database is locked") as busy:
        patch.setattr(module, "_settle", held)
        _ = TrackingStore(tmp_path).client
    assert "run this again" in busy.value.do and "move it away" not in busy.value.do

    database.write_bytes(b"garbage" * 1000)
    with pytest.raises(InputError, match="file is not a database") as broken:
        _ = TrackingStore(tmp_path).client
    assert "restore it from a backup" in broken.value.do
