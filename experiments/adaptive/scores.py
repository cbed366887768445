"""Scores of one arm: numbers whose expectation is the arm's value, however the bandit chose (AIPW).

All arrays have shape (..., rows): a log in the order in which it was decided, or many logs side by side.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.integer]
Chosen = npt.NDArray[np.bool_]


def running_mean(chosen: Chosen, reward: Floats) -> Floats:
    """The mean reward of an arm before each row, which may guess the row's own reward but never knows it.

    The mean of all arms counts as one reward more, so that an arm that was not chosen yet has one too.

    Parameters
    ----------
    chosen: whether the arm was chosen. reward: what came of the row, whichever arm it was.

    >>> running_mean(np.array([True, False, True]), np.array([4.0, 2.0, 9.0]))
    array([0. , 4. , 3.5])
    """
    rows = np.arange(reward.shape[-1])
    of_all = _before(reward) / np.maximum(rows, 1)
    mean: Floats = (_before(np.where(chosen, reward, 0.0)) + of_all) / (_before(chosen.astype(np.float64)) + 1)
    return mean


def _before(values: Floats) -> Floats:
    total: Floats = np.cumsum(values, axis=-1) - values
    return total


def arm_scores(chosen: Chosen, reward: Floats, *, chance: Floats, expected: Floats) -> Floats:
    """The augmented inverse-probability score of an arm in each row (Robins, Rotnitzky and Zhao 1994).

    Given all that came before the row, its expectation is the arm's expected reward, as long as ``chance`` is the one
    with which the arm could be chosen there, and ``expected`` (a guess of its reward) did not see the row's reward.

    >>> arm_scores(np.array([True, False]), np.array([3.0, 0.0]), chance=np.array([0.5, 0.5]), expected=np.ones(2))
    array([5., 1.])
    """
    scores: Floats = expected + np.where(chosen, (reward - expected) / np.where(chosen, chance, 1.0), 0.0)
    return scores
