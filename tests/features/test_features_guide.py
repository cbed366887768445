"""The guide's code runs and its configuration is read."""

from __future__ import annotations

import doctest
import re
import tomllib
from pathlib import Path

from features import FeatureSet, standard_features
from features.privacy.purposes import Purposes

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "features.md"


def test_the_code_of_the_guide_runs() -> None:
    ran = doctest.testfile(str(GUIDE), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert ran.attempted > 15
    assert ran.failed == 0


def test_the_configuration_of_the_guide_is_read() -> None:
    blocks = [tomllib.loads(text) for text in re.findall(r"```toml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.S)]
    features = FeatureSet.from_config(table for block in blocks for table in block.get("feature", ()))
    assert features.names == ("baby_interest_7d", "baby_interest_90d", "age", "pregnancy_tests_90d", "night_orders_90d")
    Purposes.from_config(next(block["purposes"] for block in blocks if "purposes" in block)).require(features)
    words = next(block["features"] for block in blocks if "features" in block)
    assert {"household_spend_365d", "interest_brand_acme_30d"} <= set(standard_features(**words).names)
