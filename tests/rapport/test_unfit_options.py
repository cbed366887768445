"""Options that belong to another use of a command are refused by name, before anything is read."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("evaluate", "log.csv", "--every", "--goal", "profit"), "'--goal', '--every'"),
        (("evaluate", "--project", "shop", "--experiment", "spring", "--cluster", "household"), "'--cluster'"),
        (("plan", "--experiment", "spring", "--lift", "0.1", "--alpha", "0.1"), "'--lift', '--alpha'"),
        (("analyze", "log.csv", "--arm", "a", "--control", "b", "--metric", "c", "--probabilities", "p_",
          "--looked-at", "100"), "'--looked-at'"),
    ],
)  # fmt: skip
def test_an_option_of_another_use_is_refused(rapport_cli: Callable, arguments: tuple[str, ...], named: str) -> None:
    ran = rapport_cli(*arguments)
    told = " ".join(ran.stderr.split())
    assert ran.exit_code == 2
    assert "fit" in told
    assert named in told
    assert "leave out what is named" in told
