"""How much clusters of unlike size tell: a few large ones among many small ones are as few."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class ClusterSizes:
    """The sums of the sizes of an arm's clusters, of their squares and of their cubes; two of them add up.

    >>> five, uneven = ClusterSizes.of(np.array([4, 4, 4, 4, 4])), ClusterSizes.of(np.array([8, 1, 1, 1, 1]))
    >>> round(five.alike, 9), round(five.correction, 9)
    (5.0, 1.25)
    >>> round(uneven.alike, 2), round(uneven.correction, 2)
    (2.12, 4.82)
    """

    total: float
    squares: float
    cubes: float

    @classmethod
    def of(cls, sizes: NDArray[np.generic]) -> ClusterSizes:
        """Of clusters of ``sizes`` (n,)."""
        own = sizes.astype(np.float64)
        return cls(total=float(own.sum()), squares=float((own**2).sum()), cubes=float((own**3).sum()))

    @classmethod
    def even(cls, n: float) -> ClusterSizes:
        """Of ``n`` clusters of one size."""
        return cls(total=n, squares=n, cubes=n)

    def __add__(self, other: ClusterSizes) -> ClusterSizes:
        return ClusterSizes(
            total=self.total + other.total, squares=self.squares + other.squares, cubes=self.cubes + other.cubes
        )

    @property
    def alike(self) -> float:
        """How many clusters of one size would tell as much (Kish 1965): 1 over the sum of squared shares."""
        return self.total**2 / self.squares if self.total else 0.0

    @property
    def correction(self) -> float:
        """What the squared error measured from these clusters is to be multiplied by: n / (n - 1) for n of one size.

        A cluster that holds the share h of its arm pulls the mean towards itself and looks closer to it than it is.
        Where members are alike (the working model of Bell and McCaffrey 2002), the sum of squared deviations times h^2
        comes out as 1 - (2 sum h^3 - (sum h^2)^2) / sum h^2 of the mean's variance. NaN where one cluster holds so
        much that fewer than two would tell as much.
        """
        second, third = (
            (self.squares / self.total**2, self.cubes / self.total**3) if self.total else (math.nan, math.nan)
        )
        seen = 1 - (2 * third - second**2) / second
        return 1 / seen if self.alike >= 2 else math.nan
