"""The examples of the analysis' modules and of its guide run as they stand."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

MODULES = (
    *("analysis", "balance", "comparison", "looks", "observations", "planning", "readings", "sequential", "statistics"),
    "verdict",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_of(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"experiments.{name}")).failed == 0


def test_the_guide() -> None:
    guide = Path(__file__).parents[2] / "docs" / "analysis.md"
    found = doctest.testfile(str(guide), module_relative=False)
    assert (found.failed, found.attempted > 5) == (0, True)
