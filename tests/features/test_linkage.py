"""Who is the same person: on FEBRL's files, on simulated people, and as rules that any table obeys."""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.linkage import Recipe, people, quality
from features.errors import InputError
from features.linkage import Linkage, LinkageModel, link, link_new, read_people
from features.linkage.clusters import clusters
from features.linkage.comparisons import comparisons_of
from features.linkage.model import Patterns, fit
from features.linkage.normalization import Field

Data = Callable[[str], Path]


def febrl(data: Data, *names: str) -> list[pa.Table]:
    """FEBRL's files under ids that tell nothing: random numbers, and rows in a random order."""
    rng = np.random.default_rng(7)
    tables = []
    for place, name in enumerate(names):
        table = read_people(data(f"febrl/{name}.csv.gz"))
        truth = [re.findall(r"\d+", each)[0] for each in table.column("rec_id").to_pylist()]
        ids = [f"{place}-{number}" for number in rng.permutation(table.num_rows)]
        table = table.set_column(0, "rec_id", pa.array(ids)).append_column("person", pa.array(truth))
        tables.append(table.take(rng.permutation(table.num_rows)))
    return tables


def f1(tables: Sequence[pa.Table], **options: object) -> float:
    """Pairwise F1 of linking tables whose column ``person`` is the truth, which the linkage doesn't see."""
    truth = {row["rec_id"]: row["person"] for table in tables for row in table.to_pylist()}
    found = link([table.drop(["person"]) for table in tables], id_column="rec_id", **options)
    rows = found.records.to_pylist()
    return quality([row["customer_id"] for row in rows], [truth[row["record_id"]] for row in rows]).f1


def partition(found: Linkage) -> set[frozenset[str]]:
    groups: dict[str, set[str]] = {}
    for row in found.records.to_pylist():
        groups.setdefault(row["customer_id"], set()).add(row["record_id"])
    return {frozenset(group) for group in groups.values()}


@pytest.mark.parametrize(("names", "goal"), [(("dataset1",), 0.97), (("dataset3",), 0.93)])
def test_the_goals_on_febrl(data: Data, names: tuple[str, ...], goal: float) -> None:
    assert f1(febrl(data, *names)) >= goal


@pytest.mark.slow
@pytest.mark.parametrize(("names", "goal"), [(("dataset2",), 0.97), (("dataset4a", "dataset4b"), 0.97)])
def test_the_other_goals_on_febrl(data: Data, names: tuple[str, ...], goal: float) -> None:
    assert f1(febrl(data, *names)) >= goal


def as_one_line(table: pa.Table) -> pa.Table:
    """The same people as another company has them: full name, address in one line, day before month."""
    rows = []
    for row in table.to_pylist():
        said = {name: (value or "").strip() for name, value in row.items()}
        born = said["date_of_birth"]
        rows.append({
            "born": f"{born[6:]}/{born[4:6]}/{born[:4]}" if len(born) == 8 else born,
            "Name": f"{said['given_name']} {said['surname']}".strip().title(),
            "where": ", ".join(said[part] for part in ("street_number", "address_1", "suburb", "state", "postcode")),
            "rec_id": row["rec_id"],
            "spent": f"{len(rows) % 97}.50",
            "person": row["person"],
        })  # fmt: skip
    return pa.Table.from_pylist(rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "goal"),
    [
        (lambda table: table.drop(["soc_sec_id"]), 0.99),
        (lambda table: table.drop(["given_name", "surname"]), 0.99),
        (lambda table: table.select(["rec_id", "given_name", "surname", "date_of_birth", "person"]), 0.9),
        (lambda table: table.rename_columns([*table.column_names[:1], *"abcdefghij", "person"]), 0.99),
        (as_one_line, 0.97),
        # Names that were replaced by quite another one look like another person of the same home.
        (lambda table: table.drop(["soc_sec_id", "date_of_birth"]), 0.88),
    ],
)
def test_other_columns_of_the_same_people(data: Data, change: Callable[[pa.Table], pa.Table], goal: float) -> None:
    (table,) = febrl(data, "dataset3")
    assert f1([change(table)]) >= goal


def test_a_table_of_a_few_records(data: Data) -> None:
    (table,) = febrl(data, "dataset1")
    doubles = [person for person, count in Counter(table.column("person").to_pylist()).items() if count > 1]
    few = table.filter(pa.compute.is_in(table.column("person"), pa.array(doubles[:4])))
    alone = table.filter(pa.compute.is_in(table.column("person"), pa.array(doubles[4:6]))).slice(0, 1)
    assert f1([pa.concat_tables([few, alone])]) == 1


def test_simulated_people() -> None:
    assert f1([people(700, recipe=Recipe(), seed=3)]) >= 0.97


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "goal"),
    [
        (Recipe(typo=0.25, missing=0.15, moved=0.2), 0.93),
        (Recipe(duplicated=0.9, most=40), 0.97),
        (Recipe(duplicated=1.0, most=400), 0.97),
    ],
)
def test_simulated_people_of_other_kinds(recipe: Recipe, goal: float) -> None:
    assert f1([people(2000, recipe=recipe, seed=3)]) >= goal


def test_tables_whose_columns_have_other_names_are_laid_side_by_side() -> None:
    table = people(600, recipe=Recipe(), seed=6)
    left, right = table.slice(0, 300), table.slice(300)
    right = right.rename_columns(
        ["rec_id", "Vorname", "Nachname", "Geburtsdatum", "Hausnummer", "Strasse", "Ort", "PLZ", "Land", "Telefon",
         "Mail", "person"]
    ).select([11, 10, 3, 2, 1, 0, 4, 5, 6, 7, 8, 9])  # fmt: skip
    assert f1([left, right]) >= 0.97


def test_the_order_of_rows_and_columns_makes_no_difference() -> None:
    """A second linkage repeats the first to the last digit, however its rows are shuffled."""
    table = people(1600, recipe=Recipe(), seed=8).drop(["person"])
    rng = np.random.default_rng(1)
    mixed = table.take(rng.permutation(table.num_rows))
    first, second = (link([each], id_column="rec_id") for each in (table, mixed))
    assert (first.records, first.pairs, first.weights) == (second.records, second.pairs, second.weights)
    turned = link([mixed.select(sorted(mixed.column_names))], id_column="rec_id")
    assert partition(turned) == partition(first)


def test_every_record_is_in_one_customer_and_the_smallest_id_names_it() -> None:
    table = people(400, recipe=Recipe(), seed=2).drop(["person"])
    found = link([table], id_column="rec_id")
    assert sorted(found.records.column("record_id").to_pylist()) == sorted(table.column("rec_id").to_pylist())
    assert all(min(group) in group for group in partition(found))
    for row in found.records.to_pylist():
        assert row["customer_id"] <= row["record_id"]
        assert 0 <= row["probability"] <= 1


def test_ids_that_two_tables_share_are_told_apart() -> None:
    table = people(300, recipe=Recipe(), seed=4).drop(["person"])
    again = table.set_column(0, "rec_id", table.column("rec_id"))
    found = link([table, again], id_column="rec_id", duplicate_free=True)
    assert found.customers <= 300
    assert all(row["customer_id"].startswith("1:") for row in found.records.to_pylist())
    assert found.possible == table.num_rows**2


def test_blanks_of_an_id_are_kept() -> None:
    table = people(60, recipe=Recipe(), seed=4).drop(["person"])
    ids = [f" no {each} " for each in range(table.num_rows)]
    found = link([table.set_column(0, "rec_id", pa.array(ids))], id_column="rec_id")
    assert sorted(found.records.column("record_id").to_pylist()) == sorted(ids)


def test_new_records_find_the_people_that_linking_everything_finds() -> None:
    table = people(1000, recipe=Recipe(), seed=9)
    known, new = table.slice(0, 900), table.slice(900)
    model = LinkageModel.of(link([known.drop(["person"])], id_column="rec_id"))
    prepared = [model.prepare(each, id_column="rec_id") for each in (known, new)]
    found = link_new(model, known=prepared[0], new=prepared[1], least=0.5)
    truth = dict(zip(table.column("rec_id").to_pylist(), table.column("person").to_pylist(), strict=True))
    fresh = set(new.column("rec_id").to_pylist())
    pairs = {frozenset((row["id_l"], row["id_r"])) for row in found.to_pylist()}
    assert all(pair & fresh for pair in pairs)
    right = {frozenset(p) for p in combinations(truth, 2) if truth[p[0]] == truth[p[1]] and fresh & set(p)}
    assert len(pairs & right) >= 0.95 * max(len(pairs), len(right))


def test_a_saved_model_is_the_same_and_a_broken_one_is_refused(tmp_path: Path) -> None:
    table = people(200, recipe=Recipe(), seed=9).drop(["person"])
    model = LinkageModel.of(link([table], id_column="rec_id"))
    assert LinkageModel.load(model.save(tmp_path / "model.json")) == model
    text = model.to_json()
    for broken in ("", "[]", text.replace('"version": 1', '"version": 9'), text.replace('"email"', '"drop table"')):
        with pytest.raises(InputError, match="can't be read"):
            LinkageModel.from_json(broken)
    with pytest.raises(InputError, match="no linkage model"):
        LinkageModel.load(tmp_path / "none.json")


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("pyspark") is None or shutil.which("java") is None, reason="needs pyspark and Java"
)
def test_spark_finds_what_duckdb_finds(data: Data) -> None:
    (table,) = febrl(data, "dataset1")
    some = table.slice(0, 300).drop(["person"])
    on_duckdb, on_spark = (link([some], id_column="rec_id", engine_name=name) for name in ("duckdb", "spark"))
    assert partition(on_duckdb) == partition(on_spark)
    # Jaro and Winkler are summed in another order by the two.
    for one, other in zip(
        on_duckdb.records.column("probability").to_pylist(),
        on_spark.records.column("probability").to_pylist(),
        strict=True,
    ):
        assert one == pytest.approx(other, abs=1e-6)


PEOPLE = pa.table({"id": ["1", "2", "3"], "first_name": ["Anna", "Anna", "Tom"], "surname": ["Berg", "Berg", "Li"]})


@pytest.mark.parametrize(
    ("table", "column", "wrong"),
    [
        (PEOPLE, "ids", "unknown column 'ids'"),
        (PEOPLE.set_column(0, "id", pa.array(["1", "1", "2"])), "id", "ids are there more than once"),
        (PEOPLE.set_column(0, "id", pa.array(["1", " ", None])), "id", "records have no id"),
        (PEOPLE.select(["id"]), "id", "can't tell one person from another"),
        (PEOPLE.select(["id", "first_name"]), "id", "can't tell one person from another"),
        (PEOPLE.slice(0, 1), "id", "nothing to link"),
        (PEOPLE.slice(0, 0), "id", "nothing to link"),
    ],
)
def test_what_can_not_be_linked_is_refused(table: pa.Table, column: str, wrong: str) -> None:
    with pytest.raises(InputError) as told:
        link([table], id_column=column)
    assert wrong in told.value.wrong


def test_names_and_a_town_of_many_people_are_refused() -> None:
    rows = 3000
    table = pa.table({
        "id": [str(each) for each in range(rows)],
        "gender": ["m" if each % 2 else "f" for each in range(rows)],
        "first_name": [("Anna", "Tom", "Eva")[each % 3] for each in range(rows)],
    })  # fmt: skip
    with pytest.raises(InputError, match="can't tell one person from another"):
        link([table], id_column="id")


def grouped(pairs: dict[tuple[int, int], float], records: int, least: float = 0.0) -> list[int]:
    left, right = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    return clusters(left, right, np.array(list(pairs.values())), records=records, least=least).tolist()


def test_a_chain_is_no_group() -> None:
    """Two families of four that one weak link joins stay two; without it they are two as well."""
    inside = {pair: 6.0 for four in ((0, 1, 2, 3), (4, 5, 6, 7)) for pair in combinations(four, 2)}
    assert grouped({**inside, (3, 4): 1.0}, 8) == [0, 0, 0, 0, 4, 4, 4, 4]
    chain = {(each, each + 1): 2.0 for each in range(9)}
    assert max(Counter(grouped(chain, 10)).values()) <= 3


def test_a_group_that_holds_together_is_kept_though_some_pairs_were_not_compared() -> None:
    assert grouped({(0, 1): 5.0, (1, 2): 5.0}, 3) == [0, 0, 0]
    ring = {(0, 1): 5.0, (1, 2): 5.0, (2, 3): 5.0, (0, 3): 5.0}
    assert grouped(ring, 5) == [0, 0, 0, 0, 4]


@given(st.integers(2, 12), st.data())
@settings(max_examples=60, deadline=None)
def test_groups_are_numbered_by_their_smallest_and_never_join_what_no_link_connects(records: int, data) -> None:
    pairs = data.draw(st.dictionaries(
        st.tuples(st.integers(0, records - 1), st.integers(0, records - 1)).filter(lambda pair: pair[0] < pair[1]),
        st.floats(-7, 12),
        max_size=30,
    ))  # fmt: skip
    group = grouped(pairs, records)
    assert all(group[each] == each for each in set(group))
    reach = {each: {each} for each in range(records)}
    for (one, other), weight in pairs.items():
        if weight >= 0:
            joined = reach[one] | reach[other]
            for member in joined:
                reach[member] = joined
    assert all(each in reach[group[each]] for each in range(records))


def test_the_model_finds_the_shares_that_made_the_patterns() -> None:
    """Pairs drawn from known shares: the fit comes back to them, within the sampling error of some thousand."""
    fields = [Field(name=kind, kind=kind, columns=((kind,),), forms=("words",)) for kind in ("code", "date", "surname")]
    comparisons = comparisons_of(fields)
    rng = np.random.default_rng(5)
    match = {"code": (0.8, 0.1, 0.03, 0.07), "date": (0.7, 0.1, 0.05, 0.05, 0.1), "surname": (0.6, 0.2, 0.1, 0.1)}
    other = {
        "code": (1e-5, 1e-4, 2e-3, 0.99789),
        "date": (1e-3, 1e-3, 1e-3, 7e-3, 0.99),
        "surname": (0.01, 0.01, 0.08, 0.9),
    }
    levels, counts = [], []
    for shares, pairs in ((match, 4000), (other, 400_000)):
        drawn = np.stack([rng.choice(len(shares[f.name]), pairs, p=np.array(shares[f.name]) / sum(shares[f.name])) + 1
                          for f in fields], axis=1)  # fmt: skip
        found, times = np.unique(drawn, axis=0, return_counts=True)
        levels.append(found)
        counts.append(times)
    compared = np.concatenate(counts).astype(float)
    patterns = Patterns(levels=np.concatenate(levels).astype(np.int8), compared=compared, drawn=compared)
    weights = fit(comparisons, patterns, pairs=compared.sum(), records=3000)
    assert sum(weights.classes[:3]) == pytest.approx(4000 / 404_000, rel=0.05)
    for name, shares in match.items():
        assert weights.match[name] == pytest.approx(shares, abs=0.03)
