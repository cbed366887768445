"""Inference that stays valid however often one looks: confidence sequences, and the e-process of a split."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from experiments.analysis.mixtures import mixture_rho, normal_boundary, one_sided_normal_boundary

Values = NDArray[np.float64]
EXPECTED_UNITS = 5_000


def sequence_half_width(error: float, n: float, *, alpha: float, units: float = EXPECTED_UNITS) -> float:
    """Half the width of the asymptotic confidence sequence of a mean or a difference (arXiv 2103.06476, eq. 17).

    Parameters
    ----------
    error: standard error of the estimate at this look.
    n: units behind it, both arms together.
    alpha: the chance that the truth is ever outside, over all looks.
    units: the number of units at which it is tuned to be narrowest; to be chosen before the first look.
    """
    if not n > 0:
        return math.nan
    rho = mixture_rho(units, alpha=alpha)
    return error * normal_boundary(n, rho=rho, alpha=alpha) / math.sqrt(n)


def one_sided_reach(error: float, n: float, *, alpha: float, units: float = EXPECTED_UNITS) -> float:
    """How far above the estimate the truth may lie, sure on that side alone at every look: less than half the width.

    The parameters are those of ``sequence_half_width``; ``alpha`` is all on the one side.
    """
    if not n > 0:
        return math.nan
    rho = mixture_rho(units, alpha=2 * alpha)
    return error * one_sided_normal_boundary(n, rho=rho, alpha=alpha) / math.sqrt(n)


def sequence_p_value(estimate: float, error: float, n: float, *, alpha: float, units: float = EXPECTED_UNITS) -> float:
    """The smallest level at which the confidence sequence leaves out zero: valid at every look.

    ``alpha`` only sets the tuning (the mixture is fixed before the data), so p < alpha exactly where the sequence at
    ``alpha`` leaves out zero.
    """
    if not (n > 0 and error > 0):
        return math.nan
    mass = n / mixture_rho(units, alpha=alpha)
    exponent = 0.5 * math.log1p(mass) - 0.5 * (estimate / error) ** 2 * mass / (mass + 1)
    return math.exp(min(exponent, 0.0))


def split_log_e_value(counts: ArrayLike, shares: Sequence[float], *, concentration: float = 100.0) -> Values:
    """The log e-value against the planned split: Dirichlet-multinomial over multinomial (Lindon and Malek 2022).

    Parameters
    ----------
    counts: units per arm so far, shape (..., k): one split, or many at once.
    shares: the planned shares (k,), positive, sum 1.
    concentration: weight of the prior, which is centred at the planned shares.

    Returns an array of shape (...). Under the planned split its exponential stays below 1/alpha for ever with chance at
    least 1 - alpha. It depends on the counts alone, so it can be read at any moment, in whatever order the units came.
    """
    seen, planned = np.asarray(counts, dtype=float), np.asarray(shares, dtype=float)
    prior = concentration * planned
    marginal = special.gammaln(concentration) - special.gammaln(concentration + seen.sum(axis=-1))
    marginal += (special.gammaln(prior + seen) - special.gammaln(prior)).sum(axis=-1)
    return np.asarray(marginal - (seen * np.log(planned)).sum(axis=-1))


def split_p_value(counts: Sequence[float], shares: Sequence[float], *, concentration: float = 100.0) -> float:
    """The always-valid p-value of one split against the planned one: one over the e-value, at most 1."""
    return math.exp(min(0.0, -float(split_log_e_value(counts, shares, concentration=concentration))))
