"""The guide on privacy: its code runs."""

from __future__ import annotations

import doctest
from pathlib import Path

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "privacy.md"


def test_the_code_of_the_guide_runs() -> None:
    ran = doctest.testfile(str(GUIDE), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert (ran.failed, ran.attempted > 15) == (0, True)
