"""Few buyers whose amounts have a declared cap: an exact interval for any look, where the sequence errs at will."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import integrate, optimize

from experiments.analysis import analyze
from experiments.analysis.bounded import ArmSums, BoundedMeans
from experiments.analysis.mixtures import (
    bernoulli_log_e_value,
    gamma_exponential_boundary,
    gamma_exponential_log_e_value,
    mixture_rho,
)
from experiments.analysis.sequential import sequence_half_width
from experiments.analysis.statistics import Sample, difference

LOOKS, BATCH, CAP = 25, 1_000, 300.0


def test_the_figures_of_confseqs_own_tests() -> None:
    bound = gamma_exponential_boundary(100, rho=mixture_rho(100, alpha=0.10), scale=2, alpha=0.05)
    assert bound == pytest.approx(33.02017, abs=5e-6)
    # Its beta-binomial of terms between -0.2 and 0.8 is that of tosses with a chance of 0.2, variance 0.16 each.
    tosses = round(100 / 0.16)

    def beyond(over: float) -> float:
        return bernoulli_log_e_value(0.2 * tosses + over, tosses, chance=0.2, expected=tosses) - math.log(20)

    crossed = optimize.brentq(beyond, 0, 100)
    assert crossed == pytest.approx(31.4308, abs=5e-5)


@given(st.floats(-2, 8), st.floats(0, 30), st.floats(0.05, 20), st.floats(0.1, 5))
def test_the_e_value_is_the_mixture_that_proposition_9_writes_as_an_integral(
    errors: float, variance: float, prior: float, scale: float
) -> None:
    rho, excess = prior * scale**2, errors * scale * math.sqrt(variance + prior)
    variance *= scale**2

    def weight(share: float) -> float:  # of lambda = (1 - share) / scale
        return math.pow(share, prior - 1) * math.exp(-prior * share)

    def mixed(share: float) -> float:
        lambda_ = (1 - share) / scale
        psi = (-math.log(share) - scale * lambda_) / scale**2
        return weight(share) * math.exp(lambda_ * excess - psi * variance)

    above, below = (integrate.quad(each, 0, 1, limit=500, epsabs=0)[0] for each in (mixed, weight))
    ours = gamma_exponential_log_e_value(excess, variance, rho=rho, scale=scale)
    if excess > 0:
        assert ours == pytest.approx(math.log(above / below), abs=1e-5)
    else:
        assert ours == 0.0


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.02, 0.98), st.floats(0.001, 0.3))
def test_p_is_below_alpha_where_the_interval_leaves_out_zero(
    own: float, other: float, share: float, alpha: float
) -> None:
    sides = [ArmSums(n=500, total=40 * x, squares=40 * x * x, share=s) for x, s in ((own, share), (other, 1 - share))]
    both = BoundedMeans(arm=sides[0], control=sides[1], most=1.0)
    low, high = both.interval(alpha)
    assume(min(abs(low), abs(high)) > 1e-9)
    assert (both.p_value() < alpha) == (low > 0 or high < 0)
    turned = BoundedMeans(arm=sides[1], control=sides[0], most=1.0).interval(alpha)
    assert turned == pytest.approx((-high, -low), abs=1e-9)


def _grown(rng: np.random.Generator, *, share: float, lift: float) -> Iterator[tuple[ArmSums, ArmSums]]:
    """Both arms after each look: 2% buy, for amounts with a heavy tail under a cap."""
    sums = np.zeros((2, 3))
    for _ in range(LOOKS):
        mine = int(rng.binomial(BATCH, share))
        for place, (n, rate) in enumerate(((mine, 0.02 * (1 + lift)), (BATCH - mine, 0.02))):
            spent = np.minimum(rng.lognormal(3, 1.2, rng.binomial(n, rate)), CAP)
            sums[place] += n, spent.sum(), (spent**2).sum()
        arm, control = (
            ArmSums(n=int(n), total=total, squares=squares, share=part)
            for (n, total, squares), part in zip(sums, (share, 1 - share), strict=True)
        )
        yield arm, control


def _sequence(arm: ArmSums, control: ArmSums) -> tuple[float, float]:
    sides = [
        Sample(n=each.n, mean=each.total / each.n, variance=each.squares / each.n - (each.total / each.n) ** 2)
        for each in (arm, control)
    ]
    apart = difference(sides[0], sides[1], alpha=0.05)
    half = sequence_half_width(apart.error, arm.n + control.n, alpha=0.05)
    return apart.estimate - half, apart.estimate + half


@pytest.mark.parametrize("lift", [0.0, 0.5])
def test_a_twentieth_of_the_units_with_few_buyers_misses_hardly_ever_where_the_sequence_misses_often(
    lift: float,
) -> None:
    rng = np.random.default_rng(71)
    truth = 0.02 * lift * float(np.minimum(rng.lognormal(3, 1.2, 1_000_000), CAP).mean())
    missed = np.zeros((60, 2), dtype=bool)
    for run in missed:
        for arm, control in _grown(rng, share=0.05, lift=lift):
            pair = BoundedMeans(arm=arm, control=control, most=CAP)
            for place, (low, high) in enumerate((pair.interval(0.05), _sequence(arm, control))):
                run[place] |= not low <= truth <= high
    ours, naive = missed.mean(axis=0)
    assert ours <= 0.05
    assert naive > 0.20


def _table(n: int = 20_000, *, cost: float = 0.0, gain: float = 1.0) -> pa.Table:
    rng = np.random.default_rng(72)
    arm = np.arange(n) % 10 == 0
    buys = rng.random(n) < np.where(arm, 0.02 * gain, 0.02)
    spend = buys * rng.lognormal(3, 1.2, n) - cost * arm
    names = np.where(arm, "mail", "none")
    return pa.table({"arm": names, "spend": spend, "units": rng.integers(1, 4, n), "home": np.arange(n) // 2})


def _look(table: pa.Table, *, caps: dict[str, Any] | None = None, metric: str = "spend", **how: Any) -> Any:
    planned = {"none": 0.9, "mail": 0.1}
    return analyze(table, arm="arm", control="none", metrics=[metric], planned=planned, caps=caps, **how)


def test_a_declared_cap_gives_few_buyers_an_interval_for_any_look_and_the_notes_say_how() -> None:
    without, capped = _look(_table()), _look(_table(), caps={"spend": CAP})
    assert math.isnan(without.metrics[0].anytime_ci_low) and math.isnan(without.metrics[0].anytime_p_value)
    (row,) = capped.metrics
    assert row.anytime_ci_low < row.ci_low < row.difference < row.ci_high < row.anytime_ci_high
    assert row.anytime_p_value > 0.05
    assert any("a cap that is declared before the start" in note for note in without.notes)
    assert any("exact" in note and "half of the error on each side" in note for note in capped.notes)
    # So much more is clear even of 130 buyers; the p-value says what the interval says.
    clear = _look(_table(gain=4.0), caps={"spend": CAP})
    assert clear.verdict.code == "roll_out"
    assert clear.metrics[0].anytime_ci_low > 0 and clear.metrics[0].anytime_p_value < 0.05


@pytest.mark.parametrize(
    ("how", "known"),
    [
        ({"caps": {"spend": CAP}}, True),
        ({"caps": {"spend": CAP}, "table": _table(cost=0.5)}, True),  # what a contact costs is little beside the cap
        ({"caps": {"spend": CAP}, "table": _table(cost=40.0)}, False),  # beyond a ninth of it, as arms are 1 to 9
        ({"caps": {"spend": "99.9%"}}, False),
        ({"caps": {"spend": CAP}, "metric": "spend/units"}, False),
        ({"caps": {"spend": CAP}, "cluster": "home"}, False),
    ],
)
def test_only_what_was_declared_of_units_one_by_one_has_an_exact_interval(how: dict[str, Any], known: bool) -> None:
    found = _look(how.pop("table", _table()), **how)
    assert math.isfinite(found.metrics[0].anytime_ci_low) == known


def test_a_campaign_with_hardly_a_buyer_tells_the_exact_interval_too() -> None:
    few = _table(3_000)
    assert math.isnan(_look(few, planned_units=9_000).metrics[0].sequential_ci_low)
    (row,) = _look(few, planned_units=9_000, caps={"spend": CAP}).metrics
    assert row.interval("group_sequential") == row.interval("anytime")
    assert row.p("group_sequential") == row.p("anytime")
