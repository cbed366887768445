"""An experiment over time equals the analysis of what had entered by each day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from experiments.analysis import analyze
from experiments.periods import MOST_PERIODS
from features.errors import InputError


def _frame(days: int, rows: int = 600) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    entered = np.sort(rng.integers(0, days, rows))
    return pd.DataFrame(
        {
            "arm": rng.choice(["a", "b", "c"], rows),
            "y": rng.normal(size=rows),
            "x": rng.normal(size=rows),
            "household": rng.integers(0, 200, rows),
            "entered": [datetime(2026, 3, 1, 23, tzinfo=UTC) + timedelta(days=int(day)) for day in entered],
        }
    ).sample(frac=1, random_state=2)


@pytest.mark.parametrize("more", [{}, {"covariates": ["x"]}, {"cluster": "household"}])
def test_each_look_is_the_analysis_of_the_units_that_had_entered(more: dict[str, object]) -> None:
    frame = _frame(days=6)
    how = {"arm": "arm", "control": "a", "metrics": ["y"], **more}
    found = analyze(frame, time="entered", **how)
    assert len(found.looks) == 6 * 2
    for look in found.looks:
        until = frame[frame["entered"].dt.date <= date.fromisoformat(look.until)]
        row = next(row for row in analyze(until, **how).metrics if row.arm == look.arm)
        assert (look.difference, look.anytime_ci_low, look.anytime_ci_high) == pytest.approx(
            (row.difference, row.anytime_ci_low, row.anytime_ci_high), rel=1e-9, nan_ok=True
        )
    last = found.looks[-1]
    assert last.difference == pytest.approx(found.metrics[-1].difference, rel=1e-12)


def test_many_days_are_drawn_together_and_the_last_is_kept() -> None:
    found = analyze(_frame(days=500, rows=5000), arm="arm", control="a", metrics=["y"], time="entered")
    days = list(dict.fromkeys(look.until for look in found.looks))
    assert len(days) == MOST_PERIODS
    assert days == sorted(days)
    assert found.looks[-1].difference == pytest.approx(found.metrics[-1].difference, rel=1e-12)


@pytest.mark.parametrize("kind", ["text", "date", "day number"])
def test_times_may_be_dates_text_or_day_numbers(kind: str) -> None:
    frame = _frame(days=3)
    days = frame["entered"].dt.date
    column = {
        "text": [each.isoformat() for each in days],
        "date": pa.array(days),
        "day number": [each.day for each in days],
    }[kind]
    table = pa.table({"arm": frame["arm"].tolist(), "y": frame["y"].tolist(), "day": column})
    found = analyze(table, arm="arm", control="a", metrics=["y"], time="day")
    expected = ["1", "2", "3"] if kind == "day number" else ["2026-03-01", "2026-03-02", "2026-03-03"]
    assert list(dict.fromkeys(look.until for look in found.looks)) == expected


def test_units_without_a_time_are_in_no_look() -> None:
    frame = _frame(days=3)
    frame.loc[frame.index[:50], "entered"] = pd.NaT
    found = analyze(frame, arm="arm", control="a", metrics=["y"], time="entered")
    dated = analyze(frame.dropna(), arm="arm", control="a", metrics=["y"])
    assert found.looks[-1].difference == pytest.approx(dated.metrics[-1].difference, rel=1e-12)
    assert any("50 rows have no time" in note for note in found.notes)


@pytest.mark.parametrize("column", [["x"] * 600, [0.5] * 600, [None] * 600])
def test_a_column_without_times_is_refused(column: list[object]) -> None:
    with pytest.raises(InputError):
        analyze(_frame(days=3).assign(when=column), arm="arm", control="a", metrics=["y"], time="when")
