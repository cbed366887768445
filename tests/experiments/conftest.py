"""What the tests of experiments share: a report of a simulated experiment, with every part filled."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from experiments.report import Report


@pytest.fixture(scope="session")
def example_report() -> Callable[..., Report]:
    """``example_report(customers=8_000, weeks=3)``: see the module of this name; each report is made once."""
    path = Path(__file__).with_name("example_report.py")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # Dataclasses look for their module there.
    spec.loader.exec_module(module)
    return cache(module.example_report)
