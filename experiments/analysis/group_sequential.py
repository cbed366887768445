"""Bounds for a campaign with an end: looks before it spend a part of the error of the whole (Lan and DeMets 1983)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import special

from features.errors import InputError, unknown

Values = NDArray[np.float64]

_FARTHEST = 12.0  # standard deviations; a bound beyond is never crossed
_LEAST_GROWTH = 1e-3  # a look that adds a smaller share of units counts as adding it: its bound comes out a trace wider
_FEWEST_NODES, _MOST_NODES = 48, 4_000
_LEVELS = 2 * special.ndtr(
    -np.linspace(0.25, 7.0, 28)
)  # where p-values are tabulated; smaller ones are told as the last


def obrien_fleming(elapsed: float, *, alpha: float) -> float:
    """The error that one side may have spent when ``elapsed`` of the campaign has passed: almost none early.

    >>> [round(obrien_fleming(each, alpha=0.025), 5) for each in (0.2, 0.6, 1.0)]
    [0.0, 0.00381, 0.025]
    """
    return 2 * float(special.ndtr(special.ndtri(alpha / 2) / math.sqrt(elapsed)))


def pocock(elapsed: float, *, alpha: float) -> float:
    """The error that one side may have spent when ``elapsed`` has passed: so evenly that bounds stay about level.

    >>> [round(pocock(each, alpha=0.025), 5) for each in (0.2, 0.6, 1.0)]
    [0.00738, 0.01771, 0.025]
    """
    return alpha * math.log1p((math.e - 1) * elapsed)


_SPENDING: dict[str, Callable[..., float]] = {"obrien_fleming": obrien_fleming, "pocock": pocock}


def boundaries(
    units: Sequence[float],
    *,
    elapsed: Sequence[float] | None = None,
    alpha: float = 0.05,
    spending: str = "obrien_fleming",
) -> Values:
    """The two-sided bound of the z statistic at each look (looks,).

    Parameters
    ----------
    units: the units behind each look, in any measure, as only their proportions matter.
    elapsed: the share of the campaign that had passed at each look, ascending in (0, 1], in planned units or in planned
        time; ``units`` themselves when not given, which then are shares. The error is spent by it (Lan and DeMets
        1989), while correlations follow from ``units``: so the final number of units needn't be known.
    alpha: the chance that any look crosses its bound when there is no effect; half of it on each side.
    spending: how the error is spread over time. Each bound depends on its look and those before it alone, so a look may
        be added, skipped, or hold more units than planned.

    The crossing probabilities are integrated step by step over the process that has not stopped (Armitage, McPherson
    and Rowe 1969), by Gauss-Legendre on each look's range.

    Raises
    ------
    InputError
        When ``elapsed`` does not ascend within (0, 1].

    >>> boundaries([0.2, 0.4, 0.6, 0.8, 1.0]).round(4)
    array([4.8769, 3.357 , 2.6803, 2.2898, 2.031 ])
    """
    shares = np.asarray(units if elapsed is None else elapsed, dtype=float)
    if shares.size == 0 or not (shares[0] > 0 and shares[-1] <= 1 and (np.diff(shares) > 0).all()):
        raise InputError("looks do not ascend", got=str(shares.tolist()), do="give shares of the whole in (0, 1]")
    times = _ascending(units)
    spent = [2 * _SPENDING[spending](float(each), alpha=alpha / 2) for each in shares]
    steps = np.sqrt(np.diff(times, prepend=0.0))
    found = np.empty(times.size)
    nodes, density = np.zeros(1), np.ones(1)  # all mass at 0 before the first look
    for place, (before, after) in enumerate(pairwise([0.0, *spent])):
        step = float(steps[place])
        bound = _bound(nodes, density, step=step, wanted=after - before, reach=_FARTHEST * math.sqrt(times[place]))
        nodes, density = _survivors(
            nodes, density, bound=bound, step=step, finest=float(steps[place : place + 2].min())
        )
        found[place] = bound / math.sqrt(times[place])
    return found


def _ascending(units: Sequence[float]) -> Values:
    """Units as shares of the last look's; a look with no more than the one before it counts as having a trace more."""
    times = np.maximum.accumulate(np.asarray(units, dtype=float))
    for place in range(1, times.size):
        times[place] = max(times[place], times[place - 1] * (1 + _LEAST_GROWTH))
    return np.asarray(times / times[-1])


def _bound(nodes: Values, density: Values, *, step: float, wanted: float, reach: float) -> float:
    """The bound that ``wanted`` of the mass crosses on the way to the next look; at most ``reach``."""
    from scipy import optimize  # an analysis without a plan needn't wait for it

    def over(bound: float) -> float:
        beyond = special.ndtr((-bound - nodes) / step) + special.ndtr((nodes - bound) / step)
        return float(density @ beyond) - wanted

    return float(optimize.brentq(over, 0.0, reach, xtol=1e-13)) if over(0.0) > 0 > over(reach) else reach


def _survivors(nodes: Values, density: Values, *, bound: float, step: float, finest: float) -> tuple[Values, Values]:
    """Where those are that haven't crossed: nodes (n,) and their mass; dense enough for a step of ``finest``."""
    # Gauss-Legendre nodes stand pi * bound / n apart in the middle; half the width of the kernel costs no digits.
    count = min(max(_FEWEST_NODES, math.ceil(2 * math.pi * bound / finest)), _MOST_NODES)
    points, weights = _legendre(count)
    ahead = bound * points
    kernel = np.exp(-0.5 * ((ahead[:, None] - nodes) / step) ** 2) / (step * math.sqrt(2 * math.pi))
    return ahead, bound * weights * (kernel @ density)


@lru_cache(maxsize=64)
def _legendre(count: int) -> tuple[Values, Values]:
    points, weights = special.roots_legendre(count)
    return np.asarray(points), np.asarray(weights)


@dataclass(frozen=True, kw_only=True)
class PlannedLooks:
    """The looks of a campaign with an end, this one last: how sure an interval of one look must be to hold at all.

    Parameters
    ----------
    units: the units behind each look, this one last; only their proportions matter.
    elapsed: the share of the planned units or time that had passed at each look, ascending in (0, 1].
    spending: how the error is spread.

    A repeated confidence interval (Jennison and Turnbull 1989) is the estimate with ``bound`` standard errors to either
    side: all of them hold together. For small samples the bound is taken at its own level on Student's scale, so a plan
    of a single look at the end is Welch's interval itself.

    >>> third = PlannedLooks(units=(1_000, 2_000, 3_000), elapsed=(0.2, 0.4, 0.6))
    >>> f"{third.bound(0.05):.4f} standard errors, the interval of one look at {third.level(0.05):.4f}"
    '2.6803 standard errors, the interval of one look at 0.0074'
    >>> PlannedLooks(units=(5_000,), elapsed=(1.0,)).level(0.05)
    0.05
    """

    units: tuple[float, ...]
    elapsed: tuple[float, ...]
    spending: str = "obrien_fleming"

    @property
    def last(self) -> bool:
        """Whether this look is the end: all the error is spent."""
        return self.elapsed[-1] == 1.0

    def bound(self, alpha: float) -> float:
        """The bound of the z statistic at this look."""
        return _last_bound(self, alpha)

    def level(self, alpha: float) -> float:
        """The alpha of one look at which its interval is this look's repeated one at ``alpha``."""
        if self.elapsed == (1.0,):
            return alpha
        return 2 * float(special.ndtr(-self.bound(alpha)))

    def p_value(self, p: float, *, alpha: float) -> float:
        """The repeated p-value of a test whose p-value as a single look is ``p``: valid at every look of the plan.

        The smallest level at which the repeated interval leaves out zero, so below ``alpha`` exactly where the one at
        ``alpha`` does. NaN stays NaN.
        """
        if self.elapsed == (1.0,) or math.isnan(p):
            return p
        bounds, normal = _table(self, alpha)
        reached = float(-special.ndtri(p / 2))
        # Interpolated on the normal scale of both, where they are nearly proportional.
        return 1.0 if reached <= 0 else 2 * float(special.ndtr(-np.interp(reached, bounds, normal)))


@lru_cache(maxsize=1024)
def _last_bound(plan: PlannedLooks, alpha: float) -> float:
    return float(boundaries(plan.units, elapsed=plan.elapsed, alpha=alpha, spending=plan.spending)[-1])


@lru_cache(maxsize=64)
def _table(plan: PlannedLooks, alpha: float) -> tuple[Values, Values]:
    """Bounds of the last look, ascending from 0, and the normal quantiles of the levels that they belong to."""
    levels = sorted({*map(float, _LEVELS), alpha}, reverse=True)
    bounds = [_last_bound(plan, each) for each in levels]
    return np.array([0.0, *bounds]), np.array([0.0, *(-special.ndtri(np.array(levels) / 2))])


def campaign(
    units: float,
    *,
    planned_units: float | None = None,
    looked_at: Sequence[float] = (),
    elapsed: Sequence[float] = (),
    spending: str = "obrien_fleming",
    final: bool = False,
) -> PlannedLooks | None:
    """The plan behind a look at ``units`` units; None where neither planned units nor shares of time are given.

    Parameters
    ----------
    planned_units: the units that the campaign was planned to have at its end, fixed before the start.
    looked_at: the units at each earlier look, oldest first.
    elapsed: instead of planned units, the share of the planned time at each earlier look, and at this one.
    spending: how the error is spread.
    final: this is the last look: all the error that is left is spent on it, however many units there are.

    Raises
    ------
    InputError
        When units or shares don't ascend, as when an earlier look had already reached the end of the plan; when earlier
        looks stand without a plan, or planned units beside shares of time, which would go unread.
    """
    if spending not in _SPENDING:
        raise unknown("way to spend the error", spending, _SPENDING)
    if (planned_units is not None and elapsed) or (looked_at and planned_units is None and not elapsed):
        raise InputError(
            "it isn't clear how much of the campaign has passed",
            got="planned units and shares of the time" if elapsed else "earlier looks without a plan",
            do="give the planned units, or the share of the planned time at each look",
        )
    if planned_units is None and not elapsed:
        return None
    looks = (*map(float, looked_at), float(units))
    if not (looks[0] > 0 and all(low <= high for low, high in pairwise(looks))):
        raise InputError(
            "the units at the looks don't ascend",
            got=", ".join(f"{each:,.0f}" for each in looks) + " (the last at this look)",
            do="give the units of each earlier look, oldest first",
        )
    shares = list(elapsed) or [each / _positive(planned_units) for each in looks]
    if len(shares) != len(looks):
        raise InputError(
            "the shares of time don't fit the looks",
            got=f"{len(shares)} shares for {len(looks)} looks",
            do="give one for each earlier look, and one for this",
        )
    shares[-1] = 1.0 if final else min(shares[-1], 1.0)
    if not all(low < high for low, high in pairwise((0.0, *shares))):
        raise InputError(
            "the looks at the campaign don't ascend",
            got=", ".join(f"{each:.4g}" for each in shares) + " of it had passed",
            do="leave out a look at the same data; after one that had reached the end, keep to its verdict",
        )
    return PlannedLooks(units=looks, elapsed=tuple(shares), spending=spending)


def _positive(planned_units: float | None) -> float:
    if planned_units is None or not 0 < planned_units < math.inf:
        raise InputError("planned_units is no number of units", got=str(planned_units), do="pass one above 0")
    return planned_units
