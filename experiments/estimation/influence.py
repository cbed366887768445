"""Means with intervals from influence values: one number per unit, whose mean is the estimate.

Every estimator of the ladder and of off-policy evaluation ends here. The difference of two estimates on the same
units is the mean of the paired differences, so that what the two share cancels; units of one cluster (a household)
are summed before they are squared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Below, the bent interval and the straight one are the same to the last digits, and the bend would divide by nothing.
_STRAIGHT = 1e-9


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its confidence interval.

    >>> Interval(value=0.5, low=0.1, high=0.9).above(0.0)
    True
    """

    value: float
    low: float
    high: float

    def above(self, bound: float) -> bool:
        """Whether the whole interval lies above ``bound``."""
        return self.low > bound


def mean_interval(influence: Floats, *, cluster: Integers | None = None, alpha: float = 0.05) -> Interval:
    """The mean of ``influence`` (n,) or (repeats, n) with its two-sided interval at level 1 - ``alpha``.

    ``cluster`` (n,) holds codes 0..G-1: units of one cluster may depend on each other, clusters may not. The standard
    error is the sandwich with the correction G / (G - 1), the quantile Student's with G - 1 degrees of freedom
    (Liang and Zeger 1986). Over repeats, estimates and squared errors are averaged, never the influence values: repeats
    see the same units, so they are no reason to believe that less is unknown.

    >>> mean_interval(np.array([0.0, 1.0, 0.0, 1.0])).value
    0.5
    """
    repeated = np.atleast_2d(influence)
    value = float(repeated.mean())
    squares = [_squared_error(each, cluster) for each in repeated]
    groups = repeated.shape[1] if cluster is None else int(cluster.max()) + 1
    if groups < 2:
        return Interval(value=value, low=float("-inf"), high=float("inf"))
    reach = float(stats.t.isf(alpha / 2, groups - 1)) * float(np.sqrt(np.mean(squares)))
    return Interval(value=value, low=value - reach, high=value + reach)


def skewed_interval(influence: Floats, *, cluster: Integers | None = None, alpha: float = 0.05) -> Interval:
    """The mean of ``influence`` (n,) with an interval that leans where the values do, two-sided at level 1 - ``alpha``.

    Student's interval is symmetric, but a mean of few clicks with large weights errs on one side: the clicks that did
    not come yet are the ones that would count most. Hall (1992, "On the removal of skewness by transformation") bends
    the interval by the third moment of the values (of the sums of clusters), so that both sides err alike; where there
    is no skewness it is :func:`mean_interval`.

    >>> rare = np.r_[np.ones(12), np.zeros(2_988)]
    >>> found = skewed_interval(rare)
    >>> bool(found.high - found.value > 1.3 * (found.value - found.low))
    True
    """
    value, spread = float(influence.mean()), _spread(influence, cluster)
    groups, squares = spread.size, float(spread @ spread)
    if groups < 2:
        return Interval(value=value, low=float("-inf"), high=float("inf"))
    lean = float(np.square(spread) @ spread) / squares**1.5 if squares > 0 else 0.0
    bounds = float(stats.t.isf(alpha / 2, groups - 1)) * np.array([1.0, -1.0])
    if abs(lean) > _STRAIGHT:
        bounds = 3.0 / lean * (np.cbrt(1.0 + lean * (bounds - lean / 6.0)) - 1.0)
    error = float(np.sqrt(groups / (groups - 1) * squares)) / influence.size
    return Interval(value=value, low=value - error * float(bounds[0]), high=value - error * float(bounds[1]))


def _squared_error(influence: Floats, cluster: Integers | None) -> float:
    spread = _spread(influence, cluster)
    return float(spread.size / max(spread.size - 1, 1) * (spread @ spread)) / influence.size**2


def _spread(influence: Floats, cluster: Integers | None) -> Floats:
    """Deviations from the mean (n,), or their sums by cluster (G,)."""
    spread: Floats = influence - influence.mean()
    return spread if cluster is None else np.bincount(cluster, weights=spread).astype(np.float64)
