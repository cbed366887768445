"""Options that belong to another use of a command: refused, rather than read over."""

from __future__ import annotations

from collections.abc import Mapping


def refuse(given: Mapping[str, object], *, beside: str, why: str) -> None:
    """Refuse the options among ``given`` (name to value) that were passed, though they do nothing ``beside`` another.

    >>> refuse({"--goal": None, "--every": False}, beside="a table", why="they are for a project's log")
    """
    from features.errors import InputError, listed

    passed = [option for option, value in given.items() if value not in (None, False, "", [])]
    if passed:
        noun, verb = ("an option", "doesn't") if len(passed) == 1 else ("options", "don't")
        raise InputError(f"{noun} {verb} fit {beside}", got=listed(passed), do=f"leave out what is named: {why}")
