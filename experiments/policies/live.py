"""A bandit at work on features, in numpy and in place: for simulations, and for replays of millions of outcomes.

The frozen policy is the stored form; it is opened here, worked with, and closed again. Exact are the natural parameters
of what was learned, sums of outcomes. Covariances follow each single outcome by a rank-one step (Sherman & Morrison
1950) and are solved anew from the sums every so often, so that rounding can't build up.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from experiments.policies.bandits import Bandit
from experiments.policies.linear import Coefficients, LinearBeliefs
from features.errors import InputError

_PENDING = 1024


class LiveBandit:
    """Draws actions with the law of ``Bandit.probabilities`` and learns; ``closed`` gives the frozen policy back.

    Parameters
    ----------
    bandit: one with linear beliefs.
    actions: those that may be drawn, k of them.

    >>> bandit = Bandit(beliefs=LinearBeliefs(names=("x",), noise_sd=1.0))
    >>> live, rng = LiveBandit(bandit, actions=("nothing", "a@email")), np.random.default_rng(1)
    >>> inputs = np.array([[1.0, 0.5], [1.0, -0.5]])
    >>> places = live.pull(inputs, rng)
    >>> live.update(places, inputs, np.array([1.0, 0.0]))
    >>> live.closed() == bandit.update(np.array(live.actions)[places], np.array([1.0, 0.0]),
    ...                                features={"x": inputs[:, 1]})
    True
    """

    def __init__(self, bandit: Bandit, *, actions: Sequence[str]) -> None:
        beliefs = bandit.beliefs
        if not isinstance(beliefs, LinearBeliefs):
            raise InputError(
                "only a bandit with linear beliefs works in place", got=type(beliefs).__name__, do="use Bandit.update"
            )
        self.actions = tuple(actions)
        self._bandit, self._beliefs = bandit, beliefs
        natural = [beliefs.belief(action) for action in self.actions]
        self._precision = np.array([precision for precision, _ in natural])
        self._moment = np.array([moment for _, moment in natural])
        self._learned = np.zeros(len(self.actions), dtype=bool)
        kept = min(bandit.floor, 1 / len(self.actions))
        self._kept, self._even = kept, kept * len(self.actions)
        self._rows = np.empty((_PENDING, beliefs.width))
        self._places, self._rewards = np.empty(_PENDING, dtype=np.intp), np.empty(_PENDING)
        self._waiting = 0
        self._step = np.empty((beliefs.width, beliefs.width))
        self._solve()

    def scores(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard deviations of the scores, each (n, k), at ``inputs`` (n, width)."""
        spread = (inputs @ self._stacked.T).reshape(len(inputs), *self._mean.shape)
        variances = np.matmul(spread, inputs[:, :, None])[:, :, 0]
        return inputs @ self._mean.T, self._beliefs.noise_sd * np.sqrt(variances)

    def pull(self, inputs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The places of the actions drawn for rows of ``inputs`` (n, width), shape (n,)."""
        places = self._bandit.rule.drawn(*self.scores(inputs), rng)
        if self._kept == 0:
            return places
        dice = rng.random(len(inputs))
        found: np.ndarray = np.where(dice < self._even, dice // self._kept, places).astype(np.intp)
        return found

    def update(self, places: np.ndarray, inputs: np.ndarray, rewards: np.ndarray) -> None:
        """Learn the ``rewards`` (n,) of the actions at ``places`` (n,) for rows of ``inputs`` (n, width)."""
        self._add(places, inputs, rewards)
        self._solve()

    def pull_one(self, x: np.ndarray, rng: np.random.Generator) -> int:
        """The place of the action drawn for one row (width,)."""
        if self._kept and (dice := rng.random()) < self._even:
            return int(dice // self._kept)
        variances = self._stacked.dot(x).reshape(self._mean.shape).dot(x)
        return int(self._bandit.rule.drawn(self._mean.dot(x), self._beliefs.noise_sd * np.sqrt(variances), rng))

    def update_one(self, place: int, x: np.ndarray, reward: float) -> None:
        """Learn one reward by a rank-one step."""
        covariance, mean = self._covariance[place], self._mean[place]
        along = covariance.dot(x)
        gain = along / (1.0 + along.dot(x))
        np.multiply(along[:, None], gain, out=self._step)
        covariance -= self._step
        mean += gain * (reward - mean.dot(x))
        at = self._waiting
        self._rows[at], self._places[at], self._rewards[at] = x, place, reward
        self._waiting = at + 1
        if self._waiting == _PENDING:
            self._settle()

    def closed(self) -> Bandit:
        """The policy after all that was learned."""
        self._settle()
        fresh = {
            action: Coefficients.of(precision, moment)
            for action, precision, moment, learned in zip(
                self.actions, self._precision, self._moment, self._learned, strict=True
            )
            if learned
        }
        beliefs = msgspec.structs.replace(self._beliefs, arms=self._beliefs.arms | fresh)
        return msgspec.structs.replace(self._bandit, beliefs=beliefs)

    def _add(self, places: np.ndarray, inputs: np.ndarray, rewards: np.ndarray) -> None:
        order = np.argsort(places.astype(np.int16), kind="stable")  # small numbers are sorted by counting
        edges = np.cumsum([0, *np.bincount(places, minlength=len(self.actions))])
        rows, earned = inputs.take(order, axis=0), rewards.take(order)
        for place in np.flatnonzero(np.diff(edges)).tolist():
            own = slice(edges[place], edges[place + 1])
            self._precision[place] += rows[own].T @ rows[own]
            self._moment[place] += rows[own].T @ earned[own]
            self._learned[place] = True

    def _settle(self) -> None:
        """Take single outcomes into the sums and solve anew."""
        if self._waiting:
            held, self._waiting = slice(self._waiting), 0
            self._add(self._places[held], self._rows[held], self._rewards[held])
            self._solve()

    def _solve(self) -> None:
        k, width = self._moment.shape
        self._covariance = np.linalg.inv(self._precision)
        self._mean = np.matmul(self._covariance, self._moment[:, :, None])[:, :, 0]
        self._stacked = self._covariance.reshape(k * width, width)  # a view: rank-one steps show in it
