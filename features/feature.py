"""What a feature is: declared once, computed the same way offline and online."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from features.errors import InputError, unknown

Aggregate = Literal["count", "sum", "distinct", "most_common", "seconds_since_last", "seconds_since_first", "latest"]

#: Whose facts a feature is computed from: the customer's, or those of everybody in the customer's household.
Scope = Literal["customer", "household"]

#: What a whole number looks like in a profile value.
WHOLE_NUMBER = r"-?[0-9]{1,18}"

_UNITS: Mapping[Aggregate, str] = {
    "count": "events",
    "sum": "cents",
    "distinct": "values",
    "most_common": "",
    "seconds_since_last": "seconds",
    "seconds_since_first": "seconds",
    "latest": "",
}
_NAME = r"[a-z][a-z0-9_]{0,62}"
_SECONDS = {"m": 60, "h": 3_600, "d": 86_400}
_FILTERS = ("kind", "channel", "item", "category", "brand", "source", "hour")
_HOURS = frozenset(map(str, range(24)))
_OF: Mapping[Aggregate, tuple[str, ...]] = {
    "sum": ("amount", "quantity"),
    "distinct": ("item", "category", "brand", "channel", "customer_id"),
    "most_common": ("item", "category", "brand", "channel"),
}


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One declared feature: a column for each of its windows, or one column when it has none.

    Parameters
    ----------
    name: lower case; the columns are ``<name>_<window>``, or ``name`` alone without windows.
    aggregate: over the facts known before the moment asked for:
        ``count`` events; ``sum`` of a column (missing values count as nothing, no event gives 0);
        ``distinct`` values of a column; the ``most_common`` of the values that ``where`` names for a column (of
        several as common the first in the alphabet; null: no event); whole ``seconds_since_last`` or
        ``seconds_since_first`` event (null: none); ``latest`` value of a profile attribute (null without one).
    where: equality with, or membership in, values of the columns kind, channel, item, category, brand, source, and
        the ``hour`` of the day ("0" to "23", UTC) in which the event happened.
    of: the column that is summed (amount, quantity) or whose values are counted (item, category, brand, channel; of
        ``distinct`` also customer_id, the account), or the profile attribute of ``latest``.
    windows: such as ``30m``, ``12h``, ``7d``; a window covers ``[as_of - window, as_of)``. Without any: all history.
    scope: ``customer``, or ``household`` for the behaviour of everybody who was known to live there.
    integer: for ``latest``: the value as a whole number, null where it is none.
    meaning, unit: for people.
    purpose: what it is used for, which the customer may refuse (``features.privacy.purposes``).
    sensitive: whether it may be used only after the customer said yes to its purpose.

    >>> Feature(name="purchases", where={"kind": "purchase"}, windows=("30d",), meaning="purchases").columns[0].name
    'purchases_30d'
    """

    name: str
    aggregate: Aggregate = "count"
    where: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    of: str | None = None
    windows: tuple[str, ...] = ()
    scope: Scope = "customer"
    integer: bool = False
    meaning: str = ""
    unit: str = ""
    purpose: str = "personalization"
    sensitive: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(_NAME, self.name):
            raise InputError(
                "the name of a feature must be lower case", got=repr(self.name), do="use a-z, 0-9 and _ (at most 63)"
            )
        for window in self.windows:
            micros_of(window)
        self._check_where()
        self._check_of()

    def _check_where(self) -> None:
        for column, values in self.filters.items():
            if column not in _FILTERS:
                raise unknown("column to filter by", column, _FILTERS)
            if not values:
                raise InputError(
                    f"feature {self.name!r} counts no event",
                    got=f"{column} = []",
                    do=f"name a {column}, or leave it out",
                )
            if column == "hour" and not _HOURS.issuperset(values):
                raise InputError(
                    f"feature {self.name!r} names an hour that is none",
                    got=f"hour = {list(values)}",
                    do='write hours of the day in UTC, "0" to "23"',
                )

    def _check_of(self) -> None:
        if self.aggregate == "latest":
            if not self.of or self.windows or self.where or self.scope != "customer":
                raise InputError(
                    f"feature {self.name!r} takes the latest value of a profile attribute",
                    got=f"of = {self.of!r}, windows = {self.windows}, where = {dict(self.where)}, scope = {self.scope}",
                    do="name the attribute in 'of'; windows, filters and households do not apply",
                )
            return
        allowed = _OF.get(self.aggregate, (None,))
        if self.of not in allowed:
            raise InputError(
                f"feature {self.name!r} can't be a {self.aggregate} of that column",
                got=f"of = {self.of!r}",
                do=f"use of = {' or '.join(map(repr, allowed))}" if allowed != (None,) else "leave 'of' out",
            )
        if self.aggregate == "most_common" and self.of not in self.where:
            raise InputError(
                f"feature {self.name!r} does not say among which values the most common is sought",
                got=f"of = {self.of!r}, where = {dict(self.where)}",
                do=f'add them, such as where = {{{self.of} = ["...", "..."]}}',
            )

    @property
    def filters(self) -> dict[str, tuple[str, ...]]:
        """``where`` with every value as a sorted tuple."""
        return {
            column: (values,) if isinstance(values, str) else tuple(sorted(set(values)))
            for column, values in sorted(self.where.items())
        }

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of this feature, shortest window first."""
        if not self.windows:
            return (Column(name=self.name, feature=self, window=None),)
        ordered = sorted(set(self.windows), key=micros_of)
        return tuple(Column(name=f"{self.name}_{window}", feature=self, window=window) for window in ordered)


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of features: a feature over one window (None: all history)."""

    name: str
    feature: Feature
    window: str | None

    @property
    def micros(self) -> int | None:
        """Length of the window in microseconds."""
        return None if self.window is None else micros_of(self.window)

    @property
    def type(self) -> pa.DataType:
        """Arrow type: int64, or string for a most common value and for the latest one that is no whole number."""
        text = self.feature.aggregate == "most_common" or (
            self.feature.aggregate == "latest" and not self.feature.integer
        )
        return pa.string() if text else pa.int64()

    @property
    def unit(self) -> str:
        """The unit as declared, else the one that follows from the aggregate."""
        fallback = self.feature.of or "" if self.feature.of in ("quantity",) else _UNITS[self.feature.aggregate]
        return self.feature.unit or fallback

    @property
    def declaration(self) -> str:
        """What is calculated, in words: others where, and only where, the :attr:`calculation` is another.

        >>> Feature(name="visits", where={"kind": "visit"}, windows=("7d",)).columns[0].declaration
        'count, kind visit, within 7d'
        """
        each = self.feature
        told = [
            each.aggregate.replace("_", " ") + (f" of {each.of}" if each.of else ""),
            *(f"{column} {' or '.join(values)}" for column, values in each.filters.items()),
            *([f"within {self.window}"] if self.window else []),
            *(["in the household"] if each.scope == "household" else []),
            *(["as a whole number"] if each.integer else []),
        ]
        return ", ".join(told)

    @property
    def calculation(self) -> tuple[object, ...]:
        """What determines the values; names for people are no part of it."""
        each = self.feature
        shared = () if each.scope == "customer" else (each.scope,)
        return (self.name, each.aggregate, sorted(each.filters.items()), each.of, self.micros, each.integer, *shared)


def micros_of(window: str) -> int:
    """Microseconds of a window such as ``30m``, ``12h`` or ``7d``.

    >>> micros_of("7d")
    604800000000
    """
    match = re.fullmatch(r"([1-9][0-9]{0,4})([mhd])", window)
    if match is None:
        raise InputError("a window must be a number and m, h or d", got=repr(window), do="write 30m, 12h or 7d")
    return int(match[1]) * _SECONDS[match[2]] * 1_000_000
