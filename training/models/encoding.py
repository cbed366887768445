"""Tables as LightGBM takes them: numbers, with categories as codes whose lists are kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from features.errors import InputError, listed, unknown

Rows = np.ndarray
"""A float64 array (rows, columns); NaN is missing."""

_NUMBERS = {"boolean", "integer", "floating", "decimal", "mixed-integer-float", "empty"}


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of the encoder: ``categories`` in the order of their codes, or None where it is a number."""

    name: str
    categories: tuple[str, ...] | None = None

    @property
    def is_category(self) -> bool:
        """Whether the column holds text."""
        return self.categories is not None

    @cached_property
    def codes(self) -> dict[str | None, float]:
        """Code of each category."""
        return {category: float(code) for code, category in enumerate(self.categories or ())}

    def encode(self, values: pd.Series) -> np.ndarray:
        """Values as float64 (rows,); a category that was not seen in training is missing (NaN)."""
        if not self.is_category:
            return _numbers(values)
        if isinstance(values.dtype, pd.CategoricalDtype):
            known = np.array([*map(self._code, values.cat.categories.tolist()), np.nan])
            return known[values.cat.codes.to_numpy()]
        return np.array(list(map(self._code, values.tolist())), dtype=np.float64)

    def encode_one(self, value: object) -> float:
        """One value as a float, without pandas."""
        return self._code(value) if self.is_category else _number(self.name, value)

    def _code(self, value: object) -> float:
        return self.codes.get(value if type(value) is str else _plain(value), np.nan)


@dataclass(frozen=True, kw_only=True)
class TableEncoder:
    """Columns of a training table, in order, with the categories that were seen.

    Text, category and mixed columns become codes (most frequent ``most`` categories, sorted by name, so that the order
    of rows has no influence); booleans and numbers stay numbers. Missing values, and categories that were not seen,
    are NaN: LightGBM sends them down a branch of their own.

    >>> import pandas as pd
    >>> encoder = TableEncoder.fit(pd.DataFrame({"channel": ["web", "mail", None], "visits": [3, 1, 2]}))
    >>> encoder.encode(pd.DataFrame({"visits": [5], "channel": ["store"]}))
    array([[nan,  5.]])
    """

    columns: tuple[Column, ...]

    @classmethod
    def fit(cls, frame: pd.DataFrame, *, most: int = 1000) -> TableEncoder:
        """The encoder of ``frame``; raises InputError for dates, lists and repeated column names."""
        names = [str(name) for name in frame.columns]
        if not names:
            raise InputError("there are no feature columns", got="an empty table", do="pass at least one column")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError("column names are repeated", got=listed(twice), do="give each column one name")
        return cls(columns=tuple(_fit_column(str(name), frame[name], most=most) for name in frame.columns))

    @property
    def names(self) -> tuple[str, ...]:
        """Column names, in the order of the encoded rows."""
        return tuple(column.name for column in self.columns)

    @property
    def categorical(self) -> list[int]:
        """Positions of the categorical columns."""
        return [place for place, column in enumerate(self.columns) if column.is_category]

    @property
    def fingerprint(self) -> str:
        """Sha256 of the column names and their kinds; the model's fingerprint where no feature set gives one."""
        kinds = [[column.name, "category" if column.is_category else "number"] for column in self.columns]
        return hashlib.sha256(json.dumps(kinds).encode()).hexdigest()

    def encode(self, frame: pd.DataFrame) -> Rows:
        """``frame`` as float64 (rows, columns); columns may come in any order, further ones are ignored."""
        self._require(frame.columns)
        encoded = np.empty((len(frame), len(self.columns)), dtype=np.float64)
        for place, column in enumerate(self.columns):
            encoded[:, place] = column.encode(frame[column.name])
        return encoded

    def encode_rows(self, rows: Sequence[Mapping[str, Any]]) -> Rows:
        """The same for mappings, without pandas: what a service holds within a request."""
        if rows:
            self._require(rows[0])
        return np.array(
            [[column.encode_one(row[column.name]) for column in self.columns] for row in rows], dtype=np.float64
        ).reshape(len(rows), len(self.columns))

    def position(self, name: str) -> int:
        """Where column ``name`` stands in the encoded rows."""
        if name not in self.names:
            raise unknown("column", name, self.names)
        return self.names.index(name)

    def to_json(self) -> list[dict[str, Any]]:
        """The columns as plain lists and dictionaries."""
        return [
            {"name": column.name, "categories": None if column.categories is None else list(column.categories)}
            for column in self.columns
        ]

    @classmethod
    def from_json(cls, rows: Sequence[Mapping[str, Any]]) -> TableEncoder:
        """The encoder that ``to_json`` wrote."""
        return cls(
            columns=tuple(
                Column(
                    name=str(row["name"]),
                    categories=None if row["categories"] is None else tuple(map(str, row["categories"])),
                )
                for row in rows
            )
        )

    def _require(self, given: Iterable[object]) -> None:
        names = [str(name) for name in given]
        held = set(names)
        for column in self.columns:
            if column.name not in held:
                raise unknown("column", column.name, names, do=f"the model was trained on {listed(self.names)}")


def as_frame(table: object) -> pd.DataFrame:
    """``table`` as a frame with string column names; raises InputError for what is no frame."""
    if not isinstance(table, pd.DataFrame):
        raise InputError(
            "features must be a pandas frame",
            got=type(table).__name__,
            do="pass a DataFrame whose columns are the features",
        )
    return table if all(isinstance(name, str) for name in table.columns) else table.rename(columns=str)


def _fit_column(name: str, values: pd.Series, *, most: int) -> Column:
    if types.is_datetime64_any_dtype(values) or types.is_timedelta64_dtype(values):
        raise InputError(
            f"column {name!r} holds dates",
            got=str(values.dtype),
            do="turn it into days before the moment, or exclude it",
        )
    if _is_number(values):
        return Column(name=name)
    _refuse_lists(name, values)
    # Ties in frequency are broken by name, so that the order of rows has no influence.
    counts = _text(values).value_counts()
    kept = sorted(counts.index, key=lambda category: (-counts[category], category))[:most]
    return Column(name=name, categories=tuple(sorted(kept)))


def _refuse_lists(name: str, values: pd.Series) -> None:
    if values.dtype == object and any(types.is_list_like(value) for value in values.dropna().head(100)):
        raise InputError(f"column {name!r} holds lists", got="several values in one cell", do="exclude it or unfold it")


def _is_number(values: pd.Series) -> bool:
    if types.is_bool_dtype(values) or types.is_numeric_dtype(values):
        return True
    return bool(values.dtype == object and pd.api.types.infer_dtype(values, skipna=True) in _NUMBERS)


def _numbers(values: pd.Series) -> np.ndarray:
    try:
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        # Decimal, None among objects, or text where a number belongs: value by value, to name the one that is wrong.
        name = str(values.name)
        return np.array([_number(name, value) for value in values], dtype=np.float64)


def _number(name: str, value: Any) -> float:
    if value is None or value is pd.NA:
        return float("nan")
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"column {name!r} was a number in training", got=repr(value), do="pass numbers, or nothing where unknown"
        ) from error


def _text(values: pd.Series) -> pd.Series:
    """Values as plain strings, missing ones as None; whole floats read like integers ("3", not "3.0")."""
    if isinstance(values.dtype, pd.StringDtype):
        return values.astype(object).where(values.notna(), None)
    plain = {value: _plain(value) for value in values.dropna().unique()}
    return values.astype(object).map(lambda value: plain.get(value)).astype(object)


def _plain(value: object) -> str | None:
    if value is None or value is pd.NA or value != value:
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
