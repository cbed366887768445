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


def _squared_error(influence: Floats, cluster: Integers | None) -> float:
    spread: Floats = influence - influence.mean()
    if cluster is not None:
        spread = np.bincount(cluster, weights=spread).astype(np.float64)
    groups = spread.size
    return float(groups / max(groups - 1, 1) * (spread @ spread)) / influence.size**2
