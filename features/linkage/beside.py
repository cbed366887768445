"""Which known records a new one is compared with: those that share a key, found by looking around the new ones only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.linkage.blocking import Atom

Codes = NDArray[np.int32]

# Pairs per new record that one key may make, by how many atoms it is of.
_BUDGETS = (5.0, 1.0)
# Places of the table that tells most values apart before they are looked up.
_PLACES = 1 << 20


def pairs_beside(known: pa.Table, new: pa.Table, *, atoms: Sequence[Atom]) -> NDArray[np.int64]:
    """The pairs of a new record with a known or another new one that share a key (pairs, 2), each once, in order.

    Known records are numbered from 0, new ones after them; the smaller number stands first. ``known`` and ``new`` hold
    ``atoms``, a number per atom of each record. A value is a key where it makes few pairs: of each atom the smallest
    blocks come first, until they make their share of pairs per new record. Where an atom is shared by too many, it is
    a key only together with one of another field.
    """
    said = np.concatenate([_matrix(known, atoms), _matrix(new, atoms)], axis=1)
    first, budget = known.num_rows, new.num_rows
    found = [np.empty((0, 2), dtype=np.int64)]
    wide: list[tuple[int, NDArray[np.int64], Codes]] = []
    fields = list(dict.fromkeys(atom.field for atom in atoms))
    for atom, values in zip(atoms, said, strict=True):
        block = _Block.of(np.flatnonzero(values), values, first=first)
        narrow = block.narrow(_BUDGETS[0] * budget) & atom.alone
        found.extend(block.pairs(narrow, first=first))
        left = ~narrow[block.code]
        codes = np.full(values.size, -1, dtype=np.int32)
        codes[block.record[left]] = block.code[left]
        wide.append((fields.index(atom.field), block.record[left], codes))
    for (field, records, one), (other_field, _, other) in combinations(wide, 2):
        if field < other_field and records.size:
            both = records[other[records] >= 0]
            width = int(other.max(initial=0)) + 1
            block = _Block.of(both, one.astype(np.int64) * width + other, first=first)
            found.extend(block.pairs(block.narrow(_BUDGETS[1] * budget), first=first))
    size = said.shape[1]
    packed = np.unique(np.concatenate([each[:, 0] * size + each[:, 1] for each in found]))
    return np.stack([packed // size, packed % size], axis=1)


def _matrix(table: pa.Table, atoms: Sequence[Atom]) -> NDArray[np.int64]:
    """The atoms of each record (atoms, records); 0 where it has none."""
    lists = table.column("atoms").combine_chunks()
    values = lists.flatten().fill_null(0).to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(values.reshape(table.num_rows, len(atoms)).T)


class _Block(NamedTuple):
    """Records that hold a value of a new one: each with the number of its value; records of known people come first."""

    record: NDArray[np.int64]
    code: Codes
    sizes: NDArray[np.int64]
    news: NDArray[np.int64]  # how many of each value's records are new

    @classmethod
    def of(cls, records: NDArray[np.int64], values: NDArray[np.int64], *, first: int) -> _Block:
        """The blocks of ``values`` (by record) among ``records``, in their order; ``first``: the first new record."""
        held = values[records]
        fresh = np.unique(held[np.searchsorted(records, first) :])
        maybe = np.zeros(_PLACES, dtype=bool)
        maybe[fresh % _PLACES] = True
        records = records[maybe[held % _PLACES]]
        held = values[records]
        place = np.minimum(np.searchsorted(fresh, held), max(fresh.size - 1, 0))
        same = fresh[place] == held if fresh.size else np.zeros(0, dtype=bool)
        record, code = records[same], place[same].astype(np.int32)
        count = fresh.size
        news = np.bincount(code[np.searchsorted(record, first) :], minlength=count)
        return cls(record, code, np.bincount(code, minlength=count), news)

    def narrow(self, budget: float) -> NDArray[np.bool_]:
        """Whether each value is a key: the smallest blocks are, while their pairs with a new record fit the budget."""
        order = np.argsort(self.sizes, kind="stable")
        total = np.cumsum((self.sizes * self.news)[order])
        ordered = self.sizes[order]
        # Blocks of one size are all taken or none, so that nothing depends on their order.
        last = np.searchsorted(ordered, ordered, side="right") - 1
        kept = np.zeros(order.size, dtype=bool)
        kept[order] = total[last] <= budget
        return kept

    def pairs(self, narrow: NDArray[np.bool_], *, first: int) -> Iterator[NDArray[np.int64]]:
        """The pairs (pairs, 2) of the records of narrow values with a new one, the smaller record first."""
        inside = narrow[self.code]
        record, code = self.record[inside], self.code[inside]
        begin = int(np.searchsorted(record, first))
        order = np.argsort(code[begin:], kind="stable")
        fresh, of = record[begin:][order], code[begin:][order]
        starts, ends = np.searchsorted(of, code, side="left"), np.searchsorted(of, code, side="right")
        counts = ends - starts
        left = np.repeat(record, counts)
        within = np.arange(left.size) - np.repeat(np.cumsum(counts) - counts, counts)
        right = fresh[np.repeat(starts, counts) + within]
        yield np.stack([left, right], axis=1)[left < right]
