"""Of several arms that beat the control, whether the best beats the second is told, and allows for having chosen."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from experiments.analysis import analyze
from experiments.results import IntervalKind, MetricRow
from features.tables import read_table


def _best(table: pa.Table, **how: Any) -> MetricRow:
    found = analyze(table, arm="arm", control="none", metrics=["y"], **how)
    assert found.best_against_second is not None
    return found.best_against_second


def test_hillstroms_mens_against_womens(data: Callable[[str], Path]) -> None:
    table = read_table(data("hillstrom/hillstrom.csv.gz"))
    found = analyze(table, arm="segment", control="No E-Mail", metrics=["visit", "spend"])
    row = found.best_against_second
    assert row is not None and (row.arm, row.control) == ("Mens E-Mail", "Womens E-Mail")
    two = table.filter(np.asarray(table["segment"]) != "No E-Mail")
    alone = analyze(two, arm="segment", control="Womens E-Mail", metrics=["visit"]).metrics[0]
    assert row.interval("anytime") == pytest.approx(alone.interval("anytime"))  # one pair: nothing to correct for
    assert found.notes[0].startswith("Best against second, 'Mens E-Mail' against 'Womens E-Mail': visit +3.")
    assert found.notes[0].endswith("the best is ahead.")


@pytest.mark.parametrize("kind", ["anytime", "fixed", "group_sequential"])
def test_every_kind_of_interval_allows_for_all_pairs(kind: IntervalKind) -> None:
    rng = np.random.default_rng(3)
    table = pa.table({"arm": np.array(["none", "a", "b", "c"])[np.arange(4_000) % 4], "y": rng.normal(size=4_000)})

    def how(planned_units: int) -> dict[str, Any]:
        return {"final": True} if kind == "fixed" else {"planned_units": planned_units} if "group" in kind else {}

    row = _best(table, **how(8_000))
    pair = table.filter(np.isin(np.asarray(table["arm"]), (row.arm, row.control)))
    whole, third = (
        analyze(pair, arm="arm", control=row.control, metrics=["y"], alpha=alpha, **how(4_000))
        .metrics[0]
        .interval(kind)
        for alpha in (0.05, 0.05 / 3)
    )
    assert row.interval(kind) == pytest.approx(third, rel=1e-3)
    assert row.interval(kind)[0] < whole[0] and row.interval(kind)[1] > whole[1]


def test_among_five_equal_arms_the_best_is_seldom_told_to_beat_the_second_or_any() -> None:
    rng, runs, told = np.random.default_rng(4), 200, 0
    arms = np.array(["none", "a", "b", "c", "d", "e"])[np.arange(1_200) % 6]
    for _ in range(runs):
        low, high = _best(pa.table({"arm": arms, "y": rng.normal(size=1_200)}), final=True).interval("fixed")
        told += low > 0 or high < 0
    assert told / runs <= 0.05


def test_less_is_better_turns_the_best_and_one_arm_has_no_second() -> None:
    rng, arms = np.random.default_rng(5), np.array(["none", "a", "b"])[np.arange(3_000) % 3]
    table = pa.table({"arm": arms, "y": rng.normal(np.where(arms == "a", 0.0, np.where(arms == "b", 0.5, 1.0)))})
    row = _best(table, lower_is_better=["y"])
    assert (row.arm, row.control) == ("a", "b") and not math.isnan(row.p_value)
    note = analyze(table, arm="arm", control="none", metrics=["y"], lower_is_better=["y"]).notes[0]
    assert note.endswith("the best is ahead.")
    two = table.filter(arms != "b")
    assert analyze(two, arm="arm", control="none", metrics=["y"]).best_against_second is None
