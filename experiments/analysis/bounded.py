"""A mean of values with declared ends, of which few lie apart from the rest: exact intervals, valid at every look."""

from __future__ import annotations

import math
from dataclasses import dataclass

from experiments.analysis.mixtures import gamma_exponential_boundary, gamma_exponential_log_e_value, mixture_rho

_EXPECTED = 10.0  # orders of the largest amount at which the interval is narrowest: few, as they are here
_TUNED_AT = 0.05


@dataclass(frozen=True, kw_only=True)
class ArmSums:
    """The sums of an arm: its units, their amounts and the amounts' squares; and the arm's planned share."""

    n: int
    total: float
    squares: float
    share: float


@dataclass(frozen=True, kw_only=True)
class BoundedMeans:
    """Two arms' amounts, each at most ``most``, and what their means differ by, arm minus control, at every look.

    Units are drawn into the arms by their planned shares, so a unit's amount over its arm's share, taken negative for
    the control's, has the difference as its mean, is never below ``-most / share of the control`` and never above
    ``most / share of the arm``. What such a sum departs from its mean by is bounded by the sum of its squares alone
    (Fan, Grama and Liu 2015, with 0 as the guess of each next value), at all sums of squares together by mixing over
    the gamma-exponential (Howard, Ramdas, McAuliffe and Sekhon 2021). Half of the error stands on each side.

    >>> arm = ArmSums(n=1_000, total=900.0, squares=40_000.0, share=0.5)
    >>> control = ArmSums(n=1_000, total=300.0, squares=11_000.0, share=0.5)
    >>> both = BoundedMeans(arm=arm, control=control, most=100.0)
    >>> low, high = both.interval(0.05)
    >>> f"{low:+.2f} to {high:+.2f}, p = {both.p_value():.2f}"
    '-0.41 to +1.61, p = 0.51'
    """

    arm: ArmSums
    control: ArmSums
    most: float

    def interval(self, alpha: float) -> tuple[float, float]:
        """The limits that leave out the truth at any look with chance ``alpha`` at most, half of it on each side."""
        units, rho = self.arm.n + self.control.n, self._rho
        below, above = (
            gamma_exponential_boundary(self._squares, rho=rho, scale=self.most / side.share, alpha=alpha / 2)
            for side in (self.control, self.arm)
        )
        return (self._sum - below) / units, (self._sum + above) / units

    def p_value(self) -> float:
        """The smallest level at which that interval leaves out no difference; at most 1."""
        ahead, behind = (
            gamma_exponential_log_e_value(sign * self._sum, self._squares, rho=self._rho, scale=self.most / side.share)
            for sign, side in ((1, self.control), (-1, self.arm))
        )
        return min(1.0, 2 * math.exp(-max(ahead, behind)))

    @property
    def _sum(self) -> float:
        return self.arm.total / self.arm.share - self.control.total / self.control.share

    @property
    def _squares(self) -> float:
        return self.arm.squares / self.arm.share**2 + self.control.squares / self.control.share**2

    @property
    def _rho(self) -> float:
        orders = _EXPECTED * self.most * self.most / (self.arm.share * self.control.share)
        return mixture_rho(orders, alpha=_TUNED_AT)


def within(least: float, *, most: float, shares: tuple[float, float]) -> bool:
    """Whether amounts from ``least`` to ``most`` keep to the bounds of ``BoundedMeans``, whose arms have ``shares``.

    Where nothing is below zero, they do; what contacts cost may take a unit below it by little beside the largest
    amount, the less so the more unlike in size the arms are.
    """
    return most > 0 and least >= -most * min(shares) / max(shares)
