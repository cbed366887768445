"""The policies of the ladder, learned on some units and applied to others.

Learning sees scores (n, arms): the doubly robust value of each unit under each arm, net of cost. What it learns is
applied to units it has not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.tree import DecisionTreeRegressor

from experiments.columns import Column
from experiments.influence import Floats, Integers
from experiments.nuisance import Matrix, OutcomeModels, shrunken_means

_TREE_ROWS = 50_000
_INNER = 5


@dataclass(frozen=True, kw_only=True)
class Learned:
    """The arm (n,) that each rung gives to each of the units it was applied to, and the segment column it chose."""

    static: Integers
    segment: Integers
    few: Integers
    one_to_one: Integers
    by: str | None


def robust_scores(expected: Floats, *, arm: Integers, outcome: Floats, chance: Floats) -> Floats:
    """Doubly robust value (n, arms) of each unit under each arm, before cost (Robins, Rotnitzky and Zhao 1994).

    ``expected`` (n, arms) from models that have not seen the unit, ``chance`` (arms,) with which each arm was given.

    >>> robust_scores(np.array([[1.0, 2.0]]), arm=np.array([1]), outcome=np.array([3.0]), chance=np.array([0.5, 0.5]))
    array([[1., 4.]])
    """
    scores = expected.copy()
    rows = np.arange(arm.size)
    scores[rows, arm] += (outcome - expected[rows, arm]) / chance[arm]
    return scores


def learn(
    models: OutcomeModels,
    *,
    scores: Floats,
    net: Floats,
    features: Matrix,
    segments: Sequence[Column],
    learn_on: Integers,
    apply_to: Integers,
    cost: Floats,
    groups: int,
    rng: np.random.Generator,
) -> Learned:
    """Learn every rung on the units ``learn_on`` and apply it to ``apply_to``.

    ``scores`` (len(learn_on), arms) are net of cost; ``net`` (len(apply_to), arms) is what ``models`` expect there,
    net of cost; ``groups`` is how many groups the rung ``few`` may form.
    """
    best = int(scores.mean(axis=0).argmax())
    static = np.full(apply_to.size, best)
    chosen = _best_column([column.levels[learn_on] for column in segments], scores=scores, rng=rng)
    if chosen is None:
        segment, by = static, None
    else:
        levels = segments[chosen].levels
        segment = best_by_group(scores, group=levels[learn_on], groups=int(levels.max()) + 1)[levels[apply_to]]
        by = segments[chosen].name
    leaf_learn, leaf_apply, leaves = _leaves(models, features, learn_on, apply_to, cost=cost, groups=groups, rng=rng)
    few = best_by_group(scores, group=leaf_learn, groups=leaves)[leaf_apply]
    return Learned(static=static, segment=segment, few=few, one_to_one=net.argmax(axis=1), by=by)


def best_by_group(scores: Floats, *, group: Integers, groups: int) -> Integers:
    """The best arm (groups,) of each group of units, where its advantage over the best arm of all outlasts shrinkage.

    >>> scores = np.array([[1.0, 0.0]] * 50 + [[0.0, 0.9]] * 50)
    >>> best_by_group(scores, group=np.repeat([0, 1], 50), groups=2)
    array([0, 1])
    """
    best = int(scores.mean(axis=0).argmax())
    gains = [shrunken_means(column, group=group, groups=groups) for column in (scores - scores[:, [best]]).T]
    # The best arm of all stands first, so that it wins ties.
    order = np.array([best, *(arm for arm in range(scores.shape[1]) if arm != best)])
    chosen: Integers = order[np.stack(gains, axis=1)[:, order].argmax(axis=1)]
    return chosen


def _best_column(levels: Sequence[Integers], *, scores: Floats, rng: np.random.Generator) -> int | None:
    """Which of several columns of levels makes the best segments: by the value on rows that did not choose the arms."""
    if len(levels) < 2:
        return 0 if levels else None
    fold = rng.permutation(scores.shape[0]) % _INNER
    values = [_value_of_column(column, scores=scores, fold=fold) for column in levels]
    return int(np.argmax(values))


def _value_of_column(levels: Integers, *, scores: Floats, fold: Integers) -> float:
    groups = int(levels.max()) + 1
    cell = fold * groups + levels
    sums = np.stack([np.bincount(cell, weights=each, minlength=_INNER * groups) for each in scores.T], axis=1)
    sums = sums.reshape(_INNER, groups, -1)
    choice = (sums.sum(axis=0) - sums).argmax(axis=2)
    return float(np.take_along_axis(sums, choice[:, :, None], axis=2).sum()) / levels.size


def _leaves(
    models: OutcomeModels,
    features: Matrix,
    learn_on: Integers,
    apply_to: Integers,
    *,
    cost: Floats,
    groups: int,
    rng: np.random.Generator,
) -> tuple[Integers, Integers, int]:
    """Few groups of like units: the leaves of one small tree over the effects that the models expect."""
    rows = learn_on if learn_on.size <= _TREE_ROWS else rng.choice(learn_on, _TREE_ROWS, replace=False)
    net = models.predict(features[rows]) - cost
    tree = DecisionTreeRegressor(max_leaf_nodes=groups, min_samples_leaf=max(30, rows.size // 50), random_state=1)
    tree.fit(features[rows], net - net.mean(axis=1, keepdims=True))
    leaves, place = np.unique(
        np.concatenate([tree.apply(features[learn_on]), tree.apply(features[apply_to])]), return_inverse=True
    )
    return place[: learn_on.size], place[learn_on.size :], leaves.size
