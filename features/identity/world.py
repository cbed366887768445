"""Accounts, links and the moments at which they change, as arrays that a replay walks through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.identity.groups import components

#: A moment that does not come.
NEVER = np.iinfo(np.int64).max


class Steps(NamedTuple):
    """Changes of links: of a key (an edge and a reason) its worth from ``known`` on, in microseconds of the epoch."""

    key: np.ndarray
    probability: np.ndarray
    sworn: np.ndarray
    apart: np.ndarray
    known: np.ndarray


@dataclass(frozen=True, kw_only=True)
class World:
    """All that a replay needs; in each array the components with most moments of change come first.

    So what still changes in a round is the head of every array. ``*_ends[c]`` is where component c ends in an array.
    Accounts of one component stand in the order of their ids.
    """

    names: pa.Array
    names_of: np.ndarray  # the component of each account
    account_ends: np.ndarray
    edges: np.ndarray  # (edges, 2): accounts
    house: np.ndarray  # of each edge: it is a household's, not a person's
    edge_ends: np.ndarray
    key_edge: np.ndarray  # the edge of each key
    key_starts: np.ndarray  # where the keys of each edge begin
    all_steps: Steps  # in the order of rounds
    step_ends: np.ndarray  # by round
    marks: np.ndarray  # (marks, 4): account, kind, value, round from which it is known
    moments: np.ndarray
    moment_starts: np.ndarray

    @property
    def rounds(self) -> int:
        """The most moments that a component has."""
        return int(self.step_ends.size)

    def heads(self, number: int) -> tuple[int, int, int]:
        """How many accounts, edges and keys belong to components that have a moment ``number``."""
        counts = np.diff(np.append(self.moment_starts, self.moments.size))
        last = int(np.searchsorted(-counts, -number, side="left")) - 1
        edges = int(self.edge_ends[last])
        keys = self.key_edge.size if edges == self.key_starts.size else int(self.key_starts[edges])
        return int(self.account_ends[last]), edges, keys

    def times(self, number: int, accounts: int) -> np.ndarray:
        """The moment ``number`` of each of the first accounts."""
        moment: np.ndarray = self.moments[self.moment_starts[self.names_of[:accounts]] + number]
        return moment

    def steps(self, number: int) -> Steps:
        """The changes of round ``number``."""
        begin = int(self.step_ends[number - 1]) if number else 0
        return Steps(*(each[begin : int(self.step_ends[number])] for each in self.all_steps))

    def marks_known(self, number: int, accounts: int) -> np.ndarray:
        """``(account, kind, value)`` of the first accounts as known in round ``number``."""
        return self.marks[(self.marks[:, 3] <= number) & (self.marks[:, 0] < accounts), :3]

    @classmethod
    def of(cls, steps: pa.Table, marks: pa.Table) -> World:
        """The arrays of what links were worth from when on, and of the values of unique kinds.

        ``steps``: account_id, other_id, house, because, sworn, probability, apart, known (int64 microseconds).
        ``marks``: account_id, kind, value, since; those of accounts without a link are left out.
        """
        names, ones, others = _coded(steps)
        component = components(len(names), ones, others)
        marked = pc.index_in(marks["account_id"], value_set=names)
        marks = marks.filter(pc.is_valid(marked))
        marked = marked.drop_null().to_numpy().astype(np.int64)
        known = steps["known"].to_numpy()
        when = np.append(known, marks["since"].cast(pa.int64()).to_numpy())
        clock = _Clock.of(np.append(component[ones], component[marked]), when)
        component = clock.rank[component]
        order = np.lexsort((np.arange(len(names)), component))
        place = np.argsort(order)
        counted = np.arange(clock.starts.size)
        keys = _Keys.of(place[ones], place[others], steps)
        rounds = clock.rounds[: ones.size]
        by_round = np.argsort(rounds, kind="stable")
        columns = [steps[name].to_numpy() for name in ("probability", "sworn", "apart", "known")]
        every = Steps(*(each[by_round] for each in (keys.of_step, *columns)))
        return cls(
            names=names.take(pa.array(order)),
            names_of=component[order],
            account_ends=np.searchsorted(component[order], counted, side="right"),
            edges=keys.edges,
            house=keys.house,
            edge_ends=np.searchsorted(component[order][keys.edges[:, 0]], counted, side="right"),
            key_edge=keys.edge,
            key_starts=np.flatnonzero(np.append(True, keys.edge[1:] != keys.edge[:-1])),
            all_steps=every,
            step_ends=np.searchsorted(rounds[by_round], np.arange(clock.rounds.max() + 1), side="right"),
            marks=np.stack(
                [place[marked], _numbers(marks["kind"]), _numbers(marks["value"]), clock.rounds[ones.size :]], axis=1
            ),
            moments=clock.moments,
            moment_starts=clock.starts,
        )


class _Clock(NamedTuple):
    """Moments of change by component, those with most of them first; ``rank``: the new number of each component."""

    rank: np.ndarray
    moments: np.ndarray
    starts: np.ndarray
    rounds: np.ndarray  # of each change: the how-manieth moment of its component

    @classmethod
    def of(cls, component: np.ndarray, when: np.ndarray) -> _Clock:
        order = np.lexsort((when, component))
        where, at = component[order], when[order]
        new = np.append(True, (where[1:] != where[:-1]) | (at[1:] != at[:-1]))
        counts = np.bincount(where[new])
        busiest = np.argsort(-counts, kind="stable")
        rank = np.empty(counts.size, dtype=np.int64)
        rank[busiest] = np.arange(counts.size)
        old_starts = np.cumsum(counts) - counts
        rounds = np.empty(when.size, dtype=np.int64)
        rounds[order] = np.cumsum(new) - 1 - old_starts[where]
        moments = at[new][np.argsort(rank[where[new]], kind="stable")]
        return cls(rank, moments, np.cumsum(counts[busiest]) - counts[busiest], rounds)


class _Keys(NamedTuple):
    """Edges (two accounts and a kind) and keys (an edge and a reason), both in the order of accounts."""

    edges: np.ndarray
    house: np.ndarray
    edge: np.ndarray  # of each key
    of_step: np.ndarray

    @classmethod
    def of(cls, ones: np.ndarray, others: np.ndarray, steps: pa.Table) -> _Keys:
        house, because = steps["house"].to_numpy(), _numbers(steps["because"])
        order = np.lexsort((because, house, others, ones))
        table = np.stack([ones, others, house.astype(np.int64), because], axis=1)[order]
        differ = table[1:] != table[:-1]
        new_key, new_edge = np.append(True, differ.any(axis=1)), np.append(True, differ[:, :3].any(axis=1))
        of_step = np.empty(ones.size, dtype=np.int64)
        of_step[order] = np.cumsum(new_key) - 1
        return cls(
            edges=table[new_edge, :2],
            house=table[new_edge, 2].astype(bool),
            edge=(np.cumsum(new_edge) - 1)[new_key],
            of_step=of_step,
        )


def _coded(steps: pa.Table) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """All accounts in the order of their ids, and the places of both sides of each step."""
    both = pa.chunked_array(steps["account_id"].chunks + steps["other_id"].chunks, pa.string()).combine_chunks()
    coded = both.dictionary_encode()
    order = pc.sort_indices(coded.dictionary).to_numpy()
    rank = np.empty(order.size, dtype=np.int64)
    rank[order] = np.arange(order.size)
    places = rank[coded.indices.to_numpy()]
    return coded.dictionary.take(pa.array(order)), places[: steps.num_rows], places[steps.num_rows :]


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """A number for each distinct text of a column."""
    found: np.ndarray = column.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    return found
