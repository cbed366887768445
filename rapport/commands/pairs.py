"""Options of the form ``NAME=NUMBER``, such as ``--split``, ``--cost`` and ``--limit``."""

from __future__ import annotations

from collections.abc import Iterable


def pairs(given: Iterable[str] | None, *, option: str, example: str) -> dict[str, float]:
    """The numbers by name of an option that may be passed several times; ``option`` and ``example`` are for the error.

    Raises
    ------
    InputError
        When one has no name, no number, or a name that was passed before.

    >>> pairs(["Mens E-Mail=0.5", "a=b=1"], option="--split ARM=SHARE", example="Mens E-Mail=0.5")
    {'Mens E-Mail': 0.5, 'a=b': 1.0}
    """
    from features.errors import InputError

    numbers: dict[str, float] = {}
    for each in given or ():
        name, _, number = each.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            name = ""
        if not name or name in numbers:
            raise InputError(
                f"{option} can't be read",
                got=f"{each!r} a second time" if name else repr(each),
                do=f'pass it once for each, as "{example}"',
            )
        numbers[name] = value
    return numbers
