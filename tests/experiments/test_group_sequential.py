"""Bounds of a campaign with an end: printed figures, an integral by another way, and how often they are crossed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from experiments.analysis.group_sequential import PlannedLooks, boundaries, campaign, obrien_fleming, pocock
from features.errors import InputError

FIFTHS = [0.2, 0.4, 0.6, 0.8, 1.0]


def test_the_published_bounds_of_five_looks() -> None:
    assert boundaries(FIFTHS) == pytest.approx([4.8769, 3.3570, 2.6803, 2.2898, 2.0310], abs=5e-5)
    even = boundaries(FIFTHS, spending="pocock")
    assert even == pytest.approx([2.4380, 2.4268, 2.4102, 2.3966, 2.3860], abs=5e-5)


@pytest.mark.parametrize("spending", ["obrien_fleming", "pocock"])
def test_the_chance_to_stay_within_is_that_of_scipys_normal_distribution(spending: str) -> None:
    units, elapsed = [300.0, 500.0, 1_100.0], [0.2, 0.45, 1.0]
    bounds = boundaries(units, elapsed=elapsed, spending=spending)
    spent = {"obrien_fleming": obrien_fleming, "pocock": pocock}[spending]
    # The z statistics of looks at n and m units correlate by the root of n / m.
    together = np.sqrt(np.minimum.outer(units, units) / np.maximum.outer(units, units))
    for looks in (1, 2, 3):
        inside = stats.multivariate_normal(cov=together[:looks, :looks], allow_singular=True).cdf(
            bounds[:looks], lower_limit=-bounds[:looks]
        )
        assert 1 - inside == pytest.approx(2 * spent(elapsed[looks - 1], alpha=0.025), abs=2e-5)  # scipy's own error


def _crossed(rng: np.random.Generator, units: list[float], bounds: np.ndarray, *, runs: int = 100_000) -> float:
    """The share of runs without an effect that leave their bounds at any look."""
    steps = rng.normal(size=(runs, len(units))) * np.sqrt(np.diff(units, prepend=0.0))
    return float((np.abs(steps.cumsum(axis=1) / np.sqrt(units)) > bounds).any(axis=1).mean())


@pytest.mark.parametrize(
    ("units", "elapsed"),
    [
        pytest.param([100.0, 200.0, 300.0, 400.0], [0.25, 0.5, 0.75, 1.0], id="as planned"),
        pytest.param([100.0, 400.0], [0.25, 1.0], id="two looks skipped"),
        pytest.param(
            [100.0, 130.0, 131.0, 200.0, 300.0, 390.0, 400.0], [0.25, 0.3, 0.31, 0.5, 0.75, 0.97, 1], id="added"
        ),
        pytest.param([100.0, 200.0, 300.0, 700.0], [0.25, 0.5, 0.75, 1.0], id="overrun"),
        pytest.param([100.0, 200.0, 210.0], [0.25, 0.5, 1.0], id="underrun"),
        pytest.param([30.0, 200.0, 280.0, 900.0], [0.25, 0.5, 0.75, 1.0], id="by time, units come as they come"),
    ],
)
def test_whatever_looks_are_taken_all_of_alpha_is_spent_and_no_more(units: list[float], elapsed: list[float]) -> None:
    bounds = boundaries(units, elapsed=elapsed)
    # Three standard errors of 100,000 runs at 5%.
    assert _crossed(np.random.default_rng(21), units, bounds) == pytest.approx(0.05, abs=0.0021)


def test_looking_with_the_bound_of_one_look_is_wrong_as_often_as_is_known() -> None:
    for looks, known in ((2, 0.0831), (5, 0.1417), (10, 0.1934), (20, 0.2479), (50, 0.3205)):
        units = [float(each) for each in range(1, looks + 1)]
        found = _crossed(np.random.default_rng(looks), units, np.full(looks, special.ndtri(0.975)))
        assert found == pytest.approx(known, abs=3 * math.sqrt(known * (1 - known) / 100_000))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.01, 0.99), min_size=2, max_size=8, unique=True), st.sampled_from([0.01, 0.05, 0.1]))
def test_a_bound_depends_on_its_look_and_those_before_it_alone(shares: list[float], alpha: float) -> None:
    looks = sorted(shares)
    whole = boundaries([*looks, 1.0], alpha=alpha)
    assert boundaries(looks, alpha=alpha) == pytest.approx(whole[:-1], rel=1e-6)
    assert (whole >= special.ndtri(1 - alpha / 2) - 1e-9).all()  # never narrower than the one look
    assert (boundaries(looks, alpha=alpha / 2) >= whole[:-1] - 1e-9).all()


def test_a_single_look_at_the_end_is_the_interval_of_one_look() -> None:
    assert boundaries([1.0])[0] == pytest.approx(special.ndtri(0.975), rel=1e-12)
    only = PlannedLooks(units=(812.0,), elapsed=(1.0,))
    assert (only.level(0.05), only.p_value(0.0123, alpha=0.05)) == (0.05, 0.0123)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 13), st.sampled_from([0.01, 0.05, 0.1]))
def test_the_repeated_p_value_is_below_alpha_where_the_repeated_interval_leaves_out_zero(
    look: int, alpha: float
) -> None:
    plan = PlannedLooks(
        units=tuple(map(float, range(1, look + 1))), elapsed=tuple(each / 14 for each in range(1, look + 1))
    )
    edge = plan.level(alpha)
    assert plan.p_value(edge, alpha=alpha) == pytest.approx(alpha, rel=1e-9)
    assert plan.p_value(edge * 0.99, alpha=alpha) < alpha < plan.p_value(edge * 1.01, alpha=alpha)
    assert math.isnan(plan.p_value(math.nan, alpha=alpha))


def test_a_repeated_p_value_is_the_level_whose_bound_is_met() -> None:
    plan = PlannedLooks(units=(100.0, 250.0, 400.0), elapsed=(0.2, 0.5, 0.8))
    for level in (0.3, 0.02, 1e-4, 1e-8):
        # Between the levels of the table it is interpolated: good to a thousandth.
        assert plan.p_value(plan.level(level), alpha=0.05) == pytest.approx(level, rel=2e-3)
    assert 0 < plan.p_value(1e-200, alpha=0.05) < 1e-11


def test_repeated_intervals_hold_the_truth_together() -> None:
    rng, looks = np.random.default_rng(22), np.arange(1, 11)
    bounds = boundaries((looks / 10).tolist())
    sums = rng.normal(0.3, 1.0, (20_000, 10)).cumsum(axis=1)
    missed = np.abs(sums / looks - 0.3) > bounds / np.sqrt(looks)
    assert missed.any(axis=1).mean() == pytest.approx(0.05, abs=0.0047)  # three standard errors


def test_the_same_data_twice_is_no_new_look_to_speak_of() -> None:
    plan = campaign(1_000, elapsed=[0.5, 0.51], looked_at=[1_000])
    assert plan is not None
    once = boundaries([0.5])[0]
    assert once - 0.05 < plan.bound(0.05) < once


def test_what_is_no_plan_is_refused() -> None:
    assert campaign(500) is None
    assert campaign(500, planned_units=400) == PlannedLooks(units=(500.0,), elapsed=(1.0,))
    assert campaign(100, planned_units=400, final=True) == PlannedLooks(units=(100.0,), elapsed=(1.0,))
    for wrong in (
        {"planned_units": 0},
        {"planned_units": 1_000, "looked_at": [600]},
        {"planned_units": 450, "looked_at": [450]},
        {"elapsed": [0.5]} | {"looked_at": [100]},
        {"elapsed": [0.6, 0.5], "looked_at": [100]},
        {"planned_units": 1_000, "spending": "evenly"},
        {"planned_units": 1_000, "elapsed": [0.5]},
        {"looked_at": [100]},
    ):
        with pytest.raises(InputError):
            campaign(500, **wrong)
    with pytest.raises(InputError, match="do not ascend"):
        boundaries([0.5, 0.5])
