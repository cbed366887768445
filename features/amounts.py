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
_WORDS = (
    ("no", "yes"),
    ("false", "true"),
    ("n", "y"),
    ("f", "t"),
    ("nein", "ja"),
    ("n", "j"),
    ("non", "oui"),
    ("no", "si"),
    ("no", "sí"),
    ("nee", "ja"),
)
_GAPS = "'\u2019\u00a0\u202f "
_CURRENCY = "(?:US\\$|R\\$|[$\u20ac\u00a3\u00a5\u20b9\u20bd]|kr|z\u0142|[A-Z]{3})"
_SPACE = "[\\s\u00a0\u202f]*"
_SIGN = "[-+\u2212]"
# As both Python and RE2, which Arrow matches with, understand it.
_AMOUNT = re.compile(
    rf"(?P<open>\()?(?P<sign>{_SIGN})?{_SPACE}(?:{_CURRENCY}{_SPACE})?(?P<after>{_SIGN})?"
    rf"(?P<digits>\d[\d.,{_GAPS}]*\d|[.,]?\d+)(?P<power>[eE][-+]?\d{{1,3}})?"
    rf"{_SPACE}(?:{_CURRENCY}|%)?(?P<close>\))?"
)
_ONE_GROUP = re.compile(r"[1-9]\d{0,2}[.,]\d{3}")
# Also as in India: 12,34,567.
_WHOLE = re.compile(r"\d*|\d{1,3}(?:[.,]\d{2,3})*[.,]\d{3}")
# More distinct texts than these are read a column at a time.
_MANY = 1_000
_BLANKS = str.maketrans("", "", _GAPS)


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
    distinct = encoded.dictionary
    values = _many_values(distinct) if len(distinct) > _MANY else None
    if values is None:
        values = _values([text.strip() for text in distinct.to_pylist()], name)
    if values is None:
        return None
    places = pc.fill_null(encoded.indices, len(distinct)).to_numpy(zero_copy_only=False)
    filled: NDArray[np.float64] = np.append(values, np.nan)
    return np.asarray(filled[places], dtype=np.float64)


def _many_values(distinct: pa.Array) -> NDArray[np.float64] | None:
    """What :func:`_values` finds (n,), a column at a time, where all are amounts that leave no doubt; else None."""
    texts = pc.utf8_trim_whitespace(distinct)
    missing = pc.is_in(pc.utf8_lower(texts), pa.array(sorted(_MISSING), texts.type)).to_numpy(zero_copy_only=False)
    known = texts.filter(pa.array(~missing))
    parts = pc.extract_regex(known, f"^{_AMOUNT.pattern}$")
    if not len(known) or parts.null_count:
        return None
    opens, sign, after, digits, power, closes = parts.flatten()
    if pc.any(pc.not_equal(pc.binary_length(opens), pc.binary_length(closes))).as_py():
        return None
    digits = pc.replace_substring_regex(digits, f"[{_GAPS}]", "")
    decimal = _decimal_mark_of_all(digits)
    if not decimal:
        return None
    marked = pc.match_substring(digits, decimal)
    halves = pc.extract_regex(digits, f"^(?:(?P<before>.*)[{decimal}])?(?P<behind>[^{decimal}]*)$")
    before, behind = halves.flatten()
    whole = pc.replace_substring_regex(pc.if_else(marked, before, digits), "[.,]", "")
    part = pc.if_else(marked, behind, pa.scalar("", digits.type))
    zero, point, nothing = (pa.scalar(each, digits.type) for each in ("0", ".", ""))
    written = pc.binary_join_element_wise(zero, whole, point, part, zero, power, nothing)
    below = pc.or_(
        pc.equal(opens, "("), pc.match_substring_regex(pc.binary_join_element_wise(sign, after, nothing), "[-\u2212]")
    )
    values = np.full(missing.size, np.nan)
    values[~missing] = np.where(below, -1.0, 1.0) * pc.cast(written, pa.float64()).to_numpy(zero_copy_only=False)
    return values


def _decimal_mark_of_all(digits: pa.Array) -> str:
    """The decimal mark of digits with marks, nothing where there is a doubt or a mark stands where it shouldn't.

    That depends on where the digits and marks stand alone, and of such shapes there are few.
    """
    led = pc.replace_substring_regex(pc.replace_substring_regex(digits, "^[1-9]", "x"), "[0-9]", "0")
    shapes = [each.replace("x", "1") for each in pc.unique(led).to_pylist()]
    decimal = _decimal_mark(shapes)
    fits = decimal in (".", ",") and all(
        not np.isnan(_number(_Amount(digits=each, sign=1, power=""), decimal)) for each in shapes
    )
    return decimal if fits else ""


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
