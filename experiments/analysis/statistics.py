"""Sufficient statistics, fetched once, and the pure arithmetic of means and their differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import pairwise
from operator import add

import numpy as np
from numpy.typing import NDArray
from scipy import special

from experiments.analysis.cluster_sizes import ClusterSizes

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Codes = NDArray[np.integer]

_BLOCK_ROWS = 1 << 16
_ROWS_PER_GROUP = 200
_GLANCE = 8_000
# Units that lie apart from the rest, as buyers do in revenue, below which a mean is far from normal.
ENOUGH_FILLED = 50
# So many of an arm that is tiny beside the other: the skewness of arms of one size cancels in their difference.
MOST_FILLED = 200
# Of sums over millions of rows the last two digits or so are rounding; 1e-14 of a value is below what a double tells.
_LOST_DIGITS = 1e-14
# A stratum of fewer units in an arm tells too little of its own spread, and stands together with others like it.
LEAST_IN_STRATUM = 10


@dataclass(frozen=True, kw_only=True)
class Moments:
    """The sufficient statistics of ``c`` columns over ``n`` units: their mean and their scatter about it.

    ``mean`` has shape (c,), ``scatter`` (c, c): the sum over units of the outer product of the
    deviations from the mean. Two of them add up to the moments of both samples together (Chan, Golub and LeVeque 1983).
    ``strata`` holds the same units apart, by stratum, where the sample is stratified; strata add up one by one.
    ``filled`` (c,) is how many units have a value other than zero, or some fewer that are ``MOST_FILLED``; ``sides``
    (2, c) how many lie above and below their mean, or so many fewer; ``least`` (c,) the smallest value. ``sizes`` are
    those of clusters, where units are.

    >>> both = Moments.of(np.array([[1.0, 2.0]])) + Moments.of(np.array([[6.0]]))
    >>> both.n, both.mean.tolist(), both.covariance.tolist()
    (3, [3.0], [[7.0]])
    """

    n: int
    mean: Vector
    scatter: Matrix
    strata: tuple[Moments, ...] = ()
    filled: NDArray[np.int_] | None = None
    sides: NDArray[np.int_] | None = None
    least: Vector | None = None
    sizes: ClusterSizes | None = None

    @classmethod
    def of(cls, block: Matrix) -> Moments:
        """The moments of a block of shape (c, n), deviations taken from the block's own mean."""
        mean = block.mean(axis=1)
        deviation = block - mean[:, None]
        filled = np.array([_counted(row, np.not_equal) for row in block])
        sides = np.array([[_counted(row, beyond) for row in deviation] for beyond in (np.greater, np.less)])
        least = block.min(axis=1, initial=math.inf)
        return cls(
            n=block.shape[1], mean=mean, scatter=deviation @ deviation.T, filled=filled, sides=sides, least=least
        )

    @classmethod
    def none(cls, columns: int) -> Moments:
        """The moments of no units at all."""
        return cls(n=0, mean=np.zeros(columns), scatter=np.zeros((columns, columns)))

    @classmethod
    def from_sums(cls, *, n: int, total: float, squares: float) -> Moments:
        """The moments of one column from its count, sum and sum of squares."""
        return cls(n=n, mean=np.array([total / n]), scatter=np.array([[squares - total * total / n]]))

    @classmethod
    def stratified(cls, strata: Sequence[Moments]) -> Moments:
        """The moments of all strata together, which it keeps apart too."""
        whole = reduce(add, strata)
        return replace(whole, strata=tuple(strata))

    def __add__(self, other: Moments) -> Moments:
        if not self.n or not other.n:
            return self if self.n else other
        n = self.n + other.n
        apart = other.mean - self.mean
        return Moments(
            n=n,
            mean=self.mean + apart * (other.n / n),
            scatter=self.scatter + other.scatter + np.outer(apart, apart) * (self.n * other.n / n),
            strata=tuple(map(add, self.strata, other.strata)),
            filled=None if self.filled is None or other.filled is None else self.filled + other.filled,
            sides=None if self.sides is None or other.sides is None else self.sides + other.sides,
            least=None if self.least is None or other.least is None else np.minimum(self.least, other.least),
            sizes=None if self.sizes is None or other.sizes is None else self.sizes + other.sizes,
        )

    @property
    def alike(self) -> float:
        """How many units alike tell as much: all of them, or of clusters as many as their sizes let count."""
        return self.n if self.sizes is None else self.sizes.alike

    def even(self, column: int) -> float:
        """How many units would hold a column's total in equal parts, all above its least value (Kish 1965).

        The square of the sum over the sum of squares: of amounts that few units hold most of, far fewer than have one.
        """
        if self.least is None:
            return math.inf
        above = float(self.mean[column] - self.least[column])
        squares = float(self.scatter[column, column]) + self.n * above * above
        return (self.n * above) ** 2 / squares if squares > 0 else math.inf

    @property
    def covariance(self) -> Matrix:
        """The sample covariance, shape (c, c), of clusters corrected for their sizes; NaN of fewer than two units."""
        if not self.n > 1:
            return np.full_like(self.scatter, np.nan)
        return self.scatter / (self.n - 1) if self.sizes is None else self.scatter / self.n * self.sizes.correction


def _counted(row: Vector, beyond: np.ufunc) -> int:
    """How many values are ``beyond`` zero; where the first ones suffice, how many of those."""
    seen = int(np.count_nonzero(beyond(row[:_GLANCE], 0.0)))
    return seen if seen >= MOST_FILLED else int(np.count_nonzero(beyond(row, 0.0)))


def grouped_moments(columns: Sequence[NDArray[np.generic]], codes: Codes, *, groups: int) -> list[Moments]:
    """The moments of each group, in one pass over the columns, block by block.

    Parameters
    ----------
    columns: arrays of shape (n,), numbers or booleans.
    codes: shape (n,), the group of each unit in ``range(groups)``; negative ones are left out.
    groups: how many groups there are.

    Every block is centred at its own mean before squares are formed, so a large mean costs no digits. A missing value
    makes the entries of its own column NaN and no others.
    """
    found = [Moments.none(len(columns)) for _ in range(groups)]
    edges = np.arange(groups + 1)
    # numpy sorts integers of 16 bits by radix, wider ones by comparison.
    narrow = codes.astype(np.int16) if groups < 1 << 15 else codes
    # Many groups take larger blocks: each group of each block costs a fixed time.
    size = min(max(_BLOCK_ROWS, _ROWS_PER_GROUP * groups), 16 * _BLOCK_ROWS)
    for start in range(0, len(narrow), size):
        rows = slice(start, start + size)
        here = narrow[rows]
        order = np.argsort(here, kind="stable")
        block = np.empty((len(columns), len(here)))
        for place, column in enumerate(columns):
            block[place] = column[rows][order]
        bounds = np.searchsorted(here[order], edges)
        for group, (low, high) in enumerate(pairwise(bounds)):
            if low < high:
                found[group] += Moments.of(block[:, low:high])
    return found


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """What is averaged: a column by its place, or the ratio of two columns' means (denominator not None).

    >>> Quantity(numerator=0, denominator=1).value(Moments.of(np.array([[1.0, 5.0], [2.0, 4.0]])))
    1.0
    """

    numerator: int
    denominator: int | None = None

    def value(self, moments: Moments) -> float:
        """The mean, or the ratio of means; NaN where the denominator's mean isn't positive."""
        if self.denominator is None:
            return float(moments.mean[self.numerator])
        below = float(moments.mean[self.denominator])
        return float(moments.mean[self.numerator]) / below if below > 0 else math.nan

    def gradient(self, moments: Moments) -> Vector:
        """The derivative of the value by each column's mean, shape (c,): one unit's influence on the value."""
        slope = np.zeros(len(moments.mean))
        if self.denominator is None:
            slope[self.numerator] = 1.0
            return slope
        below = float(moments.mean[self.denominator])
        below = below if below > 0 else math.nan
        slope[self.numerator] += 1.0 / below
        slope[self.denominator] -= self.value(moments) / below
        return slope


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The mean of one arm: ``n`` independent units, the variance of one unit's influence on the mean.

    ``alike`` is how many units alike would know that variance as well, where units are clusters of unlike size.

    >>> control, arm = Sample(n=400, mean=10.0, variance=16.0), Sample(n=400, mean=11.0, variance=16.0)
    >>> apart = difference(arm, control, alpha=0.05)
    >>> f"{apart.estimate} from {apart.low:.3f} to {apart.high:.3f}, p = {p_value(arm, control):.5f}"
    '1.0 from 0.445 to 1.555, p = 0.00043'
    """

    n: int
    mean: float
    variance: float
    alike: float | None = None

    @property
    def freedom(self) -> float:
        """The degrees of freedom with which the variance is known."""
        return (self.n if self.alike is None else self.alike) - 1

    @property
    def error(self) -> float:
        """The squared standard error of the mean; NaN without units."""
        return self.variance / self.n if self.n else math.nan


def sample(moments: Moments, quantity: Quantity) -> Sample:
    """One arm's mean with its variance by the delta method (Deng, Knoblich and Lu 2018)."""
    slope = quantity.gradient(moments)
    used = np.flatnonzero(slope)
    joint = moments.covariance[np.ix_(used, used)]
    variance = _beyond_rounding(slope[used], joint, mean=moments.mean[used])
    return Sample(n=moments.n, mean=quantity.value(moments), variance=variance, alike=moments.alike)


def _beyond_rounding(weights: Vector, joint: Matrix, *, mean: Vector) -> float:
    """The variance of a weighted sum of columns, 0 where it is no more than what sums of floating point leave.

    A column that is 0.1 throughout has deviations from its mean, of its last digit: they are no spread to test by.
    """
    found = float(weights @ joint @ weights)
    lost = (
        _LOST_DIGITS * float(weights**2 @ np.diag(joint)) + (_LOST_DIGITS * float(np.abs(weights) @ np.abs(mean))) ** 2
    )
    return 0.0 if found <= lost else found


@dataclass(frozen=True, kw_only=True)
class Adjusted:
    """Both arms' samples after CUPED, and the share of the variance that is left."""

    arm: Sample
    control: Sample
    variance_kept: float


def poststratified(arm: Moments, control: Moments) -> tuple[Moments, Moments]:
    """Both arms as if each held every stratum at its share of the two together (Miratrix, Sekhon and Yu 2013).

    The moments that come back have the post-stratified means, and as covariance over n the one of these means, so that
    every quantity of them (means, ratios, what CUPED leaves) has its post-stratified value and error. Within strata
    the variance is that of each arm's mean, which makes a difference's error the one of a regression with all
    interactions (Lin 2013, HC2). As the customers to come are as much a sample as these, half of what the strata's
    sizes add, ``sum of shares x (a stratum's difference - the difference)^2 / n``, is laid on each arm.

    >>> north, south = np.array([[8.0, 9.0] * 10]), np.array([[1.0, 2.0] * 10])
    >>> few, many = (Moments.of(np.tile(south, times)) for times in (1, 3))
    >>> arm, control = poststratified(
    ...     Moments.stratified([Moments.of(north), few]), Moments.stratified([Moments.of(north), many]))
    >>> arm.mean.round(3).tolist(), control.mean.round(3).tolist(), arm.n
    ([3.833], [3.833], 40)
    """
    pairs = large_strata(list(zip(arm.strata, control.strata, strict=True)))
    if len(pairs) < 2:
        return replace(arm, strata=()), replace(control, strata=())
    units = np.array([own.n + other.n for own, other in pairs])
    shares = units / units.sum()
    apart = [own.mean - other.mean for own, other in pairs]
    whole = np.einsum("s,sc->c", shares, apart)
    moved = np.sqrt(shares)[:, None] * (apart - whole)
    between = moved.T @ moved / units.sum() / 2

    def side(strata: Sequence[Moments]) -> Moments:
        n = sum(each.n for each in strata)
        mean = np.einsum("s,sc->c", shares, [each.mean for each in strata])
        error = between + sum(
            share * share / each.n * each.covariance for share, each in zip(shares, strata, strict=True)
        )
        known = Moments(n=n, mean=mean, scatter=error * (n * (n - 1)))
        if strata[0].sizes is None:
            return known
        sizes = ClusterSizes.even(sum(each.alike for each in strata))
        return replace(known, scatter=error * (n * n / sizes.correction), sizes=sizes)

    return side([own for own, _ in pairs]), side([other for _, other in pairs])


def large_strata(pairs: Sequence[tuple[Moments, Moments]]) -> list[tuple[Moments, Moments]]:
    """The strata with enough units in both arms, and all the others as one; with the smallest of them if need be."""
    by_size = sorted(pairs, key=lambda pair: min(each.n for each in pair))
    small = sum(min(each.n for each in pair) < LEAST_IN_STRATUM for pair in by_size)
    if not small:
        return list(pairs)
    arm, control = (reduce(add, side) for side in zip(*by_size[:small], strict=True))
    while min(arm.n, control.n) < LEAST_IN_STRATUM and small < len(by_size):
        arm, control = (mine + theirs for mine, theirs in zip((arm, control), by_size[small], strict=True))
        small += 1
    return [(arm, control), *by_size[small:]]


def adjusted(arm: Moments, control: Moments, *, quantity: Quantity, covariates: Sequence[Quantity]) -> Adjusted:
    """Both arms' means with the covariates' chance imbalance taken out (CUPED: Deng, Xu, Kohavi and Walker 2013).

    Coefficients are least squares on the two arms together, as tea-tasting forms them; the covariates are centred at
    their mean over both, so the adjusted means stay on the metric's scale. Arms with strata are post-stratified first.
    """
    if arm.strata and control.strata:
        arm, control = poststratified(arm, control)
    plain = Adjusted(arm=sample(arm, quantity), control=sample(control, quantity), variance_kept=1.0)
    if not covariates or arm.n + control.n < 2:
        return plain
    both = arm + control
    weights = _coefficients(both, quantity, covariates)
    centre = np.array([each.value(both) for each in covariates])

    def corrected(side: Moments) -> Sample:
        slopes = np.array([quantity.gradient(side), *(each.gradient(side) for each in covariates)])
        joint = slopes @ side.covariance @ slopes.T
        turn = np.array([1.0, *-weights])
        shift = np.array([each.value(side) for each in covariates]) - centre
        means = slopes @ side.mean
        variance = _beyond_rounding(turn, joint, mean=means)
        mean = quantity.value(side) - float(weights @ shift)
        return Sample(n=side.n, mean=mean, variance=variance, alike=side.alike)

    after = Adjusted(arm=corrected(arm), control=corrected(control), variance_kept=1.0)
    before = plain.arm.error + plain.control.error
    kept = (after.arm.error + after.control.error) / before if before > 0 else 1.0
    return Adjusted(arm=after.arm, control=after.control, variance_kept=kept)


def variance_kept(moments: Moments, *, quantity: Quantity, covariates: Sequence[Quantity]) -> float:
    """The share of a quantity's variance that its covariates leave: 1 - rho squared for a single one."""
    if not covariates:
        return 1.0
    slopes = np.array([quantity.gradient(moments), *(each.gradient(moments) for each in covariates)])
    joint = slopes @ moments.covariance @ slopes.T
    if not joint[0, 0] > 0:
        return 1.0
    return float(1 - _coefficients(moments, quantity, covariates) @ joint[1:, 0] / joint[0, 0])


def _coefficients(both: Moments, quantity: Quantity, covariates: Sequence[Quantity]) -> Vector:
    slopes = np.array([quantity.gradient(both), *(each.gradient(both) for each in covariates)])
    joint = slopes @ both.covariance @ slopes.T
    if not np.isfinite(joint).all():
        return np.full(len(covariates), np.nan)
    scale = np.sqrt(np.maximum(np.diag(joint)[1:], 0.0))
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    # Scaled to correlations, so that a cut-off for collinear covariates means the same in any unit.
    correlation = joint[1:, 1:] * np.outer(inverse, inverse)
    return np.asarray(inverse * (np.linalg.pinv(correlation, hermitian=True) @ (inverse * joint[1:, 0])))


@dataclass(frozen=True, kw_only=True)
class Gap:
    """How far an arm is from the control: an estimate, its standard error and its limits; NaN where not computable."""

    estimate: float
    error: float
    low: float
    high: float


def difference(arm: Sample, control: Sample, *, alpha: float) -> Gap:
    """Arm minus control with Welch's t interval."""
    estimate = arm.mean - control.mean
    error = math.sqrt(max(arm.error + control.error, 0.0))
    half = _t_quantile(arm.error, control.error, arm.freedom, control.freedom, alpha=alpha) * error
    return Gap(estimate=estimate, error=error, low=estimate - half, high=estimate + half)


def p_value(arm: Sample, control: Sample) -> float:
    """The two-sided p-value of Welch's t test, by the survival function; NaN where nothing varies."""
    error = arm.error + control.error
    if not error > 0:
        return math.nan
    freedom = _freedom(arm.error, control.error, arm.freedom, control.freedom)
    return float(2 * special.stdtr(freedom, -abs(arm.mean - control.mean) / math.sqrt(error)))


def relative(arm: Sample, control: Sample, *, alpha: float) -> Gap | None:
    """The difference over the control's mean; None where that mean is zero.

    The interval is Welch's on the logarithm of the ratio (as tea-tasting's), which never passes below -100%; where the
    ratio isn't positive it has no logarithm and the interval is the symmetric one of ``relative_by_delta``.
    """
    if not control.mean:
        return None
    ratio = arm.mean / control.mean
    if not ratio > 0:
        return relative_by_delta(arm, control, alpha=alpha)
    arm_error, control_error = (each.error / each.mean / each.mean for each in (arm, control))
    error = math.sqrt(max(arm_error + control_error, 0.0))
    half = _t_quantile(arm_error, control_error, arm.freedom, control.freedom, alpha=alpha) * error
    # Beyond the exponent's range the interval is (-100%, infinity): nothing is known.
    stretch = math.exp(min(half, 700.0)) if half == half else math.nan
    return Gap(estimate=ratio - 1, error=ratio * error, low=ratio / stretch - 1, high=ratio * stretch - 1)


def relative_by_delta(arm: Sample, control: Sample, *, alpha: float) -> Gap:
    """The difference over the control's mean with the symmetric interval of the delta method (as GrowthBook's)."""
    ratio = arm.mean / control.mean
    arm_error, control_error = (
        scale * scale * each.error for scale, each in ((1 / control.mean, arm), (ratio / control.mean, control))
    )
    error = math.sqrt(max(arm_error + control_error, 0.0))
    half = _t_quantile(arm.error, control.error, arm.freedom, control.freedom, alpha=alpha) * error
    return Gap(estimate=ratio - 1, error=error, low=ratio - 1 - half, high=ratio - 1 + half)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted so that rejecting those below alpha keeps the false discovery rate at alpha (1995).

    NaN stays NaN and counts for nothing.

    >>> [round(p, 4) for p in benjamini_hochberg([0.118, 0.0211, 0.0213, 0.00218])]
    [0.118, 0.0284, 0.0284, 0.0087]
    """
    values = np.asarray(p_values, dtype=float)
    adjusted_values = np.full(len(values), np.nan)
    order = np.argsort(values)[: int(np.isfinite(values).sum())]
    stepped = values[order] * len(order) / np.arange(1, len(order) + 1)
    adjusted_values[order] = np.minimum.accumulate(stepped[::-1])[::-1]
    return [float(each) for each in adjusted_values]


def _freedom(arm_error: float, control_error: float, of_arm: float, of_control: float) -> float:
    """Welch's degrees of freedom of a difference, from those of both sides; NaN where a side has less than one."""
    whole = arm_error + control_error
    if min(of_arm, of_control) < 1 or not whole > 0:
        return math.nan
    # As shares of the whole: fourth powers of very small or large units would leave the range of numbers.
    arm_share, control_share = arm_error / whole, control_error / whole
    return 1 / (arm_share * arm_share / of_arm + control_share * control_share / of_control)


def _t_quantile(arm_error: float, control_error: float, of_arm: float, of_control: float, *, alpha: float) -> float:
    return -float(special.stdtrit(_freedom(arm_error, control_error, of_arm, of_control), alpha / 2))
