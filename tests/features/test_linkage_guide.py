"""The code of the guide runs."""

from __future__ import annotations

import doctest
from pathlib import Path

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "linking.md"


def test_the_code_of_the_guide_of_linking_runs() -> None:
    ran = doctest.testfile(str(GUIDE), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert ran.attempted >= 10
    assert ran.failed == 0
