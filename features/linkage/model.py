"""The model of linkage: how likely each level is for one person and for two, learned without labels.

Two questions are asked of a pair at once: are both records of one person, and do they live at one address? So a person
who moved and a family that lives together are explained by themselves, and neither makes the other. Fellegi and Sunter
(1969) with the latent classes of Larsen and Rubin (2001), fitted by expectation and maximisation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.linkage.comparisons import Comparison, Tie

Array = NDArray[np.float64]

# How many pairs the beliefs of the comparisons count for beside the data.
_BELIEF_MATCH = 30.0
_BELIEF_OTHER = 20.0
_ITERATIONS = 200
# Classes of pairs: (one person, one address), (one person, moved), (two persons, one address), (two persons).
_PERSON = np.array([1.0, 1.0, 0.0, 0.0])
_ADDRESS = np.array([1.0, 0.0, 1.0, 0.0])
_MEMBERS: dict[Tie, Array] = {"person": _PERSON, "address": _ADDRESS, "both": np.array([1.0, 1.0, 1.0, 0.0])}


@dataclass(frozen=True, kw_only=True)
class Patterns:
    """How often each combination of levels came up: ``levels`` (patterns, comparisons), from 1; 0: a side is empty.

    ``compared``: counts among the pairs that share a key; ``drawn``: among pairs drawn at random.
    """

    levels: NDArray[np.int8]
    compared: Array
    drawn: Array


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What was learned: per comparison the shares of its levels in pairs that are tied and that are not.

    ``classes``: shares of all pairs of one person at one address, of one person who moved, of two persons at one
    address, and of the others.

    >>> Weights(match={"age": (0.9, 0.1)}, other={"age": (0.1, 0.9)}, classes=(1e-4, 0, 0, 0.9999)).match["age"]
    (0.9, 0.1)
    """

    match: dict[str, tuple[float, ...]]
    other: dict[str, tuple[float, ...]]
    classes: tuple[float, float, float, float]


def fit(comparisons: Sequence[Comparison], patterns: Patterns, *, pairs: float, records: int) -> Weights:
    """The weights under which the patterns are likeliest, with the comparisons' beliefs as so many pairs more.

    ``pairs``: all pairs of the records that could be of one person; all that share no key are taken for two persons.
    The shares among two persons come from the pairs drawn at random, less those that look like one person.
    """
    match_belief = [_BELIEF_MATCH * np.array([each.match for each in one.levels]) for one in comparisons]
    other_belief = [_BELIEF_OTHER * np.array([each.other for each in one.levels]) for one in comparisons]
    match = [each / each.sum() for each in match_belief]
    other = [_shares(patterns, k, patterns.drawn, other_belief[k]) for k in range(len(comparisons))]
    class_belief = np.array([0.8, 0.2, 0.2]) * min(1.0, records / 100)
    classes = _classes(np.array([0.25, 0.02, 0.1]) * records, pairs)
    before = np.inf
    for _ in range(_ITERATIONS):
        posterior = _posterior(comparisons, patterns, match, other, classes)
        weighted = posterior * patterns.compared[:, None]
        for k, one in enumerate(comparisons):
            tied = posterior @ _MEMBERS[one.tie]
            match[k] = _shares(patterns, k, tied * patterns.compared, match_belief[k])
            other[k] = _shares(patterns, k, (1 - tied) * patterns.drawn, other_belief[k])
        classes = _classes(weighted[:, :3].sum(axis=0) + class_belief, pairs)
        if abs(classes[0] - before) < 1e-6 * classes[0]:
            break
        before = classes[0]
    return Weights(
        match={one.name: tuple(map(float, match[k])) for k, one in enumerate(comparisons)},
        other={one.name: tuple(map(float, other[k])) for k, one in enumerate(comparisons)},
        classes=(float(classes[0]), float(classes[1]), float(classes[2]), float(classes[3])),
    )


def _classes(counts: Array, pairs: float) -> Array:
    shares = counts / pairs
    shares *= min(1.0, 0.9 / shares.sum())
    return np.append(shares, 1 - shares.sum())


def _shares(patterns: Patterns, k: int, weights: Array, belief: Array) -> Array:
    counts = np.bincount(patterns.levels[:, k], weights=weights, minlength=belief.size + 1)[1:] + belief
    # What never came up is not impossible: at most ten times rarer than was believed.
    shares: Array = np.maximum(counts / counts.sum(), belief / belief.sum() / 10)
    return shares


def _posterior(
    comparisons: Sequence[Comparison], patterns: Patterns, match: list[Array], other: list[Array], classes: Array
) -> Array:
    """The chance of each class (patterns, 4) given the levels."""
    logs = np.tile(np.log(np.maximum(classes, 1e-300)), (patterns.levels.shape[0], 1))
    for k, one in enumerate(comparisons):
        weight = np.concatenate([[0.0], np.log(match[k] / other[k])])
        for place, level in enumerate(one.levels, start=1):
            if level.neutral:
                weight[place] = 0.0
        logs += np.outer(weight[patterns.levels[:, k]], _MEMBERS[one.tie])
    logs -= logs.max(axis=1, keepdims=True)
    chances: Array = np.exp(logs)
    chances /= chances.sum(axis=1, keepdims=True)
    return chances


def score_sql(comparisons: Sequence[Comparison], weights: Weights, *, records: int) -> tuple[str, str]:
    """SQL that sums up a pair's evidence, and SQL that makes of the sums the log odds of one person.

    The first gives columns ``of_person``, ``of_address`` and ``of_both``; it reads ``level_<name>`` and
    ``often_<name>``, how many records hold the value. Agreement on a value weighs
    by how rare it is: the pair itself left out, the value was seen ``often - 2`` times in ``records - 2``, on top of one time in 1 / (the share of agreeing pairs).
    """
    sums: dict[Tie, list[str]] = {"person": ["0.0"], "address": ["0.0"], "both": ["0.0"]}
    for one in comparisons:
        sums[one.tie].append(_evidence(one, weights, records))
    first = ", ".join(f"{' + '.join(terms)} AS of_{tie}" for tie, terms in sums.items())
    same, moved, home, apart = (math.log(max(each, 1e-300)) for each in weights.classes)
    second = (
        f"{_log_sum(f'{same!r} + of_person + of_address + of_both', f'{moved!r} + of_person + of_both')}"
        f" - {_log_sum(f'{home!r} + of_address + of_both', f'{apart!r}')}"
    )
    return first, second


def _evidence(one: Comparison, weights: Weights, records: int) -> str:
    match, other = weights.match[one.name], weights.other[one.name]
    cases = []
    for place, level in enumerate(one.levels, start=1):
        if level.neutral:
            continue
        if place == 1 and one.rare:
            rarity = f"ln((greatest(often_{one.name} - 2, 0) + 1.0) / {records - 2 + 1 / other[0]!r})"
            cases.append(f"WHEN {place} THEN {math.log(match[0])!r} - {rarity}")
        else:
            cases.append(f"WHEN {place} THEN {math.log(match[place - 1] / other[place - 1])!r}")
    return f"CASE level_{one.name} {' '.join(cases)} ELSE 0.0 END"


def _log_sum(left: str, right: str) -> str:
    return f"(greatest({left}, {right}) + ln(1 + exp(-abs(({left}) - ({right})))))"
