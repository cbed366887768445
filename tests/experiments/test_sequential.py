"""Bounds that hold at every look, against the figures of the papers' own code."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special

from benchmarks.calibration.looks import WORLDS, World, missed
from experiments.analysis import sequential


@pytest.mark.parametrize(
    ("units", "ratio"),
    [
        (500, 1.966901),
        (1000, 1.716301),
        (5000, 1.548604),
        (10_000, 1.562007),
        (50_000, 1.653971),
        (1_000_000, 1.865614),
    ],
)
def test_the_sequence_is_as_much_wider_than_the_fixed_interval_as_in_the_paper(units: int, ratio: float) -> None:
    half = sequential.sequence_half_width(1.0, units, alpha=0.05, units=5000)
    assert half / special.ndtri(0.975) == pytest.approx(ratio, abs=1e-6)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("units", [10, 4321, 10**7])
def test_the_p_value_is_alpha_exactly_at_the_edge_of_the_sequence(alpha: float, units: int) -> None:
    edge = sequential.sequence_half_width(0.7, units, alpha=alpha)
    assert sequential.sequence_p_value(edge, 0.7, units, alpha=alpha) == pytest.approx(alpha, rel=1e-12)
    assert sequential.sequence_p_value(0.0, 0.7, units, alpha=alpha) == 1.0


def test_the_sequence_of_a_sum_is_the_normal_mixture_of_confseq() -> None:
    of_the_mean = sequential.sequence_half_width(1 / math.sqrt(100), 100, alpha=0.05, units=100)
    assert 100 * of_the_mean == pytest.approx(30.35209, abs=5e-6)
    of_one_side = sequential.one_sided_reach(1 / math.sqrt(100), 100, alpha=0.05, units=100)
    assert 100 * of_one_side == pytest.approx(27.66071, abs=5e-6)


def test_the_split_test_stops_where_its_authors_code_stops() -> None:
    arrivals = np.random.RandomState(1).multinomial(1, [0.1, 0.3, 0.6], size=1000)  # the generator of the figure
    counts = arrivals.cumsum(axis=0)
    p_values = np.minimum.accumulate([sequential.split_p_value(each, [0.1, 0.4, 0.5]) for each in counts])
    stopped = int(np.argmax(p_values < 0.05))
    assert stopped + 1 == 402
    assert p_values[stopped] == pytest.approx(0.0484559110597, abs=5e-14)


def test_the_split_e_value_is_one_on_average_under_the_plan() -> None:
    # Exact, not simulated: all outcomes of 12 units over two arms with their binomial chances.
    outcomes = range(13)
    chance = [math.comb(12, k) * 0.3**k * 0.7 ** (12 - k) for k in outcomes]
    values = np.exp(sequential.split_log_e_value([[k, 12 - k] for k in outcomes], [0.3, 0.7], concentration=10))
    assert np.dot(chance, values) == pytest.approx(1.0, rel=1e-12)


def test_nothing_is_known_without_units() -> None:
    assert math.isnan(sequential.sequence_half_width(1.0, 0, alpha=0.05))
    assert math.isnan(sequential.sequence_p_value(1.0, 0.0, 10, alpha=0.05))


def _looks(rng: np.random.Generator, *, runs: int, looks: int, batch: int, rate: float) -> tuple[float, float]:
    """Shares of A/A runs in which any look is significant: by our sequence, and by the naive z interval."""
    hits = rng.binomial(batch, rate, size=(2, runs, looks)).cumsum(axis=2)
    units = batch * np.arange(1, looks + 1)
    means = hits / units
    error = np.sqrt((means * (1 - means)).sum(axis=0) / (units - 1))
    apart = np.abs(means[1] - means[0])
    half = error * [sequential.sequence_half_width(1.0, 2 * n, alpha=0.05) for n in units]
    return float((apart > half).any(axis=1).mean()), float((apart > special.ndtri(0.975) * error).any(axis=1).mean())


def test_looking_fifty_times_is_safe_and_the_naive_test_beside_it_is_not() -> None:
    ours, naive = _looks(np.random.default_rng(11), runs=1000, looks=50, batch=100, rate=0.1)
    assert ours <= 0.05  # 2.4% was measured elsewhere; the promise is 5%
    assert naive > 0.20


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_the_band_covers_at_every_look_where_the_interval_of_one_look_does_not(world: World) -> None:
    band, naive, _ = missed(np.random.default_rng(17), world, lift=0.1, batch=200, runs=100)  # in full: benchmarks
    assert band <= 0.05
    assert naive > 0.15
