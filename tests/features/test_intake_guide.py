"""The guide's code runs, its configuration is read, and it names every reason there is."""

from __future__ import annotations

import doctest
import re
import tomllib
from pathlib import Path

from features.intake import Source
from features.intake.checks import REASONS

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "intake.md"


def test_the_code_of_the_guide_runs() -> None:
    ran = doctest.testfile(str(GUIDE), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert ran.attempted > 15
    assert ran.failed == 0


def test_the_configuration_of_the_guide_is_read() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.S)
    sources = [Source.from_config(table) for table in tomllib.loads(block)["source"]]
    assert [source.name for source in sources] == [
        *("till", "web", "orders", "orders-with-departments", "preferences", "replies", "crm")
    ]


def test_every_reason_is_named() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    assert [code for code in REASONS if f"`{code}" not in text] == []
