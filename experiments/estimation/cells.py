"""Means of cells of customers, as influence values: combinations of them keep what they share.

Few are withheld, and fewer of them buy. Whether one of these bought much is luck, and without that luck their mean is
low and its own error small: what is withheld seems to pay. So a cell's outcomes are taken to be no less spread than
those of all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from experiments.estimation.influence import Floats, Integers, Interval, mean_interval

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Cells:
    """The outcome (n,) of all customers, with their households' codes (n,) or None.

    >>> cells = Cells(outcome=np.array([1.0, 3.0, 10.0, 20.0]), cluster=None)
    >>> left = np.array([True, True, False, False])
    >>> cells.interval(cells.mean(~left) - cells.mean(left), alpha=0.05).value
    13.0
    """

    outcome: Floats
    cluster: Integers | None

    def mean(self, cell: Mask) -> Floats:
        """Influence values (n,) of the mean of a cell; their mean is the mean."""
        mean = float(self.outcome[cell].mean())
        values: Floats = mean + cell / cell.mean() * (self.outcome - mean)
        return values

    def gain(self, held: Mask, *, among: Mask) -> Floats:
        """Influence values of what those of ``among`` who aren't ``held`` have beyond those who are."""
        return self.mean(among & ~held) - self.mean(among & held)

    def beyond_sum(self, first: Mask, second: Mask, *, among: Mask) -> Floats:
        """Influence values of what two that aren't held bring together beyond the sum of each without the other."""
        return self.gain(first, among=among & ~second) - self.gain(first, among=among & second)

    def interval(self, influence: Floats, *, alpha: float, cells: Sequence[Mask] = ()) -> Interval:
        """The mean of influence values with its interval, which allows for what small ``cells`` don't show.

        All customers whose values count are in one of the ``cells``, unless there are none.
        """
        own = mean_interval(influence, cluster=self.cluster, part=_parts(cells), alpha=alpha)
        unseen = float(stats.norm.isf(alpha / 2)) * math.sqrt(sum(map(self.unseen, cells)))
        reach = math.hypot(own.high - own.value, unseen)
        return Interval(value=own.value, low=own.value - reach, high=own.value + reach)

    def unseen(self, cell: Mask) -> float:
        """By how much the squared error of a cell's mean is below that of outcomes as spread as those of all."""
        within = np.flatnonzero(cell)
        parts = 1.0 if self.cluster is None else float(np.square(np.bincount(self.cluster[within])).sum()) / within.size
        return max(0.0, float(self.outcome.var() - self.outcome[within].var())) * parts / within.size

    def size(self, cell: Mask) -> int:
        """How many independent parts a cell has: households where there are any, else customers."""
        return int(cell.sum()) if self.cluster is None else int(np.unique(self.cluster[cell]).size)


def _parts(cells: Sequence[Mask]) -> Integers | None:
    """The cell (n,) of each customer, the last of several, -1 for none; None without cells."""
    if not cells:
        return None
    part = np.full(cells[0].size, -1, dtype=np.int64)
    for place, cell in enumerate(cells):
        part[cell] = place
    return part
