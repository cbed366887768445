"""Boundaries that a sum crosses at any time with chance alpha at most: mixtures of what each single look would take.

Howard, Ramdas, McAuliffe and Sekhon (2021), "Time-uniform, nonparametric, nonasymptotic confidence sequences", with the
numbers of the authors' own confseq.
"""

from __future__ import annotations

import math

from scipy import special

_STEPS = 40


def mixture_rho(variance: float, *, alpha: float) -> float:
    """The mixture's rho that makes the two-sided normal boundary narrowest where the sum's variance is ``variance``.

    >>> round(mixture_rho(100, alpha=0.05), 5)
    12.60056
    """
    twice_log = -2 * math.log(alpha)
    return variance / (twice_log + math.log(twice_log + 1))


def normal_boundary(variance: float, *, rho: float, alpha: float) -> float:
    """What the sum of centred terms leaves on either side, ever, with chance ``alpha`` at most (two-sided).

    >>> round(normal_boundary(100, rho=mixture_rho(100, alpha=0.05), alpha=0.05), 5)
    30.35209
    """
    return math.sqrt((variance + rho) * (math.log1p(variance / rho) - 2 * math.log(alpha)))


def one_sided_normal_boundary(variance: float, *, rho: float, alpha: float) -> float:
    """What the sum exceeds, ever, with chance ``alpha`` at most; narrowest with the rho for ``2 * alpha``.

    >>> round(one_sided_normal_boundary(100, rho=mixture_rho(100, alpha=0.10), alpha=0.05), 5)
    27.66071
    """
    spread = variance + rho
    wanted = -math.log(alpha) - 0.5 * math.log(4 * rho / spread)
    # Convex and rising in the height, so Newton's steps from above come down to the root and never pass it.
    height = math.sqrt(max(2 * (wanted + math.log(2)), 1.0))
    for _ in range(_STEPS):
        log_share = float(special.log_ndtr(height))
        slope = height + math.exp(-0.5 * height * height - log_share) / math.sqrt(2 * math.pi)
        step = (0.5 * height * height + log_share - wanted) / slope
        height -= step
        if abs(step) < 1e-14 * abs(height):
            break
    return height * math.sqrt(spread)


def gamma_exponential_log_e_value(excess: float, variance: float, *, rho: float, scale: float) -> float:
    """The log e-value of a sum that lies ``excess`` above its mean, whose terms are never below ``-scale``.

    ``variance`` bounds the spread of such a sum: of the squares of terms centred at any guess made before each, the sum
    (Fan, Grama and Liu 2015). The mixture is of the gamma-exponential kind (Proposition 9); below the mean it is 0.
    """
    if not excess > 0:
        return 0.0
    square = scale * scale
    prior, shape = rho / square, (variance + rho) / square
    reach = excess / scale + shape
    found = prior * math.log(prior) - math.lgamma(prior) - math.log(special.gammainc(prior, prior))
    found += math.lgamma(shape) + math.log(special.gammainc(shape, reach)) - shape * math.log(reach)
    return found + excess / scale + variance / square


def gamma_exponential_boundary(variance: float, *, rho: float, scale: float, alpha: float) -> float:
    """What a sum of terms that are never below ``-scale`` exceeds its mean by, ever, with chance ``alpha`` at most.

    >>> round(gamma_exponential_boundary(100, rho=mixture_rho(100, alpha=0.10), scale=2, alpha=0.05), 5)
    33.02017
    """
    inside, outside, wanted = 0.0, math.sqrt(variance + rho), -math.log(alpha)
    while gamma_exponential_log_e_value(outside, variance, rho=rho, scale=scale) < wanted:
        inside, outside = outside, 2 * outside
    for _ in range(_STEPS):
        tried = (inside + outside) / 2
        beyond = gamma_exponential_log_e_value(tried, variance, rho=rho, scale=scale) >= wanted
        inside, outside = (inside, tried) if beyond else (tried, outside)
    return outside


def bernoulli_log_e_value(successes: float, trials: int, *, chance: float, expected: float) -> float:
    """The log e-value against one chance of success: beta-binomial over binomial, the prior centred at ``chance``.

    Tuned to ``expected`` trials as confseq does: rho over the variance of a trial, which is the same at each chance.
    """
    concentration = max(mixture_rho(expected, alpha=0.05) - 1.0, 1e-3)
    hits, misses, failures = concentration * chance, concentration * (1 - chance), trials - successes
    # Scalars by the standard library: many times quicker than scipy's, and a table of segments has many of them.
    found = math.lgamma(concentration) - math.lgamma(concentration + trials)
    found += math.lgamma(hits + successes) - math.lgamma(hits) - successes * math.log(chance)
    return found + math.lgamma(misses + failures) - math.lgamma(misses) - failures * math.log1p(-chance)


def bernoulli_interval(
    successes: int, trials: int, *, alpha: float = 0.05, expected: float = 100.0
) -> tuple[float, float]:
    """The chance of success, sure at every number of trials: no approximation, so good from the first trial on.

    Parameters
    ----------
    successes, trials: so far; each trial succeeds with the same chance, whatever came before.
    alpha: the chance that the truth is ever outside.
    expected: the number of trials at which it is narrowest; to be chosen before the first.

    All chances whose beta-binomial mixture has not crossed its boundary.

    >>> low, high = bernoulli_interval(700, 1_000, expected=100)
    >>> f"{low:.6f} to {high:.6f}"
    '0.651630 to 0.745950'
    """
    if not trials:
        return 0.0, 1.0
    middle = successes / trials

    def edge(end: float) -> float:
        inside, outside = middle, end
        for _ in range(_STEPS):
            tried = (inside + outside) / 2
            value = bernoulli_log_e_value(successes, trials, chance=tried, expected=expected)
            inside, outside = (tried, outside) if value <= -math.log(alpha) else (inside, tried)
        return outside

    return (edge(0.0) if middle > 0 else 0.0), (edge(1.0) if middle < 1 else 1.0)
