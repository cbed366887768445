"""Dataclasses from tables of a configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

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
        raise InputError(f"{what} is declared wrongly", got=str(error), do=f"see {guide}") from error
