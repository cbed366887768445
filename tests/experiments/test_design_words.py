"""A word in a design that is none of the allowed ones: the fault names them all, and the near one."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.design_file import load_experiment
from features.errors import InputError

_DESIGN = """
key = "always-on"
title = "Personalized against static"
hypothesis = "Choosing earns more."
control = "static"
start = 2026-01-01T00:00:00Z
end = 2026-03-01T00:00:00Z
unit = "customer"
stop_rule = "fixed"
[[arms]]
name = "static"
shows = "the same to all"
policy = "static"
share = 0.5
[[arms]]
name = "one_to_one"
shows = "the best for each"
policy = "one_to_one"
share = 0.5
[[goals]]
name = "bought"
kind = "any"
events = ["purchase"]
window_days = 14
"""


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ('kind = "any"', 'kind = "rate"', ["'rate' in goals[0].kind", "ratio", "any, count, sum, given, ratio"]),
        ('unit = "customer"', 'unit = "custmer"', ["'custmer' in unit", "did you mean 'customer'?", "session"]),
        ('stop_rule = "fixed"', 'stop_rule = "once"', ["'once' in stop_rule", "fixed, group_sequential, anytime"]),
    ],
)
def test_an_unknown_word_is_told_with_those_that_are_known(
    tmp_path: Path, right: str, wrong: str, told: list[str]
) -> None:
    path = tmp_path / "always-on.toml"
    path.write_text(_DESIGN, encoding="utf-8")
    assert load_experiment(path).key == "always-on"
    path.write_text(_DESIGN.replace(right, wrong), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_experiment(path)
    for each in told:
        assert each in str(caught.value)
    assert "Invalid enum" not in str(caught.value)
