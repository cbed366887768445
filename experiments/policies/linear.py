"""Beliefs in rewards that depend on the customer: linear ones, and logistic ones for rates.

Both hold one normal belief in coefficients per action, and the score of a customer is a sum of them, so it is normal
too: whatever the number of features, the chance that an action is the best is an integral in one dimension.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Self

import msgspec
import numpy as np
from scipy import special

from experiments.policies.beliefs import Feedback, Marginals
from experiments.policies.posteriors import Gaussian, require_rates
from features.errors import InputError, unknown

_NEWTON_STEPS = 50
_CLOSE = 1e-10
_CHUNK = 4096


class Coefficients(msgspec.Struct, frozen=True, kw_only=True):
    """A normal belief in coefficients by its natural parameters, which add up over outcomes in any order.

    Parameters
    ----------
    precision: the inverse covariance, ``width`` rows.
    moment: precision times mean.

    >>> Coefficients.of(2 * np.eye(2), np.array([2.0, 4.0])).mean
    array([1., 2.])
    """

    precision: tuple[tuple[float, ...], ...]
    moment: tuple[float, ...]

    @classmethod
    def of(cls, precision: np.ndarray, moment: np.ndarray) -> Coefficients:
        """The same from arrays."""
        return cls(precision=tuple(map(tuple, precision.tolist())), moment=tuple(moment.tolist()))

    @property
    def natural(self) -> tuple[np.ndarray, np.ndarray]:
        """Precision (width, width) and moment (width,)."""
        return np.array(self.precision), np.array(self.moment)

    @property
    def mean(self) -> np.ndarray:
        """The expected coefficients."""
        found: np.ndarray = np.linalg.solve(*self.natural)
        return found


class InputBeliefs(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """What beliefs over features share.

    Parameters
    ----------
    names: the features, to which a constant is added.
    means, scales: of each feature, so that a scaled one is about 1; without them features are taken as they are. What
        is missing counts as its mean.
    ridge: prior precision of a coefficient.
    arms: action -> belief; an action without outcomes has the prior.
    """

    names: tuple[str, ...]
    means: tuple[float, ...] = ()
    scales: tuple[float, ...] = ()
    ridge: float = 1.0
    arms: dict[str, Coefficients] = {}

    def __post_init__(self) -> None:
        whole = (
            bool(self.names)
            and {len(self.means), len(self.scales)} in ({0}, {len(self.names)})
            and min(self.scales, default=1.0) > 0
            and all(len(each.moment) == self.width for each in self.arms.values())
        )
        if not whole or not self.ridge > 0:
            raise InputError(
                "the inputs of a bandit don't fit together",
                got=f"{len(self.names)} names, {len(self.means)} means, {len(self.scales)} scales, ridge {self.ridge}",
                do="name a feature; give a mean and a scale above 0 per name, or none, and a ridge above 0",
            )

    @property
    def width(self) -> int:
        """The number of coefficients of an action."""
        return len(self.names) + 1

    @property
    def spread(self) -> float:
        """The standard deviation of a score per unit of the coefficients' own."""
        return 1.0

    def inputs(self, features: Mapping[str, np.ndarray]) -> np.ndarray:
        """The rows that coefficients are multiplied with, (n, width), from a column of shape (n,) per name."""
        for name in self.names:
            if name not in features:
                raise unknown("feature", name, features, do="pass a column for each of the bandit's names")
        columns = np.column_stack([np.asarray(features[name], dtype=float) for name in self.names])
        scaled = (columns - self.means) / self.scales if self.scales else columns
        return np.hstack([np.ones((len(scaled), 1)), np.nan_to_num(scaled)])

    def of(self, actions: Sequence[str], features: Mapping[str, float]) -> Marginals:
        """What is believed of each action's score for one customer."""
        row = {name: np.array([features.get(name, np.nan)], dtype=float) for name in self.names}
        return next(self.of_rows(actions, row))

    def of_rows(self, actions: Sequence[str], features: Mapping[str, np.ndarray]) -> Iterator[Marginals]:
        """The same for each row of ``features``."""
        inputs = self.inputs(features)
        for start in range(0, len(inputs), _CHUNK):
            means, sds = self.scores(actions, inputs[start : start + _CHUNK])
            for mean, sd in zip(means.tolist(), sds.tolist(), strict=True):
                yield tuple(Gaussian(mean=m, sd=s) for m, s in zip(mean, sd, strict=True))

    def scores(self, actions: Sequence[str], inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard deviations of the scores, each (n, actions), at rows of ``inputs`` (n, width)."""
        solved = [self._solved.get(action) or self._unseen for action in actions]
        means, roots = np.array([mean for mean, _ in solved]), np.concatenate([root for _, root in solved])
        along = (inputs @ roots.T).reshape(len(inputs), *means.shape)
        return inputs @ means.T, self.spread * np.sqrt(np.einsum("nkw,nkw->nk", along, along))

    def faded(self, share: float) -> Self:
        """The beliefs that keep ``share`` of what was learned beyond the prior."""
        prior = (1 - share) * self.ridge * np.eye(self.width)
        kept = {}
        for action, belief in self.arms.items():
            precision, moment = belief.natural
            kept[action] = Coefficients.of(share * precision + prior, share * moment)
        return msgspec.structs.replace(self, arms=kept)

    def belief(self, action: str) -> tuple[np.ndarray, np.ndarray]:
        """Precision and moment of an action's coefficients."""
        known = self.arms.get(action)
        return known.natural if known else (self.ridge * np.eye(self.width), np.zeros(self.width))

    @cached_property
    def _solved(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        return {action: _solved(*self.belief(action)) for action in self.arms}

    @cached_property
    def _unseen(self) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(self.width), self.ridge**-0.5 * np.eye(self.width)


class LinearBeliefs(InputBeliefs, frozen=True, kw_only=True, tag="linear"):
    """An action's mean reward is linear in the customer's features (Agrawal & Goyal 2013).

    ``noise_sd`` is the standard deviation of one reward around its mean, in the reward's unit; precisions are in units
    of 1 / noise_sd^2.

    >>> LinearBeliefs(names=("visits",), noise_sd=2.0).of(("nothing",), {"visits": 0.0})
    (Gaussian(mean=0.0, sd=2.0, noise_sd=1.0),)
    """

    noise_sd: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.noise_sd > 0:
            raise InputError("a belief has no width", got=f"noise_sd {self.noise_sd}", do="give a number above 0")

    @property
    def spread(self) -> float:
        """Covariances are in units of the noise's variance."""
        return self.noise_sd

    def updated(self, seen: Feedback) -> LinearBeliefs:
        """The beliefs after ``seen``."""
        inputs = self.inputs(seen.features or {})
        fresh = {}
        for action, rows in seen.by_action().items():
            precision, moment = self.belief(action)
            weighted = seen.weights[rows, None] * inputs[rows]
            fresh[action] = Coefficients.of(
                precision + weighted.T @ inputs[rows], moment + weighted.T @ seen.rewards[rows]
            )
        return msgspec.structs.replace(self, arms=self.arms | fresh)


class LogisticBeliefs(InputBeliefs, frozen=True, kw_only=True, tag="logistic"):
    """The log-odds of an action's reward, 0 or 1, are linear in the customer's features (Chapelle & Li 2011).

    The belief is the normal one around the most likely coefficients (Laplace), from all rows of an update at once. So
    their order makes no difference; how rows are shared out over several updates makes a small one.

    >>> seen = Feedback(actions=np.array(["a@email"] * 4), rewards=np.array([1.0, 0, 0, 0]), weights=np.ones(4),
    ...                 features={"visits": np.zeros(4)})
    >>> (score,) = LogisticBeliefs(names=("visits",)).updated(seen).of(("a@email",), {"visits": 0.0})
    >>> round(score.mean, 3)
    -0.505
    """

    def updated(self, seen: Feedback) -> LogisticBeliefs:
        """The beliefs after ``seen``, whose rewards are within [0, 1]."""
        require_rates(seen.rewards)
        inputs = self.inputs(seen.features or {})
        fresh = {
            action: _laplace(*self.belief(action), inputs[rows], seen.rewards[rows], seen.weights[rows])
            for action, rows in seen.by_action().items()
        }
        return msgspec.structs.replace(self, arms=self.arms | fresh)


def _solved(precision: np.ndarray, moment: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean, and a root R of the covariance R'R, so that no variance is ever below 0."""
    root = np.linalg.inv(np.linalg.cholesky(precision))
    return root.T @ (root @ moment), root


def _laplace(
    precision: np.ndarray, moment: np.ndarray, inputs: np.ndarray, rewards: np.ndarray, weights: np.ndarray
) -> Coefficients:
    """The normal belief at the most likely coefficients: Newton's method, halving steps that lead downhill."""
    mean = np.linalg.solve(precision, moment)

    def loss(at: np.ndarray) -> float:
        scores, away = inputs @ at, at - mean
        return float(weights @ (np.logaddexp(0, scores) - rewards * scores) + away @ precision @ away / 2)

    at = mean
    for _ in range(_NEWTON_STEPS):
        chance = special.expit(inputs @ at)
        curved = precision + (inputs * (weights * chance * (1 - chance))[:, None]).T @ inputs
        step = np.linalg.solve(curved, precision @ (mean - at) + inputs.T @ (weights * (rewards - chance)))
        if np.abs(step).max() < _CLOSE:
            break
        here = loss(at)
        while loss(at + step) > here and np.abs(step).max() > _CLOSE:
            step = step / 2
        at = at + step
    return Coefficients.of(curved, curved @ at)
