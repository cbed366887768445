"""What a design fixes before the start: its digest, the holdout's turns, start rules and what stops it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from experiments.analysis import analyze
from experiments.assignment import uniform_all
from experiments.design import Arm, Experiment
from experiments.design_file import load_experiment
from experiments.holdout import Holdout
from experiments.measures import Goal, Guardrail, Measure
from experiments.rules import Ramp, StartRules
from experiments.stopping import ended, stops
from features.errors import InputError

START = datetime(2026, 1, 5, tzinfo=UTC)
NAMES = [f"customer-{number}" for number in range(20_000)]
PARTS = (
    Goal(name="revenue", kind="sum", events=("purchase",), window_days=14, money=True, cap=50_000),
    Goal(name="order_value", kind="ratio", numerator="revenue", denominator="orders", window_days=14, money=True),
)
ORDERS = Measure(name="orders", kind="count", events=("purchase",), window_days=14)


def design(**changes: object) -> Experiment:
    told: dict[str, object] = {
        "key": "autumn",
        "title": "Autumn",
        "hypothesis": "what fits sells more",
        "arms": tuple(Arm(name=name, shows=name, policy=name, share=0.5) for name in ("static", "personal")),
        "control": "static",
        "goals": PARTS,
        "parts": (ORDERS,),
        "start": START,
    }
    return Experiment(**(told | changes))  # type: ignore[arg-type]  # the fields' types are what is tested


def test_a_ratio_has_its_parts_as_columns_and_its_own_name_in_the_analysis() -> None:
    trial = design()
    assert [each.metric for each in trial.measures] == ["revenue", "revenue/orders"]
    assert [each.name for each in trial.columns] == ["revenue", "orders"]
    assert trial.caps == {"revenue": 50_000}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"parts": ()}, "unknown measure 'orders'"),
        ({"parts": (replace(ORDERS, window_days=7),)}, "no part for the ratio"),
        ({"parts": (replace(ORDERS, delay_days=7),)}, "no part for the ratio"),
        ({"parts": (replace(ORDERS, name="revenue"),)}, "same name"),
        ({"slice": (0.5, 0.5)}, "no part of the layer"),
        ({"planned_units": 1}, "no number of units"),
        ({"largest_loss": 0.0}, "no loss"),
        ({"stop_rule": "group_sequential"}, "needs an end"),
        ({"stopped": START}, "ends before it starts"),
        ({"goals": ()}, "no goal"),
    ],
)
def test_a_design_that_makes_no_sense_is_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        design(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "any", "events": ("purchase",), "cap": 5},
        {"kind": "sum", "events": ("purchase",), "cap": 0},
        {"kind": "ratio", "numerator": "a"},
        {"kind": "ratio", "numerator": "a", "denominator": "a"},
        {"kind": "ratio", "numerator": "x", "denominator": "a"},
        {"kind": "count", "events": ("purchase",), "numerator": "a", "denominator": "b"},
        {"kind": "ratio", "numerator": "a", "denominator": "b", "events": ("purchase",)},
    ],
)
def test_a_measure_whose_parts_dont_fit_its_kind_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InputError, match="fit"):
        Measure(name="x", window_days=14, **changes)  # type: ignore[arg-type]  # the fields' types are what is tested


def test_start_rules_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="start rules"):
        StartRules(history_days=-1)


def test_the_kind_of_interval_follows_from_having_an_end() -> None:
    end = START + timedelta(days=28)
    assert design().interval_kind == "anytime"
    assert design(end=end).interval_kind == "group_sequential"
    assert design(end=end, stop_rule="fixed").interval_kind == "fixed"
    assert design(end=end, stop_rule="fixed").judged_at == end


def test_the_digest_holds_what_is_fixed_and_nothing_else() -> None:
    trial = design()
    ramp = (Ramp(at=START + timedelta(days=7), shares={"static": 0.2, "personal": 0.8}),)
    for allowed in ({"title": "A better one"}, {"ramp": ramp}, {"stopped": START + timedelta(days=9)}):
        assert design(**allowed).digest == trial.digest
    for fixed in ({"alpha": 0.1}, {"hypothesis": "another"}, {"audience": ({"feature": "age", "at_least": 18},)}):
        assert design(**fixed).digest != trial.digest


def test_a_default_that_is_written_out_is_the_same_design(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "rapport" / "template" / "experiments" / "always-on.toml").read_text()
    left, told = (load_experiment(_written(tmp_path, more + text)) for more in ("", "alpha = 0.05\n"))
    assert left.digest == told.digest and left.told == told.told
    assert left.digest != load_experiment(_written(tmp_path, "alpha = 0.1\n" + text)).digest


def test_dates_without_a_zone_are_utc_and_days_begin_at_midnight(tmp_path: Path) -> None:
    template = Path(__file__).parents[2] / "rapport" / "template" / "experiments" / "always-on.toml"
    found = [
        load_experiment(_written(tmp_path, template.read_text().replace("2027-01-04T00:00:00Z", start)))
        for start in ("2027-01-04T00:00:00Z", "2027-01-04T00:00:00", "2027-01-04")
    ]
    assert len({each.digest for each in found}) == 1
    assert found[0].steps[0][0] == datetime(2027, 1, 4, tzinfo=UTC)


def _written(folder: Path, text: str) -> Path:
    (folder / "design.toml").write_text(text, encoding="utf-8")
    return folder / "design.toml"


def test_the_turns_of_the_holdout_pass_everybody_once_before_anybody_twice() -> None:
    holdout = Holdout(share=0.05, months=1)
    moments = [datetime(2026 + number // 12, number % 12 + 1, 15, tzinfo=UTC) for number in range(40)]
    turns = np.array([holdout.withheld(NAMES, at=moment) for moment in moments])
    # 20,000 customers at 5%: 1,000, standard deviation 31; over 20 periods of 5% everybody once, and so again.
    assert np.abs(turns.sum(axis=1) - 1000).max() < 5 * 31
    assert (turns[:20].sum(axis=0) == 1).all()
    assert (turns[20:].sum(axis=0) == 1).all()
    assert turns[0].tolist() == [holdout.withholds(name, at=moments[0]) for name in NAMES]
    assert (holdout.withheld(NAMES, at=moments[0]) == holdout.withheld(NAMES, at=moments[0].replace(day=1))).all()


def test_the_holdout_is_independent_of_every_experiment() -> None:
    held = Holdout(share=0.5).withheld(NAMES, at=START)
    arm = uniform_all(NAMES, "autumn") < 0.5
    assert abs((held & arm).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / len(NAMES))


def test_a_holdout_out_of_range_is_refused() -> None:
    with pytest.raises(InputError, match="holdout is out of range"):
        Holdout(share=0.7)
    with pytest.raises(InputError, match="holdout is out of range"):
        Holdout(share=0.1, months=5)  # type: ignore[arg-type]  # as a file may say


def test_stop_rules_come_true_at_a_look() -> None:
    rng = np.random.default_rng(7)
    arms = rng.choice(["static", "personal"], 4000)
    spend = np.where(arms == "static", 1000.0, 600.0) + rng.normal(0, 300, 4000)
    table = pa.table({"arm": arms, "revenue": spend})
    found = analyze(table, arm="arm", control="static", metrics=["revenue"])
    lost = -found.metrics[0].difference * found.metrics[0].n_arm
    goals = (replace(PARTS[0], cap=None),)
    fine = design(goals=goals, largest_loss=lost * 1.01, planned_units=4001, end=START + timedelta(days=28))
    assert stops(fine, found, as_of=START + timedelta(days=20)) == ()
    over = design(goals=goals, largest_loss=lost * 0.99, planned_units=4000, end=START + timedelta(days=28))
    told = stops(over, found, as_of=START + timedelta(days=27))
    assert len(told) == 2
    assert "All 4,000 planned units are in" in told[0]
    assert f"personal has cost {lost / 100:,.2f} of revenue so far" in told[1]
    assert ended(over, as_of=START + timedelta(days=27)) == ""


def test_the_planned_end_is_no_alarm_and_a_loss_is_one_even_then() -> None:
    end = START + timedelta(days=28)
    table = pa.table({"arm": ["static", "personal"] * 200, "revenue": [900.0, 100.0, 1100.0, 300.0] * 100})
    found = analyze(table, arm="arm", control="static", metrics=["revenue"])
    over = design(goals=(replace(PARTS[0], cap=None),), largest_loss=1.0, planned_units=400, end=end)
    assert (
        ended(over, as_of=end)
        == "The experiment has reached its end as planned, 2 February 2026: nobody new is assigned."
    )
    (loss,) = stops(over, found, as_of=end)
    assert "personal has cost" in loss, "that all units are in asks for nothing once nobody new is assigned"


def test_a_guardrail_may_be_a_ratio_too() -> None:
    guard = Guardrail(
        name="returned_share", kind="ratio", numerator="orders", denominator="revenue", window_days=14, limit=0.1
    )
    assert design(guardrails=(guard,)).limits == {"orders/revenue": 0.1}
