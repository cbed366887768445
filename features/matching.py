"""Features of a customer and an offer together: what the customer does in the offer's own category, on its own channel.

Such a column is named by a pattern, ``interest_<category>_30d``: for an offer of shoes it holds the feature
``interest_shoes_30d``. A model learns from it once what it would have to learn for each category apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from features.library import column_name


def patterns(names: Iterable[str], *, vocabulary: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The patterns that every word of a vocabulary has a feature for.

    Parameters
    ----------
    names: of features.
    vocabulary: what the marks stand for, such as ``{"category": ("shoes", "toys")}``.

    >>> patterns(["interest_shoes_30d", "interest_toys_30d", "visits_30d"], vocabulary={"category": ("shoes", "toys")})
    ('interest_<category>_30d',)
    """
    known = list(names)
    found: dict[str, None] = {}
    for mark, words in vocabulary.items():
        written = [column_name(word) for word in words]
        for name in known:
            for word in written:
                if f"_{word}_" in name:
                    pattern = name.replace(f"_{word}_", f"_<{mark}>_", 1)
                    if all(pattern.replace(f"<{mark}>", each) in known for each in written):
                        found[pattern] = None
    return tuple(found)


def is_pattern(name: str) -> bool:
    """Whether a column is named by a pattern.

    >>> is_pattern("interest_<category>_30d"), is_pattern("interest_shoes_30d")
    (True, False)
    """
    return "<" in name


def matched(pattern: str, words: Mapping[str, str | None]) -> str | None:
    """The feature that a pattern stands for, given the words of an offer; None where it has none.

    >>> matched("interest_<category>_30d", {"category": "Home & Garden", "channel": "email"})
    'interest_home_garden_30d'
    """
    for mark, word in words.items():
        if f"<{mark}>" in pattern:
            return pattern.replace(f"<{mark}>", column_name(word)) if word else None
    return None
