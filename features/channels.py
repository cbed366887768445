"""Channels that go out together: an offer that is sent over several at once has them all as its one channel."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable


def channels_of(text: str | None) -> tuple[str, ...]:
    """The channels that an attribute of an offer lists: as JSON, or separated by commas, semicolons or blanks.

    >>> channels_of('["web", "email"]'), channels_of("web, email"), channels_of(None)
    (('web', 'email'), ('web', 'email'), ())
    """
    if not text or not text.strip():
        return ()
    try:
        listed = json.loads(text)
    except ValueError:
        listed = None
    words = listed if isinstance(listed, list) else re.split(r"[,;\s]+", text.strip())
    return tuple(str(word).strip() for word in words if str(word).strip())


def bundle(channels: Iterable[str]) -> str:
    """One word for channels that go out together, the same in whatever order they are listed.

    Where a system records that an offer was sent, but not by which of its channels, this is all that can be said: by
    all of them. What each of them adds can't be told apart from such records.

    >>> bundle(["web", "email", "mobile"]), bundle(["email"])
    ('email-mobile-web', 'email')
    """
    return "-".join(sorted(set(channels)))
