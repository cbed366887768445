"""Parts of the page that seem to contradict each other say what they compare; what is empty or left out is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pytest

from experiments.analysis import analyze
from experiments.report import Report, comparisons, lasting, worth

BEYOND = "The ladder starts from sending nothing; the decision above holds the arms against static"


@pytest.fixture(scope="module")
def example(example_report: Callable[..., Report]) -> Report:
    return example_report(customers=4_000, weeks=3)


def test_the_ladder_says_that_the_decision_compares_with_the_control(example: Report) -> None:
    assert example.ladder is not None
    panel = worth.ladder(replace(example, ladder=replace(example.ladder, recommended="nothing")))
    assert panel is not None
    assert panel.intro.startswith("No step surely earns more than sending nothing.")
    assert BEYOND in panel.intro


def test_where_the_control_is_nothing_both_compare_the_same(example: Report) -> None:
    arms = tuple(
        replace(arm, rung={"nothing": "static", "static": "nothing"}.get(arm.rung or "", arm.rung))
        for arm in example.experiment.arms
    )
    panel = worth.ladder(replace(example, experiment=replace(example.experiment, arms=arms)))
    assert panel is not None
    assert "the decision above" not in panel.intro


def test_an_empty_column_of_the_ladder_is_left_out(example: Report) -> None:
    assert example.ladder is not None
    bare = replace(example.ladder, rungs=tuple(replace(rung, shares={}) for rung in example.ladder.rungs))
    full, empty = worth.ladder(example), worth.ladder(replace(example, ladder=bare))
    assert full is not None and empty is not None
    assert empty.table.columns == ("Step", "Value", "Gain over the step before")
    assert {len(row) for row in empty.table.rows} == {3}


def test_points_of_shortened_windows_are_told_as_such(example: Report) -> None:
    first = min(point.as_of for point in example.looks)
    whole = first - example.goal.maturity - timedelta(hours=1)
    late = comparisons.over_time(replace(example, experiment=replace(example.experiment, start=whole)))
    start = first - example.goal.maturity + timedelta(hours=1)
    early = comparisons.over_time(replace(example, experiment=replace(example.experiment, start=start)))
    assert late is not None and early is not None
    assert "shortened" not in late.intro
    assert "in windows shortened to that" in early.intro
    assert [row[0].note for row in early.table.rows][:2] == ["of shortened windows", ""]


def test_who_stays_says_why_arms_are_left_out(example: Report) -> None:
    assert example.retention is not None
    shown = example.retention.arms[:2]
    few = lasting.retention(replace(example, retention=replace(example.retention, arms=shown)))
    arms = tuple(replace(shown[0], arm=name) for name in ("static", "one_to_one", "a", "b", "c", "d"))
    many = lasting.retention(replace(example, retention=replace(example.retention, arms=arms)))
    assert few is not None and many is not None
    assert "not shown" not in few.intro
    assert "so 2 of the 6 arms are not shown" in many.intro


def test_one_stratum_is_one() -> None:
    table = pa.table({"arm": ["a", "b"] * 100, "y": [1.0, 2.0, 3.0, 5.0] * 50, "land": ["x"] * 200})
    found = analyze(table, arm="arm", control="a", metrics=["y"], strata=["land"], final=True)
    assert any("hold 1 stratum at" in note for note in found.notes)
