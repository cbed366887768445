"""From pairs to people: groups that hold together, not chains in which each knows only the next."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Log odds beyond which a pair adds no more to a merger: one sure pair never outvotes many that speak against it.
_MOST = 8.0
# What a pair that was not compared, or came out next to impossible, says.
_UNSEEN = -3.0
# A pair that compares less than this share of what another compares has no say beside it.
_POOR = 0.75


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
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    weight: NDArray[np.float64],
    *,
    records: int,
    least: float,
    told: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """The group of each record (records,): the smallest number in it.

    ``weight``: log odds that a pair is one person; pairs of at least ``least`` are links. Groups that links connect
    and in which each record is linked to at least half of the others stand. The others are built up from the surest
    link on: two groups merge while the log odds of all pairs between them, less ``least`` each, sum up to more than
    nothing (a greedy form of correlation clustering, Bansal, Blum and Chawla 2004).

    ``told``: how many fields that name a person each pair compares (by default all the same). A record that holds
    little, such as a name and an address, is like each of two persons who share them, and joins neither to the other:
    a group in which a pair that compares more is no link is built anew, and there the pairs that compare most decide.
    """
    said = np.ones(left.size, dtype=np.int64) if told is None else told
    linked = weight >= least
    group = components(left[linked], right[linked], records=records)
    loose = _loose(group, left[linked], right[linked]) | _contradicted(group, left, right, linked, said)
    inside = loose[left] & (group[left] == group[right])
    parents = _merged(left[inside], right[inside], weight[inside] - least, said[inside])
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


def _contradicted(
    group: NDArray[np.int64],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    linked: NDArray[np.bool_],
    told: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Whether a record's group has a pair that is no link and compares more than one of its links does."""
    inside = ~linked & (group[left] == group[right])
    against, least = np.zeros(group.size), np.full(group.size, np.inf)
    np.maximum.at(against, group[left[inside]], told[inside])
    np.minimum.at(least, group[left[linked]], told[linked])
    return (least < _POOR * against)[group]


@dataclass(frozen=True, kw_only=True)
class _Between:
    """What the pairs between two groups say: the log odds of those that compare most, and how many pairs there are."""

    said: float
    told: int
    pairs: int = 1

    def joined(self, other: _Between) -> _Between:
        most = max(self.told, other.told)
        said = sum(each.said for each in (self, other) if each.told >= _POOR * most)
        return _Between(said=said, told=most, pairs=self.pairs + other.pairs)


def _merged(
    left: NDArray[np.int64], right: NDArray[np.int64], weight: NDArray[np.float64], told: NDArray[np.int64]
) -> dict[int, int]:
    """The group of each record of ``left`` and ``right``, by merging the surest pairs first."""
    between: dict[int, dict[int, _Between]] = defaultdict(dict)
    clipped = np.clip(weight, -_MOST, _MOST).tolist()
    for one, other, said, fields in zip(left.tolist(), right.tolist(), clipped, told.tolist(), strict=True):
        between[one][other] = between[other][one] = _Between(said=said, told=fields)
    members = {record: [record] for record in between}
    group = {record: record for record in between}
    order = np.lexsort((right, left, -weight))
    for place in order[weight[order] >= 0].tolist():
        one, other = sorted((group[int(left[place])], group[int(right[place])]))
        if one == other:
            continue
        link = between[one][other]
        if link.said + _UNSEEN * (len(members[one]) * len(members[other]) - link.pairs) <= 0:
            continue
        for record in members[other]:
            group[record] = one
        members[one] += members.pop(other)
        del between[one][other]
        for third, also in between.pop(other).items():
            if third == one:
                continue
            before = between[one].get(third)
            between[one][third] = between[third][one] = before.joined(also) if before else also
            del between[third][other]
    return group
