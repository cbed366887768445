"""The code of the guide and the examples of the modules run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import features.linkage

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "linking.md"


def test_the_code_of_the_guide_of_linking_runs() -> None:
    ran = doctest.testfile(str(GUIDE), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert ran.attempted >= 10
    assert ran.failed == 0


@pytest.mark.parametrize("name", [each.name for each in pkgutil.iter_modules(features.linkage.__path__)])
def test_the_examples_of_linkage_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"features.linkage.{name}")).failed == 0
