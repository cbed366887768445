"""Replies: whether what a customer wrote back is a no, a yes, or something for a person to read.

The words are those that the FCC names as a revocation by text message (47 CFR 64.1200(a)(10)) and the CTIA's
Messaging Principles add, with the common ones of other European languages. A no is heard too often rather than too
seldom: a message that begins with a plain one counts whatever follows it. Words that have another everyday meaning
(END, CANCEL, BAJA) must stand alone. Whatever else a customer writes in order to stop is for a person to read.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

Meaning = Literal["opt_out", "opt_in", "reply"]


def _words(text: str) -> list[str]:
    """The words of a message in small letters, without accents; ``opt out`` is one word."""
    plain = unicodedata.normalize("NFKD", text[:1000]).casefold()
    plain = "".join(each for each in plain if not unicodedata.combining(each))
    return re.findall(r"\w+", re.sub(r"\bopt[\s_-]+(out|in)\b", r"opt\1", plain))


#: A message that begins with one of these is a no.
STOP_FIRST = frozenset(
    _words(
        "stop stopall stopp unsubscribe unsub optout revoke abmelden abbestellen austragen arret desabonner "
        "desinscrire afmelden uitschrijven disiscrivi afmeld frameld avmeld avregistrera wypisz rezygnuje odhlasit"
    )
)

#: A message that is nothing but one of these is a no.
STOP_ALONE = frozenset(
    _words("end quit cancel remove ende baja parar sair cancelar cancella basta avsluta stoppa peru lopeta koniec")
)

#: A message that is nothing but one of these is a yes to the channel that it came by.
START_ALONE = frozenset(_words("start unstop resume subscribe optin"))

_POLITE = frozenset(_words("please bitte pls now all alle thanks thank you merci danke"))


def meant_by(text: str) -> Meaning:
    """What a reply means for consent: ``opt_out``, ``opt_in`` (to its own channel), or nothing but a ``reply``.

    >>> [meant_by(each) for each in (" Stop. ", "STOP sending me this!", "opt-out", "Arrêt", "Start", "End of May?")]
    ['opt_out', 'opt_out', 'opt_out', 'opt_out', 'opt_in', 'reply']
    """
    words = _words(text)
    if not words:
        return "reply"
    alone = _POLITE.issuperset(words[1:])
    if words[0] in STOP_FIRST or (alone and words[0] in STOP_ALONE):
        return "opt_out"
    return "opt_in" if alone and words[0] in START_ALONE else "reply"


def says_stop(text: str) -> bool:
    """Whether a reply is a no.

    >>> says_stop("UNSUBSCRIBE"), says_stop("Do you still have these in blue?")
    (True, False)
    """
    return meant_by(text) == "opt_out"
