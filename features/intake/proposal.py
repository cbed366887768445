"""Proposals: the mapping that an unknown file probably needs, with what is unsure or missing said beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import duckdb

from features.errors import InputError
from features.facts import KINDS
from features.intake import wording
from features.intake.columns import Column, columns_of, never_before
from features.intake.sources import Field, Rows, Source
from features.intake.staging import workshop

_CERTAIN_KIND, _LIKELY_KIND = 0.5, 0.2
_LINE = 100


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A ``[[source]]`` for a file: as TOML with comments, and as a source where nothing that it needs is missing.

    ``missing`` says precisely what the file does not tell; ``unsure`` what a person should look at.
    """

    toml: str
    source: Source | None
    unsure: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(kw_only=True)
class _Draft:
    """A mapping in the making."""

    columns: Sequence[Column]
    rows: Rows = "events"
    fields: dict[str, Field] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def free(self) -> list[Column]:
        """The columns that nothing is made of yet."""
        taken = {path for each in self.fields.values() for path in each.paths}
        return [each for each in self.columns if each.name not in taken and each.present]

    def named(self, target: str, *, fits: Callable[[Column], bool]) -> Column | None:
        """The free column whose name says that it is ``target``, and whose values may be."""
        return self.called(wording.NAMES[target], fits=fits)

    def called(self, patterns: Iterable[str], *, fits: Callable[[Column], bool]) -> Column | None:
        """The first free column whose name fits the first pattern that fits any."""
        own = [each for each in self.free if fits(each)]
        return next((each for form in patterns for each in own if re.search(form, wording.last(each.name))), None)

    def take(self, target: str, column: Column | None, note: str = "", **how: Any) -> None:
        """Make ``target`` of a column, and of others that are called alike."""
        if column is None:
            return
        alike = [each.name for each in self.free if wording.plain(each.name) == wording.plain(column.name)]
        self.fields[target] = Field(column=alike[0] if len(alike) == 1 else tuple(alike), **how)
        if note:
            self.notes[target] = note


def propose(
    path: Path, *, rows: Rows | None = None, data: Path | None = None, place: Mapping[str, str] | None = None
) -> Proposal:
    """The mapping that ``path`` probably needs; ``data`` is the folder that its name is relative to.

    ``place``: where the rows lie instead, of which ``path`` is a copy: ``{"database": "SHOP_DB", "table": "orders"}``.

    Raises
    ------
    InputError
        When there is no such file, or it can't be read at all.
    """
    if not path.is_file():
        raise InputError(f"there is no file {str(path)!r}", got="nothing by that name", do="check the path")
    if rows is not None and rows not in get_args(Rows):
        raise InputError("unknown kind of rows", got=repr(rows), do=f"use one of {', '.join(get_args(Rows))}")
    encoding = _encoding(path)
    with workshop() as (connection, scratch):
        try:
            columns = columns_of(connection, path, encoding=encoding, scratch=scratch)
        except (duckdb.Error, UnicodeError) as error:
            raise InputError(
                f"{path.name} can't be read",
                got=f"what is no text, JSON lines or Parquet file ({type(error).__name__})",
                do="export it again as CSV with a header, as JSON lines or as Parquet",
            ) from error
        draft = _Draft(columns=columns)
        if any(re.fullmatch(r"[\d.,:/ \-]+", each.name) for each in columns):
            draft.missing["header"] = "the first line holds values where names should stand"
        if len(columns) == 1 and " " in columns[0].name:
            draft.missing["header"] = (
                "its columns are parted by blanks; save it with commas, semicolons or tabs, and names"
            )
        draft.rows = rows or _kind_of_rows(draft, path.name)
        _fill(draft, path=path, never_before=lambda later, earlier: never_before(connection, later, earlier))
    return _written(draft, path=path, place=place or _place(path, data or path.parent), encoding=encoding)


def _encoding(path: Path) -> str:
    with path.open("rb") as stream:
        head = stream.read(1 << 16)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    if path.suffix.lower() in (".gz", ".xz", ".parquet", ".pq"):
        return "utf-8"
    try:
        head[: max(head.rfind(b"\n"), 0)].decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _kind_of_rows(draft: _Draft, name: str) -> Rows:
    names = [wording.last(each.name) for each in draft.columns]
    customer = _customer(draft)
    if customer and any(re.search(form, name) for form in wording.NAMES["granted"] for name in names):
        return "consents"
    item = draft.named("item", fits=lambda each: each.is_id)
    known = [each for each in draft.columns if re.search(wording.ANY_ID, wording.last(each.name)) and each.unique]
    of_people = sum(bool(re.search(wording.OF_PEOPLE, name)) for name in names)
    of_items = sum(bool(re.search(wording.OF_ITEMS, name)) for name in names)
    if customer is None and (item or known) and of_items > of_people:
        return "items"
    if customer is None:
        return "profile" if known and of_people else "events"
    happens = wording.meaning(name.partition(".")[0]) or _tells_kinds(draft) or (_has_money(draft) and not of_people)
    return "profile" if customer.unique and not happens else "events"


def _tells_kinds(draft: _Draft) -> bool:
    return any(_kind_score(each) >= _CERTAIN_KIND for each in draft.free if each.is_words)


def _customer(draft: _Draft) -> Column | None:
    return draft.named("customer_id", fits=lambda each: each.is_id and each.missing < 1)


def _fill(draft: _Draft, *, path: Path, never_before: Callable[[Column, Column], bool]) -> None:
    owner = "item" if draft.rows == "items" else "customer_id"
    found = draft.named(owner, fits=lambda each: each.is_id)
    if found is None and draft.rows != "events":
        found = draft.called([wording.ANY_ID], fits=lambda each: each.is_id and each.unique)
    draft.take(owner, found, _gaps(found, "rows without one are refused"))
    if found is None:
        draft.missing[owner] = "no column holds ids (letters, digits and _ . : -) of " + (
            "offers or products" if owner == "item" else "customers; an e-mail address is none"
        )
    _fill_times(draft, path=path, never_before=never_before)
    {"events": _fill_events, "consents": _fill_consents}.get(draft.rows, _fill_attributes)(draft, path.name)


def _gaps(column: Column | None, so: str) -> str:
    return f"{column.missing:.1%} of rows have none; {so}" if column and column.missing > 0 else ""


def _fill_times(draft: _Draft, *, path: Path, never_before: Callable[[Column, Column], bool]) -> None:
    moments = {each.name: how for each in draft.free if (how := each.moment()) and _names_no_end(each)}
    late = [
        each for each in draft.free if each.name in moments and re.search(wording.RECORDED, wording.last(each.name))
    ]
    fits = [each for each in draft.free if each.name in moments and each not in late] or late
    fits = [each for each in fits if not moments[each.name].number_of] or fits  # a number beside a date is a code
    choice = next(
        (
            e
            for form in (*wording.OCCURRED, wording.OCCURRED_ABROAD)
            for e in fits
            if re.search(form, wording.last(e.name))
        ),
        None,
    )
    choice = choice or (fits[0] if fits else None)
    if choice is None:
        return _no_time(draft, path)
    how = moments[choice.name]
    other = choice.formats[1:] if how.formats else ()
    note = f"{' or '.join((how.formats[0], *other))}? its days and months can be read both ways" if other else ""
    draft.fields["occurred_at"] = how
    draft.notes["occurred_at"] = note or _gaps(choice, "rows without one are refused")
    known = next((each for each in late if each is not choice and never_before(each, choice)), None)
    if known:
        draft.fields["recorded_at"] = moments[known.name]
    return None


def _names_no_end(column: Column) -> bool:
    return not re.search(wording.NO_EVENT_TIME, wording.last(column.name))


def _no_time(draft: _Draft, path: Path) -> None:
    """No column is a moment: facts that hold from a day on can do with the day of the file, events can't."""
    counted = draft.called([wording.COUNTED_TIME], fits=lambda each: each.is_whole)
    if draft.rows in ("profile", "items"):
        day = datetime.fromtimestamp(path.stat().st_mtime, UTC).date().isoformat()
        draft.fields["occurred_at"] = Field(constant=day)
        draft.notes["occurred_at"] = f"no column says since when; {day} is the day of the file"
    elif counted:
        field = f'{{ column = {_toml(counted.name)}, number_of = "hours", since = "2024-01-01T00:00:00Z" }}'
        draft.missing["occurred_at"] = (
            f"column {counted.name!r} counts {counted.values[0]}, ... from a moment that the file does not name; with "
            f"its unit and start: occurred_at = {field}"
        )
    else:
        draft.missing["occurred_at"] = "no column says when it happened"


def _fill_events(draft: _Draft, name: str) -> None:
    _fill_kind(draft, name)
    channel = draft.named("channel", fits=lambda each: each.is_words)
    draft.take("channel", channel)
    if channel is None and wording.place(name):
        draft.fields["channel"] = Field(constant=wording.place(name))
        draft.notes["channel"] = "from the name of the file"
    amount = draft.named("amount", fits=lambda each: each.is_number or each.has_commas)
    if amount:
        cents = "cents" in wording.last(amount.name)
        draft.take("amount", amount, unit="cents" if cents else "currency", decimal="," if amount.has_commas else ".")
    draft.take("quantity", draft.named("quantity", fits=lambda each: each.is_whole))
    draft.take("currency", draft.named("currency", fits=lambda each: each.is_words))
    draft.take("category", draft.named("category", fits=lambda each: not each.is_nested))
    draft.take("brand", draft.named("brand", fits=lambda each: not each.is_nested))
    draft.take("item", draft.named("item", fits=lambda each: each.is_id))
    draft.take("event_id", draft.called([wording.EVENT_ID], fits=lambda each: each.unique and each.is_id))
    for each in draft.free:
        if re.search(wording.SECOND_ID, wording.last(each.name)) and (each.is_id or each.is_email):
            draft.attributes[wording.last(each.name)] = each.name


def _fill_kind(draft: _Draft, name: str) -> None:
    best = max((each for each in draft.free if each.is_words), key=_kind_score, default=None)
    if best is None or _kind_score(best) < _CERTAIN_KIND:
        guess = wording.meaning(name.partition(".")[0]) or ("purchase" if _has_money(draft) else "visit")
        draft.fields["kind"] = Field(constant=guess)
        draft.notes["kind"] = f"no column says what happened; is every row a {guess}?"
        return
    meant = {each: wording.meaning(each) or wording.plain(each) or "other" for each in best.values}
    unknown = [each for each in best.values if meant[each] not in KINDS or len(each) == 1]
    asked = f"what do {', '.join(map(repr, unknown))} mean? one that is a no must be opt_out" if unknown else ""
    draft.take("kind", best, asked, values=meant)


def _kind_score(column: Column) -> float:
    told = sum(1 for each in column.values if wording.meaning(each)) / len(column.values)
    named = bool(re.search(wording.KIND, wording.last(column.name)))
    return (
        told
        + (0.5 if named and (told > _LIKELY_KIND or not column.is_number) else 0.0)
        - (0.6 if column.is_number else 0.0)
    )


def _has_money(draft: _Draft) -> bool:
    return draft.named("amount", fits=lambda each: each.is_number or each.has_commas) is not None


def _fill_consents(draft: _Draft, name: str) -> None:
    for target in ("granted", "channel", "purpose", "contact_class", "said_by", "wording"):
        draft.take(target, draft.named(target, fits=lambda each: True))
    if "channel" not in draft.fields:
        draft.fields["channel"] = Field(constant=wording.place(name) or "all")
        draft.notes["channel"] = "no column says which channel was spoken of"


def _fill_attributes(draft: _Draft, name: str) -> None:
    for each in draft.free:
        short = wording.last(each.name) or each.name
        draft.attributes[wording.plain(each.name) if short in draft.attributes else short] = each.name


def _place(path: Path, data: Path) -> dict[str, str]:
    inside = path.resolve().is_relative_to(data.resolve())
    return {"file": path.resolve().relative_to(data.resolve()).as_posix() if inside else path.name}


def _written(draft: _Draft, *, path: Path, place: Mapping[str, str], encoding: str) -> Proposal:
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", path.name.partition(".")[0]).strip("-_") or "source"
    head: dict[str, str] = {"name": name, **place, "rows": draft.rows}
    if encoding != "utf-8":
        head["encoding"] = encoding
    lines = ["[[source]]", *(f"{key} = {_toml(value)}" for key, value in head.items())]
    if _tells_no_zone(draft):
        lines += ["# unsure: the times name no zone; which one are they in?", 'zone = "UTC"']
    lines.append("[source.columns]")
    for target, each in draft.fields.items():
        lines += [f"# unsure: {note}" for note in [draft.notes.get(target)] if note]
        lines.append(f"{target} = {_toml(_said(each))}")
    lines += [f"# MISSING: {what}" for what in draft.missing.values()]
    if draft.attributes:
        lines += [
            "[source.attributes]",
            *(f"{_key(ours)} = {_toml(theirs)}" for ours, theirs in draft.attributes.items()),
        ]
    unused = [each.name for each in draft.free if each.name not in draft.attributes.values()]
    if unused and "header" not in draft.missing:  # without names they would be values, of people perhaps
        lines.append(f"# not used: {', '.join(unused)[:_LINE]}")
    source = None
    if not draft.missing:
        attributes: Any = draft.attributes
        source = Source(columns=draft.fields, attributes=attributes, **head)  # type: ignore[arg-type]  # rows and encoding are of theirs
    unsure = tuple(f"{target}: {note}" for target, note in draft.notes.items() if note)
    return Proposal(toml="\n".join(lines) + "\n", source=source, unsure=unsure, missing=tuple(draft.missing.values()))


def _tells_no_zone(draft: _Draft) -> bool:
    how = draft.fields.get("occurred_at")
    if how is None or how.number_of or how.constant:
        return False
    column = next(each for each in draft.columns if each.name in how.paths)
    return not any(re.search(r"(Z|[+-]\d\d(:?\d\d)?)$", each) and ":" in each for each in column.values[:20])


def _said(each: Field) -> Any:
    """A field as a person would write it: a column alone where nothing else is said of it."""
    plain = Field(column="?")
    more = {
        key: value
        for key in ("values", "constant", "format", "number_of", "unit", "decimal")
        if (value := getattr(each, key)) and value != getattr(plain, key)
    }
    if not each.paths:
        return more
    column = each.paths[0] if len(each.paths) == 1 else list(each.paths)
    return {"column": column} | more if more else column


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)
