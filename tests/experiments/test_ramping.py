"""Shares that change while an experiment runs: nobody is counted under shares that were not planned for them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from experiments.analysis import analyze
from experiments.assignment import assign_all
from experiments.design import Arm, Experiment, Unit
from experiments.measures import Goal
from experiments.ramping import STEP, planned_shares, steps_of, with_steps
from experiments.rules import Ramp
from features.errors import InputError

START = datetime(2026, 1, 5, tzinfo=UTC)
CAREFUL, EVEN = {"static": 0.95, "personal": 0.05}, {"static": 0.5, "personal": 0.5}


def design(*, unit: Unit = "customer", **changes: Any) -> Experiment:
    told: dict[str, Any] = {
        "arms": tuple(Arm(name=name, shows=name, policy=name, share=share) for name, share in CAREFUL.items()),
        "ramp": (Ramp(at=START + timedelta(days=7), shares=EVEN),),
    }
    return Experiment(
        key="ramped",
        title="Ramped",
        hypothesis="what fits sells more",
        control="static",
        goals=(Goal(name="bought", kind="any", events=("purchase",), window_days=14),),
        start=START,
        unit=unit,
        **(told | changes),
    )


def world(seed: int, *, effect: float = 0.0, customers: int = 6000) -> pa.Table:
    """Customers who come over two weeks: those of the second week, under even shares, buy half as often."""
    rng = np.random.default_rng(seed)
    names = [f"{seed}-{number}" for number in range(customers)]
    days = np.sort(rng.uniform(0, 14, customers))
    late = days >= 7
    arms = np.empty(customers, dtype=object)
    for shares, rows in ((CAREFUL, ~late), (EVEN, late)):
        own = [name for name, here in zip(names, rows, strict=True) if here]
        arms[rows] = assign_all(own, experiment="ramped", shares=shares).to_pylist()
    rate = np.where(late, 0.10, 0.20) + effect * (arms == "personal")
    stamps = [START + timedelta(days=float(day)) for day in days]
    return pa.table(
        {
            "arm": arms.tolist(),
            "assigned_at": pa.array(stamps, pa.timestamp("us", tz="UTC")),
            "bought": (rng.random(customers) < rate).astype(int),
        }
    )


def found(table: pa.Table, trial: Experiment) -> Any:
    return analyze(
        with_steps(table, trial),
        arm="arm",
        control="static",
        metrics=["bought"],
        planned=planned_shares(table, trial),
        ramp=STEP,
        final=True,
    )


def test_a_ramp_over_a_drifting_rate_fools_the_pooled_difference_and_not_ours() -> None:
    """Simpson's paradox: in truth the arm adds nothing; pooled, it seems to lose 4 points in every run."""
    trial, runs = design(), 60
    ours, pooled = [], []
    for seed in range(runs):
        table = world(seed)
        ours.append(found(table, trial))
        pooled.append(analyze(table, arm="arm", control="static", metrics=["bought"], final=True))
    naive = [each.metrics[0] for each in pooled]
    right = [each.metrics[0] for each in ours]
    assert np.mean([row.ci_high < 0 for row in naive]) > 0.9
    # 95% of 60 intervals, less four standard errors.
    assert np.mean([row.ci_low <= 0 <= row.ci_high for row in right]) >= 0.95 - 4 * np.sqrt(0.95 * 0.05 / runs)
    differences = np.array([row.difference for row in right])
    assert abs(differences.mean()) < 4 * differences.std() / np.sqrt(runs)
    assert np.mean([row.difference for row in naive]) == pytest.approx(-0.05, abs=0.02)
    # The split is what was planned, by when each came: never red; held against either of the two splits it always is.
    assert {each.srm.status for each in ours} <= {"green", "yellow"}
    assert {each.balance for each in ours} == {None}
    for shares in (CAREFUL, EVEN):
        wrong = analyze(world(0), arm="arm", control="static", metrics=["bought"], planned=shares, final=True)
        assert (wrong.srm.status, wrong.verdict.code) == ("red", "do_not_trust")


def test_an_effect_is_found_under_a_ramp() -> None:
    right = [found(world(seed, effect=0.05), design()).metrics[0] for seed in range(100, 140)]
    estimates = np.array([row.difference for row in right])
    assert abs(estimates.mean() - 0.05) < 4 * estimates.std() / np.sqrt(len(right))
    assert np.mean([row.ci_low <= 0.05 <= row.ci_high for row in right]) >= 0.95 - 4 * np.sqrt(0.95 * 0.05 / 40)


def test_shares_are_those_planned_at_each_moment() -> None:
    trial = design()
    moments = [START, START + timedelta(days=6.99), START + timedelta(days=7), START + timedelta(days=30)]
    table = pa.table({"assigned_at": moments})
    assert steps_of(table, trial).tolist() == [0, 0, 1, 1]
    assert [trial.step_at(moment) for moment in moments] == [0, 0, 1, 1]
    assert with_steps(table, trial)[STEP].to_pylist() == ["2026-01-05 00:00"] * 2 + ["2026-01-12 00:00"] * 2
    assert planned_shares(table, trial) == {"static": 0.725, "personal": 0.275}
    with pytest.raises(InputError, match="no moment of assignment"):
        steps_of(pa.table({"assigned_at": pa.array([None], pa.timestamp("us", tz="UTC"))}), trial)


def test_a_household_was_assigned_when_its_first_member_was() -> None:
    table = pa.table(
        {
            "household_id": ["h1", "h1", "h2", None],
            "assigned_at": [START, START + timedelta(days=9), START + timedelta(days=9), START],
        }
    )
    homes = design(unit="household")
    assert steps_of(table, homes).tolist() == [0, 0, 1, 0]
    assert planned_shares(table, homes) == {"static": 0.8, "personal": 0.2}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ramp": (Ramp(at=START, shares=EVEN),)}, "not in the order of time"),
        ({"ramp": (Ramp(at=START + timedelta(days=1), shares={"static": 1.0}),)}, "don't sum to 1"),
        (
            {"ramp": (Ramp(at=START + timedelta(days=1), shares={"static": 0.5, "personl": 0.5}),)},
            "did you mean 'personal'",
        ),
        ({"ramp": (Ramp(at=START + timedelta(days=1), shares=design().shares),)}, "changes nothing"),
        ({"unit": "session"}, "sessions can't be ramped"),
    ],
)
def test_a_ramp_that_makes_no_sense_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        design(**changes)


def test_a_bare_table_names_its_column_of_steps(rapport_cli: Any, tmp_path: Path) -> None:
    source, out = tmp_path / "ramped.csv", tmp_path / "found.json"
    table = with_steps(world(0), design())
    table.to_pandas().to_csv(source, index=False)
    shares = planned_shares(table, design())
    split = [part for arm, share in shares.items() for part in ("--split", f"{arm}={share}")]
    told = ("--arm", "arm", "--control", "static", "--metric", "bought", *split, "--final", "--json", out)
    assert rapport_cli("analyze", source, *told, "--ramp", STEP).exit_code == 0
    row = json.loads(out.read_text())["metrics"][0]
    assert row["difference"] == pytest.approx(found(table.drop_columns([STEP]), design()).metrics[0].difference)
    assert rapport_cli("analyze", source, *told).exit_code == 0
    assert json.loads(out.read_text())["metrics"][0]["ci_high"] < 0
