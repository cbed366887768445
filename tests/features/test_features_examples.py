"""The examples in the docstrings of the room run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import features


@pytest.mark.parametrize("name", [each.name for each in pkgutil.iter_modules(features.__path__)])
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"features.{name}")).failed == 0
