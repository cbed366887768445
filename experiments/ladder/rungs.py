"""The policies of the ladder, learned on some units and applied to others.

Learning sees scores (n, arms): the doubly robust value of each unit under each arm, net of cost. What it learns is
applied to units it has not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from sklearn.tree import DecisionTreeRegressor

from experiments.estimation.influence import Codes, Floats, Integers
from experiments.estimation.nuisance import Matrix, shrunken_means

# A tree of a few leaves is as good on so many rows.
_TREE_ROWS = 20_000
_INNER = 5


def robust_scores(expected: Floats, *, arm: Integers, outcome: Floats, chance: Floats) -> Floats:
    """Doubly robust value (n, arms) of each unit under each arm, before cost (Robins, Rotnitzky and Zhao 1994).

    ``expected`` (n, arms) from models that have not seen the unit, ``chance`` (n,) with which its arm was given.

    >>> robust_scores(np.array([[1.0, 2.0]]), arm=np.array([1]), outcome=np.array([3.0]), chance=np.array([0.5]))
    array([[1., 4.]])
    """
    scores = expected.copy()
    rows = np.arange(arm.size)
    scores[rows, arm] += (outcome - expected[rows, arm]) / chance
    return scores


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What is known of some units (n) when policies are learned from them or applied to them.

    ``features`` (n, p); ``levels`` one array (n,) per column that may form segments; ``net`` (n, arms) expected outcome
    net of cost, by models of the units that the policies are learned from.
    """

    features: Matrix
    levels: Sequence[Codes]
    net: Floats


@dataclass(frozen=True, kw_only=True)
class Policies:
    """The policies of the four rungs that are learned; ``column`` is the one that forms the segments.

    >>> lesson = Lesson(features=np.zeros((90, 1), np.float32), levels=[], net=np.tile([0.1, 0.2], (90, 1)))
    >>> policies = Policies.learn(lesson, scores=lesson.net, groups=5, rng=np.random.default_rng(1))
    >>> policies.apply(lesson)[0]
    array([1, 1, 1, 1])
    """

    best: int
    column: int | None
    by_level: Integers
    tree: DecisionTreeRegressor
    by_leaf: Integers

    @classmethod
    def learn(cls, lesson: Lesson, *, scores: Floats, groups: int, rng: np.random.Generator) -> Self:
        """Learn from ``scores`` (n, arms), net of cost; the rung ``few`` may form so many ``groups``."""
        column = _best_column(lesson.levels, scores=scores, rng=rng)
        tree = _grow(lesson, groups=groups, rng=rng)
        leaves = tree.apply(lesson.features)
        return cls(
            best=int(scores.mean(axis=0).argmax()),
            column=column,
            by_level=np.zeros(1, dtype=np.int64)
            if column is None
            else best_by_group(scores, group=lesson.levels[column]),
            tree=tree,
            by_leaf=best_by_group(scores, group=leaves),
        )

    def apply(self, lesson: Lesson) -> Integers:
        """The arm (n, 4) that static, segment, few and one-to-one give to each unit."""
        static = np.full(lesson.net.shape[0], self.best)
        levels = None if self.column is None else lesson.levels[self.column]
        segment = static if levels is None else _look_up(self.by_level, levels, default=self.best)
        few = _look_up(self.by_leaf, self.tree.apply(lesson.features), default=self.best)
        return np.stack([static, segment, few, lesson.net.argmax(axis=1)], axis=1)


def best_by_group(scores: Floats, *, group: Codes) -> Integers:
    """The best arm (groups,) of each group of units, coded from 0.

    A group leaves the best arm of all only for an advantage that outlasts shrinkage.

    >>> scores = np.array([[1.0, 0.0]] * 50 + [[0.0, 0.9]] * 50)
    >>> best_by_group(scores, group=np.repeat([0, 1], 50))
    array([0, 1])
    """
    best = int(scores.mean(axis=0).argmax())
    groups = int(group.max()) + 1
    gains = [shrunken_means(column, group=group, groups=groups) for column in (scores - scores[:, [best]]).T]
    # The best arm of all stands first, so that it wins ties.
    order = np.array([best, *(arm for arm in range(scores.shape[1]) if arm != best)])
    chosen: Integers = order[np.stack(gains, axis=1)[:, order].argmax(axis=1)]
    return chosen


def _best_column(levels: Sequence[Codes], *, scores: Floats, rng: np.random.Generator) -> int | None:
    """Which of several columns of levels makes the best segments: by the value on rows that did not choose the arms."""
    if len(levels) < 2:
        return 0 if levels else None
    fold = rng.permutation(scores.shape[0]) % _INNER
    values = [_value_of_column(column, scores=scores, fold=fold) for column in levels]
    return int(np.argmax(values))


def _value_of_column(levels: Codes, *, scores: Floats, fold: Integers) -> float:
    groups = int(levels.max()) + 1
    cell = fold * groups + levels
    sums = np.stack([np.bincount(cell, weights=each, minlength=_INNER * groups) for each in scores.T], axis=1)
    sums = sums.reshape(_INNER, groups, -1)
    choice = (sums.sum(axis=0) - sums).argmax(axis=2)
    return float(np.take_along_axis(sums, choice[:, :, None], axis=2).sum()) / levels.size


def _look_up(arms: Integers, group: Codes, *, default: int) -> Integers:
    """The arm of each unit's group; the default for a group that nobody was in when the arms were learned."""
    known: Integers = np.append(arms, default)[np.minimum(group, arms.size)]
    return known


def _grow(lesson: Lesson, *, groups: int, rng: np.random.Generator) -> DecisionTreeRegressor:
    """Few groups of like units: the leaves of one small tree over the effects that the models expect."""
    n = lesson.net.shape[0]
    rows = np.arange(n) if n <= _TREE_ROWS else rng.choice(n, _TREE_ROWS, replace=False)
    effects = lesson.net[rows] - lesson.net[rows].mean(axis=1, keepdims=True)
    tree = DecisionTreeRegressor(max_leaf_nodes=groups, min_samples_leaf=max(30, rows.size // 50), random_state=1)
    return tree.fit(lesson.features[rows], effects)
