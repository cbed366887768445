"""Shares that changed while it ran: told from a column of entry, and allowed for where the estimate can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from benchmarks import ramps as worlds
from experiments.channels import channels
from experiments.estimation.columns import dependence
from experiments.estimation.entry import Entry
from experiments.heterogeneity import gains
from experiments.ladder import ladder
from experiments.retention import retention
from features.errors import InputError


def _table(*, seed: int = 1, n: int = 3_000, **options: bool) -> pa.Table:
    return worlds.ramped(n=n, rng=np.random.default_rng(seed), **options)


@pytest.mark.parametrize("interval", [worlds.value_of_contacting, worlds.effect_by_gains])
def test_by_day_of_entry_the_truth_is_covered_and_a_plain_comparison_tells_of_early_customers(
    interval: Callable[..., tuple[float, float]],
) -> None:
    held = 0
    for seed in range(12):
        low, high = interval(_table(seed=seed, n=1_500), time="entered")
        held += low <= worlds.TRUE <= high
        assert interval(_table(seed=seed, n=1_500), time=None)[1] < worlds.TRUE
    assert held >= 10  # at 95%, fewer come about in 2.0% of all cases


def test_policies_are_learned_from_what_contacts_do_not_from_when_customers_came() -> None:
    found = ladder(
        _table(), arm="arm", control="none", outcome="y", features=["x"], time="entered", repeats=1
    ).rungs[-1]  # fmt: skip
    assert found.shares["mail"] > 0.9


def test_shares_are_those_of_spans_that_hold_every_arm() -> None:
    table = _table()
    arm = (table["arm"].to_numpy() == "mail").astype(np.int64)
    entry = Entry.of(table, "entered", arm=arm, arms=("none", "mail"))
    counts = np.stack([np.bincount(entry.period, weights=arm == each) for each in (0, 1)], axis=1)
    days = (table["entered"].to_numpy() - np.datetime64("2026-01-05")).astype(int)
    assert not set(entry.period[days < 10]) & set(entry.period[days >= 10])  # no span reaches over the step
    assert counts.min() >= 50 and np.allclose(entry.shares, counts / counts.sum(axis=1, keepdims=True))
    assert entry.shares[0, 1] == pytest.approx(0.1, abs=0.05) and entry.shares[-1, 1] == pytest.approx(0.5, abs=0.1)
    assert "'mail' had 1" in entry.changed or "'none' had 9" in entry.changed


def test_steady_shares_raise_no_doubt() -> None:
    for seed in range(20):
        table = _table(seed=seed, ramp=False)
        arm = (table["arm"].to_numpy() == "mail").astype(np.int64)
        assert not Entry.of(table, "entered", arm=arm, arms=("none", "mail")).doubt


def test_large_households_are_no_steps_and_leave_no_span_without_an_arm() -> None:
    # By rows, two of three such tables without any fault are refused, as an arm seems to be missing for some days.
    rng = np.random.default_rng(4)
    for _ in range(10):
        size = rng.poisson(7, 1_200) + 1
        day, arm = (
            np.repeat(each, size) for each in (rng.integers(0, 60, 1_200), (rng.random(1_200) < 0.1).astype(np.int64))
        )
        entry = Entry.of(
            pa.table({"entered": day}), "entered", arm=arm, arms=("none", "mail"), cluster=np.repeat(range(1_200), size)
        )
        assert len(entry.shares) <= 3 and not entry.changed


def test_what_goes_together_within_parts_alone_is_scipy_s() -> None:
    rng = np.random.default_rng(1)
    level, arm, part = rng.integers(0, 3, 900), rng.integers(0, 2, 900), rng.integers(0, 2, 900)
    found = [
        stats.chi2_contingency(
            stats.contingency.crosstab(level[part == each], arm[part == each]).count, correction=False
        )
        for each in (0, 1)
    ]
    whole = stats.chi2.sf(sum(each.statistic for each in found), sum(each.dof for each in found))
    assert dependence(level, arm, within=part) == pytest.approx(whole, rel=1e-9)


def test_who_stays_is_doubted_on_a_ramp_and_a_date_that_nobody_named_is_asked_about() -> None:
    table = _table()
    options: dict[str, Any] = {"arm": "arm", "control": "none", "time": "days", "event": "left"}
    assert retention(table, entered="entered", **options).doubt.startswith("Do not trust these numbers")
    assert any("--entered" in note for note in retention(table, **options).notes)
    steady = _table(ramp=False)
    assert not retention(steady, entered="entered", **options).doubt
    assert not any("--entered" in note for note in retention(steady, **options).notes)


def test_channels_are_doubted_where_what_is_withheld_changed() -> None:
    held = {"email": "held"}
    found = channels(_table(), outcome="y", held=held, time="entered")
    assert found.sentences[0].startswith("Do not trust these numbers") and "in email" in found.sentences[0]
    assert any("--time" in note for note in channels(_table(), outcome="y", held=held).notes)
    assert "Do not trust" not in channels(_table(ramp=False), outcome="y", held=held, time="entered").sentences[0]


def test_the_ladder_and_gains_say_how_they_took_it() -> None:
    options: dict[str, Any] = {"arm": "arm", "control": "none", "outcome": "y", "features": ["x"]}
    reads: tuple[Callable[..., Any], ...] = (ladder, gains)
    for read in reads:
        found = read(_table(n=1_000), time="entered", **options)
        assert found.trusted and any("the same shares" in note for note in found.notes)
        assert any("--time" in note for note in read(_table(), **options).notes)


def test_what_cannot_be_is_refused() -> None:
    table = _table(n=500)
    with pytest.raises(InputError, match="planned shares"):
        ladder(table, arm="arm", control="none", outcome="y", time="entered", probabilities={"none": 0.5, "mail": 0.5})
    gaps = table.set_column(1, "entered", pa.array([None] * 250 + table["entered"].to_pylist()[250:]))
    arm = np.arange(500) % 2
    with pytest.raises(InputError, match="missing in places"):
        Entry.of(gaps, "entered", arm=arm, arms=("none", "mail"))
