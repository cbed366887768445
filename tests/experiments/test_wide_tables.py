"""Tables of hundreds of columns: the same answers from less work, and the columns that tell are the ones kept."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import RidgeCV

from experiments.estimation.columns import read_columns
from experiments.estimation.nuisance import _PENALTIES, OutcomeModels, _moments, _ridge, _standardized
from experiments.estimation.selection import MOST_COLUMNS, most_telling
from experiments.ladder import ladder
from experiments.ladder.units import _canonical_order


@pytest.mark.parametrize(("rows", "columns"), [(40, 3), (60, 100), (3_000, 20)])
def test_the_ridge_is_that_of_scikit_learn(rows: int, columns: int) -> None:
    rng = np.random.default_rng(rows)
    matrix = rng.gamma(1, 100, (rows, columns)).astype(np.float32)
    known = _standardized(matrix, *_moments(matrix))
    known[:, 1] = known[:, 0]
    outcome = 5.0 + 0.3 * known[:, 2] + rng.normal(size=rows)
    slopes, start, rest = _ridge(known, outcome)
    oracle = RidgeCV(alphas=_PENALTIES).fit(known, outcome)
    assert slopes == pytest.approx(oracle.coef_, abs=1e-6)
    assert start == pytest.approx(oracle.intercept_, abs=1e-6)
    assert rest == pytest.approx(outcome - oracle.predict(known), abs=1e-5)


def _wide(rows: int, columns: int, *, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Column 150 tells the outcome, column 170 whom the contact helps."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, columns)).astype(np.float32)
    arm = rng.integers(0, 2, rows)
    outcome = matrix[:, 150] + arm * np.sign(matrix[:, 170]) + rng.normal(size=rows)
    return matrix, arm, outcome


def test_what_tells_the_outcome_and_the_effect_is_kept() -> None:
    matrix, arm, outcome = _wide(24_000, 180, seed=1)
    kept = most_telling(matrix, action=arm, outcome=outcome, actions=2, rng=np.random.default_rng(1))
    assert kept.size == MOST_COLUMNS
    assert {150, 170} <= set(kept.tolist())
    models = OutcomeModels.fit(matrix, action=arm, outcome=outcome, actions=2, rng=np.random.default_rng(1))
    new, _, _ = _wide(2_000, 180, seed=2)
    expected = models.predict(new)
    right = (expected[:, 1] > expected[:, 0]) == (new[:, 170] > 0)
    assert right[np.abs(new[:, 170]) > 0.2].mean() > 0.9


def test_few_columns_are_all_kept_and_no_chance_is_drawn() -> None:
    matrix, arm, outcome = _wide(24_000, 180, seed=1)
    rng = np.random.default_rng(1)
    assert most_telling(matrix[:, :60], action=arm, outcome=outcome, actions=2, rng=rng).tolist() == list(range(60))
    assert most_telling(matrix[:900], action=arm[:900], outcome=outcome[:900], actions=2, rng=rng).size == 180
    assert rng.random() == np.random.default_rng(1).random()


def test_a_wide_table_gains_from_one_to_one_only_where_customers_differ() -> None:
    matrix, arm, outcome = _wide(44_000, 192, seed=3)
    rng = np.random.default_rng(4)
    alike = matrix[:, 150] + 0.2 * arm + rng.normal(size=arm.size)
    columns = {f"x{place}": column for place, column in enumerate(matrix.T)}
    found = {}
    for name, earned in (("alike", alike), ("differ", outcome)):
        table = pa.table({**columns, "arm": np.array(["none", "mail"])[arm], "y": earned})
        found[name] = ladder(table, arm="arm", control="none", outcome="y", repeats=1)
    assert found["alike"].recommended == "static"
    assert found["differ"].recommended in {"segment", "few", "one_to_one"}
    # Half of the customers gain 1 and half lose 1: who knows which, earns 0.5 more.
    assert found["differ"].rungs[-1].value - found["differ"].rungs[0].value == pytest.approx(0.5, abs=0.06)
    assert any(f"Of 192 model columns each fit used the {MOST_COLUMNS}" in note for note in found["alike"].notes)


def test_the_order_of_units_is_that_of_their_values() -> None:
    rng = np.random.default_rng(1)
    letters = [("x", "y", None)[place] for place in rng.integers(0, 3, 500)]
    table = pa.table({"a": rng.normal(size=500), "b": letters, "c": rng.integers(0, 9, 500)})
    same = np.zeros(500, dtype=np.int64)
    order = _canonical_order(table, exclude=(), arm=same, outcome=same.astype(float))
    hashes = pd.util.hash_pandas_object(table.to_pandas(), index=False).to_numpy() - np.uint64(97_531)
    assert (np.diff(hashes[order].astype(object)) >= 0).all()
    shuffled = rng.permutation(500)
    again = _canonical_order(table.take(pa.array(shuffled)), exclude=(), arm=same, outcome=same.astype(float))
    assert shuffled[again].tolist() == order.tolist()
    there = read_columns(table, ["a"], order=order)["a"]
    assert there is not None and there.numbers is not None
    assert there.numbers == pytest.approx(table["a"].to_numpy()[order], abs=1e-6)
