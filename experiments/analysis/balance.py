"""Whether the arms hold the shares of units that were planned, and were alike before the start."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray
from scipy import special

from experiments.analysis.readings import Before
from experiments.analysis.sequential import split_log_e_value, split_p_value
from experiments.results import Balance, CovariateRow, SampleRatio, SrmStatus

WARNING_LEVEL = 0.01
ALARM_LEVEL = 0.001
# A warning about what CUPED mends should be rare; the alarm holds for a thousand looks at 0.001 over all of them.
UNLIKE_WARNING_LEVEL = 0.001
UNLIKE_ALARM_LEVEL = 1e-6
_COLLINEAR = 1e-10
_FEWEST_EXPECTED = 5


def sample_ratio(counts: Sequence[float], shares: Sequence[float]) -> SampleRatio:
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


def chi_square_p_value(counts: Sequence[float], shares: Sequence[float]) -> float:
    """Pearson's chi-square p-value of counts (k,) against shares (k,) that sum to 1."""
    seen = np.asarray(counts, dtype=float)
    expected = seen.sum() * np.asarray(shares, dtype=float)
    statistic = float(((seen - expected) ** 2 / expected).sum())
    return float(special.chdtrc(len(seen) - 1, statistic))


def exposure_ratio(exposed: Sequence[int], counts: Sequence[int], shares: Sequence[float]) -> SampleRatio:
    """Whether as large a part of each arm's units was exposed, and what to make of it; levels as ``sample_ratio``.

    The p-value is the chi-square of exposed and not exposed by arm. Red takes the test that stays valid at every look:
    where being exposed doesn't depend on the arm, the exposed and the others are each split as planned, and the mean of
    the two e-values is one too.

    >>> exposure_ratio([500, 520], [5000, 5000], [0.5, 0.5]).status
    'green'
    """
    table = np.array([exposed, np.subtract(counts, exposed)], dtype=float)
    p_value = _strata(table).p_value
    status: SrmStatus = "yellow" if p_value < WARNING_LEVEL else "green"
    if float(np.logaddexp.reduce(split_log_e_value(table, shares))) - math.log(2) > -math.log(ALARM_LEVEL):
        status = "red"
    return SampleRatio(p_value=p_value, status=status)


def before_the_start(
    before: Before | None, strata: Mapping[str, Sequence[int]], *, arms: Sequence[str]
) -> Balance | None:
    """Whether the arms were alike in everything that was known before the start; None where nothing was named.

    ``p_value`` is that of one test over all covariates and arms (the chi-square of Pillai's trace, whose mean is exact
    when units are drawn into arms), and of one over strata and arms; the smaller one counts double. It warns: yellow
    below 0.001. Red takes a bound that holds for any covariate, number of units and shares of arms: Bernstein's, of
    the sum of a covariate over an arm's units, each in it by its own draw. Times the number of covariates, strata and
    arms, it has to lie below one in a million: so a clean experiment stays below 0.001 over a thousand looks.

    Parameters
    ----------
    before: the covariates per arm, the control's first.
    strata: how many independent units each stratum holds of each arm; empty without strata.
    """
    checks = [_covariates(before)] if before else []
    checks += [_strata(np.array(list(strata.values()), dtype=float))] if strata else []
    if not checks:
        return None
    p_value = min(1.0, len(checks) * min(each.p_value for each in checks))
    bounds = np.concatenate([each.bounds.ravel() for each in checks])
    status: SrmStatus = "yellow" if p_value < UNLIKE_WARNING_LEVEL else "green"
    if bounds.min(initial=1.0) * len(bounds) < UNLIKE_ALARM_LEVEL:
        status = "red"
    rows = (*(_covariate_rows(before, arms) if before else ()), *_stratum_rows(strata, arms))
    sizes = (
        [each.n for each in before.moments] if before else [sum(each) for each in zip(*strata.values(), strict=True)]
    )
    sentence = _told(status, p_value, rows, sizes=dict(zip(arms, sizes, strict=True)))
    return Balance(p_value=p_value, status=status, sentence=sentence, rows=rows)


@dataclass(frozen=True, kw_only=True)
class _Check:
    """The p-value over everything, and for each covariate (or stratum) and arm a bound of the chance to be so far."""

    p_value: float
    bounds: NDArray[np.float64]


def _covariates(before: Before) -> _Check:
    together = reduce(add, before.moments)
    slopes = np.array([each.gradient(together) for each in before.quantities])
    sizes = np.array([each.n for each in before.moments], dtype=float)
    apart = np.array([slopes @ (each.mean - together.mean) for each in before.moments]) * (sizes > 0)[:, None]
    scatter = slopes @ together.scatter @ slopes.T
    spread = np.sqrt(np.maximum(np.diag(scatter), 0.0))
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
    values, vectors = np.linalg.eigh(np.nan_to_num(scatter * np.outer(scale, scale)))
    kept = values > _COLLINEAR * len(values)
    along = (apart * scale) @ vectors[:, kept]
    statistic = (together.n - 1) * float((sizes[:, None] * along**2 / values[kept]).sum())
    freedom = int(kept.sum()) * (int((sizes > 0).sum()) - 1)
    return _Check(
        p_value=float(special.chdtrc(freedom, statistic)) if freedom else 1.0,
        bounds=_bernstein(
            (apart * sizes[:, None]).T, shares=sizes / sizes.sum(), squares=spread**2, reach=np.array(before.reach)
        ),
    )


def _strata(units: NDArray[np.float64]) -> _Check:
    seen = units[units.sum(axis=1) > 0]
    n, strata, arms = seen.sum(), seen.sum(axis=1), seen.sum(axis=0)
    shares = strata / n
    # A chi-square takes cells of some units: rare strata stand together.
    rare = strata * arms.min() / n < _FEWEST_EXPECTED
    grouped = np.vstack([seen[~rare], seen[rare].sum(axis=0)]) if rare.any() else seen
    grouped = grouped[grouped.sum(axis=1) > 0]
    expected = np.outer(grouped.sum(axis=1), arms) / n
    filled = expected > 0
    statistic = float(((grouped - expected)[filled] ** 2 / expected[filled]).sum())
    freedom = (len(grouped) - 1) * (int((arms > 0).sum()) - 1)
    return _Check(
        p_value=float(special.chdtrc(freedom, statistic)) if freedom else 1.0,
        bounds=_bernstein(
            seen - np.outer(strata, arms) / n,
            shares=arms / n,
            squares=n * shares * (1 - shares),
            reach=np.maximum(shares, 1 - shares),
        ),
    )


def _bernstein(
    sums: NDArray[np.float64],
    *,
    shares: NDArray[np.float64],
    squares: NDArray[np.float64],
    reach: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The chance, at most, that a sum over an arm's units lies as far from zero, shape (covariates, arms).

    ``sums`` (covariates, arms) are of values whose sum over all units is zero, ``squares`` and ``reach`` (covariates,)
    the sum of their squares and the largest of them, ``shares`` (arms,) the chance of each arm.
    """
    variance = np.outer(squares, shares * (1 - shares))
    largest = np.outer(reach, np.maximum(shares, 1 - shares))
    below = variance + largest * np.abs(sums) / 3
    exponent = np.divide(sums**2 / 2, below, out=np.zeros_like(below), where=variance > 0)
    return np.asarray(np.minimum(2 * np.exp(-exponent), 1.0))


def _covariate_rows(before: Before, arms: Sequence[str]) -> Iterator[CovariateRow]:
    together, control = reduce(add, before.moments), before.moments[0]
    for name, quantity in zip(before.names, before.quantities, strict=True):
        slope = quantity.gradient(together)
        deviation = math.sqrt(max(float(slope @ together.covariance @ slope), 0.0))
        base = quantity.value(control) if control.n else math.nan
        for arm, own in zip(arms[1:], before.moments[1:], strict=True):
            mean = quantity.value(own) if own.n else math.nan
            yield CovariateRow(
                covariate=name,
                arm=arm,
                control=arms[0],
                arm_mean=mean,
                control_mean=base,
                standardized=(mean - base) / deviation if deviation > 0 else 0.0,
            )


def _stratum_rows(strata: Mapping[str, Sequence[int]], arms: Sequence[str]) -> Iterator[CovariateRow]:
    totals = [sum(counts) for counts in zip(*strata.values(), strict=True)]
    for name, counts in strata.items():
        share = sum(counts) / sum(totals)
        deviation = math.sqrt(share * (1 - share))
        shares = [count / total if total else math.nan for count, total in zip(counts, totals, strict=True)]
        for arm, own in zip(arms[1:], shares[1:], strict=True):
            yield CovariateRow(
                covariate=f"share of {name}",
                arm=arm,
                control=arms[0],
                arm_mean=own,
                control_mean=shares[0],
                standardized=(own - shares[0]) / deviation if deviation > 0 else 0.0,
            )


def _told(status: SrmStatus, p_value: float, rows: Sequence[CovariateRow], *, sizes: Mapping[str, int]) -> str:
    known = [row for row in rows if math.isfinite(row.standardized)]
    worst = max(known, key=lambda row: abs(row.standardized) * math.sqrt(sizes[row.arm]), default=None)
    if status == "green" or worst is None:
        return f"The arms were alike before the start (p = {p_value:.2g})."
    where = (
        f"most of all in {worst.covariate}, {worst.arm_mean:,.4g} with {worst.arm!r} against "
        f"{worst.control_mean:,.4g} with {worst.control!r} ({abs(worst.standardized):.2g} standard deviations apart)"
    )
    if status == "yellow":
        return (
            f"The arms differ a little in what was known before the start, {where}; p = {p_value:.2g}. The estimates "
            "allow for it."
        )
    return (
        f"The arms were not alike before the start, {where}: chance does this in fewer than one of a million "
        "experiments. Either units weren't drawn into arms by chance, or that column isn't from before the start. "
        "If whole groups were drawn, name their column as the cluster."
    )
