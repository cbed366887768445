"""The example projects, run whole on the data that they are made for."""

from __future__ import annotations

import gzip
import importlib.util
import json
import lzma
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

import pyarrow.parquet as pq
import pytest

from features.history import History
from features.intake import Source, ingest
from rapport.project import load_project
from training.dataset import NOTHING

ROOT = Path(__file__).resolve().parent.parent
STARBUCKS = ROOT / "examples" / "starbucks"
FILES = ("transcript.json.xz", "profile.json.gz", "portfolio.json.gz")


@pytest.fixture
def project(tmp_path: Path, migrated_store: Path) -> Path:
    """A copy of the example's folder, with an MLflow store."""
    folder = tmp_path / "starbucks"
    shutil.copytree(STARBUCKS, folder, ignore=shutil.ignore_patterns("__pycache__", "history", "mlruns", "models"))
    shutil.copytree(migrated_store, folder / "mlruns")
    return folder


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("starbucks_run", STARBUCKS / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _part(origin: Path, target: Path, *, customers: int) -> Path:
    """The files of the first ``customers`` customers, uncompressed."""
    target.mkdir()
    shutil.copy(origin / FILES[2], target)
    profile = gzip.decompress((origin / FILES[1]).read_bytes()).decode().splitlines()[:customers]
    kept = {json.loads(line)["id"] for line in profile}
    transcript = lzma.decompress((origin / FILES[0]).read_bytes()).decode().splitlines()
    person = re.compile(r'"person": ?"([0-9a-f]{32})"')
    lines = (line for line in transcript if (found := person.search(line)) and found[1] in kept)
    for name, rows in (("profile.json", profile), ("transcript.json", lines)):
        _write(target / name, rows)
    return target


def _write(path: Path, lines: Iterable[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("customers", [2_500, pytest.param(17_000, marks=pytest.mark.slow)])
def test_the_starbucks_example_from_files_to_ranking_and_report(
    customers: int, data: Callable[[str], Path], project: Path, tmp_path: Path, rapport_cli: Callable[..., object]
) -> None:
    origin = data(f"starbucks_offers/{FILES[0]}").parent
    whole = customers == 17_000
    report = _script().main(origin if whole else _part(origin, tmp_path / "part", customers=customers), project)

    opened = load_project(project)
    kinds = opened.history.events().to_pandas()["kind"].value_counts().to_dict()
    if whole:  # as the provider's files are published
        assert kinds == {"contact": 76_277, "discount": 33_579, "open": 57_725, "purchase": 138_953}
        assert opened.history.profile().num_rows == 61_475
    contacts = opened.contacts()
    assert len(contacts.label) == 6 * customers  # six waves; who got nothing is a row too
    assert (contacts.treatment != NOTHING).sum() == kinds["contact"]

    metrics = json.loads((project / "response.json").read_text())["metrics"]
    assert metrics["auc"] > (0.72 if whole else 0.68)
    assert metrics["auc"] - 0.5 > 0.15

    ranked = pq.read_table(project / "next-best.parquet").to_pandas()
    sent = set(contacts.treatment) - {NOTHING}
    assert len(ranked) == 10 * customers
    assert ranked["customer_id"].nunique() == customers
    assert set(ranked["offer_id"] + "@" + ranked["channel"]) == sent  # history, model and catalogue agree
    assert not ranked.duplicated(["customer_id", "offer_id"]).any()
    assert ranked["response_probability"].between(0, 1).all()
    assert (ranked.groupby("customer_id")["expected_profit"].diff().dropna() <= 0).all()

    # The simulation's author lets the two dollar discount pay most; a free drink costs more than it brings.
    assert report.experiment.headline_arm == "2 off 10, 10 days (discount)" or not whole
    assert report.trusted
    page = (project / "lift.html").read_text()
    assert "Simulated customers" in page
    assert "2 off 10, 10 days (discount)" in page

    at = ("--at", "2018-08-26T09:00:00Z", "--unpromoted")
    done = rapport_cli("score", "--project", project, *at, "--out", tmp_path / "next.parquet")
    assert done.exit_code == 0, done.stderr  # type: ignore[attr-defined]
    decided = pq.read_table(tmp_path / "next.parquet").to_pandas()
    assert len(decided) == customers
    assert set(decided["action"]) <= sent | {NOTHING}


def test_the_starbucks_sources_read_parquet_too(data: Callable[[str], Path], tmp_path: Path) -> None:
    folder = data("starbucks_offers/profile.parquet").parent
    found = {}
    for form in ("json*", "parquet"):
        history = History(tmp_path / form.strip("*"))
        for source in load_project(STARBUCKS).sources:
            if source.rows != "events":  # tests/features/test_intake.py compares those
                other = Source(**{**vars(source), "file": f"{source.name}.{form}"})
                ingest(other, data=folder, history=history, quarantine=tmp_path)
        found[form] = (history.profile(), history.items())
    assert found["json*"][0].equals(found["parquet"][0])
    assert found["json*"][1].num_rows == found["parquet"][1].num_rows == 50
