"""Outcome models of one action each, shrunk towards what all share; and the folds that keep them from their own data.

They only lower the noise of doubly robust values: where the chances of the actions are known, a bad model costs
width, never honesty.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from experiments.estimation.influence import Codes, Floats, Integers
from experiments.estimation.selection import blocks, most_telling, threads_for

if TYPE_CHECKING:
    import lightgbm

# Read when LightGBM is loaded. Threads that spin while they wait made training ten times slower on busy cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

Matrix = npt.NDArray[np.float32]

# More rows than these teach little more than they show.
LEARN_FROM = 200_000

# Below so many rows, trees find noise only.
_BOOST_FROM = 1_000
_PENALTIES = np.logspace(0, 7, 8)
_OWN_FROM = 30
_ROUNDS = 150
_FAR = 5.0


@dataclass(frozen=True, kw_only=True)
class OutcomeModels:
    """Expected outcome of each unit under each action: what all actions share, plus each action's own difference.

    The difference is one model per action, so effects may depend on every feature (one linear model over features and a
    one-hot action could not say that); its level is shrunk by empirical Bayes, so that rare actions stay usable. Each
    model is a ridge regression, its penalty chosen by leave-one-out error, then boosted trees on what ridge left over,
    stopped where a quarter of the rows, held back, gains no more. Of hundreds of columns they use the most telling
    ones, ``kept``, chosen on the same rows (``experiments.estimation.selection``).

    >>> rng = np.random.default_rng(1)
    >>> matrix, action = rng.normal(size=(900, 2)).astype(np.float32), rng.integers(0, 2, 900)
    >>> models = OutcomeModels.fit(matrix, action=action, outcome=3.0 + action * matrix[:, 0], actions=2, rng=rng)
    >>> models.predict(np.array([[2.0, 0.0]], dtype=np.float32)).round(1)
    array([[3., 5.]])
    """

    kept: Integers
    center: Matrix
    scale: Matrix
    slopes: Matrix
    level: Floats
    shared: lightgbm.Booster | None
    own: tuple[lightgbm.Booster | None, ...]

    @classmethod
    def fit(cls, matrix: Matrix, *, action: Integers, outcome: Floats, actions: int, rng: np.random.Generator) -> Self:
        """Fit on ``matrix`` (n, p), NaN where missing, ``action`` (n,) in 0..``actions`` - 1 and ``outcome`` (n,)."""
        kept = most_telling(matrix, action=action, outcome=outcome, actions=actions, rng=rng)
        if kept.size < matrix.shape[1]:
            matrix = matrix[:, kept]
        center, scale = _moments(matrix)
        known = _standardized(matrix, center, scale)
        slope, start, rest = _ridge(known, outcome)
        shared = _boost(matrix, rest, rng)
        if shared is not None:
            rest = rest - np.asarray(shared.predict(matrix))
        slopes = np.repeat(slope[:, None], actions, axis=1)
        level = start + shrunken_means(rest, group=action, groups=actions)
        own: list[lightgbm.Booster | None] = [None] * actions
        for one in range(actions):
            rows = np.flatnonzero(action == one)
            if rows.size > _OWN_FROM:
                # Centred, so that it says for whom the action differs and leaves the shrunken level alone.
                tilt, start, left = _ridge(known[rows], rest[rows] - rest[rows].mean())
                slopes[:, one] += tilt
                level[one] += start
                own[one] = _boost(matrix[rows], left, rng)
        return cls(kept=kept, center=center, scale=scale, slopes=slopes, level=level, shared=shared, own=tuple(own))

    def predict(self, matrix: Matrix) -> Floats:
        """Expected outcome (n, actions) of ``matrix`` (n, p)."""
        expected = np.empty((matrix.shape[0], len(self.own)))
        for rows in blocks(matrix.shape[0]):
            part = matrix[rows]
            expected[rows] = self.of_kept(part if self.kept.size == part.shape[1] else part[:, self.kept])
        return expected

    def of_kept(self, matrix: Matrix) -> Floats:
        """Expected outcome (n, actions) of the columns ``kept`` alone (n, kept)."""
        expected: Floats = (_standardized(matrix, self.center, self.scale) @ self.slopes).astype(np.float64)
        expected += self.level
        if self.shared is not None:
            expected += np.asarray(self.shared.predict(matrix))[:, None]
        for one, trees in enumerate(self.own):
            if trees is not None:
                expected[:, one] += np.asarray(trees.predict(matrix))
        return expected


def shrunken_means(values: Floats, *, group: Codes, groups: int) -> Floats:
    """Mean of ``values`` (n,) in each of ``groups`` groups, shrunk to the mean of all by empirical Bayes.

    The weight of a group's own mean is t / (t + s / n_g), where s is the variance within groups and t the variance
    between them by moments, at least 0 (Morris 1983): groups that differ by no more than noise would all get the same
    mean.

    >>> shrunken_means(np.array([1.0, 3.0, 1.0, 3.0]), group=np.array([0, 0, 1, 1]), groups=2)
    array([2., 2.])
    """
    count = np.bincount(group, minlength=groups)
    overall = float(values.mean())
    means = np.bincount(group, weights=values, minlength=groups) / np.maximum(count, 1)
    means = np.where(count > 0, means, overall)
    within = float(np.square(values - means[group]).sum()) / max(values.size - int((count > 0).sum()), 1)
    apart = float((count * np.square(means - overall)).sum()) - within * (int((count > 0).sum()) - 1)
    between = max(0.0, apart / max(values.size - float(np.square(count).sum()) / values.size, 1.0))
    if between == 0.0:
        return np.full(groups, overall)
    weight = between / (between + within / np.maximum(count, 1))
    shrunk: Floats = overall + np.where(count > 0, weight, 0.0) * (means - overall)
    return shrunk


def deal_folds(stratum: Integers, *, cluster: Integers | None, folds: int, rng: np.random.Generator) -> Integers:
    """The fold (n,) of each unit: clusters stay whole, and each stratum (an arm) is spread evenly.

    >>> deal_folds(np.array([0, 0, 1, 1]), cluster=None, folds=2, rng=np.random.default_rng(1)).tolist() in (
    ...     [[0, 1, 0, 1], [0, 1, 1, 0], [1, 0, 0, 1], [1, 0, 1, 0]])
    True
    """
    if cluster is not None:
        _, first, inverse = np.unique(cluster, return_index=True, return_inverse=True)
        return deal_folds(stratum[first], cluster=None, folds=folds, rng=rng)[inverse]
    order = np.lexsort((rng.random(stratum.size), stratum))
    fold = np.empty(stratum.size, dtype=np.int64)
    fold[order] = np.arange(stratum.size) % folds
    return fold


def _moments(matrix: Matrix) -> tuple[Matrix, Matrix]:
    known = np.isfinite(matrix)
    count = np.maximum(known.sum(axis=0), 1)
    center = np.where(known, matrix, 0.0).sum(axis=0, dtype=np.float64) / count
    spread = np.where(known, matrix - center, 0.0)
    scale = np.sqrt(np.square(spread, dtype=np.float64).sum(axis=0) / count)
    scale = np.where(scale > 1e-6 * (1.0 + np.abs(center)), scale, np.inf)
    return center.astype(np.float32), scale.astype(np.float32)


def _standardized(matrix: Matrix, center: Matrix, scale: Matrix) -> Matrix:
    """Mean 0, variance 1; missing is the mean, and a far tail is cut: one rich customer shall not tilt the slope."""
    known: Matrix = (matrix - center) / scale
    known[np.isnan(known)] = 0.0
    return np.clip(known, -_FAR, _FAR, out=known)


def _ridge(known: Matrix, outcome: Floats) -> tuple[Matrix, float, Floats]:
    """Slopes (p,) and start of a ridge regression on standardized columns, and what it leaves over (n,).

    The penalty is the one of least squared leave-one-out error, all of them from one decomposition of the covariance
    (Golub, Heath and Wahba 1979): scikit-learn's ``RidgeCV`` goes over the rows anew for each, many times as long.
    """
    mean = float(outcome.mean())
    if outcome.size < _OWN_FROM:
        return np.zeros(known.shape[1], dtype=np.float32), mean, outcome - mean
    center = known.mean(axis=0, dtype=np.float64)
    left, covariance, together = outcome - mean, np.zeros((center.size, center.size)), np.zeros(center.size)
    for rows in blocks(outcome.size):
        # In double precision by block: single holds deviations well, large sums not.
        block = known[rows] - center
        covariance += block.T @ block
        together += block.T @ left[rows]
    values, axes = np.linalg.eigh(covariance)
    inverse = 1.0 / (np.maximum(values, 0.0)[:, None] + _PENALTIES)
    turned = inverse * (axes.T @ together)[:, None]
    errors = np.zeros(_PENALTIES.size)
    for rows in blocks(outcome.size):
        block = (known[rows] - center) @ axes
        pull = np.square(block) @ inverse + 1.0 / outcome.size
        errors += np.square((left[rows, None] - block @ turned) / np.maximum(1.0 - pull, 1e-12)).sum(axis=0)
    slopes: Matrix = (axes @ turned[:, errors.argmin()]).astype(np.float32)
    start = -float(center @ slopes)
    return slopes, mean + start, left - start - known @ slopes


def _boost(matrix: Matrix, rest: Floats, rng: np.random.Generator) -> lightgbm.Booster | None:
    if rest.size < _BOOST_FROM:
        return None
    import lightgbm

    held = rng.random(rest.size) < 0.25
    params: dict[str, Any] = {
        "objective": "regression",
        "learning_rate": 0.05,
        "num_leaves": 8,
        "min_data_in_leaf": max(30, rest.size // 100),
        "lambda_l2": 10.0,
        "max_bin": 63,
        "verbosity": -1,
        "seed": 1,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": threads_for(rest.size),
    }
    learn = lightgbm.Dataset(matrix[~held], rest[~held], params=params)
    check = lightgbm.Dataset(matrix[held], rest[held], reference=learn, params=params)
    stop = lightgbm.early_stopping(10, verbose=False)
    return lightgbm.train(params, learn, num_boost_round=_ROUNDS, valid_sets=[check], callbacks=[stop])
