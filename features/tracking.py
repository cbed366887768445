"""The MLflow store of a folder: the one module of Rapport that imports MLflow.

MLflow takes a second to import and some more to create its database, so it is imported when it is first needed,
never in the path of a request.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient

_BATCH = 900
_SCRATCH = ".new.db"
_LOCATED = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Where MLflow's database says, by an absolute URI, in which folder files lie."""


class TrackingStore:
    """MLflow under one folder: ``mlflow.db`` for records, ``artifacts/`` for files.

    The folder may be copied or moved: what its records say of files is about those that lie beside them.

    Parameters
    ----------
    folder: where the store lives, usually ``<project>/mlruns``; made when missing.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).resolve()
        self._client: MlflowClient | None = None

    @property
    def uri(self) -> str:
        """The tracking and registry URI, as ``mlflow ui --backend-store-uri`` takes it."""
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def client(self) -> MlflowClient:
        """MLflow's own client on this store; the first call creates the database."""
        if self._client is None:
            os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
            os.environ.setdefault("DO_NOT_TRACK", "true")
            os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
            from mlflow import MlflowClient

            # MLflow sets its own levels when it is imported.
            for noisy in ("alembic", "mlflow", "mlflow.store.db.utils"):
                logging.getLogger(noisy).setLevel(logging.WARNING)
            with self._alone():
                self._check()
                self._client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
        return self._client

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the store against all who would create it, or an experiment of it, at the same time."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = (self.folder / ".lock").open("w")
        except OSError as error:
            raise self._unusable(error) from error
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _check(self) -> None:
        """Create the database where there is none, and see that what lies there as one is one, of this folder."""
        database = self.folder / "mlflow.db"
        try:
            if not database.exists():
                _create(database)
            with closing(sqlite3.connect(database)) as connection:
                _settle(connection, here=self._artifacts)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> InputError:
        # Held by another process or on a full disk it is whole: who moved it away would lose every earlier look.
        whole = isinstance(error, OSError | sqlite3.OperationalError)
        return InputError(
            f"MLflow's store can't be opened at {str(self.folder / 'mlflow.db')!r}",
            got=str(error),
            do="see that no other process holds it, the disk has room, and you may write there; then run this again"
            if whole
            else "restore it from a backup, or move it away to begin with an empty one",
        )

    @property
    def _artifacts(self) -> str:
        return (self.folder / "artifacts").as_uri()

    def experiment(self, name: str) -> str:
        """The id of the MLflow experiment ``name``, created on first use."""
        client = self.client
        with self._alone():
            found = client.get_experiment_by_name(name)
            if found is not None:
                return str(found.experiment_id)
            return str(client.create_experiment(name, artifact_location=self._artifacts))

    def log_run(
        self,
        experiment: str,
        *,
        name: str,
        params: Mapping[str, Any] = {},
        metrics: Mapping[str, float] = {},
        tags: Mapping[str, str] = {},
        artifacts: Mapping[str, bytes | str | Path] = {},
    ) -> str:
        """Log one finished run and return its id; until all of it is there, its status is not ``FINISHED``.

        ``artifacts`` maps a path inside the run to its content, or to a file or folder to copy.
        """
        from mlflow.entities import Metric, Param, RunTag

        run = self.client.create_run(self.experiment(experiment), run_name=name)
        run_id = str(run.info.run_id)
        stamp = run.info.start_time
        rows = [Metric(key, float(value), stamp, 0) for key, value in metrics.items()]
        for start in range(0, len(rows), _BATCH):
            self.client.log_batch(run_id, metrics=rows[start : start + _BATCH])
        self.client.log_batch(
            run_id,
            params=[Param(key, str(value)[:6000]) for key, value in list(params.items())[:100]],
            tags=[RunTag(key, str(value)[:5000]) for key, value in list(tags.items())[:100]],
        )
        with tempfile.TemporaryDirectory() as scratch:
            for path, content in artifacts.items():
                self._log_artifact(run_id, path, content, Path(scratch))
        self.client.set_terminated(run_id)
        return run_id

    def read_artifact(self, run_id: str, path: str) -> bytes:
        """The content of one artefact file of a run."""
        from mlflow.exceptions import MlflowException

        with tempfile.TemporaryDirectory() as scratch:
            try:
                local = self.client.download_artifacts(run_id, path, scratch)
            except (MlflowException, OSError) as error:
                raise InputError(
                    f"run {run_id} has no artefact {path!r}", got=str(error), do="list the run's artefacts in MLflow"
                ) from error
            return Path(local).read_bytes()

    def _log_artifact(self, run_id: str, path: str, content: bytes | str | Path, scratch: Path) -> None:
        folder, _, name = path.rpartition("/")
        if isinstance(content, Path) and content.is_dir():
            self.client.log_artifacts(run_id, str(content), path)
            return
        local = scratch / name
        raw = content.read_bytes() if isinstance(content, Path) else content
        local.write_bytes(raw.encode() if isinstance(raw, str) else raw)
        self.client.log_artifact(run_id, str(local), folder or None)


def _create(database: Path) -> None:
    """A new database, whole or not at all: MLflow's dozens of migrations can't be taken up where they were killed."""
    from mlflow import MlflowClient

    for left in database.parent.glob(f"{_SCRATCH}*"):  # and the journal of what was killed
        left.unlink()
    scratch = database.with_name(_SCRATCH)
    MlflowClient(tracking_uri=f"sqlite:///{scratch}").search_experiments(max_results=1)
    scratch.replace(database)


def _settle(connection: sqlite3.Connection, *, here: str) -> None:
    """Let records that name the files of another folder name those ``here``: the folder was copied or moved from there.

    Else a copy would read the files of the original, and write its own among them.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "experiments" not in tables:
        return
    elsewhere = connection.execute(
        "SELECT DISTINCT artifact_location FROM experiments"
        " WHERE artifact_location LIKE 'file:%/artifacts' AND artifact_location <> ?",
        (here,),
    ).fetchall()
    with connection:
        for (there,) in elsewhere:
            for table, column in (each for each in _LOCATED if each[0] in tables):
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column} || '/', 1, ?) = ?",
                    (here, len(there) + 1, len(there) + 1, f"{there}/"),
                )
