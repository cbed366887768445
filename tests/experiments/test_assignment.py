"""E1: the same unit, the same arm, everywhere; balanced; independent of other experiments."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from experiments.assignment import assign, assign_all, uniform, uniform_all
from features.errors import InputError

DOCS = Path(__file__).resolve().parents[2] / "docs"
PUBLISHED = json.loads((DOCS / "assignment_vectors.json").read_text(encoding="utf-8"))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x1f"), min_size=1)


def test_published_vectors():
    vectors = PUBLISHED["vectors"]
    assert len(vectors) >= 500
    for row in vectors:
        assert uniform(row["unit_id"], row["experiment"]) == row["uniform"] == row["bits"] / 2**53
        assert assign(row["unit_id"], experiment=row["experiment"], shares=PUBLISHED["shares"]) == row["arm"]


def test_duckdb_computes_the_same_hash():
    units = pa.table(
        {
            name: [row[name] for row in PUBLISHED["vectors"] if "\0" not in row["unit_id"]]
            for name in PUBLISHED["vectors"][0]
        }
    )
    assert units.num_rows > 500
    with duckdb.connect() as connection:
        connection.register("units", units)
        other = connection.execute(
            "SELECT ('0x' || substr(sha256(experiment || chr(31) || unit_id), 1, 16))::UBIGINT >> 11 FROM units"
        ).fetchnumpy()
    assert next(iter(other.values())).tolist() == units["bits"].to_pylist()


@given(ids=st.lists(TEXTS, max_size=20), key=KEYS)
def test_many_at_once_equal_one_by_one(ids, key):
    shares = {"a": 0.2, "b": 0.5, "c": 0.3}
    expected = [assign(each, experiment=key, shares=shares) for each in ids]
    assert assign_all(ids, experiment=key, shares=shares).to_pylist() == expected
    assert assign_all(pa.array(ids, pa.string()), experiment=key, shares=shares).to_pylist() == expected
    assert uniform_all(pa.chunked_array([ids], pa.string()), key).tolist() == [uniform(each, key) for each in ids]


@given(unit=TEXTS, order=st.permutations(["a", "b", "c", "d"]))
def test_the_order_of_the_arms_does_not_matter(unit, order):
    shares = {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}
    shuffled = {arm: shares[arm] for arm in order}
    assert assign(unit, experiment="x", shares=shuffled) == assign(unit, experiment="x", shares=shares)


def test_an_arm_without_a_share_gets_nobody():
    ids = [str(number) for number in range(10_000)]
    assert set(assign_all(ids, experiment="x", shares={"a": 1.0, "z": 0.0}).to_pylist()) == {"a"}


def _balance(count: int) -> dict[int, float]:
    numbers = uniform_all([f"customer-{each}" for each in range(count)], "balance")
    return {
        arms: stats.chisquare(np.bincount((numbers * arms).astype(int), minlength=arms)).pvalue for arms in range(2, 21)
    }


def test_a_million_ids_are_balanced_for_2_to_20_arms():
    # 19 tests that share their data: with a bound of 1e-4 a correct hash fails in fewer than 1 of 500 choices of ids.
    assert min(_balance(1_000_000).values()) > 1e-4


@pytest.mark.slow
def test_ten_million_ids_are_balanced_for_2_to_20_arms():
    assert min(_balance(10_000_000).values()) > 1e-4


def test_shares_are_met():
    ids = [str(number) for number in range(200_000)]
    shares = {"nothing": 0.01, "personal": 0.66, "static": 0.33}
    arms = assign_all(ids, experiment="shares", shares=shares).to_pylist()
    observed = [arms.count(arm) for arm in shares]
    assert stats.chisquare(observed, [share * len(ids) for share in shares.values()]).pvalue > 1e-4


def test_a_hundred_pairs_of_experiments_are_independent():
    ids = [f"customer-{number}" for number in range(50_000)]
    halves = np.array([uniform_all(ids, f"experiment-{number}") < 0.5 for number in range(15)], dtype=float)
    pairs = list(combinations(range(15), 2))[:100]
    correlation = np.corrcoef(halves)
    # The correlation of independent halves has a standard error of 1/sqrt(50,000); 4.5 of them for 100 pairs.
    assert max(abs(correlation[a, b]) for a, b in pairs) < 4.5 / np.sqrt(len(ids))


@pytest.mark.parametrize("unit", [7, None, b"7", "\ud800"])
def test_an_id_that_is_not_text_is_refused(unit):
    with pytest.raises(InputError, match="not text"):
        uniform(unit, "x")
    with pytest.raises(InputError, match="not text"):
        uniform_all(["1", unit], "x")


@pytest.mark.parametrize("shares", [{}, {"a": 0.5}, {"a": 1.5, "b": -0.5}, {"a": float("nan"), "b": 1.0}])
def test_shares_that_are_no_split_are_refused(shares):
    with pytest.raises(InputError, match="not a split"):
        assign("1", experiment="x", shares=shares)


@pytest.mark.parametrize("key", ["", "a\x1fb", "\ud800"])
def test_a_key_that_could_collide_is_refused(key):
    with pytest.raises(InputError, match="key"):
        uniform("1", key)
