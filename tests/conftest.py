"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from features.tracking import TrackingStore
from rapport.cli import main

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("RAPPORT_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture
def data() -> Callable[[str], Path]:
    """``data("hillstrom/hillstrom.csv.gz")``: the path of a real data set; skips where it is not at hand."""

    def path(name: str) -> Path:
        found = DATA / name
        if not found.exists():
            pytest.skip(f"real data not at hand: {name} (set RAPPORT_DATA to the folder that holds it)")
        return found

    return path


@pytest.fixture(scope="session")
def migrated_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow store, migrated once for the whole run, as that takes seconds."""
    folder = tmp_path_factory.mktemp("mlflow")
    TrackingStore(folder).client.search_experiments()
    return folder


@pytest.fixture
def tracking(migrated_store: Path, tmp_path: Path) -> TrackingStore:
    """A fresh MLflow store of its own for one test."""
    folder = tmp_path / "mlruns"
    shutil.copytree(migrated_store, folder)
    return TrackingStore(folder)


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it printed."""

    exit_code: int
    stdout: str
    stderr: str


@pytest.fixture
def rapport_cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run the command line in process: ``rapport_cli("analyze", path, "--arm", "group")``; bad input exits with 2."""
    monkeypatch.setenv("COLUMNS", "100")

    def invoke(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["rapport", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return invoke
