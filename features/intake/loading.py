"""Loading: the files or the table of a source become facts, whole files at a time, and each only once."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from features.errors import InputError
from features.history import History
from features.intake import quarantine as rejects
from features.intake.becoming import append
from features.intake.checks import CHANGED, Rules
from features.intake.database import copied
from features.intake.opt_outs import keep_opt_outs
from features.intake.quality import measure
from features.intake.query import answer, digest, files_of
from features.intake.receipts import Loaded, Receipt, Receipts
from features.intake.sources import Source
from features.intake.staging import Staged, stage, workshop
from features.privacy.suppression import ERASED_PERSON, Erased

#: Where, in the history's folder, copies of files lie for the time of an intake.
SCRATCH = ".scratch"

#: Above this share of bad rows nothing of a file is loaded, unless told to.
MOST_BAD = 0.05

# Nothing is wrong with the mapping or the export that holds such rows.
_HARMLESS = ("duplicate_event_id", CHANGED, ERASED_PERSON)


@dataclass(frozen=True, kw_only=True)
class Intake:
    """Where rows go, and what they are judged by.

    ``history`` takes the facts, ``quarantine`` is the folder of bad rows, ``erased`` knows the people of whom nothing
    is taken in, and ``accept_bad`` loads files with over 5% bad rows too.
    """

    history: History
    quarantine: Path
    rules: Rules
    accept_bad: bool = False
    erased: Erased | None = None

    @property
    def scratch(self) -> Path:
        """Where copies of files lie for the time of an intake: never out of the history's folder."""
        return self.history.folder / SCRATCH

    @property
    def receipts(self) -> Receipts:
        """What was taken in before."""
        return Receipts(self.history.folder / "receipts")


def ingest(
    source: Source,
    *,
    data: Path,
    history: History,
    quarantine: Path,
    now: datetime | None = None,
    accept_bad: bool = False,
    currency: str = "",
    erased: Erased | None = None,
    environment: Mapping[str, str] = os.environ,
) -> tuple[Loaded, ...]:
    """Take in the files of ``source`` under ``data``, or its table; what was taken in before changes nothing.

    Each bad row goes to a CSV file under ``quarantine`` with its reason code and its own columns, to be mended and
    loaded again (``mend``). Of a file with more than 5% bad rows nothing is loaded, unless ``accept_bad``; repeated
    rows are set aside but not held against it. An opt-out whose customer can be read is never lost: ``history`` keeps
    those of bad rows and refused files in ``opt_outs``, for the ledger to hear. Rows of ``erased`` people are counted
    and dropped. ``now`` (without: the clock) is what future times are judged by, ``currency`` (without: any) is the one
    that amounts are in. ``environment`` holds the URLs of databases.

    Raises
    ------
    InputError
        When there is no such file, or one can't be read at all, lacks a mapped column, or was taken in by another
        mapping; the others are taken in first.
    """
    rules = Rules(now=now or datetime.now(UTC), currency=currency)
    intake = Intake(history=history, quarantine=quarantine, rules=rules, accept_bad=accept_bad, erased=erased)
    shutil.rmtree(intake.scratch, ignore_errors=True)  # of an intake that was killed
    if source.in_database:
        return (_ingest_table(source, intake=intake, environment=environment),)
    if source.query:
        return (_ingest_query(source, data=data, intake=intake),)
    loaded, failed = [], []
    for each in _files(source, data=data):
        try:
            loaded.append(_ingest_file(each, source, file=each.name, intake=intake))
        except InputError as error:  # the other files are taken in all the same: an opt-out may stand in them
            failed.append(error)
    if failed:
        raise failed[0]
    return tuple(loaded)


def _files(source: Source, *, data: Path) -> list[Path]:
    pattern = Path(source.file)
    if pattern.is_absolute() or ".." in pattern.parts:
        raise InputError(
            f"the file of source {source.name!r} must lie within the folder of the data",
            got=repr(source.file),
            do="name it relative to that folder, and pass another folder with --data",
        )
    try:
        found = sorted(each for each in data.glob(source.file) if each.is_file()) if source.file else []
    except (ValueError, OSError) as error:
        raise InputError(
            f"the file of source {source.name!r} is no pattern",
            got=f"{source.file!r}: {error}",
            do="write a name or a pattern such as exports/*.csv",
        ) from error
    if not found:
        raise InputError(
            f"source {source.name!r} finds no file {source.file!r}",
            got=f"nothing by that name in {str(data)!r}",
            do="check 'file' of the source, or pass --data the folder it lies in",
        )
    return found


def _ingest_table(source: Source, *, intake: Intake, environment: Mapping[str, str]) -> Loaded:
    """Take in what a table holds beyond the last mark; the mark moves only when that was loaded."""
    with workshop(intake.scratch) as (_, scratch):
        copy = copied(
            source, environment=environment, mark=intake.receipts.mark(source.name), target=scratch / "table.csv"
        )
        plain = replace(source, delimiter=",", encoding="utf-8")
        loaded = _ingest_file(copy.path, plain, file=source.origin, intake=intake)
    if copy.mark and not loaded.refused:
        intake.receipts.keep_mark(source.name, copy.mark)
    return loaded


def _ingest_query(source: Source, *, data: Path, intake: Intake) -> Loaded:
    """Take in what a query tells of files; files that are the same as before tell nothing new."""
    files = files_of(source.query, data=data)
    part = _part(source, digest(files))
    if receipt := intake.receipts.find(part):
        return _again(source.origin, receipt, mapping=source.fingerprint)
    with workshop(intake.scratch) as (_, scratch):
        target = scratch / "rows.parquet"
        answer(source.query, files=files, name=source.name, target=target)
        return _judge(target, source, part=part, file=source.origin, intake=intake)


def _ingest_file(path: Path, source: Source, *, file: str, intake: Intake) -> Loaded:
    part = _part(source, _digest(path))
    if receipt := intake.receipts.find(part):
        return _again(file, receipt, mapping=source.fingerprint)
    return _judge(path, source, part=part, file=file, intake=intake)


def _part(source: Source, content: str) -> str:
    return f"{source.name[:80]}-{content[:24]}"


def _judge(path: Path, source: Source, *, part: str, file: str, intake: Intake) -> Loaded:
    """Stage a file that wasn't taken in yet, set its bad rows aside, and add its facts."""
    rules = intake.rules
    with workshop(intake.scratch) as (connection, scratch):
        staged = stage(
            connection,
            path,
            source,
            file=file,
            scratch=scratch,
            history=intake.history,
            rules=rules,
            erased=intake.erased,
        )
        loaded = _set_aside(staged, part=part, intake=intake)
        bad, measured = too_bad(loaded), measure(staged)
        refused = bad and not intake.accept_bad
        unheard = keep_opt_outs(staged, history=intake.history, part=part, now=rules.now, every=bad, refused=refused)
        loaded = replace(loaded, unheard=unheard, note=staged.note)
        if refused:
            loaded = replace(loaded, refused=True)
        else:
            loaded = replace(loaded, new=append(staged, history=intake.history, part=part))
    intake.receipts.keep(part, Receipt(mapping=source.fingerprint, loaded=loaded, at=rules.now, measured=measured))
    return loaded


def _again(file: str, receipt: Receipt, *, mapping: str) -> Loaded:
    if receipt.mapping != mapping:
        raise InputError(
            f"{file} was taken in before by another mapping of source {receipt.loaded.source!r}",
            got="a mapping that has changed since, which would count its facts twice",
            do="restore the mapping, or remove the history's folder and ingest everything again",
        )
    kept = receipt.loaded.quarantine if Path(receipt.loaded.quarantine).is_file() else ""
    return replace(receipt.loaded, new=0, quarantine=kept)


def _set_aside(staged: Staged, *, part: str, intake: Intake) -> Loaded:
    """Write the bad rows to the quarantine, and count all rows."""
    refused = rejects.bad_rows(staged, part=part)
    bad = rejects.of_others(refused, intake.erased)
    hidden = staged.hidden + staged.count(f"reason = '{ERASED_PERSON}'") + refused.num_rows - bad.num_rows
    reasons = rejects.counts(bad) | ({ERASED_PERSON: hidden} if hidden else {})
    accepted, quarantined = staged.count("reason IS NULL"), sum(reasons.values())
    path = rejects.write(bad, intake.quarantine / f"{part}.csv")
    if path:
        earlier = [each for each in intake.receipts.parts(staged.source.name, file=staged.file) if each != part]
        rejects.give_way(bad, intake.quarantine, parts=earlier)
    return Loaded(
        source=staged.source.name,
        file=staged.file,
        read=accepted + quarantined,
        accepted=accepted,
        quarantined=quarantined,
        new=0,
        reasons=reasons,
        quarantine=path,
    )


def too_bad(loaded: Loaded) -> bool:
    """Whether so many rows are bad that the mapping or the export must be wrong."""
    bad = loaded.quarantined - sum(loaded.reasons.get(each, 0) for each in _HARMLESS)
    return bad > MOST_BAD * loaded.read


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
