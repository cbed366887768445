"""The design file of an experiment: what it takes, and what it says when something is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.design import Experiment
from experiments.design_file import load_experiment
from experiments.measures import Goal, Guardrail
from features.errors import InputError

DESIGN = """
key = "autumn"
title = "Autumn offers"
hypothesis = "An offer that fits sells more than the one letter for all"
control = "static"
start = 2026-01-05T00:00:00Z
end = 2026-03-02T00:00:00Z
stop_rule = "anytime"
layer = "offers"
slice = [0.0, 0.5]

[[arms]]
name = "static"
shows = "the autumn letter, to everybody"
policy = "static"
share = 0.5
rung = "static"

[[arms]]
name = "personal"
shows = "the offer and channel that fit, or nothing"
policy = "one_to_one"
share = 0.5
rung = "one_to_one"

[[goals]]
name = "revenue"
kind = "sum"
events = ["purchase"]
window_days = 14
delay_days = 3
money = true
worth = 5

[[guardrails]]
name = "opt_outs"
kind = "any"
events = ["opt_out"]
window_days = 14
limit = 0.002
"""


def load(folder: Path, *, old: str = "", new: str = "") -> Experiment:
    assert old in DESIGN
    path = folder / "autumn.toml"
    path.write_text(DESIGN.replace(old, new, 1) if old else DESIGN)
    return load_experiment(path)


def test_a_design_file_becomes_an_experiment(tmp_path: Path) -> None:
    design = load(tmp_path)
    assert design.arm_names == ("static", "personal")
    assert design.headline_arm == "personal"
    assert design.shares == {"static": 0.5, "personal": 0.5}
    assert isinstance(design.measures[0], Goal) and isinstance(design.measures[1], Guardrail)
    assert design.goals[0].maturity.days == 17


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("share = 0.5", "share = 0.4", "don't sum to 1"),
        ("share = 0.5", 'share = "half"', "no experiment"),
        ('control = "static"', 'control = "sttic"', "did you mean 'static'"),
        ('name = "personal"', 'name = "static"', "same name"),
        ('name = "opt_outs"', 'name = "revenue"', "same name"),
        ('kind = "sum"', 'kind = "total"', "no experiment"),
        ("worth = 5", "wort = 5", "did you mean 'worth'"),
        ("window_days = 14", "window_days = 0", "positive number of days"),
        ('events = ["purchase"]', "events = []", "don't fit its kind"),
        ("end = 2026-03-02T00:00:00Z", "end = 2025-03-02T00:00:00Z", "ends before it starts"),
        ("slice = [0.0, 0.5]", "slice = [0.5, 0.2]", "slice"),
        ("slice = [0.0, 0.5]", "holdout_share = 0.05", "rapport.toml"),
        ('hypothesis = "An offer', 'hypotheses = "An offer', "did you mean 'hypothesis'"),
        ('title = "Autumn offers"', "", "title"),
        ('title = "Autumn offers"', "title", "can't be read as TOML"),
        ('key = "autumn"', 'key = "autumn"\npersonalized = "static"', "is the control"),
    ],
)
def test_a_fault_in_the_file_is_named(tmp_path: Path, old: str, new: str, part: str) -> None:
    with pytest.raises(InputError, match=part):
        load(tmp_path, old=old, new=new)


def test_a_fixed_stop_rule_needs_an_end(tmp_path: Path) -> None:
    text = DESIGN.replace("end = 2026-03-02T00:00:00Z\n", "").replace('"anytime"', '"fixed"')
    (tmp_path / "autumn.toml").write_text(text)
    with pytest.raises(InputError, match="needs an end"):
        load_experiment(tmp_path / "autumn.toml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.toml can't be read"):
        load_experiment(tmp_path / "none.toml")
