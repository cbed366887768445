"""Dataclasses from tables of a configuration file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from features.errors import InputError, unknown

T = TypeVar("T")


def read_config(table: Mapping[str, Any], into: type[T], *, what: str, guide: str = "docs/features.md") -> T:
    """A dataclass from a table of a configuration file; wrong keys and types are told in three parts, with a guide."""
    known = [each.name for each in fields(into)]  # type: ignore[arg-type]  # every caller passes a dataclass
    for key in table:
        if key not in known:
            raise unknown(f"key of {what}", key, known)
    try:
        return msgspec.convert(dict(table), into)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from error
        told, allowed = named_choice(str(error), into)
        raise InputError(f"{what} is declared wrongly", got=told, do=f"{allowed}see {guide}") from error


def named_choice(message: str, into: Any) -> tuple[str, str]:
    """A message of msgspec on a word that is none of the allowed ones, and those with the near one first.

    The second is empty for any other fault; else it ends where other advice may follow.
    """
    found = _CHOICE.search(message)
    if found is None:
        return message, ""
    value, place = found["value"], found["place"] or ""
    allowed = _choices(into, [step for step in re.findall(r"\w+", place) if not step.isdigit()])
    if not allowed:
        return message, ""
    near = get_close_matches(value, allowed, n=1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    at = f" in {place.removeprefix('$.')}" if place else ""
    return f"{value!r}{at}", f"{meant}it is one of {', '.join(allowed)}; "


_CHOICE = re.compile(r"Invalid enum value '(?P<value>[^']*)'(?: - at `(?P<place>[^`]*)`)?")


def _choices(kind: Any, steps: Sequence[str]) -> list[str]:
    """The words of the ``Literal`` that the fields ``steps`` lead to; none where they lead elsewhere."""
    if get_origin(kind) is Literal:
        return [str(each) for each in get_args(kind)] if not steps else []
    if is_dataclass(kind) and isinstance(kind, type):
        return _choices(get_type_hints(kind).get(steps[0]), steps[1:]) if steps else []
    return [word for each in get_args(kind) for word in _choices(each, steps)]
