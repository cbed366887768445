"""Inference that stays valid however often one looks: confidence sequences, and the e-process of a split."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

EXPECTED_UNITS = 5_000


def mixture_precision(*, alpha: float, units: float = EXPECTED_UNITS) -> float:
    """The mixture's rho squared that makes the sequence narrowest near ``units`` units (Waudby-Smith et al. 2021)."""
    twice_log = -2 * math.log(alpha)
    return (twice_log + math.log(twice_log + 1)) / units


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
    mass = n * mixture_precision(alpha=alpha, units=units)
    return error * math.sqrt(2 * (mass + 1) / mass * (0.5 * math.log1p(mass) - math.log(alpha)))


def sequence_p_value(estimate: float, error: float, n: float, *, alpha: float, units: float = EXPECTED_UNITS) -> float:
    """The smallest level at which the confidence sequence leaves out zero: valid at every look.

    ``alpha`` only sets the tuning (the mixture is fixed before the data), so p < alpha exactly where the sequence at
    ``alpha`` leaves out zero.
    """
    if not (n > 0 and error > 0):
        return math.nan
    mass = n * mixture_precision(alpha=alpha, units=units)
    exponent = 0.5 * math.log1p(mass) - 0.5 * (estimate / error) ** 2 * mass / (mass + 1)
    return math.exp(min(exponent, 0.0))


def normal_mixture_precision(variance: float, *, alpha: float) -> float:
    """The rho at which the two-sided normal mixture bound is tightest at intrinsic time ``variance`` (confseq)."""
    return variance / (-float(special.lambertw(-(alpha**2) * math.exp(-1), -1).real) - 1)


def normal_mixture_bound(variance: float, *, rho: float, alpha: float) -> float:
    """The two-sided bound that a sub-Gaussian sum crosses at any time with chance at most alpha (Howard et al. 2021).

    >>> rho = normal_mixture_precision(100, alpha=0.05)
    >>> round(rho, 5), round(normal_mixture_bound(100, rho=rho, alpha=0.05), 5)
    (12.60056, 30.35209)
    """
    return math.sqrt((variance + rho) * (math.log1p(variance / rho) - 2 * math.log(alpha)))


def split_log_e_value(counts: Sequence[int], shares: Sequence[float], *, concentration: float = 100.0) -> float:
    """The log e-value against the planned split: Dirichlet-multinomial over multinomial (Lindon and Malek 2022).

    Parameters
    ----------
    counts: units per arm so far, shape (k,).
    shares: the planned shares, positive, sum 1.
    concentration: weight of the prior, which is centred at the planned shares.

    Under the planned split exp of it stays below 1/alpha for ever with chance at least 1 - alpha. It depends on the
    counts alone, so it can be read at any moment without the order in which the units came.
    """
    seen, planned = np.asarray(counts, dtype=float), np.asarray(shares, dtype=float)
    prior = concentration * planned
    marginal = special.gammaln(prior.sum()) - special.gammaln(prior.sum() + seen.sum())
    marginal += float((special.gammaln(prior + seen) - special.gammaln(prior)).sum())
    return float(marginal - (seen * np.log(planned)).sum())


def split_p_value(counts: Sequence[int], shares: Sequence[float], *, concentration: float = 100.0) -> float:
    """The always-valid p-value against the planned split: one over the e-value, at most 1."""
    return math.exp(min(0.0, -split_log_e_value(counts, shares, concentration=concentration)))
