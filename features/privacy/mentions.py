"""Mentions: whether a text holds one of some words, whatever the capitals, and not within another word."""

from __future__ import annotations

from collections.abc import Iterable

_LONG = 8  # a word of so many letters stands within another by hardly any chance


class Mentions:
    """Some words, to be looked for in texts.

    >>> told = Mentions(["c-4711", "Anna@shop.example"])
    >>> [told.found_in(each) for each in ("<td>C-4711</td>", "abc-4711", "to anna@SHOP.example", "joanna@shop.example")]
    [True, False, True, False]
    """

    def __init__(self, words: Iterable[str]) -> None:
        self._words = tuple({plain for each in words if (plain := each.strip().casefold())})

    def found_in(self, text: str, *, bounded: bool = True) -> bool:
        """Whether one of the words stands in ``text``; ``bounded``: with no letter or digit right before or after it.

        Where nothing parts words, as in the file of a database, long ones are found in any place.
        """
        plain = text.casefold()
        return any(
            word in plain and ((not bounded and len(word) >= _LONG) or _stands_alone(word, plain))
            for word in self._words
        )


def _stands_alone(word: str, text: str) -> bool:
    start = text.find(word)
    while start >= 0:
        end = start + len(word)
        before = word[0].isalnum() and text[max(start - 1, 0) : start].isalnum()
        after = word[-1].isalnum() and text[end : end + 1].isalnum()
        if not before and not after:
            return True
        start = text.find(word, start + 1)
    return False
