"""Patterns: features of the offer's own category and channel."""

from __future__ import annotations

from features.library import standard_features
from features.matching import is_pattern, matched, patterns


def test_every_pattern_stands_for_a_feature_of_every_word() -> None:
    vocabulary = {"channel": ("web", "email"), "category": ("shoes", "home & garden")}
    names = standard_features(channels=vocabulary["channel"], categories=vocabulary["category"]).names
    found = patterns(names, vocabulary=vocabulary)
    assert "interest_<category>_30d" in found
    assert "opens_<channel>_90d" in found
    for channel in vocabulary["channel"]:
        for category in vocabulary["category"]:
            assert {matched(each, {"channel": channel, "category": category}) for each in found} <= set(names)
    assert all(is_pattern(each) for each in found)
    assert not any(is_pattern(each) for each in names)


def test_a_word_without_its_feature_makes_no_pattern() -> None:
    assert patterns(["interest_shoes_30d"], vocabulary={"category": ("shoes", "toys")}) == ()


def test_an_offer_without_the_word_has_no_match() -> None:
    assert matched("interest_<category>_30d", {"channel": "email", "category": None}) is None
