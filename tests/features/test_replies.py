"""STOP and its kin are a no, whatever stands around them; ordinary words are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.privacy.replies import STOP_ALONE, STOP_FIRST, meant_by, says_stop

#: 47 CFR 64.1200(a)(10), and the CTIA's Messaging Principles and Best Practices.
NAMED = ("stop", "quit", "end", "revoke", "opt out", "cancel", "unsubscribe", "STOPALL", "OPTOUT", "opt-out")


@pytest.mark.parametrize("word", NAMED)
def test_the_words_that_regulators_name(word: str) -> None:
    assert {meant_by(form) for form in (word, word.upper(), f" {word}. ", f"{word}!!", f"{word} please")} == {"opt_out"}


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("STOP sending me this", "opt_out"),
        ("Stop", "opt_out"),
        ("Bitte", "reply"),
        ("ARRÊT", "opt_out"),
        ("Abmelden bitte", "opt_out"),
        ("BAJA", "opt_out"),
        ("End of May would be fine", "reply"),
        ("Cancel my order 77", "reply"),
        ("Don't stop!", "reply"),
        ("Unstoppable", "reply"),
        ("START", "opt_in"),
        ("unstop", "opt_in"),
        ("Start at nine?", "reply"),
        ("Yes", "reply"),
        ("", "reply"),
        ("\U0001f600", "reply"),
    ],
)
def test_what_a_reply_means(text: str, meant: str) -> None:
    assert meant_by(text) == meant


@given(word=st.sampled_from(sorted(STOP_FIRST)), rest=st.text(max_size=40))
def test_a_plain_no_counts_whatever_follows(word: str, rest: str) -> None:
    assert says_stop(f"{word} {rest}")


@given(st.text(max_size=80))
def test_no_text_breaks_it(text: str) -> None:
    assert meant_by(text) in ("opt_out", "opt_in", "reply")


def test_no_word_is_both() -> None:
    assert not STOP_FIRST & STOP_ALONE
