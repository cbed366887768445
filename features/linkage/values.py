"""What the values of a column look like: shares, lengths and variety, from a sample of at most some thousand."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.linkage.nicknames import is_given_name

# What people write where nothing is known.
NOTHING = frozenset(("", "-", "--", ".", "?", "n/a", "na", "nan", "none", "null", "<na>", "unknown", "missing", "#n/a"))

_SAMPLE = 5000
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}|[0-9a-f]{24,}")
_PHONE = re.compile(r"[+(0][\d\s().+/-]{6,}\d|\d{2,4}[\s./-]\d{2,4}[\s./-]\d{2,5}[\d\s./-]*")
# A number first, or a number behind a comma, or a street with its number behind it.
_ADDRESS = re.compile(r"\d+\w?[ ,/-]+.*[^\W\d]{3,}.*|.*[^\W\d]{3,}.*,.*\d.*|(?:[^\W\d.-]+[ .-]+){1,4}\d{1,4} ?[a-z]?")
_DATE = re.compile(
    r"(?:\d{4}[-/. ]\d{1,2}[-/. ]\d{1,2}|\d{1,2}[-/. ]\d{1,2}[-/. ]\d{2,4}|\d{1,2}[- ][a-z]{3,9}[- ,]+\d{2,4}"
    r"|[a-z]{3,9} \d{1,2},? \d{4})(?:[t ]\d{1,2}:.*)?"
)
_GENDERS = frozenset(
    ("m", "f", "male", "female", "man", "woman", "w", "h", "d", "x", "mr", "mrs", "ms", "miss", "other")
)


def plain_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column as values that every engine reads; lists, parts and bytes, which are no values of a person, as nulls.

    >>> plain_column(pa.chunked_array([[[1], [2]]])).type
    DataType(null)
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_float16(column.type):
        return column.cast(pa.float32())
    return column if is_plain(column.type) else pa.chunked_array([pa.nulls(len(column))])


def is_plain(kind: pa.DataType) -> bool:
    """Whether values of this type are texts, numbers, dates, times or yes and no."""
    if pa.types.is_dictionary(kind):
        return is_plain(kind.value_type)
    return any(
        check(kind)
        for check in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_string_view,
            pa.types.is_integer,
            pa.types.is_floating,
            pa.types.is_decimal128,
            pa.types.is_boolean,
            pa.types.is_date,
            pa.types.is_timestamp,
            pa.types.is_time,
        )
    )


def text_column(table: pa.Table, name: str) -> list[str]:
    """The values of a column as trimmed text, without those that say nothing."""
    column = plain_column(table.column(name))
    if pa.types.is_null(column.type):
        return []
    texts = (re.sub(r"(?<=\d)\.0$", "", each.strip()) for each in pc.cast(column, pa.string()).to_pylist() if each)
    return [each for each in texts if each.lower() not in NOTHING]


@dataclass(frozen=True, kw_only=True)
class Values:
    """What the values of a column look like; shares are of the values that say something.

    ``distinct`` and ``variety`` (distinct by values) are of all values; the shares of a sample; ``length`` and
    ``words`` are means; years are those of dates.

    >>> Values.of(["anna@a.de", "ben@b.org"]).emails
    1.0
    """

    distinct: int
    variety: float
    length: float
    words: float
    same_length: bool
    unique: bool
    row_number: bool
    gendered: bool
    emails: float
    uuids: float
    phone_like: float
    long_numbers: float
    digits: float
    with_digits: float
    decimals: float
    letters: float
    addresses: float
    given_names: float
    dates: float
    years: float
    first_year: int
    year_spread: int

    @classmethod
    def of(cls, texts: list[str]) -> Values:
        """What ``texts``, trimmed and not empty, look like."""
        counts = Counter(texts)
        some = sorted(texts)[:: max(1, len(texts) // _SAMPLE)]
        low = [each.lower() for each in some]
        lengths = np.array([len(each) for each in low] or [0])
        years = [year for each in low if (year := date_year(each))]
        spread = np.percentile(years, [2, 98]) if years else np.zeros(2)
        return cls(
            distinct=len(counts),
            variety=len(counts) / max(len(texts), 1),
            length=float(lengths.mean()),
            words=sum(len(each.split()) for each in low) / max(len(low), 1),
            same_length=bool(np.mean(lengths == np.median(lengths)) > 0.8),
            unique=len(counts) == len(texts),
            row_number=_running(counts, len(texts)),
            gendered=len(counts) <= 8 and set(map(str.lower, counts)) <= _GENDERS,
            emails=_share(low, _EMAIL.fullmatch),
            uuids=_share(low, _UUID.fullmatch),
            phone_like=_share(low, _PHONE.fullmatch),
            long_numbers=_share(low, lambda each: sum(map(str.isdigit, each)) >= max(6, 0.6 * len(each))),
            digits=_share(low, str.isdigit),
            with_digits=_share(low, lambda each: any(map(str.isdigit, each))),
            decimals=_share(low, re.compile(r"[-+€$£]?\s?\d[\d,]*[.,]\d+").fullmatch),
            letters=_share(low, lambda each: 2 * sum(map(str.isalpha, each)) > len(each)),
            addresses=_share(low, _ADDRESS.fullmatch),
            given_names=_share(low, lambda each: any(map(is_given_name, re.split(r"[\s,]+", each)))),
            dates=len(years) / max(len(low), 1),
            years=_share(low, lambda each: bool(re.fullmatch(r"(18|19|20)\d\d", each))),
            first_year=int(spread[0]),
            year_spread=int(spread[1] - spread[0]),
        )


def date_year(text: str) -> int:
    """The year of a text that looks like a date, or 0: with marks in any order, or as eight digits.

    >>> date_year("19081209"), date_year("09.12.1908"), date_year("7535316")
    (1908, 1908, 0)
    """
    if re.fullmatch(r"\d{8}", text):
        for year, month, day in ((text[:4], text[4:6], text[6:]), (text[4:], text[2:4], text[:2])):
            if 1850 <= int(year) <= 2100 and 1 <= int(month) <= 12 and 1 <= int(day) <= 31:
                return int(year)
        return 0
    if not _DATE.fullmatch(text):
        return 0
    long = re.search(r"\d{4}", text)
    if long:
        return int(long.group()) if 1850 <= int(long.group()) <= 2100 else 0
    return 1900 + int(re.split(r"\D+", text)[2]) if re.fullmatch(r"\d{1,2}\D\d{1,2}\D\d{2}", text) else 0


def _running(counts: Counter[str], rows: int) -> bool:
    """Whether the values are whole numbers without a gap to speak of, each once."""
    if len(counts) < rows or rows < 3 or not all(each.isdigit() and len(each) < 18 for each in counts):
        return False
    numbers = [int(each) for each in counts]
    return max(numbers) - min(numbers) < 2 * rows


def _share(texts: list[str], test: Callable[[str], object]) -> float:
    return sum(bool(test(each)) for each in texts) / len(texts) if texts else 0.0
