"""Quality: how fresh and complete the rows of a source are, and what changed since the time before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from features.intake.checks import REASONS, attribute_columns
from features.intake.receipts import Measured, Receipt
from features.intake.staging import Staged

#: Changes that are worth a sentence.
FEWER_ROWS, MORE_ROWS, MORE_BAD, MORE_MISSING = 0.5, 2.0, 0.01, 0.10

_WORDED = ("kind", "channel", "category", "attribute", "purpose", "contact_class", "said_by")
# Above which a moment is told in days, and above which as a date.
_HOURS, _DAYS = 36, 100
_MOST_WORDS = 40
_LONGEST_WORD = 40


def measure(staged: Staged) -> Measured:
    """The measures of the good rows of a staged file."""
    named = dict(zip(attribute_columns(staged.source), staged.source.mapped_attributes, strict=True))
    columns = {name: name for name in staged.source.columns if name != "not_before"} | named
    present = ", ".join(f"count({column}) AS n_{column}" for column in columns)
    # By Arrow: DuckDB gives a time with a zone to Python only through pytz.
    (row,) = (
        staged.connection.execute(
            "SELECT count(*) AS rows, max(occurred_at) AS occurred_at, max(recorded_at) AS recorded_at, "
            f"{present} FROM staged WHERE reason IS NULL"
        )
        .to_arrow_table()
        .to_pylist()
    )
    rows = row["rows"]
    if not rows:
        return Measured()
    return Measured(
        occurred_at=row["occurred_at"],
        recorded_at=row["recorded_at"],
        missing={name: 1 - row[f"n_{column}"] / rows for column, name in columns.items()},
        words={name: words for name in columns if name in _WORDED and (words := _words(staged, name))},
        identical=_identical(staged),
    )


def _words(staged: Staged, name: str) -> tuple[str, ...]:
    """The distinct words of a column, none when there are too many to be words."""
    found = staged.connection.execute(
        f"SELECT DISTINCT {name} FROM staged WHERE reason IS NULL AND {name} IS NOT NULL LIMIT {_MOST_WORDS + 1}"
    ).fetchall()
    words = sorted(str(word) for (word,) in found)
    return tuple(words) if len(words) <= _MOST_WORDS and all(len(word) <= _LONGEST_WORD for word in words) else ()


def _identical(staged: Staged) -> int:
    if staged.source.rows != "events" or "event_id" in staged.source.columns:
        return 0
    found = staged.connection.execute("SELECT count(*) FROM numbered WHERE number > 1").fetchone()
    return int(found[0]) if found else 0


@dataclass(frozen=True, kw_only=True)
class Quality:
    """One source: its latest file, the one before, all files together, and what a person should look at.

    ``recent`` are all its receipts, the latest last.

    >>> from features.intake.receipts import Loaded
    >>> each = [Receipt(mapping="", loaded=Loaded(source="till", file="a", read=n, accepted=n, quarantined=0, new=n))
    ...         for n in (1000, 100)]
    >>> Quality.of(each, now=datetime(2024, 6, 1)).warnings
    ('90% fewer rows than in the file before: 100 after 1,000',)
    >>> Quality.of(each, now=datetime(2024, 6, 3)).age(datetime(2024, 6, 1, 12))
    '1.5 days ago'
    """

    source: str
    latest: Receipt
    before: Receipt | None
    files: int
    rows: int
    quarantined: int
    now: datetime
    warnings: tuple[str, ...] = ()
    recent: tuple[Receipt, ...] = ()

    @classmethod
    def of(cls, receipts: Sequence[Receipt], *, now: datetime) -> Quality:
        """The quality of a source by its receipts, in the order they were written (at least one)."""
        latest, before = receipts[-1], receipts[-2] if len(receipts) > 1 else None
        return cls(
            source=latest.loaded.source,
            latest=latest,
            before=before,
            files=len(receipts),
            rows=sum(each.loaded.read for each in receipts),
            quarantined=sum(each.loaded.quarantined for each in receipts),
            now=now,
            warnings=tuple(_warnings(latest, before)),
            recent=tuple(receipts),
        )

    def age(self, moment: datetime | None) -> str:
        """How long ago a moment was, in words; its date when that was long ago."""
        if moment is None:
            return "unknown"
        hours = (self.now - moment).total_seconds() / 3600
        if hours < 1:
            return f"{max(hours, 0) * 60:.0f} minutes ago"
        if hours < _HOURS:
            return f"{hours:.0f} hours ago"
        days = hours / 24
        if days > _DAYS:
            return f"{moment:%Y-%m-%d}"
        return f"{days:.1f} days ago" if days < 10 else f"{days:.0f} days ago"


def percent(part: int, whole: int, *, digits: int = 0) -> str:
    """A share in percent that shows a few of many as a few, not as none, and all but a few not as all.

    >>> percent(0, 9), percent(1, 47_243, digits=2), percent(222, 75_000), percent(1, 3), percent(999, 1000)
    ('0%', '<0.01%', '<1%', '33%', '>99%')
    """
    if not part or not whole or part == whole:
        return f"{part / whole if whole else 0:.0%}"
    least = 10.0**-digits
    share = 100 * part / whole
    if share < least:
        return f"<{least:.{digits}f}%"
    return f">{100 - least:.{digits}f}%" if share > 100 - least else f"{share:.{digits}f}%"


def reason_in_words(reason: str) -> str:
    """What a reason code says; empty for one that nobody knows."""
    known = next((code for code in REASONS if reason == code or reason.startswith(f"{code}_")), "")
    return REASONS.get(known, "")


def bad_share(receipt: Receipt) -> float:
    """Share of a file's rows that were quarantined."""
    return receipt.loaded.quarantined / receipt.loaded.read if receipt.loaded.read else 0.0


def _warnings(latest: Receipt, before: Receipt | None) -> list[str]:
    told = []
    if latest.loaded.refused:
        told.append(f"the file was refused: {bad_share(latest):.1%} of its rows are bad")
    if before is None:
        return told
    return told + _change_of_rows(latest, before) + _change_of_values(latest.measured, before.measured)


def _change_of_rows(latest: Receipt, before: Receipt) -> list[str]:
    told, now, then = [], latest.loaded.read, before.loaded.read
    if then and now < FEWER_ROWS * then:
        told.append(f"{1 - now / then:.0%} fewer rows than in the file before: {now:,} after {then:,}")
    if then and now > MORE_ROWS * then:
        told.append(f"{now / then:.1f} times as many rows as in the file before: {now:,} after {then:,}")
    if bad_share(latest) > bad_share(before) + MORE_BAD:
        told.append(f"more bad rows: {bad_share(latest):.1%} after {bad_share(before):.1%}")
    new = [reason for reason in latest.loaded.reasons if reason not in before.loaded.reasons]
    if new and before.loaded.reasons:
        told.append(f"rows are bad for a reason that is new: {', '.join(new)}")
    return told


def _change_of_values(latest: Measured, before: Measured) -> list[str]:
    told = []
    for name, share in latest.missing.items():
        then = before.missing.get(name, share)
        if share > then + MORE_MISSING:
            told.append(f"{name} is missing in {share:.0%} of rows, {then:.0%} before")
    for name, words in latest.words.items():
        new = [word for word in words if word not in before.words.get(name, words)]
        gone = [word for word in before.words.get(name, ()) if word not in words]
        if new:
            told.append(f"{name} has new words: {', '.join(new)}")
        if gone:
            told.append(f"{name} has lost words: {', '.join(gone)}")
    if latest.occurred_at and before.occurred_at and latest.occurred_at < before.occurred_at:
        told.append("the latest row is older than that of the file before")
    return told
