"""What a person sees of sources: the mapping proposed for a new file, and how good the known ones are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from features.errors import InputError
from features.intake.checks import Rules
from features.intake.database import UnknownTable, copied
from features.intake.page import render, summary
from features.intake.preview import preview
from features.intake.proposal import propose
from features.intake.quality import Quality, reason_in_words
from features.intake.receipts import Receipts
from rapport.project import Project, load_project
from rapport.terminal import print_table, say, write_json

_SHOWN = ("customer_id", "kind", "attribute", "item", "value", "granted", "purpose", "occurred_at", "channel", "amount")
_MOST_COLUMNS, _WIDEST = 6, 16


def show_proposal(
    path: Path,
    *,
    rows: str | None,
    project: Path,
    data: Path | None,
    database: str | None = None,
    json: Path | None = None,
) -> None:
    """Print the mapping that a file probably needs, the first rows mapped, and those that would be refused.

    With a ``database``, the name of the variable that holds its URL, ``path`` is the name of a table in it.
    """
    if database is None:
        _propose(path, rows=rows, project=project, data=data, json=json)
        return
    table = UnknownTable(database=database, table=str(path))
    with TemporaryDirectory(prefix="rapport-") as scratch:
        copy = copied(table, environment=os.environ, mark="", target=Path(scratch) / f"{table.name}.csv")
        place = {"database": database, "table": table.table}
        _propose(copy.path, rows=rows, project=project, data=data, place=place, json=json)


def _propose(
    path: Path,
    *,
    rows: str | None,
    project: Path,
    data: Path | None,
    place: Mapping[str, str] | None = None,
    json: Path | None,
) -> None:
    has_project = (project / "rapport.toml").is_file()
    currency = load_project(project).settings.project.currency if has_project else ""
    folder = data or (project if path.resolve().is_relative_to(project.resolve()) else path.parent)
    proposed = propose(path, rows=rows, data=folder, place=place)  # type: ignore[arg-type]  # what it isn't, is told
    print(proposed.toml)
    payload: dict[str, Any] = {"toml": proposed.toml, "unsure": proposed.unsure, "missing": proposed.missing}
    if proposed.source is None:
        write_json(json, payload)
        raise InputError(
            f"{path.name} does not tell all that its rows need",
            got="; ".join(proposed.missing),
            do="add that to the proposal above (lines marked MISSING), or to the file",
        )
    seen = preview(path, proposed.source, rules=Rules(now=datetime.now(UTC), currency=currency))
    write_json(json, payload | {"loaded": asdict(seen.loaded)})
    for name, facts in seen.facts.items():
        _print_rows(f"the first facts of {name}", facts, [each for each in _SHOWN if each in facts.column_names])
    loaded = seen.loaded
    say(f"Of {loaded.read:,} rows {loaded.accepted:,} would be accepted and {loaded.quarantined:,} refused.")
    if loaded.quarantined:
        why = [(name, f"{count:,}", reason_in_words(name)) for name, count in loaded.reasons.items()]
        print_table("why", ("reason", "rows", "in words"), why)
        _print_rows("the first refused rows", seen.refused, seen.refused.column_names[2:-1])
    say("Nothing was loaded. Put the [[source]] into rapport.toml and run `rapport ingest`.")


def show_quality(opened: Project, *, page: Path | None) -> None:
    """Print how good each source is and what to look at; write the page where one is wanted."""
    receipts, now = Receipts(opened.history.folder / "receipts"), datetime.now(UTC)
    found = [(source.name, receipts.of(source.name)) for source in opened.sources]
    qualities = [Quality.of(own, now=now) for _, own in found if own]
    if qualities:
        say("")
        columns = ("the latest of each source", "rows", "bad", "newest row", "emptiest column")
        print_table("quality", columns, [summary(each) for each in qualities])
    for each in qualities:
        for warning in each.warnings:
            say(f"{each.source}: {warning}", style="yellow")
    if page is not None:
        _write(page, render(qualities, company=opened.settings.project.name))
        say(f"The whole of it: {page}")


def check_page(page: Path | None) -> None:
    """Refuse a page that is no HTML file, before anything is loaded."""
    if page is not None and page.suffix.lower() not in (".html", ".htm"):
        raise InputError("the page is an HTML file", got=repr(page.name), do="name a file that ends in .html")


def _print_rows(title: str, table: pa.Table, names: Sequence[str]) -> None:
    told = [name for name in names if table[name].null_count < table.num_rows][:_MOST_COLUMNS]
    print_table(title, told, [[_short(row[name]) for name in told] for row in table.to_pylist()])


def _short(value: object) -> str:
    if value is None:
        return "-"
    text = f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else str(value)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def _write(path: Path, text: str) -> None:
    scratch = path.with_name(f".{path.name[:40]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(path)
    except OSError as error:
        raise InputError("the page can't be written", got=str(error), do="name a file that you may write") from error
    finally:
        scratch.unlink(missing_ok=True)
