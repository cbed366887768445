"""Mending: rows of the quarantine that a person corrected are judged again by the mapping that refused them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import InputError, unknown
from features.history import History
from features.intake import quarantine as rejects
from features.intake.becoming import append
from features.intake.checks import Rules
from features.intake.loading import Intake
from features.intake.opt_outs import keep_opt_outs
from features.intake.quarantine import KEY
from features.intake.receipts import Loaded, Receipt
from features.intake.sources import Source
from features.intake.staging import stage, workshop
from features.privacy.suppression import ERASED_PERSON, Erased


def mend(
    path: Path,
    *,
    sources: Sequence[Source],
    history: History,
    quarantine: Path,
    now: datetime | None = None,
    currency: str = "",
    erased: Erased | None = None,
) -> tuple[Loaded, ...]:
    """Load the corrected rows of a table of quarantined ones; what came of them, for each file they came from.

    Rows that are good now become facts and leave the quarantine; those that are not stay there as they were corrected,
    with their new reason. A row that left before is passed over, so that loading the table again changes nothing.

    Raises
    ------
    InputError
        When it is no table of quarantined rows, names an unknown source, or its file was refused as a whole.
    """
    rules = Rules(now=now or datetime.now(UTC), currency=currency)
    intake = Intake(history=history, quarantine=quarantine, rules=rules, erased=erased)
    known = {source.name: source for source in sources}
    found = [(part, rows, _source(rows, known), _receipt(part, rows, intake)) for part, rows in _by_part(path)]
    return tuple(_mend(part, rows, source, receipt, intake=intake) for part, rows, source, receipt in found)


def _by_part(path: Path) -> Iterator[tuple[str, pa.Table]]:
    """The corrected rows by the file that they came from; lines that nobody has filled in are left out."""
    table = rejects.read(path)
    filled = pa.array([False] * table.num_rows)
    for name in rejects.own_columns(table):
        filled = pc.or_(filled, pc.is_valid(table[name]))
    rows = table.filter(filled)
    parts = [str(key).rpartition(":")[0] for key in rows[KEY].to_pylist()]
    for part in dict.fromkeys(parts):
        yield part, rows.filter(pa.array([each == part for each in parts]))


def _source(rows: pa.Table, known: dict[str, Source]) -> Source:
    name = rows["source"][0].as_py()
    if name not in known:
        raise unknown("source", name, known, do="restore it in rapport.toml")
    return replace(known[name], delimiter=",", encoding="utf-8")


def _receipt(part: str, rows: pa.Table, intake: Intake) -> Receipt:
    receipt = intake.receipts.find(part)
    if receipt is None:
        raise InputError(
            f"the file {str(rows['file'][0].as_py())!r} was not loaded, so none of its rows can be",
            got="a file of which too many rows are bad, or that another history took in",
            do="mend the file itself, or load its good rows with --accept-bad first",
        )
    return receipt


def _mend(part: str, rows: pa.Table, source: Source, receipt: Receipt, *, intake: Intake) -> Loaded:
    held = rejects.held(intake.quarantine, part)
    waiting = rows.filter(pc.is_in(rows[KEY], value_set=held[KEY]))
    file = receipt.loaded.file
    if waiting.num_rows == 0:
        return Loaded(source=source.name, file=file, read=0, accepted=0, quarantined=0, new=0)
    with workshop(intake.scratch) as (connection, scratch):
        mended = scratch / "mended.csv"
        rejects.write_own_columns(waiting, mended)
        staged = stage(
            connection,
            mended,
            source,
            file=file,
            scratch=scratch,
            history=intake.history,
            rules=intake.rules,
            erased=intake.erased,
        )
        reasons = connection.execute("SELECT reason FROM staged ORDER BY rowid").to_arrow_table()["reason"]
        keep_opt_outs(staged, history=intake.history, part=part, now=intake.rules.now, every=False, refused=False)
        new = append(staged, history=intake.history, part=part)
    still = waiting.set_column(waiting.column_names.index("reason"), "reason", reasons)
    still = still.filter(pc.and_(pc.is_valid(reasons), pc.not_equal(reasons, ERASED_PERSON)))
    still = rejects.of_others(still, intake.erased)
    others = held.filter(pc.invert(pc.is_in(held[KEY], value_set=waiting[KEY])))
    left = pa.concat_tables([others, still], promote_options="default")
    left = left.take(pc.sort_indices(pc.index_in(left[KEY], value_set=held[KEY])))
    loaded = _counted(waiting, reasons, receipt, new=new)
    path = rejects.write(left, intake.quarantine / f"{part}.csv")
    intake.receipts.keep(part, replace(receipt, loaded=_brought_up(receipt.loaded, loaded, left=left, path=path)))
    return replace(loaded, quarantine=path)


def _counted(rows: pa.Table, reasons: pa.ChunkedArray, receipt: Receipt, *, new: int) -> Loaded:
    quarantined = rows.num_rows - reasons.null_count
    return Loaded(
        source=receipt.loaded.source,
        file=receipt.loaded.file,
        read=rows.num_rows,
        accepted=reasons.null_count,
        quarantined=quarantined,
        new=new,
        reasons=rejects.counts(pa.table({"reason": reasons.drop_null()})),
    )


def _brought_up(before: Loaded, mended: Loaded, *, left: pa.Table, path: str) -> Loaded:
    """The outcome of the file with its mended rows: what neither was accepted nor waits was an erased person's."""
    accepted = before.accepted + mended.accepted
    reasons = rejects.counts(left)
    gone = before.read - accepted - sum(reasons.values())
    return replace(
        before,
        accepted=accepted,
        quarantined=before.read - accepted,
        new=before.new + mended.new,
        reasons=reasons | ({ERASED_PERSON: gone} if gone else {}),
        quarantine=path,
    )
