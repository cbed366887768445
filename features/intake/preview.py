"""Previews: what the rows of a file would become by a mapping, without anything being kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from features.history import History
from features.intake.becoming import facts
from features.intake.checks import Rules
from features.intake.quarantine import bad_rows, counts
from features.intake.receipts import Loaded
from features.intake.sources import Source
from features.intake.staging import stage, workshop


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What the rows of a file would become: how many, the first facts, and the first rows that would be refused."""

    loaded: Loaded
    facts: dict[str, pa.Table]
    refused: pa.Table


def preview(path: Path, source: Source, *, rules: Rules, rows: int = 5) -> Preview:
    """The first ``rows`` facts and refused rows of ``path`` by a mapping; nothing is kept."""
    with workshop() as (connection, scratch):
        empty = History(scratch / "history")
        staged = stage(connection, path, source, file=path.name, scratch=scratch, history=empty, rules=rules)
        bad = bad_rows(staged, part="proposed")
        told = facts(source)
        shown = {name: connection.execute(f"{sql} LIMIT {rows}").to_arrow_table() for name, sql in told.items()}
        good = staged.count("reason IS NULL")
    loaded = Loaded(
        source=source.name,
        file=path.name,
        read=good + bad.num_rows,
        accepted=good,
        quarantined=bad.num_rows,
        new=0,
        reasons=counts(bad),
    )
    return Preview(loaded=loaded, facts=shown, refused=bad.slice(0, rows))
