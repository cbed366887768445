"""Weighted sums of scores: all that an estimate and its error need, which add up from batch to batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from experiments.adaptive.scores import Chosen, Codes, Floats

# An arm that a bandit starves has few rewards, which may by chance be all alike: its variance counts as if so many
# rewards of all arms together were among its own. Without them the interval for any look misses in 9 to 13% of runs at
# a floor of 1%, with them in 4% (benchmarks/calibration).
_BORROWED = 100
# Where hardly any decision earns, these must hold some that do: with rewards of 3 in a thousand and a chance of one in
# twenty, the interval for any look misses in 20% of runs without, as an arm that earned nothing has no variance yet.
_BORROWED_EARNING = 50


@dataclass(frozen=True, kw_only=True)
class Sums:
    """Sums over the rows of a log of m arms' scores in c metrics; those of further rows are added.

    ``first`` (..., m, c + 1): the sum of each arm's weights, then those of its weighted scores. ``squares``: the sum of
    the outer products of these terms, flattened to (..., m * (c + 1)); of a whole cluster's where rows belong together.
    ``noise`` (..., m): the sum of squared weights over the arm's chances. ``rewards`` (..., m + 1, c + 1, c + 1): the
    sums of the outer products of 1 and the rewards, over each arm's own rows and, last, over all.

    >>> ones, scores = np.ones((1, 3)), np.array([[[1.0, 3.0, 2.0]]])
    >>> sums = Sums.of(scores, weight=ones, chance=ones, chosen=ones > 0, reward=scores[0])
    >>> float(sums.values[0, 0]), round(float(sums.error(np.ones((1, 1)))), 4)
    (2.0, 0.4714)
    """

    first: Floats
    squares: Floats
    noise: Floats
    rewards: Floats

    @classmethod
    def of(
        cls,
        scores: Floats,
        *,
        weight: Floats,
        chance: Floats,
        chosen: Chosen,
        reward: Floats,
        cluster: Codes | None = None,
    ) -> Sums:
        """The sums over all rows.

        ``scores`` (..., m, c, rows); ``weight``, ``chance`` and ``chosen`` (..., m, rows) of these arms; ``reward``
        (..., c, rows); ``cluster`` (rows,) codes from 0, for a single log.
        """
        terms = np.concatenate([np.ones_like(scores[..., :1, :]), scores], axis=-2) * weight[..., None, :]
        flat = terms.reshape(*terms.shape[:-3], terms.shape[-3] * terms.shape[-2], terms.shape[-1])
        if cluster is not None:
            flat = np.stack([np.bincount(cluster, weights=each) for each in flat])
        with_one = np.concatenate([np.ones_like(reward[..., :1, :]), reward], axis=-2)
        across = np.swapaxes(with_one, -1, -2)
        own = (chosen[..., None, :] * with_one[..., None, :, :]) @ across[..., None, :, :]
        return cls(
            first=terms.sum(axis=-1),
            squares=flat @ np.swapaxes(flat, -1, -2),
            noise=(np.square(weight) / np.where(chance > 0, chance, 1.0)).sum(axis=-1),
            rewards=np.concatenate([own, (with_one @ across)[..., None, :, :]], axis=-3),
        )

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            first=self.first + other.first,
            squares=self.squares + other.squares,
            noise=self.noise + other.noise,
            rewards=self.rewards + other.rewards,
        )

    def grown(self, axis: int) -> Sums:
        """The sums so far along an axis of batches."""
        return Sums(
            first=self.first.cumsum(axis),
            squares=self.squares.cumsum(axis),
            noise=self.noise.cumsum(axis),
            rewards=self.rewards.cumsum(axis),
        )

    @property
    def values(self) -> Floats:
        """The value (..., m, c) of each arm in each metric: the weighted mean of its scores."""
        means: Floats = self.first[..., 1:] / self.first[..., :1]
        return means

    def error(self, gradient: Floats) -> Floats:
        """The standard error (...) of a smooth function of ``values`` with this ``gradient`` (..., m, c).

        There are two ways to tell it, and the larger one counts: by the squares of what each row adds
        (``observed_error``), which is all that is needed once there are many; and by each arm's variance of rewards,
        which is steadier while an arm has few.
        """
        slope = gradient / self.first[..., :1]
        modelled = np.einsum("...mi,...mij,...mj,...m", slope, self._variances(), slope, self.noise)
        found: Floats = np.maximum(self.observed_error(gradient), np.sqrt(modelled))
        return found

    def observed_error(self, gradient: Floats) -> Floats:
        """The standard error (...) by martingale differences, squared and added up (Hadad et al. 2021)."""
        slope = gradient / self.first[..., :1]
        turned = np.concatenate([-(slope * self.values).sum(axis=-1, keepdims=True), slope], axis=-1)
        turned = turned.reshape(*turned.shape[:-2], -1)
        found: Floats = np.sqrt(np.einsum("...i,...ij,...j", turned, self.squares, turned))
        return found

    def _variances(self) -> Floats:
        """The covariance (..., m, c, c) of each arm's rewards, with some of all arms' among them."""
        count = np.maximum(self.rewards[..., :1, :1], 1)
        mean = self.rewards[..., :1, 1:] / count
        scatter = self.rewards[..., 1:, 1:] - count * np.swapaxes(mean, -1, -2) * mean
        own, whole = scatter[..., :-1, :, :], (scatter / count)[..., -1:, :, :]
        borrowed = self._borrowed()[..., None, None, None]
        found: Floats = (own + borrowed * whole) / (count[..., :-1, :, :] + borrowed)
        return found

    def _borrowed(self) -> Floats:
        """How many rewards (...) of all arms count among an arm's own: so many that some of them are something."""
        rows = np.maximum(self.rewards[..., -1, 0, 0], 1)
        squares = np.diagonal(self.rewards[..., -1, 1:, 1:], axis1=-2, axis2=-1)
        # The share of decisions that earn, for rewards of 0 and 1; less for amounts that differ much.
        earning = np.square(self.rewards[..., -1, 0, 1:]) / np.where(squares > 0, squares, 1.0) / rows[..., None]
        found: Floats = np.maximum(_BORROWED, _BORROWED_EARNING / np.maximum(earning.min(axis=-1), 1 / rows))
        return found


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """An arm against the control: ``arm`` and ``control`` values, ``difference`` and ``ratio`` with their errors.

    All have the shape (...) of the sums that they come from; ``log_error`` is the error of the logarithm of
    ``arm / control``, NaN where either isn't above 0.

    >>> one = np.array(1.0)
    >>> float(Contrast(arm=3 * one, control=one, error=one, log_error=one).difference)
    2.0
    """

    arm: Floats
    control: Floats
    error: Floats
    log_error: Floats

    @property
    def difference(self) -> Floats:
        """Arm minus control."""
        apart: Floats = self.arm - self.control
        return apart


def contrast(sums: Sums) -> Contrast:
    """The control (first arm of the sums) against the arm (second): means, or ratios where there are two metrics."""
    values, slopes = _levels(sums.values)
    sign = np.array([-1.0, 1.0])[:, None]
    both = (values > 0).all(axis=-1)
    apart = sums.error(slopes * sign)
    relative = sums.error(slopes * sign / np.where(values > 0, values, 1.0)[..., None])
    return Contrast(arm=values[..., 1], control=values[..., 0], error=apart, log_error=np.where(both, relative, np.nan))


def arm_value(sums: Sums) -> tuple[Floats, Floats]:
    """The value (...) of the one arm of the sums, a mean or a ratio, and its standard error."""
    values, slopes = _levels(sums.values)
    return values[..., 0], sums.error(slopes)


def _levels(values: Floats) -> tuple[Floats, Floats]:
    """What each arm is compared by (..., m), and its gradient (..., m, c) by the metrics: a mean, or a ratio of two."""
    if values.shape[-1] == 1:
        return values[..., 0], np.ones_like(values)
    ratio = values[..., 0] / values[..., 1]
    return ratio, np.stack([1 / values[..., 1], -ratio / values[..., 1]], axis=-1)
