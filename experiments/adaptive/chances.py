"""Whether the chances that a log holds can be those with which its actions were chosen, and how low they fell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.adaptive.scores import Chosen, Floats
from experiments.analysis.balance import ALARM_LEVEL, WARNING_LEVEL
from experiments.results import SampleRatio, SrmStatus

#: A bandit must leave every arm at least this chance, or nothing more is learned of it.
FLOOR = 0.01


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How well the actions of a log fit its chances.

    ``p_value`` holds at one look; ``log_e_value`` is evidence against the chances, whose exponential is seldom large
    however often one looks.

    >>> chosen = np.arange(400) % 4 == 0
    >>> Fit.of([chosen, ~chosen], [np.full(400, 0.25), np.full(400, 0.75)]).status
    'green'
    >>> Fit.of([chosen, ~chosen], [np.full(400, 0.5), np.full(400, 0.5)]).status
    'red'
    """

    p_value: float
    log_e_value: float

    @classmethod
    def of(cls, chosen: Sequence[Chosen], chances: Sequence[Floats]) -> Fit:
        """The fit of what was ``chosen``, an array (rows,) per arm, to the ``chances`` of the same arms.

        An arm must be chosen as often as its chances add up to, among all rows and, more so, where they are high:
        chances of other rows, or of an older policy, have the right sum and the wrong place. Each is a sum of
        martingale differences with a known variance.
        """
        squares = np.array([each for pair in zip(chosen, chances, strict=True) for each in _squared_scores(*pair)])
        if not squares.size:
            return cls(p_value=1.0, log_e_value=0.0)
        tails = np.array([_two_sided(score) for score, _ in squares])
        # A normal mixture over the size of the error, as wide as a hundred rows can show.
        evidence = [0.5 * (score * rows / (rows + 100) - np.log1p(rows / 100)) for score, rows in squares]
        return cls(
            p_value=float(min(1.0, squares.shape[0] * tails.min())),
            log_e_value=float(np.log(np.mean(np.exp(np.minimum(evidence, 700))))),
        )

    @property
    def status(self) -> SrmStatus:
        """Red where a test that stays valid at every look rejects at 0.001; yellow where this look warns at 0.01."""
        if self.log_e_value > -np.log(ALARM_LEVEL):
            return "red"
        return "yellow" if self.p_value < WARNING_LEVEL else "green"

    @property
    def sample_ratio(self) -> SampleRatio:
        """The same, where a table of results keeps the check of the split."""
        return SampleRatio(p_value=self.p_value, status=self.status)


def _squared_scores(chosen: Chosen, chance: Floats) -> Iterator[tuple[float, float]]:
    """The squared z of two sums, and the rows that they are worth: all rows alike, and weighted by the chance."""
    noise = chance * (1 - chance)
    for weight in (np.ones_like(chance), chance - chance.mean()):
        variance = float((np.square(weight) * noise).sum())
        most = float(np.abs(weight).max(initial=0.0))
        # Worth fewer than ten rows, a sum is too coarse to be held against the normal distribution.
        if most > 0 and variance / most**2 >= 10:
            yield float((weight * (chosen - chance)).sum()) ** 2 / variance, variance / most**2


def _two_sided(squared: float) -> float:
    from scipy import special

    return float(special.erfc(np.sqrt(squared / 2)))


def impossible(chosen: Chosen, chance: Floats) -> int:
    """In how many rows the arm was chosen though it had no chance."""
    return int((chosen & ~(chance > 0)).sum())


def starved(chance: Floats, *, floor: float = FLOOR) -> tuple[float, int]:
    """The least chance above 0 that an arm had, and in how many rows it was below the floor.

    >>> starved(np.array([0.5, 0.004, 0.0]))
    (0.004, 1)
    """
    possible = chance[chance > 0]
    return float(possible.min(initial=1.0)), int((possible < floor).sum())
