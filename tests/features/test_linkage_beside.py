"""Keys around new records are those that looking through all records finds."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.linkage.beside import pairs_beside
from features.linkage.blocking import Atom

ATOMS = (
    Atom(field="given", sql=""),
    Atom(field="given", sql="", alone=False),
    Atom(field="date", sql=""),
    Atom(field="city", sql="", alone=False),
)


def table(rows: list[list[int]]) -> pa.Table:
    return pa.table({"atoms": pa.array([[each or None for each in row] for row in rows], pa.list_(pa.int64()))})


def kept(blocks: dict, *, first: int, budget: float) -> list[list[int]]:
    """The blocks that are keys, and the others: the smallest first, all of one size or none, while they fit."""
    news = {value: sum(each >= first for each in block) for value, block in blocks.items()}
    return [
        block
        for block in blocks.values()
        if sum(len(each) * news[value] for value, each in blocks.items() if len(each) <= len(block)) <= budget
    ]


def looked_through(rows: list[list[int]], *, first: int) -> set[tuple[int, int]]:
    """The same by dictionaries, over all records."""
    new, keys, wide = len(rows) - first, [], []
    for place, atom in enumerate(ATOMS):
        blocks: dict = defaultdict(list)
        for record, row in enumerate(rows):
            if row[place] and any(other[place] == row[place] for other in rows[first:]):
                blocks[row[place]].append(record)
        narrow = kept(blocks, first=first, budget=5 * new) if atom.alone else []
        keys += narrow
        wide.append({record: value for value, block in blocks.items() if block not in narrow for record in block})
    for one, other in combinations(range(len(ATOMS)), 2):
        if ATOMS[one].field == ATOMS[other].field:
            continue
        blocks = defaultdict(list)
        for record in wide[one].keys() & wide[other].keys():
            blocks[wide[one][record], wide[other][record]].append(record)
        fresh = {value: block for value, block in blocks.items() if max(block) >= first}
        keys += kept(fresh, first=first, budget=new)
    return {(a, b) for block in keys for a, b in combinations(sorted(block), 2) if b >= first}


RECORDS = st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), max_size=14)


@settings(max_examples=150, deadline=None)
@given(known=RECORDS, new=RECORDS)
def test_pairs_are_those_that_looking_through_everything_finds(known: list, new: list) -> None:
    found = pairs_beside(table(known), table(new), atoms=ATOMS)
    assert set(map(tuple, found.tolist())) == looked_through([*known, *new], first=len(known))
    assert len(found) == len({tuple(pair) for pair in found.tolist()})


def test_known_records_are_never_paired_and_most_of_them_not_looked_at() -> None:
    rng = np.random.default_rng(1)
    known, new = (rng.integers(1, 1 << 40, (count, 4)) for count in (20_000, 50))
    new[:, 0] = known[:50, 0]
    found = pairs_beside(table(known.tolist()), table(new.tolist()), atoms=ATOMS)
    assert found.tolist() == [[place, 20_000 + place] for place in range(50)]


@pytest.mark.parametrize("known", [0, 3])
def test_nothing_new_makes_no_pairs(known: int) -> None:
    assert pairs_beside(table([[1, 2, 3, 4]] * known), table([]), atoms=ATOMS).shape == (0, 2)
