"""The quality page: how each source is, as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from features.intake.quality import Quality, percent, reason_in_words
from features.intake.receipts import Measured, Receipt

_FOLDER = Path(__file__).parent
_LATEST = 10

Row = tuple[str, ...]


def render(qualities: Sequence[Quality], *, company: str) -> str:
    """The page: a summary of all sources, then each with its warnings, reasons, columns and latest files."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("page.html.j2")
    now = max((each.now for each in qualities), default=None)
    return template.render(
        company=company,
        now=day(now),
        summary=[summary(each) for each in qualities],
        sources=list(map(_source, qualities)),
    )


def summary(quality: Quality) -> Row:
    """A source in one row: name, rows of its latest file, its bad rows, its newest row and the emptiest column."""
    latest = quality.latest
    emptiest = max(latest.measured.missing.items(), key=lambda each: each[1], default=("", 0.0))
    return (
        quality.source,
        f"{latest.loaded.read:,}",
        percent(latest.loaded.quarantined, latest.loaded.read, digits=2),
        quality.age(latest.measured.occurred_at),
        f"{emptiest[0]}, {_missing(emptiest[1], latest)} missing" if emptiest[1] else "none",
    )


def _missing(share: float, receipt: Receipt) -> str:
    rows = receipt.loaded.accepted
    return percent(round(share * rows), rows)


def day(moment: datetime | None) -> str:
    """A moment to the minute, in UTC."""
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "unknown"


def _source(quality: Quality) -> dict[str, object]:
    latest, before = quality.latest, quality.before
    return {
        "name": quality.source,
        "warnings": quality.warnings,
        "facts": _facts(quality),
        "reasons": [
            (
                reason,
                reason_in_words(reason),
                f"{count:,}",
                percent(count, latest.loaded.read, digits=2),
                _count_before(before, reason),
            )
            for reason, count in latest.loaded.reasons.items()
        ],
        "columns": [
            (name, f"{1 - share:.1%}", _change(share, before.measured if before else None, name), _words(latest, name))
            for name, share in latest.measured.missing.items()
        ],
        "files": [_file(each) for each in quality.recent[-_LATEST:][::-1]],
    }


def _facts(quality: Quality) -> list[Row]:
    latest, measured = quality.latest, quality.latest.measured
    return [
        ("Latest file", latest.loaded.file),
        ("Taken in", day(latest.at)),
        ("Newest row happened", f"{day(measured.occurred_at)} ({quality.age(measured.occurred_at)})"),
        ("Newest row was known", f"{day(measured.recorded_at)} ({quality.age(measured.recorded_at)})"),
        ("Identical rows", f"{measured.identical:,} of {latest.loaded.read:,}"),
        ("All files so far", f"{quality.files:,} with {quality.rows:,} rows, {quality.quarantined:,} of them bad"),
    ]


def _count_before(before: Receipt | None, reason: str) -> str:
    return f"{before.loaded.reasons.get(reason, 0):,}" if before else "–"


def _change(share: float, before: Measured | None, name: str) -> str:
    if before is None or name not in before.missing:
        return "–"
    change = before.missing[name] - share
    return "as before" if abs(change) < 5e-4 else f"{100 * change:+.1f} points"


def _words(latest: Receipt, name: str) -> str:
    return ", ".join(latest.measured.words.get(name, ()))


def _file(receipt: Receipt) -> Row:
    loaded = receipt.loaded
    return (
        loaded.file,
        day(receipt.at),
        f"{loaded.read:,}",
        f"{loaded.accepted:,}",
        f"{loaded.quarantined:,}",
        "refused" if loaded.refused else f"{loaded.new:,}",
    )
