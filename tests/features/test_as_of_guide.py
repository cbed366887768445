"""The guide's code runs and its configuration is read."""

from __future__ import annotations

import doctest
import re
import tomllib
from pathlib import Path

from features.intake import Source

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "as-of.md"


def test_the_code_of_the_guide_runs() -> None:
    ran = doctest.testfile(str(GUIDE), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert ran.attempted > 25
    assert ran.failed == 0


def test_the_source_of_the_guide_is_read() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.S)
    (source,) = (Source.from_config(table) for table in tomllib.loads(block)["source"])
    assert (source.name, source.delay) == ("redemptions", "24h")
