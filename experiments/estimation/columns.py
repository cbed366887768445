"""Columns of a stranger's table: as numbers, as levels, and whether they may have been known before the contact."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import special

from experiments.estimation.influence import Codes, Floats, Integers
from experiments.estimation.nuisance import Matrix
from features.errors import InputError

_LEVELS = 20
_BANDS = 5
_DUMMIES = 12
# Of whole numbers that are ids so many are different, and lie within so much of their range of where even steps would.
_UNSHARED = 0.9
_EVEN = 0.1
_CALLED_ID = re.compile(r"(?i:(^|[_ .-])id)$|[a-z]I[dD]$")
# A column is doubted when what it shows comes about by chance this rarely, in any column of the table. To lose a good
# feature costs little, to keep one that the contact moved makes every value wrong.
_MOVED = 1e-4
_TELLS = 1e-6
_TWIN = 0.95
# So much of the outcome is seldom known before: worth a question.
_MUCH = 0.2
# A table in which at least so many columns differ between the arms, and most do, was hardly dealt by chance.
_FEWEST_UNLIKE = 3
_UNLIKE = "it differs between arms that chance made equal, so it was measured after the contact"
# Models hold numbers in single precision, whose squares must stay in the range of double.
LARGEST = 1e30


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column in the two forms that are needed: numbers for models, levels for segments and tests.

    In few bytes, as a table may have hundreds of columns and a million rows.
    """

    name: str
    numbers: Matrix | None
    levels: Codes

    @classmethod
    def read(cls, table: pa.Table, name: str) -> Column | None:
        """The column ``name``, or None when it holds nothing that varies or can be compared."""
        column = table.column(name).combine_chunks()
        numbers = numbers_of(column)
        if numbers is None:
            codes = _text_codes(column)
            varies = codes is not None and codes.max() > codes.min()
            return cls(name=name, numbers=None, levels=_small(codes)) if codes is not None and varies else None
        if _is_id(name, numbers, kind=column.type):
            return None
        numbers = np.clip(numbers, -LARGEST, LARGEST)
        levels = _bands(numbers)
        if levels.max() == levels.min():
            return None
        return cls(name=name, numbers=numbers.astype(np.float32), levels=_small(levels))

    def ordered(self, order: Integers) -> Column:
        """The same column with its rows in another order."""
        numbers = None if self.numbers is None else self.numbers[order]
        return Column(name=self.name, numbers=numbers, levels=self.levels[order])

    @property
    def few_levels(self) -> bool:
        """Whether the column has so few levels that a person would segment by it."""
        return int(self.levels.max()) < _LEVELS

    @property
    def width(self) -> int:
        """How many model columns it makes."""
        if self.numbers is not None:
            return 2 if np.isnan(self.numbers).any() else 1
        return max(min(int(self.levels.max()), _DUMMIES - 1), 1)

    def matrix(self) -> Matrix:
        """Model columns (n, k): the numbers and whether they are missing, or one column for each frequent level."""
        if self.numbers is not None:
            missing = np.isnan(self.numbers)
            parts = [self.numbers, missing] if missing.any() else [self.numbers]
            return np.stack(parts, axis=1).astype(np.float32)
        dummies = range(1, min(int(self.levels.max()) + 1, _DUMMIES))
        return np.stack([self.levels == level for level in (dummies or [0])], axis=1).astype(np.float32)


def unread(table: pa.Table, name: str) -> str:
    """Why :meth:`Column.read` finds nothing in the column ``name`` to learn from."""
    column = table.column(name)
    if not comparable(column.type):
        return "not comparable"
    return "an id" if pc.count_distinct(column, mode="all").as_py() > 1 else "always the same"


def feature_matrix(columns: Sequence[Column], *, rows: int) -> Matrix:
    """All columns side by side (rows, p) for models; one column of zeros when there are none."""
    if not columns:
        return np.zeros((rows, 1), dtype=np.float32)
    parts = (column.matrix() for column in columns)
    widths = np.cumsum([0, *(column.width for column in columns)])
    found = np.empty((rows, int(widths[-1])), dtype=np.float32)
    for part, first, last in zip(parts, widths[:-1], widths[1:], strict=True):
        found[:, first:last] = part
    return found


def read_columns(table: pa.Table, names: Sequence[str], *, order: Integers | None = None) -> dict[str, Column | None]:
    """The columns ``names`` by their names, their rows in another ``order`` where one is given; see Column.read."""
    found = ((name, Column.read(table, name)) for name in names)
    return {name: each if each is None or order is None else each.ordered(order) for name, each in found}


def screen(
    columns: Mapping[str, Column | None], *, outcome: Floats, named: Collection[str], moved: Collection[str] = ()
) -> tuple[list[Column], list[str]]:
    """The columns that may serve as features or segments, and notes on those left out though they could be read.

    ``outcome`` (n,); ``named`` are the columns asked for by name; ``moved`` those that the contact moved:
    :func:`moved_columns`.

    Raises
    ------
    InputError
        When a column asked for by name looks measured after the contact; one taken by default is left out.
    """
    kept: list[Column] = []
    notes: list[str] = []
    usual = float(np.median(outcome)) if np.unique(outcome).size > 2 else float(np.round(outcome.mean()))
    for name, column in columns.items():
        if column is None:
            continue
        reason = _UNLIKE if name in moved else _suspicion(column, outcome=outcome, usual=usual)
        if reason is None:
            kept.append(column)
            if (share := _explained(column.levels, outcome)) > _MUCH:
                notes.append(
                    f"{name!r} alone explains {share:.0%} of the outcome: was it known before? If not, exclude it."
                )
        elif name in named:
            raise InputError(
                f"{name!r} was hardly known before the contact",
                got=reason,
                do="leave it out: it would flatter every policy",
            )
        else:
            notes.append(f"{name!r} left out: {reason}.")
    return kept, notes


def moved_columns(
    columns: Mapping[str, Column | None],
    *,
    arm: Integers,
    cluster: Integers | None = None,
    period: Integers | None = None,
) -> tuple[str, ...]:
    """The columns that differ between arms which chance made equal, so that the contact moved them.

    ``arm`` (n,), where chance alone gave it; ``cluster`` and ``period`` (n,) as in ``experiments.ladder.units.Units``:
    arms are alike within a period.
    """
    rows = first_rows(cluster)
    within = None if period is None else period[rows]
    level = _MOVED / max(len(columns), 1)
    there = [column for column in columns.values() if column is not None]
    return tuple(each.name for each in there if dependence(each.levels[rows], arm[rows], within=within) < level)


def hardly_dealt(moved: Collection[str], columns: Mapping[str, Column | None]) -> bool:
    """Whether so many ``columns`` differ between the arms that chance can't have dealt the arms.

    Other outcomes that a user forgot to exclude differ as well, where a contact works; so a table is doubted only when
    more than half of its columns differ, and three or more.
    """
    there = sum(column is not None for column in columns.values())
    return len(moved) >= _FEWEST_UNLIKE and 2 * len(moved) > there


def first_rows(cluster: Integers | None) -> slice | Integers:
    """One row of each household: its rows share their arm and much else, which would make chances look too small."""
    return slice(None) if cluster is None else np.unique(cluster, return_index=True)[1]


def _suspicion(column: Column, *, outcome: Floats, usual: float) -> str | None:
    """Why ``column`` looks as if it told the outcome, which ``usual``ly is so much, or None."""
    if column.numbers is not None and _twin(column.numbers, outcome):
        return "it is almost the outcome itself"
    unusual = outcome != usual
    share = float(unusual.mean())
    count = np.bincount(column.levels)
    hits = np.bincount(column.levels, weights=unusual)
    always = (hits == count) & (count * np.log(max(share, 1e-300)) < np.log(_TELLS / count.size))
    if share < 0.9 and always.any():
        return f"where it has one of its values, the outcome always differs from {usual:g}, so it tells the outcome"
    return None


def dependence(levels: Codes, arm: Integers, *, within: Integers | None = None) -> float:
    """The p-value that ``levels`` (n,) and ``arm`` (n,) go together so by chance alone, ``within`` each code (n,).

    Pearson's statistics and degrees of freedom of the parts add up. Rare levels stand together.
    """
    parts = [slice(None)] if within is None else [within == code for code in np.unique(within)]
    found = [_chi_square(levels[part], arm[part]) for part in parts]
    freedom = sum(each[1] for each in found)
    return float(special.chdtrc(freedom, sum(each[0] for each in found))) if freedom else 1.0


def _chi_square(levels: Codes, arm: Integers) -> tuple[float, int]:
    from scipy import stats  # slow to load, and an analysis reads columns without it

    shape = int(levels.max()) + 1, int(arm.max()) + 1
    cell = levels.astype(np.int64) * shape[1] + arm
    counts = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)
    rare = counts.sum(axis=1) * counts.sum(axis=0).min() / counts.sum() < 5
    counts = np.vstack([counts[~rare], counts[rare].sum(axis=0, keepdims=True)])
    counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    if min(counts.shape) < 2:
        return 0.0, 0
    found = stats.chi2_contingency(counts, correction=False)
    return float(found.statistic), int(found.dof)


def _explained(levels: Codes, outcome: Floats) -> float:
    """Share of the outcome's variance between the levels of a column, less what that many levels explain by chance."""
    if not outcome.var() > 0:
        return 0.0
    count = np.maximum(np.bincount(levels), 1)
    means = np.bincount(levels, weights=outcome) / count
    chance = (count.size - 1) / outcome.size
    return float(means[levels].var() / outcome.var()) - chance


def _twin(numbers: Matrix, outcome: Floats) -> bool:
    known = np.isfinite(numbers)
    if known.sum() < 3 or np.ptp(numbers[known]) == 0 or np.ptp(outcome[known]) == 0:
        return False
    return abs(float(np.corrcoef(numbers[known], outcome[known])[0, 1])) > _TWIN


def numbers_of(column: pa.Array) -> Floats | None:
    """A numeric, boolean or time column as numbers (n,), NaN where missing; None for any other type."""
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        column = pc.cast(pc.cast(column, pa.timestamp("us")), pa.int64())
    elif not (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
    ):
        return None
    return np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)


def _is_id(name: str, numbers: Floats, *, kind: pa.DataType) -> bool:
    """Whether numbers name rows or customers: whole ones that hardly two rows share, or that are called an id.

    Amounts in small units are seldom shared too, but crowd at their low end; ids lie evenly over their range.
    """
    known = numbers[np.isfinite(numbers)]
    gaps = known.size < numbers.size and pa.types.is_floating(kind)  # with gaps, whole numbers are often kept as these
    if not (pa.types.is_integer(kind) or (gaps and not np.mod(known, 1).any())):
        return False
    distinct = np.unique(known)
    if distinct.size <= _LEVELS:
        return False
    if _CALLED_ID.search(name) or distinct.size == numbers.size:
        return True
    even = np.linspace(distinct[0], distinct[-1], distinct.size)
    off = float(np.abs(distinct - even).max())
    return distinct.size > _UNSHARED * known.size and off < _EVEN * float(np.ptp(distinct))


def _text_codes(column: pa.Array) -> Integers | None:
    if not comparable(column.type):
        return None
    import pandas as pd

    texts = pd.Series(column.to_pandas().astype("object").map(lambda value: None if value is None else str(value)))
    counts = texts.value_counts()
    if len(counts) > max(_LEVELS, len(texts) // 2):
        return None
    frequent = sorted(counts.index, key=lambda level: (-counts[level], level))
    place = {level: index for index, level in enumerate(frequent)}
    codes = texts.map(lambda level: len(frequent) if pd.isna(level) else place[level]).to_numpy(dtype=np.int64)
    return np.unique(codes, return_inverse=True)[1].astype(np.int64)


def _bands(numbers: Floats) -> Integers:
    known = numbers[np.isfinite(numbers)]
    # Among a thousand rows there mostly are too many different values already, so that all needn't be sorted.
    many = np.unique(known[:1000]).size > _LEVELS
    distinct = known if many else np.unique(known)
    edges = distinct if distinct.size <= _LEVELS else np.unique(np.quantile(known, np.arange(1, _BANDS) / _BANDS))
    codes: Integers = np.searchsorted(edges, numbers, side="left").astype(np.int64)
    codes[np.isnan(numbers)] = edges.size + 1
    return codes


def _small(codes: Integers) -> Codes:
    return codes.astype(np.int16) if codes.max() < np.iinfo(np.int16).max else codes


def codes_of(column: pa.ChunkedArray) -> Integers:
    """Codes 0..k-1 (n,) of the distinct values of a column without nulls; InputError for lists and structures."""
    if not comparable(column.type):
        raise InputError("a column can't tell groups apart", got=str(column.type), do="pass one of text or numbers")
    import pandas as pd

    return np.asarray(pd.factorize(column.to_pandas())[0], dtype=np.int64)


def comparable(kind: pa.DataType) -> bool:
    """Whether values of this type can be told apart as one value each: no lists, no structures."""
    return not (pa.types.is_nested(kind) or pa.types.is_null(kind))
