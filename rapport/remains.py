"""Remains: what is left of people in a project's models and files, to be cleared, and to be looked for afterwards."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix

from features.erasure import erase_lines, erase_log, erase_rows, is_leftover
from features.errors import InputError
from features.intake.query import files_of
from features.traces import Traces
from rapport.project import Project
from training.models.bundle import MANIFEST, Bundle, read_bundle, to_npz

_TABLES, _LOGS = (".csv", ".csv.gz"), (".log", ".txt", ".jsonl", ".out", ".err")
_FACTORS = "factors.npz"
_SHORTEST = 8  # of an account that is looked for in bytes: shorter ones stand anywhere by chance
_CHUNK, _OVERLAP = 1 << 24, 1 << 12
_UNREADABLE = (pa.ArrowException, OSError, EOFError, zlib.error, csv.Error, UnicodeError)


def clear_bundles(project: Project, accounts: Collection[str]) -> dict[str, int]:
    """Take customers out of the recommenders in the project and its MLflow store; returns how many of which bundle.

    Other models hold nobody: trees and calibration are sums over many, and what they have seen is kept as 64-bit
    hashes of feature rows without a name.
    """
    cleared = {}
    for manifest in sorted(project.root.rglob(MANIFEST)):
        try:
            bundle = read_bundle(manifest.parent)
        except InputError:
            continue  # no bundle, or a broken one, which nothing loads; it is searched as a file
        fewer = without_customers(bundle, accounts) if _FACTORS in bundle.files else None
        if fewer is not None:
            changed, gone = fewer
            changed.write(manifest.parent)
            cleared[str(manifest.parent.relative_to(project.root))] = gone
    return cleared


def without_customers(bundle: Bundle, accounts: Collection[str]) -> tuple[Bundle, int] | None:
    """A recommender's bundle without customers, and how many those were; None where it holds none of them."""
    arrays = bundle.arrays(_FACTORS)
    stay = ~np.isin(arrays["customers"], list(accounts))
    if stay.all():
        return None
    had = csr_matrix(
        (arrays["had_data"], arrays["had_indices"], arrays["had_indptr"]), shape=(len(stay), len(arrays["items"]))
    )[stay]
    arrays |= {"had_data": had.data, "had_indices": had.indices, "had_indptr": had.indptr}
    arrays |= {name: arrays[name][stay] for name in ("customers", "user_factors")}
    fewer = replace(bundle, files={**bundle.files, _FACTORS: to_npz(arrays)})
    return replace(fewer, card={**bundle.card, "model_hash": fewer.model_hash}), int((~stay).sum())


def clear_files(project: Project, traces: Traces, *, progress: Callable[[str], None]) -> dict[str, int]:
    """Remove the rows and lines of people from tables and logs in the project, and exports about them.

    The files of the project's sources stay as they are: they belong to the systems that wrote them.
    """
    sources = set(_source_files(project))
    cleared = {}
    for path in _files(project):
        if path in sources or project.history.folder in path.parents:
            continue
        try:
            gone = _clear(path, traces)
        except _UNREADABLE:
            continue  # it is searched afterwards
        if gone:
            progress(path.name)
            cleared[str(path.relative_to(project.root))] = gone
    return cleared


def _clear(path: Path, traces: Traces) -> int:
    name = path.name.lower()
    if is_leftover(path):
        path.unlink()
        return 1
    if name.endswith((".parquet", ".pq")):
        return erase_rows(path, traces.accounts)
    if name.endswith(_TABLES):
        return erase_lines(path, traces)
    if name.endswith(_LOGS):
        return erase_log(path, traces)
    if name.endswith(".json") and _is_about(path, traces):
        path.unlink()
        return 1
    return 0


def _is_about(path: Path, traces: Traces) -> bool:
    """Whether a JSON file is an answer about one of the people, such as an export or an explanation."""
    try:
        told = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(told, dict) and told.get("customer_id") in traces.accounts


def still_named(project: Project, traces: Traces) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The files of the project, but the ledger, that still name people, and those of its sources that do."""
    sources = set(_source_files(project))
    found = [path for path in _files(project) if names_any(path, traces)]
    named = [(path, str(path.relative_to(project.root))) for path in found]
    return (
        tuple(name for path, name in named if path not in sources),
        tuple(name for path, name in named if path in sources),
    )


def names_any(path: Path, traces: Traces) -> bool:
    """Whether a file holds an address, a text or an account (not a very short one) of people, as it was told."""
    name = path.name.lower()
    try:
        if name.endswith((".parquet", ".pq")):
            return _table_holds(path, traces)
        needles = [each.encode() for each in _words(traces)]
        with (gzip.open if name.endswith(".gz") else open)(path, "rb") as stream:
            before = b""
            while chunk := stream.read(_CHUNK):
                whole = before + chunk
                if any(needle in whole for needle in needles):
                    return True
                before = whole[-_OVERLAP:]
    except _UNREADABLE:
        return True  # what can't be read can't be said to be free of them
    return False


def _words(traces: Traces) -> set[str]:
    long = {each for each in traces.accounts if len(each) >= _SHORTEST}
    return {*long, *traces.texts, *(text for _, text in traces.addresses)}


def _table_holds(path: Path, traces: Traces) -> bool:
    table = pq.ParquetFile(path)
    words = {*traces.accounts, *_words(traces)}
    texts = [field.name for field in table.schema_arrow if pa.types.is_string(field.type)]
    return any(
        not words.isdisjoint(column.unique().to_pylist())
        for batch in table.iter_batches(columns=texts)
        for column in batch.columns
    )


def _files(project: Project) -> Iterator[Path]:
    """The files of the project, but those of the ledger, whose rows are removed otherwise."""
    for path in sorted(project.root.rglob("*")):
        if path.is_file() and not path.is_symlink() and not path.name.startswith(project.ledger.name):
            yield path


def _source_files(project: Project) -> Iterator[Path]:
    for source in project.sources:
        pattern = Path(source.file)
        if source.file and not pattern.is_absolute() and ".." not in pattern.parts:
            yield from project.root.glob(source.file)
        if not source.in_database:
            yield from (path for paths in files_of(source.query, data=project.root).values() for path in paths)
