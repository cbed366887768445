"""The guide's code runs, and its configuration is read as it says."""

from __future__ import annotations

import doctest
import re
import tomllib
from pathlib import Path

from features.identity import IdentityRules

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "identity.md"


def test_the_code_of_the_identity_guide_runs() -> None:
    ran = doctest.testfile(str(GUIDE), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert ran.attempted > 15
    assert ran.failed == 0


def test_the_configuration_of_the_identity_guide_is_read() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.S)
    first, second = (IdentityRules.from_config(tomllib.loads(text)["identity"]) for text in blocks)
    assert [(each.kind, each.strength, each.limit) for each in first.identifier] == [
        ("login", "personalize", 25),
        ("card", "personalize", 10),
        ("email", "personalize", 6),
        ("phone", "count", 6),
        ("staff_badge", "count", 2),
    ]
    assert (first.household, first.household_limit, first.crowd) == (("address", "family_name"), 12, 100)
    assert second.people["surname"] == "last_name"
