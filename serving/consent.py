"""The customer's yes and no: dated facts, and what they permit together, in whatever order they arrived."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Literal, NamedTuple

import msgspec

from serving.catalogue import CONTACT_CLASSES, ContactClass

EVERY = "all"
"""As a channel or contact class of a fact: all of them."""

CONTACT_PURPOSE = "contact"
"""The purpose under which contacts go out. A yes counts for exactly this purpose, a no whatever its purpose."""

ConsentChannel = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}(?!\n)$",
        description="A channel's name, or 'all'. It need not be a channel of any offer: a no is never refused.",
    ),
]
ConsentClass = ContactClass | Literal["all"]
Source = Literal["customer", "agent", "import"]
"""Who said so: the customer, an agent at the customer's word, or another system's file."""


class ConsentFact(NamedTuple):
    """One thing a customer said (or a file says they said) about being contacted."""

    channel: str
    purpose: str
    contact_class: str
    granted: bool
    source: str
    occurred_at: datetime

    def covers(self, channel: str, contact_class: str) -> bool:
        """Whether the fact speaks of this channel (in small letters) and class."""
        return self.channel.lower() in (EVERY, channel) and self.contact_class in (EVERY, contact_class)


class Permission(msgspec.Struct, frozen=True, array_like=True):
    """What a customer's facts permit: scopes such as ``email:marketing`` with a standing yes, and with a standing no.

    Channels that the customer named have scopes of their own; ``all:marketing`` is what holds for every other channel.
    ``hold`` is the reason of a suppression, which stops everything.

    >>> Permission(granted=("email:marketing",)).hold is None
    True
    """

    granted: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    hold: str | None = None


def scope(channel: str, contact_class: str) -> str:
    """The name of a channel and class together; capitals make no difference, as a no must not miss for one."""
    return f"{channel.lower()}:{contact_class}"


def permission(facts: Sequence[ConsentFact], *, hold: str | None = None) -> Permission:
    """What ``facts`` permit; neither their order nor repeats make a difference.

    A no stands until a later yes that the customer gave (themselves or to an agent; never a file) and that names the
    channel and class at least as closely as the no does: an opt-in to everything does not undo an opt-out of e-mail.
    At the same moment the no wins.

    >>> from datetime import UTC
    >>> spring, summer = datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)
    >>> no = ConsentFact("email", "contact", "marketing", False, "customer", spring)
    >>> permission([ConsentFact("email", "contact", "marketing", True, "import", summer), no]).refused
    ('email:marketing',)
    >>> permission([no, ConsentFact("email", "contact", "marketing", True, "customer", summer)]).granted
    ('email:marketing',)
    """
    yes = [fact for fact in facts if fact.granted and fact.purpose == CONTACT_PURPOSE]
    no = [fact for fact in facts if not fact.granted]
    if not no:
        return Permission(_covered(frozenset((fact.channel, fact.contact_class) for fact in yes)), (), hold)
    granted, refused = [], []
    for channel, contact_class in _scopes(fact.channel for fact in facts):
        if any(each.covers(channel, contact_class) and not _lifted(each, yes, channel, contact_class) for each in no):
            refused.append(scope(channel, contact_class))
        elif any(each.covers(channel, contact_class) for each in yes):
            granted.append(scope(channel, contact_class))
    return Permission(tuple(granted), tuple(refused), hold)


def _lifted(no: ConsentFact, yes: Sequence[ConsentFact], channel: str, contact_class: str) -> bool:
    return any(
        each.occurred_at > no.occurred_at
        and each.source != "import"
        and _as_close(each.channel.lower(), no.channel.lower(), channel)
        and _as_close(each.contact_class, no.contact_class, contact_class)
        for each in yes
    )


def _as_close(yes: str, no: str, wanted: str) -> bool:
    """Whether a yes names ``wanted`` itself, or everything where the no names everything too."""
    return yes == wanted or (yes == EVERY and no == EVERY)


@lru_cache(maxsize=256)
def _covered(pairs: frozenset[tuple[str, str]]) -> tuple[str, ...]:
    told = [(channel.lower(), contact_class) for channel, contact_class in pairs]
    return tuple(
        scope(channel, contact_class)
        for channel, contact_class in _scopes(channel for channel, _ in told)
        if any(named in (EVERY, channel) and kind in (EVERY, contact_class) for named, kind in told)
    )


def _scopes(named: Iterable[str]) -> list[tuple[str, str]]:
    """Every channel that was named, and all the others as one, with each class."""
    channels = (EVERY, *sorted({channel.lower() for channel in named} - {EVERY}))
    return [(channel, contact_class) for channel in channels for contact_class in CONTACT_CLASSES]
