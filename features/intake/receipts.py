"""Receipts: that a file was taken in, by which mapping, what became of its rows and how good they were."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from features.errors import InputError

_LEFT_SECONDS = 86_400
_REFUSED = ".refused"
_MARK = ".mark"


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What became of one file: ``accepted + quarantined = read``.

    ``new`` counts the facts that the history did not hold (a row of wide attributes is several facts); ``refused``
    says that too many rows were bad, so that nothing was loaded. ``unheard`` counts the noes whose customer can't be
    read; ``note`` says what is wrong with the file as a whole.
    """

    source: str
    file: str
    read: int
    accepted: int
    quarantined: int
    new: int
    reasons: dict[str, int] = field(default_factory=dict)
    refused: bool = False
    quarantine: str = ""
    unheard: int = 0
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """How good the rows of one file are.

    ``occurred_at``, ``recorded_at``: the latest of its good rows. ``missing``: share of its good rows without a value,
    by column of the fact. ``words``: the distinct words of columns that hold few. ``identical``: good rows that equal
    an earlier one of the file.
    """

    occurred_at: datetime | None = None
    recorded_at: datetime | None = None
    missing: dict[str, float] = field(default_factory=dict)
    words: dict[str, tuple[str, ...]] = field(default_factory=dict)
    identical: int = 0


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """One file: its outcome, the fingerprint of the mapping, when it was taken in, and its measures."""

    mapping: str
    loaded: Loaded
    at: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    measured: Measured = Measured()


class Receipts:
    """The receipts of a history, one JSON file each, in ``folder``; a part is a source with the digest of a file.

    >>> import tempfile
    >>> receipts = Receipts(Path(tempfile.mkdtemp()))
    >>> loaded = Loaded(source="till", file="till.csv", read=1, accepted=1, quarantined=0, new=1)
    >>> receipts.keep("till-1", Receipt(mapping="a", loaded=loaded))
    >>> receipts.find("till-1").loaded.file, [each.loaded.read for each in receipts.of("till")]
    ('till.csv', [1])
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, part: str) -> Receipt | None:
        """The receipt of a part that was taken in; None for one that was refused or never seen."""
        path = self._folder / f"{part}.json"
        return _read(path) if path.exists() else None

    def keep(self, part: str, receipt: Receipt) -> None:
        """Write the receipt of a part in place of the one before."""
        refused = self._folder / f"{part}{_REFUSED}.json"
        _write(refused if receipt.loaded.refused else self._folder / f"{part}.json", msgspec.json.encode(receipt))
        if not receipt.loaded.refused:
            refused.unlink(missing_ok=True)

    def of(self, source: str) -> tuple[Receipt, ...]:
        """The receipts of a source, refused files among them, in the order they were taken in."""
        found = [_read(path) for path in self._folder.glob(f"{source[:80]}-*.json")]
        own = [each for each in found if each.loaded.source == source]
        return tuple(sorted(own, key=lambda each: (each.at, each.loaded.file)))

    def parts(self, source: str, *, file: str) -> tuple[str, ...]:
        """The parts that exports of a file by the same name became, refused ones among them."""
        paths = sorted(self._folder.glob(f"{source[:80]}-*.json"))
        loaded = ((path.stem.removesuffix(_REFUSED), _read(path).loaded) for path in paths)
        return tuple(part for part, each in loaded if (each.source, each.file) == (source, file))

    def mark(self, source: str) -> str:
        """How far a table was read: the last value of its increasing column; empty before the first time."""
        path = self._folder / f"{source}{_MARK}"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def keep_mark(self, source: str, mark: str) -> None:
        """Note how far a table was read."""
        _write(self._folder / f"{source}{_MARK}", mark.encode())


def _read(path: Path) -> Receipt:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Receipt)
    except msgspec.MsgspecError as error:
        raise InputError(
            f"the receipt {path.name} can't be read",
            got=str(error),
            do=f"remove {path}: its file is taken in again then, and no fact counts twice",
        ) from error


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob("*.tmp"):
        if left.stat().st_mtime < time.time() - _LEFT_SECONDS:  # of a process that was killed
            left.unlink(missing_ok=True)
    scratch = path.parent / f"{path.name}.{os.getpid()}.tmp"
    with scratch.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    scratch.replace(path)
