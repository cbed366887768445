"""The one error that a user of Rapport meets: what is wrong, what was got, what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(Exception):
    """Bad input, told in three parts.

    Parameters
    ----------
    wrong: what is wrong, as a sentence without a full stop.
    got: what was found in its place.
    do: what the user can do about it.

    The command line prints the parts and exits with code 2; the service answers 4xx with them.

    >>> str(InputError("the arm column is missing", got="columns: group, visit", do="pass --arm group"))
    'the arm column is missing; got columns: group, visit; pass --arm group'
    """

    def __init__(self, wrong: str, *, got: str, do: str) -> None:
        super().__init__(wrong, got, do)
        self.wrong = wrong
        self.got = got
        self.do = do

    def __str__(self) -> str:
        return f"{self.wrong}; got {self.got}; {self.do}"


def listed(names: Iterable[object], *, most: int = 12) -> str:
    """Names in a row for a message, the tail cut off with a count.

    >>> listed(["a", "b", "c"], most=2)
    "'a', 'b' and 1 more"
    """
    shown = [repr(str(name)) for name in names]
    if not shown:
        return "nothing"
    head = ", ".join(shown[:most])
    return head if len(shown) <= most else f"{head} and {len(shown) - most} more"


def unknown(noun: str, name: object, known: Iterable[object], *, do: str = "") -> InputError:
    """The error for a name that is not among the known ones, with the nearest of them.

    >>> print(unknown("column", "vist", ["visit", "spend"]))
    unknown column 'vist'; got one that is not among 'visit', 'spend'; did you mean 'visit'?
    """
    names = [str(each) for each in known]
    near = get_close_matches(str(name), names, n=3, cutoff=0.5) or [
        each for each in names if each.casefold() == str(name).casefold()
    ]
    advice = f"did you mean {' or '.join(map(repr, near))}?" if near else (do or "use one of these")
    if not names:
        return InputError(f"unknown {noun} {str(name)!r}", got="no other to choose from", do=do or "leave it out")
    return InputError(f"unknown {noun} {str(name)!r}", got=f"one that is not among {listed(names)}", do=advice)
