"""A holdout over quarters: what all marketing is worth, per customer, in each period and since the start.

The sums of money at the ends of periods depend on each other in ways that nobody knows (who buys much goes on to buy
much), and a holdout runs for long. So the interval of the sum after period k spends alpha / (k (k + 1)): the parts of
alpha add up to alpha however many periods come (the union bound), and every reading of the band holds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import stats

from experiments.estimation.cells import Cells, Mask
from experiments.estimation.influence import Floats, Interval, mean_interval
from experiments.observations import Labels, codes, labels, numbers, select
from experiments.retention.results import LongRun, PeriodValue
from features.errors import InputError

_MOST_PERIODS = 100
_LEAST = 20
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def long_run(
    table: Any, *, customer: str, period: str, held: str, value: str, cluster: str | None = None, alpha: float = 0.05
) -> LongRun:
    """The value of not being withheld, from a table with one row per customer and period.

    Parameters
    ----------
    table: an Arrow, pandas or polars table.
    customer: the column of who it is; who is withheld may change from period to period.
    period: the column of the period, such as ``2026-Q1``. Where each name has a year, it goes before the month's name
        or the number beside it (``Q4 2025``, ``Q1 2026``); else the order is that of the names.
    held: the column that is 1 (true) where chance withheld the customer in that period.
    value: what the customer was worth in the period.
    cluster: the column of what chance withheld, where that isn't the customer (households).
    alpha: 1 minus the confidence of the intervals.

    Raises
    ------
    InputError
        For unknown columns, ``held`` other than 0 and 1, a customer who stands twice in a period, fewer than 20
        customers on a side in a period.
    """
    if not 0 < alpha < 0.5:
        raise InputError("alpha is out of range", got=str(alpha), do="pass one between 0 and 0.5, such as 0.05")
    rows = select(table, [customer, period, held, value, *([cluster] if cluster else [])])
    when = _in_time(labels(rows, period, most=_MOST_PERIODS))
    who = codes(rows, customer)[1].astype(np.int64)
    own = who if cluster is None else codes(rows, cluster)[1].astype(np.int64)
    flags, worth = numbers(rows, held).astype(np.float64), numbers(rows, value).astype(np.float64)
    whole = (when.codes >= 0) & (who >= 0) & (own >= 0) & np.isfinite(flags) & np.isfinite(worth)
    if not whole.any():
        raise InputError("no row is whole", got=f"{whole.size:,} rows", do="check the columns that are named")
    if not np.isin(flags[whole], (0.0, 1.0)).all():
        raise InputError(f"{held!r} doesn't say who was withheld", got="values other than 0 and 1", do="write 1 or 0")
    _check_once(who[whole] * _MOST_PERIODS + when.codes[whole])
    units = np.unique(own[whole], return_inverse=True)[1]
    found = list(
        _periods(
            when.values, at=when.codes[whole], held=flags[whole] == 1.0, worth=worth[whole], units=units, alpha=alpha
        )
    )
    lost = int((~whole).sum())
    notes = [f"{lost:,} of {whole.size:,} rows left out: a value is missing."] if lost else []
    return LongRun(
        periods=tuple(found),
        sentence=_sentence(found[-1], len(found)),
        notes=(*notes, "The band of the sum holds at the ends of all periods together, however many will come."),
    )


def _in_time(periods: Labels) -> Labels:
    """The periods by year, and within it by month or number, where all names have a year."""
    years = [_YEAR.findall(each) for each in periods.values]
    if not all(len(each) == 1 for each in years):
        return periods
    return periods.arranged(sorted(periods.values, key=_place))


def _place(period: str) -> tuple[int, int]:
    """The year of a period and which month or number of it."""
    (year,) = _YEAR.findall(period)
    rest = period.replace(year, " ", 1)
    words = [each[:3].casefold() for each in re.findall(r"[^\W\d_]+", rest)]
    months = [_MONTHS.index(each) + 1 for each in words if each in _MONTHS]
    parts = months or [int(each) for each in re.findall(r"\d+", rest)]
    return int(year), parts[0] if len(parts) == 1 else 0


def _check_once(places: np.ndarray) -> None:
    """Refuse customers who stand twice in a period: a row per order would tell of orders, not of customers."""
    twice = int((np.unique(places, return_counts=True)[1] > 1).sum())
    if twice:
        raise InputError(
            "a customer stands twice in a period",
            got=f"{twice:,} times that a customer does",
            do="pass one row per customer and period, with the sum of what they were worth",
        )


def _periods(
    names: tuple[str, ...], *, at: np.ndarray, held: Mask, worth: Floats, units: np.ndarray, alpha: float
) -> Iterator[PeriodValue]:
    """Each period's values; a unit's part in a sum is the sum of its parts, so what lasts over quarters counts."""
    groups = int(units.max()) + 1
    total, parts, unseen = 0.0, np.zeros(groups), 0.0
    for place, name in enumerate(names):
        rows = at == place
        sides = [(rows & ~held), (rows & held)]
        for side, what in zip(sides, ("in", "withheld"), strict=True):
            if (n := np.unique(units[side]).size) < _LEAST:
                raise InputError(f"too few are {what} in {name!r}", got=f"{n}", do=f"{_LEAST} at the least are needed")
        means = [float(worth[side].mean()) for side in sides]
        own = sum(
            sign * np.bincount(units[side], weights=worth[side] - mean, minlength=groups) * groups / side.sum()
            for side, mean, sign in zip(sides, means, (1, -1), strict=True)
        )
        total, parts = total + means[0] - means[1], parts + own
        there = np.unique(units[rows])
        cells = Cells(outcome=worth[rows], cluster=units[rows])
        hidden = math.sqrt(sum(cells.unseen(side[rows]) for side in sides))
        unseen += hidden  # at most as if it were the same in all periods
        now, ever = (np.bincount(units[each & held], minlength=groups) > 0 for each in (rows, at <= place))
        single = _interval(
            own[there] * there.size / groups, means[0] - means[1], held=now[there], alpha=alpha, unseen=hidden
        )
        sums = _interval(parts, total, held=ever, alpha=alpha / ((place + 1) * (place + 2)), unseen=unseen)
        yield PeriodValue(
            period=name,
            n=int(sides[0].sum()),
            n_held=int(sides[1].sum()),
            mean=means[0],
            mean_held=means[1],
            difference=means[0] - means[1],
            ci_low=single.low,
            ci_high=single.high,
            total=total,
            total_ci_low=sums.low,
            total_ci_high=sums.high,
        )


def _interval(parts: Floats, value: float, *, held: Mask, alpha: float, unseen: float) -> Interval:
    """The interval of a mean of parts, with the error that few who are withheld don't show (``estimation.cells``)."""
    found = mean_interval(parts, part=held.astype(np.int64), alpha=alpha)
    reach = math.hypot(found.high - found.value, float(stats.norm.isf(alpha / 2)) * unseen)
    return Interval(value=value, low=value - reach, high=value + reach)


def _sentence(last: PeriodValue, periods: int) -> str:
    over = f"over {periods} periods" if periods > 1 else "over one period"
    if last.total_ci_low > 0:
        return f"Marketing as a whole pays {over}: customers who get it are worth more than those withheld from it."
    if last.total_ci_high < 0:
        return f"Marketing as a whole costs more than it brings {over}."
    return f"Whether marketing as a whole pays can't be told {over}."
