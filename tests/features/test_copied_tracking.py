"""An MLflow store whose folder was copied or moved: its records are about the files that lie beside them."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from features.tracking import TrackingStore

# MLflow 3.17 asks SQLAlchemy for a loader strategy that 2.1 deprecates; it says so once, when MLflow is imported.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:sqlalchemy.exc.SADeprecationWarning")


def _files(folder: Path) -> list[str]:
    return sorted(str(each.relative_to(folder)) for each in (folder / "artifacts").rglob("*") if each.is_file())


def test_a_copy_writes_its_own_files_and_leaves_the_original_as_it_is(tracking: TrackingStore, tmp_path: Path) -> None:
    before = tracking.log_run("experiments/letter", name="look 1", artifacts={"page.html": "old"})
    kept = _files(tracking.folder)
    copy = TrackingStore(shutil.copytree(tracking.folder, tmp_path / "a copy" / "mlruns"))
    after = copy.log_run("experiments/letter", name="look 2", artifacts={"page.html": "new"})
    assert _files(tracking.folder) == kept
    assert _files(copy.folder) == sorted([*kept, f"artifacts/{after}/artifacts/page.html"])
    assert copy.client.get_run(before).info.artifact_uri.startswith(copy.folder.as_uri())
    # The original still names its own files.
    assert TrackingStore(tracking.folder).read_artifact(before, "page.html") == b"old"


def test_a_moved_store_reads_what_was_written_where_it_was(tracking: TrackingStore, tmp_path: Path) -> None:
    run = tracking.log_run("train-response", name="m", artifacts={"bundle/model.txt": "tree"})
    source = f"{tracking.client.get_run(run).info.artifact_uri}/bundle"
    tracking.client.create_registered_model("response")
    tracking.client.create_model_version("response", source=source, run_id=run)
    moved = TrackingStore(shutil.move(tracking.folder, tmp_path / "elsewhere"))
    assert moved.read_artifact(run, "bundle/model.txt") == b"tree"
    version = moved.client.get_model_version("response", "1")
    assert version.source == f"{moved.folder.as_uri()}/artifacts/{run}/artifacts/bundle"


def test_a_store_of_other_files_keeps_them(tracking: TrackingStore) -> None:
    """An experiment that somebody keeps in a bucket, or anywhere Rapport would not, is theirs."""
    tracking.client.create_experiment("theirs", artifact_location="s3://bucket/artifacts")
    tracking.client.create_experiment("own", artifact_location="file:///srv/notes")
    again = TrackingStore(tracking.folder)
    found = {each.name: each.artifact_location for each in again.client.search_experiments()}
    assert (found["theirs"], found["own"]) == ("s3://bucket/artifacts", "file:///srv/notes")


def test_many_who_open_a_new_store_at_once_make_one(migrated_store: Path, tmp_path: Path) -> None:
    """MLflow's own first opening runs dozens of migrations: two at once leave a database that nobody can open."""
    del migrated_store  # MLflow is imported by then
    folder = tmp_path / "mlruns"
    with ThreadPoolExecutor(3) as pool:
        runs = list(pool.map(lambda n: TrackingStore(folder).log_run("experiments/x", name=f"{n}"), range(3)))
    (found,) = {TrackingStore(folder).client.get_run(run).info.experiment_id for run in runs}
    assert len(TrackingStore(folder).client.search_runs([found])) == 3


def test_a_creation_that_was_killed_is_begun_again(tracking: TrackingStore, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / ".new.db").write_bytes((tracking.folder / "mlflow.db").read_bytes()[:50_000])
    assert not (folder / "mlflow.db").exists()
    TrackingStore(folder).experiment("experiments/letter")
    assert sorted(each.name for each in folder.iterdir()) == [".lock", "mlflow.db"]
