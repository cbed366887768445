"""What a bandit believes of an arm's mean reward, and the exact chance that an arm is the best of several."""

from __future__ import annotations

from functools import lru_cache

import msgspec
import numpy as np
from scipy import special

from features.errors import InputError

# Cells are cut where an arm's distribution has these normal scores, so that none is wider than 1.5 of its deviations.
_SCORES = np.array([-8.0, -6.5, -5.0, -4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.5, 8.0])
_NARROWEST = 1e-12  # next to the mean: what is narrower is a number, which a double can't tell from those beside it
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(6)


class Beta(msgspec.Struct, frozen=True, kw_only=True, tag="beta"):
    """The posterior of a rate: rewards are 0 or 1 (or within), the prior is Beta(1, 1) or narrower.

    >>> Beta().update(np.array([1.0, 0.0, 0.0]))
    Beta(a=2.0, b=3.0)
    """

    a: float = 1.0
    b: float = 1.0

    def __post_init__(self) -> None:
        if not (self.a >= 1 and self.b >= 1):
            raise InputError(
                "the posterior of a rate is unbounded", got=f"Beta({self.a}, {self.b})", do="start at 1, 1"
            )

    @property
    def mean(self) -> float:
        """The expected rate."""
        return self.a / (self.a + self.b)

    @property
    def sd(self) -> float:
        """The standard deviation of the rate."""
        return float((self.mean * (1 - self.mean) / (self.a + self.b + 1)) ** 0.5)

    def update(self, rewards: np.ndarray, *, weights: np.ndarray | None = None) -> Beta:
        """The posterior after ``rewards``, each within [0, 1] and counted ``weights`` times (once)."""
        require_rates(rewards)
        counted = np.ones_like(rewards) if weights is None else weights
        wins = float(counted @ rewards)
        return Beta(a=self.a + wins, b=self.b + float(counted.sum()) - wins)

    def faded(self, prior: Beta, share: float) -> Beta:
        """The belief that keeps ``share`` of what it knows beyond ``prior``."""
        return Beta(a=prior.a + share * (self.a - prior.a), b=prior.b + share * (self.b - prior.b))

    def breaks(self) -> np.ndarray:
        """Quantiles; the upper ones from the mirrored distribution, which keeps their digits."""
        lower = special.betaincinv(self.a, self.b, special.ndtr(_SCORES[_SCORES <= 0]))
        upper = 1 - special.betaincinv(self.b, self.a, special.ndtr(-_SCORES[_SCORES > 0]))
        return np.concatenate([lower, upper])

    def pdf(self, x: np.ndarray) -> np.ndarray:
        """The Beta density, 0 outside of [0, 1]."""
        inside = np.clip(x, 0.0, 1.0)
        logarithm = special.xlogy(self.a - 1, inside) + special.xlog1py(self.b - 1, -inside)
        return np.where(inside == x, np.exp(logarithm - special.betaln(self.a, self.b)), 0.0)

    def cdf(self, x: np.ndarray) -> np.ndarray:
        """The regularized incomplete beta function."""
        below: np.ndarray = special.betainc(self.a, self.b, np.clip(x, 0.0, 1.0))
        return below


class Gaussian(msgspec.Struct, frozen=True, kw_only=True, tag="gaussian"):
    """The posterior of a mean reward of any size, when rewards vary by ``noise_sd`` around it.

    Parameters
    ----------
    mean, sd: of the belief, in the reward's unit.
    noise_sd: standard deviation of one reward.

    >>> Gaussian(mean=0.0, sd=1.0, noise_sd=1.0).update(np.array([2.0])).mean
    1.0
    """

    mean: float
    sd: float
    noise_sd: float = 1.0

    def __post_init__(self) -> None:
        if not (_NARROWEST * max(1.0, abs(self.mean)) < self.sd < np.inf and self.noise_sd > 0):
            raise InputError(
                "a belief has no width",
                got=f"mean {self.mean}, sd {self.sd}, noise {self.noise_sd}",
                do="give sds above 0, in the unit of the mean",
            )

    def update(self, rewards: np.ndarray, *, weights: np.ndarray | None = None) -> Gaussian:
        """The posterior after ``rewards``, each counted ``weights`` times (conjugate normal with known noise)."""
        counted = np.ones_like(rewards) if weights is None else weights
        return self._of(
            self.sd**-2 + float(counted.sum()) / self.noise_sd**2,
            self.mean / self.sd**2 + float(counted @ rewards) / self.noise_sd**2,
        )

    def faded(self, prior: Gaussian, share: float) -> Gaussian:
        """The belief that keeps ``share`` of what it knows beyond ``prior``."""
        rest = 1 - share
        return self._of(
            share * self.sd**-2 + rest * prior.sd**-2,
            share * self.mean / self.sd**2 + rest * prior.mean / prior.sd**2,
        )

    def _of(self, precision: float, moment: float) -> Gaussian:
        return Gaussian(mean=moment / precision, sd=precision**-0.5, noise_sd=self.noise_sd)

    def breaks(self) -> np.ndarray:
        """Means and multiples of the deviation."""
        return self.mean + self.sd * _SCORES

    def pdf(self, x: np.ndarray) -> np.ndarray:
        """The normal density."""
        density: np.ndarray = np.exp(-0.5 * ((x - self.mean) / self.sd) ** 2) / (self.sd * np.sqrt(2 * np.pi))
        return density

    def cdf(self, x: np.ndarray) -> np.ndarray:
        """The normal distribution function."""
        below: np.ndarray = special.ndtr((x - self.mean) / self.sd)
        return below


@lru_cache(maxsize=1 << 14)
def best_probabilities(beliefs: tuple[Beta | Gaussian, ...]) -> tuple[float, ...]:
    """The chance that each arm's draw is the largest of all: what Thompson sampling plays, without drawing.

    One integral per arm, of its density times the others' distribution functions, by Gauss-Legendre within cells that
    are as fine as the narrowest arm there needs; exact to 1e-9 also where one arm is 1,000 times as wide as another.
    """
    if len(beliefs) == 1:
        return (1.0,)
    edges = _cells(np.array([belief.breaks() for belief in beliefs]))
    half = np.diff(edges)[:, None] / 2
    x = (edges[:-1, None] + half + half * _NODES).ravel()
    weights = (half * _WEIGHTS).ravel()
    below = np.array([belief.cdf(x) for belief in beliefs])
    ones = np.ones((1, x.size))
    before = np.cumprod(np.vstack([ones, below[:-1]]), axis=0)
    after = np.cumprod(np.vstack([ones, below[:0:-1]]), axis=0)[::-1]
    density = np.array([belief.pdf(x) for belief in beliefs])
    chances = (density * before * after) @ weights
    return tuple((chances / chances.sum()).tolist())


def _cells(breaks: np.ndarray) -> np.ndarray:
    """The edges of the cells to integrate over, from each arm's own ``breaks`` (arms, scores).

    Three cells for two of whichever arm is cut finest there; where all are as wide, not as many again for each of them.
    """
    points = np.unique(breaks)
    # Below the highest of the lower ends some arm's distribution function is 0: the largest draw can't be there.
    points = points[points >= breaks[:, 0].max()]
    if points.size < 2:
        points = np.unique(breaks)
    middles = (points[:-1] + points[1:]) / 2
    own = np.array([np.searchsorted(each, middles) for each in breaks])
    inside = (own > 0) & (own < breaks.shape[1])
    place = own.clip(1, breaks.shape[1] - 1)
    rows = np.arange(len(breaks))[:, None]
    widths = np.where(inside, breaks[rows, place] - breaks[rows, place - 1], np.inf)
    steps = np.concatenate([[0.0], np.cumsum(1.5 * np.diff(points) / widths.min(axis=0))])
    edges: np.ndarray = np.interp(np.linspace(0.0, steps[-1], int(np.ceil(steps[-1])) + 1), steps, points)
    return edges


def require_rates(rewards: np.ndarray) -> None:
    """Raise unless all rewards are within [0, 1]."""
    if rewards.size and not (rewards.min() >= 0 and rewards.max() <= 1):
        raise InputError(
            "a reward of a rate is outside 0 to 1",
            got=f"{rewards.min()} to {rewards.max()}",
            do="pass 0 and 1, or believe in Gaussian arms",
        )
