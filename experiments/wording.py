"""How amounts of an outcome are said: in a unit for people, with as many digits as are known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.estimation.influence import Floats, Interval
from experiments.results import Rung

#: How an amount with its limits is written: ``value (low to high)``; as a plain amount where the limits are left out.
Amount = Callable[[float, float | None, float | None], str]


@dataclass(frozen=True, kw_only=True)
class Wording:
    """How amounts of the outcome are said: times ``scale``, in ``unit``, with ``digits`` after the point.

    >>> Wording(unit="visit per 1,000 customers", scale=1000.0, digits=1).amount(0.1828)
    '182.8'
    """

    unit: str
    scale: float
    digits: int

    @classmethod
    def of(cls, rungs: Sequence[Rung], *, unit: str, scale: float) -> Wording:
        """Digits as far as the values of the rungs are known: two of the width of an interval."""
        half = max((rung.ci_high - rung.ci_low) / 2 for rung in rungs) * scale
        return cls(unit=unit, scale=scale, digits=known_digits(half))

    def amount(self, value: float) -> str:
        """``value`` in the unit, rounded to what is known."""
        return f"{value * self.scale:z,.{self.digits}f}"

    def around(self, interval: Interval) -> str:
        """An amount with its interval, such as ``76.6 (69.9 to 83.2)``."""
        return f"{self.amount(interval.value)} ({self.amount(interval.low)} to {self.amount(interval.high)})"


def known_digits(half: float) -> int:
    """How many digits after the point show two of ``half`` the width of an interval.

    >>> known_digits(0.034), known_digits(120.0)
    (3, 0)
    """
    return max(1 - math.floor(math.log10(half)), 0) if 0 < half < math.inf else 2


def timed(amount: str, unit: str) -> str:
    """An amount of time in its unit, one of it in the singular.

    >>> timed("1", "days"), timed("1.5", "days")
    ('1 day', '1.5 days')
    """
    return f"{amount} {unit.removesuffix('s') if amount == '1' else unit}"


def unit_of(outcome: str, values: Floats, *, costs: Floats) -> tuple[str, float]:
    """Words and scale for ``values`` (n,) of an outcome: a rate per 1,000 when all are 0 or 1 and contacts are free.

    >>> unit_of("spend", np.array([0.0, 9.5]), costs=np.array([0.0, 0.1]))
    ('spend per customer net of contact cost', 1.0)
    """
    if np.isin(values, (0.0, 1.0)).all() and not costs.any():
        return f"{outcome} per 1,000 customers", 1000.0
    return f"{outcome} per customer{' net of contact cost' if costs.any() else ''}", 1.0


def amount_words(scale: float) -> Amount:
    """How amounts are told: times ``scale``, with two digits of half the width of their interval."""

    def amount(value: float, low: float | None, high: float | None) -> str:
        half = abs(value if low is None or high is None else (high - low) / 2) * scale
        wording = Wording(unit="", scale=scale, digits=known_digits(half))
        if low is None or high is None:
            return wording.amount(value)
        return wording.around(Interval(value=value, low=low, high=high))

    return amount
