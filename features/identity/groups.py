"""Groups of accounts: who hangs together by links, and where a link must not bring two together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np


class Link(NamedTuple):
    """A link in force between two accounts; ``since``: when it was first known. ``sworn``: an agent said so."""

    one: int
    other: int
    probability: float
    since: int
    sworn: bool = False


class Mark(NamedTuple):
    """An account holds a value of a unique kind."""

    account: int
    kind: int
    value: int


def components(count: int, ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The number of the component of each of ``count`` nodes, given edges between ``ones`` and ``others``.

    >>> components(4, np.array([0, 2]), np.array([1, 1])).tolist()
    [0, 0, 0, 1]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = coo_array((np.ones(ones.size, dtype=np.int8), (ones, others)), shape=(count, count))
    labels: np.ndarray = connected_components(edges, directed=False)[1]
    return labels


def groups_of(
    accounts: Iterable[int], *, links: Iterable[Link], marks: Iterable[Mark] = (), apart: Iterable[Sequence[int]] = ()
) -> dict[int, int]:
    """The group of each account (named by one of its accounts), the surest links taken first.

    A link is refused that would bring together two accounts that are kept ``apart``, or different values of a unique
    kind, unless one side holds all values of the other. An agent's word comes first, and two values don't stop it.

    >>> links = [Link(0, 1, 0.97, 5), Link(1, 2, 0.99, 9)]
    >>> groups_of(range(3), links=links)
    {0: 0, 1: 0, 2: 0}
    >>> groups_of(range(3), links=links, apart=[(0, 2)])  # the surer link holds
    {0: 0, 1: 1, 2: 1}
    >>> groups_of(range(3), links=links, marks=[Mark(0, 0, 7), Mark(2, 0, 8)])
    {0: 0, 1: 1, 2: 1}
    """
    union = _Union(accounts, marks=marks, apart=apart)
    ranked = sorted(links, key=lambda each: (not each.sworn, -each.probability, each.since, each.one, each.other))
    for link in ranked:
        union.join(link.one, link.other, sworn=link.sworn)
    return {account: union.root(account) for account in union.parent}


class _Union:
    """Disjoint sets whose joining may be refused."""

    def __init__(self, accounts: Iterable[int], *, marks: Iterable[Mark], apart: Iterable[Sequence[int]]) -> None:
        self.parent = {account: account for account in accounts}
        self.members = {account: {account} for account in self.parent}
        self.foes: dict[int, set[int]] = defaultdict(set)
        self.marks: dict[int, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
        for one, other in apart:
            self.foes[one].add(other)
            self.foes[other].add(one)
        for mark in marks:
            self.marks[mark.account][mark.kind].add(mark.value)

    def root(self, account: int) -> int:
        while self.parent[account] != account:
            self.parent[account] = self.parent[self.parent[account]]
            account = self.parent[account]
        return account

    def join(self, one: int, other: int, *, sworn: bool) -> None:
        keep, give = sorted((self.root(one), self.root(other)))
        if keep == give or self.foes[keep] & self.members[give] or not (sworn or self._agree(keep, give)):
            return
        self.parent[give] = keep
        self.members[keep] |= self.members.pop(give)
        self.foes[keep] |= self.foes.pop(give, set())
        for kind, values in self.marks.pop(give, {}).items():
            self.marks[keep][kind] |= values

    def _agree(self, one: int, other: int) -> bool:
        mine, theirs = self.marks[one], self.marks[other]
        return all(mine[kind] <= theirs[kind] or mine[kind] >= theirs[kind] for kind in mine.keys() & theirs.keys())
