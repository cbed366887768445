"""From pairs to people: groups that hold together, not chains in which each knows only the next."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

# Log odds beyond which a pair adds no more to a merger: one sure pair never outvotes many that speak against it.
_MOST = 8.0
# What a pair that was not compared, or came out next to impossible, says.
_UNSEEN = -3.0


def components(left: NDArray[np.int64], right: NDArray[np.int64], *, records: int) -> NDArray[np.int64]:
    """The group of each record (records,) that pairs connect: the smallest number in it."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(left.size, dtype=np.int8), (left, right)), shape=(records, records))
    _, found = connected_components(graph, directed=False)
    return _smallest(found)


def inner_pairs(group: NDArray[np.int64], *, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pairs inside groups of three and more, the smaller groups first, until there are ``most``.

    >>> [side.tolist() for side in inner_pairs(np.array([0, 1, 0, 0, 1]), most=100)]
    [[0, 0, 2], [2, 3, 3]]
    """
    order = np.argsort(group, kind="stable")
    _, starts, sizes = np.unique(group[order], return_index=True, return_counts=True)
    left, right, count = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)], 0
    for place in np.argsort(sizes, kind="stable").tolist():
        size = int(sizes[place])
        if size < 3:
            continue
        count += size * (size - 1) // 2
        if count > most:
            break
        members = order[starts[place] : starts[place] + size]
        one, other = np.triu_indices(size, 1)
        left.append(members[one])
        right.append(members[other])
    return np.concatenate(left), np.concatenate(right)


def clusters(
    left: NDArray[np.int64], right: NDArray[np.int64], weight: NDArray[np.float64], *, records: int, least: float
) -> NDArray[np.int64]:
    """The group of each record (records,): the smallest number in it.

    ``weight``: log odds that a pair is one person; pairs of at least ``least`` are links. Groups that links connect
    and in which each record is linked to at least half of the others stand. The others are built up from the surest
    link on: two groups merge while the log odds of all pairs between them, less ``least`` each, sum up to more than
    nothing (a greedy form of correlation clustering, Bansal, Blum and Chawla 2004).
    """
    linked = weight >= least
    group = components(left[linked], right[linked], records=records)
    loose = _loose(group, left[linked], right[linked])
    inside = loose[left] & (group[left] == group[right])
    parents = _merged(left[inside], right[inside], weight[inside] - least)
    for record, parent in parents.items():
        group[record] = parent
    return group


def _smallest(found: NDArray[np.int32]) -> NDArray[np.int64]:
    least = np.full(found.max(initial=-1) + 1, found.size, dtype=np.int64)
    np.minimum.at(least, found, np.arange(found.size))
    return least[found]


def _loose(group: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a record's group has a member that is linked to less than half of the others."""
    size = np.bincount(group, minlength=group.size)[group]
    degree = np.bincount(left, minlength=group.size) + np.bincount(right, minlength=group.size)
    weak = np.zeros(group.size, dtype=bool)
    weak[group[(size > 2) & (2 * degree < size - 1)]] = True
    return weak[group]


def _merged(left: NDArray[np.int64], right: NDArray[np.int64], weight: NDArray[np.float64]) -> dict[int, int]:
    """The group of each record of ``left`` and ``right``, by merging the surest pairs first."""
    between: dict[int, dict[int, tuple[float, int]]] = defaultdict(dict)
    for one, other, said in zip(left.tolist(), right.tolist(), np.clip(weight, -_MOST, _MOST).tolist(), strict=True):
        between[one][other] = between[other][one] = (said, 1)
    members = {record: [record] for record in between}
    group = {record: record for record in between}
    order = np.lexsort((right, left, -weight))
    for place in order[weight[order] >= 0].tolist():
        one, other = sorted((group[int(left[place])], group[int(right[place])]))
        if one == other:
            continue
        total, seen = between[one][other]
        if total + _UNSEEN * (len(members[one]) * len(members[other]) - seen) <= 0:
            continue
        for record in members[other]:
            group[record] = one
        members[one] += members.pop(other)
        del between[one][other]
        for third, (said, count) in between.pop(other).items():
            if third == one:
                continue
            before, already = between[one].get(third, (0.0, 0))
            between[one][third] = between[third][one] = (before + said, already + count)
            del between[third][other]
    return group
