"""The sample ratio check: whether each arm holds the share of units that was planned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special

from experiments.analysis.sequential import split_p_value
from experiments.results import SampleRatio, SrmStatus

WARNING_LEVEL = 0.01
ALARM_LEVEL = 0.001


def sample_ratio(counts: Sequence[int], shares: Sequence[float]) -> SampleRatio:
    """The chi-square p-value of the arms' counts against the planned shares, and what to make of it.

    Red only where a test that stays valid at every look rejects at 0.001: over a whole experiment, however often it is
    looked at, one clean experiment in a thousand turns red. The chi-square, which looking inflates, gives no more than
    a warning: yellow below 0.01.

    >>> sample_ratio([500, 500], [0.5, 0.5]).status, sample_ratio([7000, 6000], [0.5, 0.5]).status
    ('green', 'red')
    """
    p_value = chi_square_p_value(counts, shares)
    status: SrmStatus = "yellow" if p_value < WARNING_LEVEL else "green"
    if split_p_value(counts, shares) < ALARM_LEVEL:
        status = "red"
    return SampleRatio(p_value=p_value, status=status)


def chi_square_p_value(counts: Sequence[int], shares: Sequence[float]) -> float:
    """Pearson's chi-square p-value of counts (k,) against shares (k,) that sum to 1."""
    seen = np.asarray(counts, dtype=float)
    expected = seen.sum() * np.asarray(shares, dtype=float)
    statistic = float(((seen - expected) ** 2 / expected).sum())
    return float(special.chdtrc(len(seen) - 1, statistic))
