"""G1: whatever a file has suffered, every line is accepted or quarantined, and good lines stay good."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from features import History, InputError
from features.intake import Source, ingest

NOW = datetime(2024, 6, 1, tzinfo=UTC)
LINES = 60
SOURCE = {
    "name": "till",
    "file": "till.csv",
    "rows": "events",
    "columns": {
        "event_id": "receipt",
        "customer_id": "card",
        "kind": {"column": "type", "values": {"SALE": "purchase"}},
        "occurred_at": "time",
        "amount": "total",
    },
}


def one_byte(line: bytes, rng: np.random.Generator) -> bytes:
    place = rng.integers(len(line))
    return line[:place] + bytes([rng.integers(256)]) + line[place + 1 :]


#: What happened to a line -> how, and the reasons it may have earned ("": none).
MUTATIONS = {
    "one value more": (lambda line, rng: line + b",x", {"unreadable_row"}),
    "cut off": (lambda line, rng: line[: line.rindex(b",")], {"unreadable_row"}),
    "another encoding": (lambda line, rng: line.replace(b"SALE", b"S\xffLE"), {"unreadable_row"}),
    "open quotation mark": (lambda line, rng: b'"' + line, {"unreadable_row"}),
    "decimal comma": (lambda line, rng: line.replace(b".50", b",50"), {"unreadable_row"}),
    "word for an amount": (lambda line, rng: line.replace(b".50", b" EUR"), {"unreadable_amount"}),
    "day that is none": (lambda line, rng: line.replace(b"2024-05", b"2024-13"), {"unreadable_occurred_at"}),
    "in the future": (lambda line, rng: line.replace(b"2024-05", b"2034-05"), {"future_time"}),
    "no customer": (lambda line, rng: re.sub(rb",c\d,", b",,", line), {"missing_customer_id"}),
    "key of another": (lambda line, rng: b"r0,zoe" + line[line.index(b",SALE") :], {"conflicting_event_id"}),
    "sent again": (lambda line, rng: b"r0,c0,SALE,2024-05-01 10:00:00,0.50", {"duplicate_event_id", ""}),
    "any byte": (one_byte, None),
}


def mutated(rng: np.random.Generator, how: str) -> tuple[bytes, int]:
    """A file with three lines that suffered, and its number of lines below the header."""
    lines = [b"r%d,c%d,SALE,2024-05-%02d 10:00:00,%d.50" % (n, n % 7, 1 + n % 28, n) for n in range(LINES)]
    for place in rng.choice(np.arange(1, LINES), 3, replace=False):
        lines[place] = MUTATIONS[how][0](lines[place], rng)
    end = [b"\n", b"\r\n"][rng.integers(2)]
    mark = [b"", b"\xef\xbb\xbf"][rng.integers(2)]
    raw = mark + b"receipt,card,type,time,total" + end + end.join(lines) + [b"", end][rng.integers(2)]
    return raw, sum(1 for line in raw.replace(b"\r\n", b"\n").split(b"\n")[1:] if line.strip())


def check(rng: np.random.Generator, how: str) -> None:
    raw, lines = mutated(rng, how)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "till.csv").write_bytes(raw)
        history = History(folder / "history")
        (loaded,) = ingest(
            Source.from_config(SOURCE), data=folder, history=history, quarantine=folder, now=NOW, accept_bad=True
        )
        assert loaded.accepted + loaded.quarantined == loaded.read == lines
        assert loaded.new == loaded.accepted == history.events().num_rows
    reasons = MUTATIONS[how][1]
    if reasons is not None:
        assert set(loaded.reasons) <= reasons
        assert loaded.reasons or "" in reasons


@pytest.mark.parametrize("how", MUTATIONS)
def test_mutated_files(how: str) -> None:
    check(np.random.default_rng(5), how)


@pytest.mark.slow
@pytest.mark.parametrize("how", MUTATIONS)
def test_a_thousand_mutated_files(how: str) -> None:
    rng = np.random.default_rng(6)
    for _ in range(84):  # times 12 ways: 1,008 files
        check(rng, how)


def test_files_cut_off_anywhere(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    raw, _ = mutated(rng, "sent again")
    for place in rng.choice(len(raw), 12, replace=False):
        (tmp_path / "till.csv").write_bytes(raw[:place])
        history = History(tmp_path / f"h{place}")
        try:
            (loaded,) = ingest(
                Source.from_config(SOURCE),
                data=tmp_path,
                history=history,
                quarantine=tmp_path,
                now=NOW,
                accept_bad=True,
            )
        except InputError:
            assert history.events().num_rows == 0
        else:
            assert loaded.accepted + loaded.quarantined == loaded.read
