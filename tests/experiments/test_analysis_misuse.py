"""What looks like a result and is none: rounding, values that an arm takes away, numbers beyond what models hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from experiments.analysis import analyze
from experiments.estimation.columns import Column
from experiments.measures import Goal
from experiments.observations import numbers
from features.errors import InputError

N = 4000
rng = np.random.default_rng(0)
ARM = rng.choice(["a", "b"], N)
Y = rng.normal(10, 3, N)


def _judged(columns: dict[str, Any], *, metric: str, covariates: tuple[str, ...] = ()) -> Any:
    return analyze(
        pa.table({"arm": ARM, **columns}), arm="arm", control="a", metrics=[metric], covariates=list(covariates)
    )


@pytest.mark.parametrize("value", [0.1, 19.99, 1e15 + 0.3])
def test_a_constant_is_not_tested_by_the_rounding_of_its_mean(value: float) -> None:
    found = _judged({"y": np.full(N, value)}, metric="y")
    assert found.verdict.code == "keep_running"
    assert np.isnan(found.metrics[0].p_value)


def test_a_ratio_that_is_the_same_for_all_is_not_tested_either() -> None:
    assert np.isnan(_judged({"n": 0.3 * Y, "d": Y}, metric="n/d").metrics[0].p_value)
    assert np.isnan(_judged({"y": Y, "x": 0.7 * Y}, metric="y", covariates=("x",)).metrics[0].p_value)


def test_a_small_spread_on_a_large_mean_is_still_tested() -> None:
    apart = _judged({"y": Y + 1e12}, metric="y").metrics[0]
    # A sum of 2,000 such values is known to about a quarter, their mean to 0.0001: a thousandth of the standard error.
    assert apart.p_value == pytest.approx(_judged({"y": Y}, metric="y").metrics[0].p_value, rel=5e-3)


def test_values_that_one_arm_takes_away_are_not_trusted() -> None:
    gone = (ARM == "b") & (rng.random(N) < 0.2)
    found = _judged({"y": pa.array(Y, mask=gone)}, metric="y")
    assert found.verdict.code == "do_not_trust"
    assert "missing for" in found.verdict.sentence
    even = _judged({"y": pa.array(Y, mask=rng.random(N) < 0.2)}, metric="y")
    assert even.verdict.code == "keep_running"


def test_of_a_further_metric_a_note_says_that_values_are_missing_by_arm() -> None:
    gone = (ARM == "b") & (rng.random(N) < 0.2)
    table = pa.table({"arm": ARM, "y": Y, "z": pa.array(Y, mask=gone)})
    found = analyze(table, arm="arm", control="a", metrics=["y", "z"])
    assert found.verdict.code == "keep_running"
    assert any(note.startswith("z is missing for") for note in found.notes)


def test_features_beyond_single_precision_are_cut_not_infinite() -> None:
    column = Column.read(pa.table({"x": (Y - 10) * 1e300}), "x")
    assert column is not None
    assert np.isfinite(column.matrix()).all()


@pytest.mark.parametrize("days", [1e9, 1e300, float("inf"), float("nan")])
def test_a_window_longer_than_any_life_is_refused_not_an_overflow(days: float) -> None:
    for window, delay in ((days, 0.0), (7.0, days)):
        with pytest.raises(InputError, match="the window of 'bought'"):
            Goal(name="bought", kind="any", events=("purchase",), window_days=window, delay_days=delay)


@pytest.mark.parametrize("role", ["ramp", "stratum", "cluster", "segment"])
def test_the_arm_is_nothing_within_which_arms_are_compared(role: str) -> None:
    given: dict[str, Any] = {"ramp": {"ramp": "arm"}, "stratum": {"strata": ["arm"]}, "segment": {"segments": ["arm"]}}
    with pytest.raises(InputError, match=f"arm and {role} are one column"):
        analyze(pa.table({"arm": ARM, "y": Y}), arm="arm", control="a", metrics=["y"], **given.get(role, {role: "arm"}))


@pytest.mark.parametrize("role", ["cluster", "stratum"])
def test_a_metric_is_nothing_that_was_there_before_the_arms(role: str) -> None:
    given: dict[str, Any] = {"cluster": {"cluster": "y"}, "stratum": {"strata": ["y"]}}
    with pytest.raises(InputError, match=f"{role} and metric are one column"):
        analyze(pa.table({"arm": ARM, "y": Y}), arm="arm", control="a", metrics=["y"], **given[role])


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_numbers_of_few_digits_are_read_as_numbers_without_a_warning(kind: type) -> None:
    values = np.array([1.0, np.nan, 60_000.0], dtype=kind)
    assert np.nansum(numbers(pa.table({"x": values}), "x")) == pytest.approx(60_001.0, rel=1e-3)
    with pytest.raises(InputError, match="infinite or absurd"):
        numbers(pa.table({"x": np.array([1.0, np.inf], dtype=kind)}), "x")
