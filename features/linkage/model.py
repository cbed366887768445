"""The model of linkage: how likely each level is for one person and for two, learned without labels.

Two questions are asked of a pair at once: are both records of one person, and do they live in one home, in one town, or
apart? So a person who moved, a family that lives together and neighbours of the same town are explained by
themselves, and none of them passes for another. Fellegi and Sunter
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
# Levels on which two persons are believed to be at most so often name a person.
_NAMING = 1e-5
# Classes of pairs: one person or two, at one home, in one town, or apart.
_PERSON = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
_HOME = np.array([1.0, 0.0, 0.0, 1.0, 0.0, 0.0])
_TOWN = np.array([1.0, 1.0, 0.0, 1.0, 1.0, 0.0])
_TIED: dict[Tie, Array] = {
    "person": _PERSON,
    "home": _HOME,
    "town": _TOWN,
    "family": np.maximum(_PERSON, _HOME),
}
# What is believed of the classes beforehand, in pairs per record; the last but one as a share of all pairs.
_FIRST = np.array([0.25, 0.01, 0.02, 0.1])
_FIRST_TOWN = 0.005


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

    ``classes``: shares of all pairs that are one person in one home, in one town, and apart; then of two persons.

    >>> Weights(match={"age": (0.9, 0.1)}, other={"age": (0.1, 0.9)}, classes=(1e-4, 0, 0, 0, 0, 0.9999)).match["age"]
    (0.9, 0.1)
    """

    match: dict[str, tuple[float, ...]]
    other: dict[str, tuple[float, ...]]
    classes: tuple[float, ...]


def fit(comparisons: Sequence[Comparison], patterns: Patterns, *, pairs: float, records: int) -> Weights:
    """The weights under which the patterns are likeliest, with the comparisons' beliefs as so many pairs more.

    ``pairs``: all pairs of the records that could be of one person; all that share no key are taken for two persons.
    How often one person agrees is learned from pairs of one person only, lest families and towns pass for it; how
    often two do, from the pairs drawn at random, less those that look tied.
    """
    match_belief = [_BELIEF_MATCH * np.array([each.match for each in one.levels]) for one in comparisons]
    other_belief = [_BELIEF_OTHER * np.array([each.other for each in one.levels]) for one in comparisons]
    match = [each / each.sum() for each in match_belief]
    # Not the shares of the pairs drawn: they hold the very pairs of one person that are to be found.
    other = [each / each.sum() for each in other_belief]
    classes = _classes(_FIRST * records, _FIRST_TOWN, pairs)
    before = 0.0
    for _ in range(_ITERATIONS):
        posterior = _posterior(comparisons, patterns, match, other, classes)
        for k, one in enumerate(comparisons):
            tied = _summed(posterior, _TIED[one.tie])
            person = _summed(posterior, _TIED[one.tie] * _PERSON)
            seen = _shares(patterns, k, person * patterns.compared, match_belief[k])
            match[k] = _credible(one, seen)
            other[k] = np.minimum(_shares(patterns, k, (1 - tied) * patterns.drawn, other_belief[k]), _ceiling(one))
        counts = (patterns.compared[:, None] * posterior[:, :4]).sum(axis=0) + _FIRST * min(1.0, records / 100)
        town = ((patterns.drawn * posterior[:, 4]).sum() + _FIRST_TOWN) / (patterns.drawn.sum() + 1)
        classes = _classes(counts, town, pairs)
        if abs(classes[0] - before) < 1e-6 * classes[0]:
            break
        before = classes[0]
    return Weights(
        match={one.name: tuple(map(float, match[k])) for k, one in enumerate(comparisons)},
        other={one.name: tuple(map(float, other[k])) for k, one in enumerate(comparisons)},
        classes=tuple(map(float, classes)),
    )


def _summed(posterior: Array, which: Array) -> Array:
    """The chance (patterns,) of any of some classes.

    Not a product of matrices: what BLAS adds up in which order depends on threads and on where an array lies in memory,
    and the same records would give other last digits.
    """
    chance: Array = posterior[:, which > 0].sum(axis=1)
    return chance


def _ceiling(one: Comparison) -> Array:
    """The most that two persons can be thought to agree: e-mails, phones and codes are no coincidence.

    Where such a field is all there is, nothing else could tell coincidence from one person.
    """
    believed = np.array([level.other for level in one.levels])
    return np.where(believed <= _NAMING, 5 * believed, 1.0)


def _credible(one: Comparison, shares: Array) -> Array:
    """The shares of one person's levels as far as one person explains them; what is too much is taken for agreement.

    Otherwise the class of one person can take over the families where many pairs tell name and address only (a
    mailing list beside a register): one person would have two given names and two births as often as one, and cards
    that a family was given one after the other would be typing errors.
    """
    kept = np.minimum(shares, [level.most for level in one.levels])
    slips = [0, *(place for place, level in enumerate(one.levels) if level.slip)]
    kept[slips] = np.minimum.accumulate(kept[slips])
    kept[0] += 1 - kept.sum()
    return kept


def _classes(counts: Array, town: float, pairs: float) -> Array:
    shares = np.append(counts / pairs, town)
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
    """The chance of each class (patterns, 6) given the levels."""
    logs = np.tile(np.log(np.maximum(classes, 1e-300)), (patterns.levels.shape[0], 1))
    for k, one in enumerate(comparisons):
        weight = np.concatenate([[0.0], np.log(match[k] / other[k])])
        for place, level in enumerate(one.levels, start=1):
            if level.neutral:
                weight[place] = 0.0
        logs += np.outer(weight[patterns.levels[:, k]], _TIED[one.tie])
    logs -= logs.max(axis=1, keepdims=True)
    chances: Array = np.exp(logs)
    chances /= chances.sum(axis=1, keepdims=True)
    return chances


def score_sql(comparisons: Sequence[Comparison], weights: Weights, *, records: int) -> tuple[str, str]:
    """SQL that sums up a pair's evidence, and SQL that makes of the sums the log odds of one person.

    The first gives a column ``of_<tie>`` per tie; it reads ``level_<name>`` and ``often_<name>``, how many records
    hold the value. Agreement on a value weighs by how rare it is: the pair itself left out, the value was seen
    ``often - 2`` times in ``records - 2``, on top of one time in 1 / (the share of agreeing pairs).
    """
    sums: dict[Tie, list[str]] = {tie: ["0.0"] for tie in _TIED}
    for one in comparisons:
        sums[one.tie].append(_evidence(one, weights, records))
    first = ", ".join(f"{' + '.join(terms)} AS of_{tie}" for tie, terms in sums.items())
    said = [
        " + ".join([repr(math.log(max(share, 1e-300))), *(f"of_{tie}" for tie in _TIED if _TIED[tie][place])])
        for place, share in enumerate(weights.classes)
    ]
    return first, f"{_log_sum(said[:3])} - {_log_sum(said[3:])}"


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


def _log_sum(terms: Sequence[str]) -> str:
    most = f"greatest({', '.join(terms)})"
    return f"({most} + ln({' + '.join(f'exp({term} - {most})' for term in terms)}))"
