"""Tables as they come: columns that say the same twice, hundreds of columns, odd types, roles misunderstood."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.linkage import Recipe, people, quality
from features.errors import InputError
from features.linkage import Linkage, LinkageModel, link, link_new
from features.linkage.redundancy import MOST

FAMILIES = Recipe(family=0.6, typo=0.03, missing=0.02)


def judged(table: pa.Table) -> tuple[Linkage, float]:
    """The linkage of a table whose column ``person`` is the truth, and how many of its pairs are right."""
    truth = dict(zip(table.column("rec_id").to_pylist(), table.column("person").to_pylist(), strict=True))
    found = link([table.drop(["person"])], id_column="rec_id")
    rows = found.records.to_pylist()
    return found, quality([row["customer_id"] for row in rows], [truth[row["record_id"]] for row in rows]).precision


def backwards(name: str | None) -> str | None:
    return None if name is None else name[::-1]


@pytest.mark.parametrize("said", [lambda name: name, backwards], ids=["as it is", "otherwise"])
def test_a_column_that_repeats_the_surname_makes_no_family_one_person(said: Callable) -> None:
    table = people(1600, recipe=FAMILIES, seed=6).drop(["email", "phone", "birth_date"])
    again = pa.array([said(each) for each in table.column("surname").to_pylist()])
    _, alone = judged(table)
    found, beside = judged(table.append_column("xq7", again))
    assert beside >= alone - 0.01
    (told,) = [each for each in found.roles[0] if each.column == "xq7"]
    assert (told.role, told.because) == ("ignored", "surname says it")


def test_what_only_the_same_person_shares_is_no_repetition() -> None:
    table = people(1600, recipe=FAMILIES, seed=6)
    card = pa.array([f"29{int(each):07d}4" for each in table.column("person").to_pylist()])
    found, precision = judged(table.append_column("xq7", card))
    assert "code" in {each.name for each in found.fields}
    assert precision >= 0.99


def test_hundreds_of_columns_are_linked_by_those_that_tell_most() -> None:
    table = people(200, recipe=Recipe(), seed=2)
    rng = np.random.default_rng(0)
    words = np.array([f"{a}{b}" for a in ("red", "blue", "green", "grey") for b in ("stone", "leaf", "sand", "wood")])
    for number in range(120):
        table = table.append_column(f"c{number}", pa.array(rng.choice(words, 200)))
    found, _ = judged(table)
    assert len(found.fields) <= MOST
    assert {"given", "surname", "date", "email", "phone"} <= {each.name for each in found.fields}
    left = [each for each in found.roles[0] if each.because == f"{MOST} fields tell more"]
    assert all(each.role == "ignored" for each in left)


def test_types_that_are_no_values_are_left_out_and_new_records_with_them_too() -> None:
    table = people(120, recipe=Recipe(), seed=2).drop(["person"])
    plain = link([table], id_column="rec_id")
    odd = table.append_column("tags", pa.array([["a", "b"]] * 120)).append_column("raw", pa.array([b"\xff"] * 120))
    odd = odd.append_column("half", pa.array(np.zeros(120, dtype=np.float16)))
    odd = odd.set_column(2, "surname", odd.column("surname").dictionary_encode())
    found = link([odd], id_column="rec_id")
    assert found.records.equals(plain.records)
    assert {each.because for each in found.roles[0] if each.column in ("tags", "raw")} == {"lists, parts or bytes"}
    model = LinkageModel.of(found)
    known, new = (model.prepare(each, id_column="rec_id") for each in (odd.slice(0, 100), odd.slice(100)))
    assert link_new(model, known=known, new=new).column_names == ["id_l", "id_r", "probability"]


def test_an_id_of_lists_is_refused() -> None:
    table = pa.table({"id": [["a"], ["b"]], "name": ["Anna Berg", "Tom Stone"]})
    with pytest.raises(InputError, match="an id is a text or a number"):
        link([table], id_column="id")


@pytest.mark.parametrize(("roles", "wrong"), [({"rec_id": "email"}, "never evidence"), ({"town": "id"}, "named once")])
def test_a_role_of_the_id_is_refused(roles: dict, wrong: str) -> None:
    table = people(40, recipe=Recipe(), seed=2).drop(["person"])
    with pytest.raises(InputError, match=wrong):
        link([table], id_column="rec_id", roles=roles)
