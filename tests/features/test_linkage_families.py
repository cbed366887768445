"""Families in a register beside a mailing list of names and addresses: whom the register tells apart stays apart."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pyarrow as pa

from benchmarks.linkage import GIVEN
from features.linkage import link
from features.linkage.clusters import clusters

SURNAMES = ("Berg", "Lind", "Moreau", "Okafor", "Petrov", "Silva", "Tanaka", "Weiss", "Novak", "Hansen")


def register_and_mailing(*, homes: int, seed: int) -> tuple[pa.Table, pa.Table]:
    """Homes of one to three persons whose cards follow one another; one in ten is there twice, under a new e-mail."""
    rng = np.random.default_rng(seed)
    register, mailing = [], []
    for _ in range(homes):
        address = {"surname": str(rng.choice(SURNAMES)), "street": f"Long road {rng.integers(1, 200)}",
                   "zip": f"{rng.integers(10, 18)}115"}  # fmt: skip
        for name in rng.choice(GIVEN, rng.integers(1, 4), replace=False):
            number = len(register)
            person = {"first name": str(name), **address}
            born = str(np.datetime64("1945-01-01") + int(rng.integers(0, 21900)))
            card = str(2_900_000_000 + number * 37)
            for again in range(1 + (rng.random() < 0.1)):
                email = f"{name}.{address['surname']}{rng.integers(1, 9999)}@{'post' if again else 'mail'}.example"
                row = {"id": f"r{number}-{again}", **person, "born": born, "email": email, "card": card}
                register.append(row)
            if rng.random() < 0.4:
                mailing.append({"id": f"m{number}-0", **person})
    return pa.Table.from_pylist(register), pa.Table.from_pylist(mailing)


def test_a_mailing_list_does_not_undo_what_the_register_tells() -> None:
    register, mailing = register_and_mailing(homes=800, seed=4)
    found = link([register, mailing], id_column="id").records.to_pylist()
    person = {row["record_id"]: row["record_id"][1:].split("-")[0] for row in found}
    groups: dict[str, list[str]] = {}
    for row in found:
        groups.setdefault(row["customer_id"], []).append(row["record_id"])
    said = {frozenset(pair) for group in groups.values() for pair in combinations(sorted(group), 2)}
    right = {pair for pair in said if len({person[each] for each in pair}) == 1}
    assert len(right) >= 0.98 * len(said)
    possible = sum(count * (count - 1) // 2 for count in Counter(person.values()).values())
    assert len(right) >= 0.98 * possible


def test_a_poor_record_does_not_join_two_whom_more_fields_tell_apart() -> None:
    left, right = np.array([0, 0, 1]), np.array([1, 2, 2])
    odds, told = np.array([-2.0, 3.2, 3.1]), np.array([4, 2, 2])
    assert clusters(left, right, odds, records=3, least=0.0, told=told).tolist() == [0, 1, 0]
    assert clusters(left, right, odds, records=3, least=0.0).tolist() == [0, 0, 0]
