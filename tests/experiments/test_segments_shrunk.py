"""Segments drawn to the whole: nearer the truth than as measured, with intervals that hold on average over them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from experiments.analysis import analyze
from experiments.analysis.segments import shrunk


def _runs(
    rng: np.random.Generator, *, segments: int, spread: float, runs: int = 200
) -> tuple[float, float, float, float]:
    """Coverage and squared error of the shrunk estimates, then of the shrunk without its uncertainty, and the ratio."""
    held, naive, mine, raw = [], [], [], []
    for _ in range(runs):
        errors = rng.uniform(0.5, 1.5, segments)
        truths = rng.normal(2.0, spread, segments)
        estimates = truths + errors * rng.normal(size=segments)
        found = shrunk(estimates, errors, alpha=0.05)
        held.append(np.mean([each.low <= truth <= each.high for each, truth in zip(found, truths, strict=True)]))
        mine.append(np.mean((np.array([each.estimate for each in found]) - truths) ** 2))
        raw.append(np.mean((estimates - truths) ** 2))
        # The textbook's plug-in: one guess of the spread, taken as known.
        guess = max(np.var(estimates, ddof=1) - np.mean(errors**2), 0.0)
        part = errors**2 / (errors**2 + guess)
        middle = np.average(estimates, weights=1 / (errors**2 + guess))
        half = 1.96 * np.sqrt((1 - part) * errors**2)
        naive.append(np.mean(np.abs(part * middle + (1 - part) * estimates - truths) <= half))
    return float(np.mean(held)), float(np.mean(mine)), float(np.mean(naive)), float(np.mean(raw))


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("segments", [3, 8])
def test_intervals_hold_on_average_and_estimates_are_nearer_the_truth(segments: int, spread: float) -> None:
    held, mine, naive, raw = _runs(np.random.default_rng(segments), segments=segments, spread=spread)
    # 200 runs of several segments: three standard errors are below 2.7 points.
    assert held >= 0.92
    assert mine <= raw * 1.05
    if spread < 1:
        assert mine < 0.7 * raw
        assert naive < 0.8  # the plug-in is sure of what it guessed


def test_one_segment_is_as_measured_and_equal_ones_come_together() -> None:
    (one,) = shrunk(np.array([1.5]), np.array([0.5]), alpha=0.05)
    assert (one.estimate, one.low, one.high) == pytest.approx((1.5, 1.5 - 0.98, 1.5 + 0.98), abs=1e-3)
    far, near = (shrunk(np.array([0.0, 1.0, 8.0]), np.full(3, error), alpha=0.05) for error in (0.01, 5.0))
    assert [each.estimate for each in far] == pytest.approx([0.0, 1.0, 8.0], abs=0.01)
    assert np.ptp([each.estimate for each in near]) < 4


def _frame(seed: int, rows: int = 6000) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    region = rng.choice([f"r{number}" for number in range(12)], rows)
    mail = rng.random(rows) < 0.5
    return pd.DataFrame(
        {"arm": np.where(mail, "mail", "none"), "region": region, "bought": rng.random(rows) < 0.10 + 0.03 * mail}
    )


def test_rows_keep_what_was_measured_beside_what_is_drawn_to_the_whole() -> None:
    found = analyze(_frame(1), arm="arm", control="none", metrics=["bought"], segments=["region"], final=True)
    measured = np.array([row.difference for row in found.segments])
    drawn = np.array([row.shrunk_difference for row in found.segments], dtype=float)
    assert len(drawn) == 12
    assert np.std(drawn) < 0.6 * np.std(measured)
    assert abs(np.mean(drawn) - found.metrics[0].difference) < 0.005
    assert all(row.shrunk_ci_low < row.shrunk_difference < row.shrunk_ci_high for row in found.segments)
    assert any("drawn to the whole" in note for note in found.notes)


def test_a_segment_without_a_sale_is_no_sure_zero() -> None:
    frame = _frame(2)
    frame.loc[frame["region"] == "r3", "bought"] = False
    few = frame[(frame["region"] != "r3") | (np.arange(len(frame)) % 12 == 0)]
    found = analyze(few, arm="arm", control="none", metrics=["bought"], segments=["region"])
    (row,) = (row for row in found.segments if row.value == "r3")
    assert row.shrunk_difference is None
    others = [row.shrunk_difference for row in found.segments if row.value != "r3"]
    assert None not in others


def test_intervals_at_any_look_are_wider_than_those_of_one() -> None:
    one, any_look = (
        analyze(_frame(3), arm="arm", control="none", metrics=["bought"], segments=["region"], final=final).segments[0]
        for final in (True, False)
    )
    assert any_look.shrunk_difference == one.shrunk_difference
    widths = [row.shrunk_ci_high - row.shrunk_ci_low for row in (one, any_look)]
    assert widths[1] > 1.3 * widths[0]


def test_too_small_segments_have_none() -> None:
    frame = pd.DataFrame(
        {"arm": ["a", "b", "a", "b", "a", "b", "a"], "y": [1.0, 2, 4, 3, 5, 5, 7], "s": list("xxxxxyz")}
    )
    found = analyze(frame, arm="arm", control="a", metrics=["y"], segments=["s"])
    assert [row.shrunk_difference is None for row in found.segments] == [False, True, True]


def test_a_segment_without_a_shrunk_difference_is_named_with_the_reason() -> None:
    frame = _frame(3)
    frame["spend"] = frame["bought"] * np.random.default_rng(3).lognormal(3, 1, len(frame))
    frame.loc[frame.index[:8], "region"] = "islands"
    frame.loc[frame.index[:8], "spend"] = 0.0
    found = analyze(frame, arm="arm", control="none", metrics=["bought", "spend"], segments=["region"], final=True)
    blank = [row for row in found.segments if row.shrunk_difference is None]
    assert {(row.metric, row.value) for row in blank} >= {("spend", "islands")}
    (note,) = (each for each in found.notes if "have no shrunk one" in each)
    assert note.startswith(f"{len(blank)} of {len(found.segments)} differences") and "region is 'islands'" in note
    whole = analyze(_frame(1), arm="arm", control="none", metrics=["bought"], segments=["region"], final=True)
    assert not any("have no shrunk one" in each for each in whole.notes)
