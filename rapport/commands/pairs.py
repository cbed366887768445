"""Options of the form ``NAME=VALUE``, such as ``--split``, ``--cost``, ``--limit`` and ``--cap``."""

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
    found = texts(given, option=option, example=example)
    return {name: _number(name, text, option=option, example=example) for name, text in found.items()}


def texts(given: Iterable[str] | None, *, option: str, example: str) -> dict[str, str]:
    """As ``pairs``, with the values as they are written; what follows the last ``=`` is the value.

    >>> texts(["spend=99%"], option="--cap METRIC=VALUE", example="spend=500")
    {'spend': '99%'}
    """
    from features.errors import InputError

    found: dict[str, str] = {}
    for each in given or ():
        name, _, text = each.rpartition("=")
        if not name or not text.strip() or name in found:
            raise InputError(
                f"{option} can't be read",
                got=f"{each!r} a second time" if name in found else repr(each),
                do=f'pass it once for each, as "{example}"',
            )
        found[name] = text
    return found


def _number(name: str, text: str, *, option: str, example: str) -> float:
    from features.errors import InputError

    try:
        return float(text)
    except ValueError:
        raise InputError(
            f"{option} can't be read", got=repr(f"{name}={text}"), do=f'pass it once for each, as "{example}"'
        ) from None
