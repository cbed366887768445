"""One line of the table: what was promised, what was measured, and the naive way in the same runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Line:
    """A promise (E1 to E10, or the name of a method), beside its measurement.

    ``nominal`` says what it should be, ``low`` and ``high`` the same as numbers; ``naive`` is what the usual way gives
    in the same runs, ``how`` which way that is; ``runs`` how many there were, ``of`` what.

    >>> Line(promise="E3", what="false positives", nominal="<= .05", measured=0.02, high=0.05, runs=2000).held
    True
    """

    promise: str
    what: str
    nominal: str
    measured: float
    runs: int
    low: float = float("-inf")
    high: float = float("inf")
    naive: float | None = None
    how: str = ""

    @property
    def held(self) -> bool:
        """Whether the measurement lies where the promise says."""
        return self.low <= self.measured <= self.high

    def __str__(self) -> str:
        naive = "" if self.naive is None else f"{self.naive:.4f}"
        mark = "" if self.held else "MISSED"
        return (
            f"{self.promise:6}{self.what:66}{self.nominal:>9}{self.measured:9.4f}{self.runs:>12,}{naive:>9} "
            f"{self.how or mark}{'' if not self.how or self.held else ' MISSED'}"
        )


Part = Callable[[int], Iterator[Line]]
HEAD = f"{'':6}{'':66}{'nominal':>9}{'measured':>9}{'runs':>12}{'naive':>9} (the naive way)"
