"""Means with intervals from influence values: one number per unit, whose mean is the estimate.

Every estimator of the ladder and of off-policy evaluation ends here. The difference of two estimates on the same
units is the mean of the paired differences, so that what the two share cancels; units of one cluster (a household)
are summed before they are squared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int16] | Integers

# Fewer clusters than these: no correction is known to hold (Cameron and Miller 2015, section VI).
_ENOUGH = 10


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


@dataclass(frozen=True, kw_only=True)
class Mean:
    """An estimate, its standard error, and the degrees of freedom (0 for none) with which that error is known.

    >>> Mean(value=2.0, error=1.0, freedom=10.0).interval(alpha=0.05).above(0.0)
    False
    """

    value: float
    error: float
    freedom: float

    def interval(self, *, alpha: float) -> Interval:
        """The two-sided interval at level 1 - ``alpha``; without end where no error is known."""
        reach = -float(special.stdtrit(self.freedom, alpha / 2)) * self.error if self.freedom > 0 else float("inf")
        return Interval(value=self.value, low=self.value - reach, high=self.value + reach)

    @property
    def z(self) -> float:
        """The estimate over its error, as a standard normal has it where Student's t is exact; 0 without an error."""
        if not (self.error > 0 and self.freedom > 0):
            return 0.0
        size = -float(special.ndtri(special.stdtr(self.freedom, -abs(self.value) / self.error)))
        return size if self.value > 0 else -size


def mean_interval(
    influence: Floats, *, cluster: Integers | None = None, part: Integers | None = None, alpha: float = 0.05
) -> Interval:
    """The mean of influence values with its two-sided interval at level 1 - ``alpha``: :func:`mean_of`.

    >>> mean_interval(np.array([0.0, 1.0, 0.0, 1.0])).value
    0.5
    """
    return mean_of(influence, cluster=cluster, part=part).interval(alpha=alpha)


def mean_of(influence: Floats, *, cluster: Integers | None = None, part: Integers | None = None) -> Mean:
    """The mean of ``influence`` (n,) or (repeats, n) with its standard error.

    ``cluster`` (n,) holds codes 0..G-1: units of one cluster may depend on each other, clusters may not. ``part`` (n,)
    holds codes 0..P-1 where the estimate is made of means of several parts (arms, cells), -1 for units of none: a part
    of few is then no surer for the many of another. Without clusters, two parts have Welch's interval.

    The error is the sandwich of Bell and McCaffrey (2002; CR2 of a mean): a cluster that holds the share h of its part
    pulls the mean towards itself, so its square counts 1 / (1 - h) times. The degrees of freedom are Satterthwaite's,
    of clusters whose members are alike, the fewest that they may be: a few large clusters among many small ones are as
    few. A part of a single cluster has no error that anybody knows. Over repeats, estimates and squared errors are
    averaged, never the influence values: repeats see the same units, so they are no reason to believe that less is
    unknown.

    >>> mean_of(np.array([1.0, 3.0, 5.0]))
    Mean(value=3.0, error=1.1547005383792515, freedom=2.0)
    """
    repeated = np.atleast_2d(influence)
    spread = (repeated - repeated.mean(axis=1, keepdims=True)) / repeated.shape[1]
    if part is None and cluster is None:  # of a million units several times as fast as by parts
        freedom = repeated.shape[1] - 1.0
        square = float(np.einsum("ij,ij->", spread, spread)) / len(spread) * (1 + 1 / max(freedom, 1.0))
        return Mean(value=float(repeated.mean()), error=float(np.sqrt(square)), freedom=freedom)
    if part is not None and part.min() < 0:
        inside = np.flatnonzero(part >= 0)
        spread, part = spread[:, inside], part[inside]
        cluster = None if cluster is None else cluster[inside]
    of = np.zeros(spread.shape[1], dtype=np.int64) if part is None else part
    found = _alone(spread, of) if cluster is None else _grouped(spread, of, cluster)
    return Mean(value=float(repeated.mean()), error=float(np.sqrt(found.square)), freedom=found.freedom)


def share_interval(found: Mean, *, parts: int, alpha: float) -> tuple[float, float]:
    """Wilson's interval of a share, which stays within 0 to 1: of as many units as would have the same error.

    A share near 0 or 1 lies askew in its interval, and one of exactly 0 or 1 has no error at all; ``parts`` is how many
    independent units it rests on then. (Wilson 1927; of survival curves Rothman 1978; of surveys Kott and Liu 2009.)

    >>> low, high = share_interval(Mean(value=1.0, error=0.0, freedom=9.0), parts=10, alpha=0.05)
    >>> round(low, 2), high
    (0.66, 1.0)
    """
    if not found.freedom > 0:
        return 0.0, 1.0
    spread = found.value * (1 - found.value)
    many = spread / found.error**2 if spread > 0 and found.error > 0 else max(parts, 1)
    over = float(special.stdtrit(found.freedom, alpha / 2)) ** 2 / many
    middle, reach = (found.value + over / 2) / (1 + over), np.sqrt(over * spread + over**2 / 4) / (1 + over)
    return max(0.0, float(middle - reach)), min(1.0, float(middle + reach))


def few_clusters(
    names: Sequence[str], part: npt.NDArray[np.integer], *, cluster: npt.NDArray[np.integer]
) -> Iterator[str]:
    """Of each part (codes (n,) into ``names``, -1 for none) with too few clusters for any interval, a sentence.

    As many count as alike ones would tell as much: 1 over the sum of their squared shares (Kish 1965).

    >>> list(few_clusters(["a"], np.zeros(4, dtype=np.int64), cluster=np.array([0, 0, 1, 1])))
    ["'a' holds 2 clusters: too few for any method (10 are needed), so read its intervals as a rough hint."]
    """
    for place, name in enumerate(names):
        sizes = np.bincount(cluster[(part == place) & (cluster >= 0)])
        if not sizes.any():
            continue
        alike, there = float(sizes.sum()) ** 2 / float(sizes @ sizes), int((sizes > 0).sum())
        if alike < _ENOUGH:
            unlike = f", so unlike in size that they tell as much as {alike:.0f}" if alike < there / 2 else ""
            yield (
                f"{name!r} holds {there:,} clusters{unlike}: too few for any method ({_ENOUGH} are needed), so read "
                "its intervals as a rough hint."
            )


class _Squares(NamedTuple):
    """The squared error of a mean; what each part has of it (parts,), and with how many degrees of freedom (parts,)."""

    square: float
    by_part: Floats
    freedoms: Floats

    @property
    def freedom(self) -> float:
        """Those of the sum (Satterthwaite); where nothing varies the fewest of any part; 0 where a part has none."""
        fewest = float(self.freedoms.min())
        total = float(self.by_part.sum())
        return total**2 / float((self.by_part**2 / self.freedoms).sum()) if fewest > 0 and total > 0 else fewest


def _alone(spread: Floats, part: Integers) -> _Squares:
    """Of units that don't depend on each other, from ``spread`` (repeats, n) around the mean, over n."""
    sizes = np.bincount(part).astype(np.float64)
    squares = np.bincount(part, weights=np.square(spread).mean(axis=0)) * sizes / np.maximum(sizes - 1, 1)
    there = sizes > 0
    return _Squares(square=float(squares.sum()), by_part=squares[there], freedoms=sizes[there] - 1)


def _grouped(spread: Floats, part: Integers, cluster: Integers) -> _Squares:
    """Of clusters, which may have units in several parts."""
    shape = int(part.max()) + 1, int(cluster.max()) + 1
    cell = part * shape[1] + cluster
    sizes = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
    held = sizes.sum(axis=1, keepdims=True)
    shares = sizes / np.maximum(held, 1)
    pulled = 1 / np.sqrt(np.maximum(1 - shares, 1e-12))
    square, by_part = 0.0, np.zeros(shape[0])
    for each in spread:
        sums = pulled * np.bincount(cell, weights=each, minlength=sizes.size).reshape(shape)
        square += float(np.square(sums.sum(axis=0)).sum()) / len(spread)
        by_part += np.square(sums).sum(axis=1)
    there = held[:, 0] > 0
    return _Squares(
        square=square, by_part=by_part[there], freedoms=np.array([_freedom(each) for each in shares[there]])
    )


def _freedom(shares: Floats) -> float:
    """Satterthwaite's degrees of freedom of a part whose clusters hold ``shares`` (G,): G - 1 where they are equal.

    The square is a form b'Ab in the clusters' means b, with A the sum of d_g (e_g - h)(e_g - h)', d_g = h_g^2 / (1 -
    h_g); normal ones of one variance give it tr(A)^2 / tr(A^2) degrees of freedom.
    """
    held = shares[shares > 0]
    if held.size < 2:
        return 0.0
    weight, even = held**2 / (1 - held), float(held @ held)
    trace = float((weight * (1 - 2 * held + even)).sum())
    total, first, second = float(weight.sum()), float(weight @ held), float(weight @ held**2)
    apart = even**2 * total**2 + 2 * total * second + 2 * first**2 - 4 * even * first * total
    own = float((weight**2 * (1 + 2 * (even - 2 * held))).sum())
    return trace**2 / (own + apart)
