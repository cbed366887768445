"""Numbers that stand in a table as text: ``1,234.50``, ``1.234,50``, ``$3.20``, ``12%``, ``(3.20)``, ``yes``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.errors import InputError, listed

_MISSING = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "-", "--", "?", ".", "\\n"})
_WORDS = (("no", "yes"), ("false", "true"), ("n", "y"), ("f", "t"))
_CURRENCY = "(?:US\\$|R\\$|[$\u20ac\u00a3\u00a5\u20b9\u20bd]|kr|z\u0142|[A-Z]{3})"
_AMOUNT = re.compile(
    rf"(?P<open>\()?(?P<sign>[-+\u2212])?\s*(?:{_CURRENCY}\s*)?(?P<after>[-+\u2212])?"
    r"(?P<digits>\d[\d.,'\u2019\u00a0\u202f ]*\d|[.,]?\d+)(?P<power>[eE][-+]?\d{1,3})?"
    rf"\s*(?:{_CURRENCY}|%)?(?P<close>\))?"
)
_ONE_GROUP = re.compile(r"[1-9]\d{0,2}[.,]\d{3}")
# Also as in India: 12,34,567.
_WHOLE = re.compile(r"\d*|\d{1,3}(?:[.,]\d{2,3})*[.,]\d{3}")
_BLANKS = str.maketrans("", "", "'\u2019\u00a0\u202f ")


@dataclass(frozen=True, kw_only=True)
class _Amount:
    """The digits of an amount with their marks, its sign, and its power of ten such as ``e-05``."""

    digits: str
    sign: int
    power: str


def amounts(column: pa.ChunkedArray, name: str) -> NDArray[np.float64] | None:
    """A column of text as numbers (n,), NaN where missing; None when any of its values is no amount.

    Marks may part thousands or be the decimal one, as long as the whole column leaves no doubt which. A percentage
    counts in percent. A column that holds both of two opposite words, such as yes and no, is 1 and 0.

    Raises
    ------
    InputError
        When all are amounts, but it can't be told whether ``1,234`` is more than a thousand.

    >>> amounts(pa.chunked_array([["$1,234.50", "(3.20)", "n/a"]]), "spend").tolist()
    [1234.5, -3.2, nan]
    >>> amounts(pa.chunked_array([["1.234,50", "7"]]), "Umsatz").tolist()
    [1234.5, 7.0]
    >>> amounts(pa.chunked_array([["red", "7"]]), "colour")
    """
    encoded = pc.dictionary_encode(column.cast(pa.large_string())).combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    texts = [text.strip() for text in encoded.dictionary.to_pylist()]
    values = _values(texts, name)
    if values is None:
        return None
    places = pc.fill_null(encoded.indices, len(texts)).to_numpy(zero_copy_only=False)
    filled: NDArray[np.float64] = np.append(values, np.nan)
    return np.asarray(filled[places], dtype=np.float64)


def _values(texts: Sequence[str], name: str) -> NDArray[np.float64] | None:
    folded = [text.casefold() for text in texts]
    there = set(folded) - _MISSING
    for words in _WORDS:
        if there == set(words):
            return np.array([float(words.index(text)) if text in words else np.nan for text in folded])
    found = [_amount(text) for text, fold in zip(texts, folded, strict=True) if fold not in _MISSING]
    known = [each for each in found if each is not None]
    if not known or len(known) < len(found):
        return None
    decimal = _decimal_mark([each.digits for each in known])
    if decimal == "?":
        raise InputError(
            f"column {name!r} holds numbers that can be read in two ways",
            got=listed([each.digits for each in known if _ONE_GROUP.fullmatch(each.digits)], most=3),
            do="write them without marks between thousands",
        )
    numbers = [each.sign * _number(each, decimal) for each in known] if decimal else [np.nan]
    if any(number != number for number in numbers):
        return None
    values = iter(numbers)
    return np.array([np.nan if fold in _MISSING else next(values) for fold in folded])


def _amount(text: str) -> _Amount | None:
    found = _AMOUNT.fullmatch(text)
    if found is None or bool(found["open"]) != bool(found["close"]):
        return None
    below = bool(found["open"]) or (found["sign"] or found["after"] or "+") != "+"
    return _Amount(digits=found["digits"].translate(_BLANKS), sign=-1 if below else 1, power=found["power"] or "")


def _decimal_mark(digits: Sequence[str]) -> str:
    """The decimal mark where the values leave no doubt, ``?`` where they do, nothing where they contradict."""
    told = {mark for each in digits if (mark := _told(each))}
    if len(told) == 1:
        return next(iter(told))
    doubtful = {each[-4] for each in digits if _ONE_GROUP.fullmatch(each)}
    whole = [each for each in digits if each.isdecimal()]
    if told or len(doubtful) > 1:
        return ""
    if not doubtful:
        return "."
    # Where numbers below a thousand have no mark and none above goes without, the marks part thousands.
    if whole and all(len(each) < 4 for each in whole):
        return "." if doubtful == {","} else ","
    return "?"


def _told(digits: str) -> str:
    """The decimal mark that one amount gives away; nothing where it has no mark or may be read in two ways."""
    marks = [mark for mark in digits if mark in ".,"]
    if not marks or _ONE_GROUP.fullmatch(digits):
        return ""
    if len(marks) > 1 and len(set(marks)) == 1:
        return "." if marks[0] == "," else ","
    return marks[-1]


def _number(amount: _Amount, decimal: str) -> float:
    """The amount without its sign, NaN where its marks don't part thousands as they should."""
    digits = amount.digits
    whole, _, part = digits.rpartition(decimal) if decimal in digits else (digits, "", "")
    if not _WHOLE.fullmatch(whole) or not (part.isdecimal() or not part):
        return np.nan
    return float(f"{re.sub('[.,]', '', whole) or 0}.{part or 0}{amount.power}")
