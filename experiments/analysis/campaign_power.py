"""How likely a campaign with an end shows a difference, and how early, under its group-sequential bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import optimize, special

from experiments.analysis.group_sequential import boundaries

LOOKS = 10
"""The looks that a campaign is planned with, evenly spread, where no other number is given."""
_NODES = 160


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What a campaign of evenly spread looks can expect of a difference.

    Parameters
    ----------
    power: the chance that some look crosses its bound.
    share: the part of the planned units that it takes on average, as it ends where a bound is crossed.
    """

    power: float
    share: float


@lru_cache(maxsize=256)
def outlook(drift: float, *, looks: int, alpha: float) -> Outlook:
    """What a difference of ``drift`` standard errors (of the planned end) gives, by O'Brien and Fleming's bounds.

    The recursion of Armitage, McPherson and Rowe (1969) over a Brownian motion with drift, by Gauss-Legendre nodes.

    >>> round(outlook(0.0, looks=10, alpha=0.05).power, 4)
    0.05
    """
    times = np.arange(1, looks + 1) / looks
    edges = boundaries(times.tolist(), alpha=alpha) * np.sqrt(times)
    points, weights = special.roots_legendre(_NODES)
    step = math.sqrt(1 / looks)
    nodes, mass = np.zeros(1), np.ones(1)
    alive, spent = 1.0, 0.0
    for edge in edges:
        spent += alive / looks
        ahead = edge * points
        kernel = np.exp(-0.5 * ((ahead[:, None] - nodes - drift / looks) / step) ** 2) / (step * math.sqrt(2 * math.pi))
        nodes, mass = ahead, edge * weights * (kernel @ mass)
        alive = float(mass.sum())
    return Outlook(power=1 - alive, share=spent)


@lru_cache(maxsize=256)
def needed_drift(*, power: float, looks: int, alpha: float) -> float:
    """How many standard errors of the planned end a difference must measure to be seen with ``power``."""

    def short(drift: float) -> float:
        return outlook(drift, looks=looks, alpha=alpha).power - power

    return float(optimize.brentq(short, 0.0, 40.0, xtol=1e-10))
