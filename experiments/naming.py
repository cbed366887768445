"""What names in a design may be: ids are short and plain, what people read is printed words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable

from features.errors import InputError
from features.facts import ID_PATTERN

_LONGEST = 128
_PROSE = 2_000


def check(fine: bool, wrong: str, *, got: str, do: str) -> None:
    """Refuse what isn't fine, in three parts."""
    if not fine:
        raise InputError(wrong, got=got, do=do)


def check_key(noun: str, name: str) -> None:
    """Refuse an id of anything but letters, digits and ``_.:-``: it becomes a column, a file's or a record's name."""
    check(
        re.fullmatch(ID_PATTERN, name) is not None,
        f"{noun} is no plain name",
        got=_shown(name),
        do="use letters of English, digits, '_', '.', ':' and '-', at most 128, a letter or digit first",
    )


def check_words(noun: str, name: str) -> None:
    """Refuse a name for people that is empty, long, begins or ends with a blank, or can't be printed on one line."""
    check(
        0 < len(name) <= _LONGEST and name == name.strip() and name.isprintable(),
        f"{noun} is no name",
        got=_shown(name),
        do=f"give 1 to {_LONGEST} printed characters on one line, without blanks around them",
    )


def check_prose(noun: str, text: str) -> None:
    """Refuse a text for people that holds what can't be printed; it may have several lines, or be empty."""
    check(
        len(text) <= _PROSE and all(line.isprintable() for line in re.split(r"[\r\n\t]", text)),
        f"{noun} can't be printed",
        got=_shown(text),
        do=f"write plain words, at most {_PROSE:,} characters, without control characters",
    )


def check_apart(noun: str, names: Iterable[str], *, told_by: Callable[[str], str] = str) -> None:
    """Refuse a name that stands twice, however its accents are encoded; ``told_by`` is what tells two names apart."""
    seen: dict[str, str] = {}
    for name in names:
        same = told_by(unicodedata.normalize("NFC", name))
        check(
            same not in seen,
            f"two {noun}s have the same name",
            got=_shown(name) if seen.get(same) == name else f"{_shown(seen.get(same, name))} and {_shown(name)}",
            do="give each a name of its own",
        )
        seen[same] = name


def _shown(name: str) -> str:
    return repr(name) if len(name) <= 60 else f"{name[:50]!r} and {len(name) - 50:,} characters more"
