"""The guide to the models runs as it is printed."""

import doctest
from pathlib import Path


def test_the_guide_runs():
    guide = Path(__file__).resolve().parents[2] / "docs" / "models.md"
    failed, tried = doctest.testfile(str(guide), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tried > 20
    assert failed == 0
