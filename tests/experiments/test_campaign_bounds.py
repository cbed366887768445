"""How often a campaign without an effect is decided: a hundred thousand runs by their sums, beside the naive bounds."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.calibration.bounds import after_the_end, stepped, students
from experiments.analysis import analyze
from experiments.analysis.group_sequential import PlannedLooks
from experiments.analysis.ramps import over_steps

RUNS = 40_000
HIGH = 0.05 + 3 * np.sqrt(0.05 * 0.95 / RUNS)  # three standard errors


def test_fourteen_looks_by_students_t_err_as_often_as_they_say() -> None:
    ours, naive = students(np.random.default_rng(81), runs=RUNS)
    assert 0.046 < ours < HIGH
    assert naive > 0.20


@pytest.mark.parametrize(("shares", "least"), [((0.5, 0.02), 0.06), ((0.5, 0.1), 0.055)])
def test_an_arm_that_is_stepped_down_late_errs_no_more_often(shares: tuple[float, float], least: float) -> None:
    ours, naive = stepped(np.random.default_rng(82), shares, runs=RUNS)
    assert 0.046 < ours < HIGH
    assert naive > least


def test_the_best_of_several_last_looks_errs_more_often_than_the_first() -> None:
    ours, naive = after_the_end(np.random.default_rng(83), later=3, runs=RUNS)
    assert ours < HIGH < 0.056 < naive


def test_even_shares_leave_a_plan_as_it_is_and_a_step_without_an_arm_counts_as_the_whole() -> None:
    plan = PlannedLooks(units=(300, 800, 1_000), elapsed=(0.3, 0.8, 1.0))
    even = over_steps(plan, np.array([[200, 200], [300, 300]]), alpha=0.05)
    assert even.bound(0.05) == pytest.approx(plan.bound(0.05), rel=1e-12)
    lone = over_steps(plan, np.array([[400, 0], [300, 300]]), alpha=0.05)
    assert lone.units == pytest.approx((1_200.0, 3_200.0, 4_000.0))


def test_an_analysis_over_a_ramp_takes_the_wider_bound_of_a_late_step_down() -> None:
    rng, n = np.random.default_rng(84), 4_000
    late = np.arange(n) >= n // 2
    arm = rng.random(n) < np.where(late, 0.05, 0.5)
    names = np.where(arm, "mail", "none")
    table = pa.table({"arm": names, "spend": rng.normal(size=n), "step": np.where(late, "2", "1")})
    (row,) = analyze(
        table, arm="arm", control="none", metrics=["spend"], ramp="step", planned_units=n, looked_at=[n // 2]
    ).metrics
    steps = np.array(
        [[int((~arm & (late == each)).sum()), int((arm & (late == each)).sum())] for each in (False, True)]
    )
    plan = PlannedLooks(units=(n / 2, n), elapsed=(0.5, 1.0))
    assert row.sequential_ci_low is not None and row.sequential_ci_high is not None
    told = (row.sequential_ci_high - row.sequential_ci_low) / (row.ci_high - row.ci_low)
    assert told == pytest.approx(over_steps(plan, steps, alpha=0.05).bound(0.05) / 1.96, rel=2e-3)
    assert over_steps(plan, steps, alpha=0.05).bound(0.05) > plan.bound(0.05)
