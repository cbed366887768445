"""Remains: what is left of people in a project's models and files, to be cleared, and to be looked for afterwards."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from features.errors import InputError
from features.intake.query import files_of
from features.privacy.erasure import erase_lines, erase_log, erase_rows, is_leftover
from features.privacy.mentions import Mentions
from features.privacy.traces import Traces
from rapport.people.unpacking import UNREADABLE, texts_of
from rapport.project import Project
from training.models.bundle import MANIFEST, Bundle, read_bundle, to_npz

_TABLES, _LOGS = (".csv", ".csv.gz"), (".log", ".txt", ".jsonl", ".out", ".err")
_FACTORS = "factors.npz"
_FEWEST_LETTERS, _FEWEST_DIGITS = 3, 5  # of an account that is looked for in files: 42 and 2026 stand in any
_ADDRESS = re.compile(r"[^\s@<>()\"',;:=|{}\[\]]{1,80}@[^\s@<>()\"',;:=|{}\[\]]{1,80}")
_UNREADABLE = (*UNREADABLE, csv.Error, UnicodeError)


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


@dataclass(frozen=True, kw_only=True)
class Remains:
    """Where people are still named: files of the project, files of its sources, and those that nobody could search."""

    left: tuple[str, ...]
    sources: tuple[str, ...]
    unread: tuple[str, ...]


def still_named(project: Project, traces: Traces) -> Remains:
    """The files of the project, but the ledger, that still name people; packed ones are opened."""
    mentions, sources = _mentions(traces), set(_source_files(project))
    left: list[str] = []
    theirs: list[str] = []
    unread: list[str] = []
    for path in _files(project):
        name = str(path.relative_to(project.root))
        try:
            if names_any(path, traces, mentions=mentions):
                (theirs if path in sources else left).append(name)
        except _UNREADABLE:
            unread.append(name)
    return Remains(left=tuple(left), sources=tuple(theirs), unread=tuple(unread))


def names_any(path: Path, traces: Traces, *, mentions: Mentions | None = None) -> bool:
    """Whether a file holds an account, an address, or a text of people, whatever the capitals.

    Raises
    ------
    OSError and other errors of what can't be read: nobody can say that such a file is free of them.
    """
    told = mentions or _mentions(traces)
    with path.open("rb") as stream:
        return any(
            told.found_in(text, bounded=bounded) or any(map(traces.named_in, _ADDRESS.findall(text)))
            for text, bounded in texts_of(stream)
        )


def too_short(accounts: Iterable[str]) -> int:
    """How many accounts are such that files hold them by chance: they are looked for in tables and lines alone."""
    return sum(not _telling(each) for each in accounts)


def _mentions(traces: Traces) -> Mentions:
    return Mentions([*filter(_telling, traces.accounts), *traces.texts, *(text for _, text in traces.addresses)])


def _telling(account: str) -> bool:
    return len(account) >= (_FEWEST_DIGITS if account.isdigit() else _FEWEST_LETTERS)


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
