"""How well a score finds the customers whom a contact moves: four figures from one sort, each with its definition.

"Qini" has at least four scales for the same data and score, so every output says which one it is: ``DEFINITIONS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from features.errors import InputError

DEFINITIONS: Mapping[str, str] = MappingProxyType(
    {
        "autoc": "mean over q of the gain of treating the share q with the highest scores over treating all alike "
        "(Yadlowsky et al. 2021, weight 1, as in grf)",
        "qini": "the same mean with weight q, so per customer of all (as in grf)",
        "qini_auc": "area between the Qini curve and the line of chance, over that of the best score there can be, "
        "which treats no control responder (as in scikit-uplift)",
        "uplift_auc": "the same for the curve of uplift times customers (as in scikit-uplift)",
        "uplift_at": "response rate of the treated less that of the others among the customers with the highest scores "
        "(as in scikit-uplift, overall)",
        "uplift_at_by_group": "the same, among the highest scores of each group (as in scikit-uplift, by_group)",
    }
)
"""What each figure is, in a sentence; equal scores count as one step of the curves."""

_DRAWS = 200


@dataclass(frozen=True, kw_only=True)
class Targeting:
    """How well a score ranks customers by what a contact does to them; ``DEFINITIONS`` says what each figure is.

    ``share``: of the customers that ``uplift_at`` looks at, which is None where chance left only one kind among them.
    The areas of scikit-uplift are those of outcomes of 0 and 1, and None for others.
    """

    rows: int
    share: float
    autoc: float
    qini: float
    qini_auc: float | None
    uplift_auc: float | None
    uplift_at: float | None
    uplift_at_by_group: float

    def to_json(self) -> dict[str, Any]:
        """The figures, and under ``definitions`` what each of them is."""
        return {**asdict(self), "definitions": dict(DEFINITIONS)}


def targeting(
    score: np.ndarray,
    *,
    outcome: np.ndarray,
    treated: np.ndarray,
    probability: float | np.ndarray | None = None,
    share: float = 0.3,
) -> Targeting:
    """How well ``score`` (rows,) ranks customers by the effect of a contact that was given at random.

    Parameters
    ----------
    outcome: (rows,), such as 0 and 1 for a visit.
    treated: (rows,) whether the customer got the contact.
    probability: the chance of the contact, one or (rows,); the share that got it when not given.
    share: above 0 and below 1. Of rows with one score the last count first, as in scikit-uplift.

    >>> even = np.arange(0.5, 1_000) / 1_000
    >>> treated = np.arange(1_000) % 2 == 0
    >>> found = targeting(even, outcome=even * treated, treated=treated)
    >>> round(found.uplift_at, 2), round(found.autoc, 2)
    (0.85, 0.25)
    """
    given = treated.astype(bool)
    groups = int(given.sum()), int((~given).sum())
    if not 0 < share < 1 or int(min(groups) * share) == 0:
        raise InputError(
            "targeting can't be judged",
            got=f"{groups[0]:,} treated, {groups[1]:,} others, share {share:g}",
            do="pass both treated customers and others, and a share between 0 and 1 that leaves some of each",
        )
    order, ranked = _ranked(score)
    chance = np.asarray(groups[0] / given.size if probability is None else probability)
    chance = chance[order] if chance.ndim else chance
    given, outcome = given[order], outcome[order].astype(float)
    gains = _gains(outcome / np.where(given, chance, chance - 1), ranked)
    ends = _ends(ranked)
    won = np.cumsum(outcome)
    steps = _Steps(
        rows=ends + 1.0,
        treated=np.cumsum(given, dtype=np.float64)[ends],
        won=won[ends],
        won_treated=np.cumsum(np.where(given, outcome, 0.0))[ends],
    )
    cells = _cells(given, outcome)
    return Targeting(
        rows=given.size,
        share=share,
        autoc=float(gains.mean()),
        qini=_weighted(gains),
        qini_auc=None if cells is None else steps.qini() / _best_qini(cells).qini(),
        uplift_auc=None if cells is None else steps.uplift() / _best_uplift(cells).uplift(),
        uplift_at=_uplift(outcome[: int(given.size * share)], given[: int(given.size * share)]),
        uplift_at_by_group=float(
            outcome[given][: int(groups[0] * share)].mean() - outcome[~given][: int(groups[1] * share)].mean()
        ),
    )


def autoc(effect: np.ndarray, pseudo: np.ndarray) -> tuple[float, float]:
    """Area under the targeting operator characteristic and its standard error (half-sample bootstrap, 200 draws).

    Yadlowsky et al. (2021) with weight 1, as in grf: mean over q of the gain of treating the share q with the highest
    predicted ``effect`` over treating all alike, measured on doubly robust ``pseudo`` outcomes (rows,).
    """
    rng = np.random.default_rng(0)
    order = np.argsort(-effect, kind="stable")
    ranked, ordered = effect[order], pseudo[order]
    draws = []
    for _ in range(_DRAWS):
        # What is sorted stays sorted when half of it is left.
        half = np.sort(rng.choice(len(order), len(order) // 2, replace=False))
        draws.append(_gains(ordered[half], ranked[half]).mean())
    return float(_gains(ordered, ranked).mean()), float(np.std(draws))


def qini(effect: np.ndarray, pseudo: np.ndarray) -> float:
    """The same area with weight q, as in grf: mean over q of what treating the share q gains, per row of all.

    >>> even = np.arange(0.5, 10_000) / 10_000
    >>> round(autoc(even, even)[0], 3), round(qini(even, even), 4)
    (0.25, 0.0833)
    """
    order = np.argsort(-effect, kind="stable")
    return _weighted(_gains(pseudo[order], effect[order]))


@dataclass(frozen=True, kw_only=True)
class _Steps:
    """A curve's steps, each of shape (steps,): rows, treated rows, responses, and those of treated rows, so far."""

    rows: np.ndarray
    treated: np.ndarray
    won: np.ndarray
    won_treated: np.ndarray

    def qini(self) -> float:
        """Area of the Qini curve above the line of chance."""
        return self._above(self.won_treated - (self.won - self.won_treated) * _ratio(self.treated, self._others))

    def uplift(self) -> float:
        """Area of the curve of uplift times rows above the line of chance."""
        rate, other = _ratio(self.won_treated, self.treated), _ratio(self.won - self.won_treated, self._others)
        return self._above((rate - other) * self.rows)

    @property
    def _others(self) -> np.ndarray:
        others: np.ndarray = self.rows - self.treated
        return others

    def _above(self, values: np.ndarray) -> float:
        widths = np.diff(self.rows, prepend=0.0)
        # By trapezoids from (0, 0).
        area = float(widths @ values + widths[1:] @ values[:-1]) / 2
        return area - float(self.rows[-1] * values[-1]) / 2


_Cells = dict[tuple[int, int], int]


def _cells(given: np.ndarray, outcome: np.ndarray) -> _Cells | None:
    """How many rows there are by (outcome, treated); None unless outcomes are 0 and 1."""
    if not np.isin(outcome, (0.0, 1.0)).all():
        return None
    counts = np.bincount(2 * outcome.astype(np.int64) + given, minlength=4).tolist()
    return {(won, treated): counts[2 * won + treated] for won in (0, 1) for treated in (0, 1)}


def _best_qini(cells: _Cells) -> _Steps:
    """Treated responders first, then all who did not respond, then the responders among the others."""
    return _walk([[(1, 1)], [(0, 0), (0, 1)], [(1, 0)]], cells)


def _best_uplift(cells: _Cells) -> _Steps:
    """Treated responders first, then who was left alone and did not respond, then the rarer kind of mistake."""
    wrong = [[(1, 0)], [(0, 1)]] if cells[1, 0] > cells[0, 1] else [[(0, 1)], [(1, 0)]]
    return _walk([[(1, 1)], [(0, 0)], *wrong], cells)


def _walk(order: list[list[tuple[int, int]]], cells: _Cells) -> _Steps:
    sizes = [[cells[each] for each in step] for step in order]
    told = zip(order, sizes, strict=True)
    steps = [(sum(n), *_sums(kinds, n)) for kinds, n in told if sum(n)]
    rows, treated, won, won_treated = np.cumsum(np.array(steps, dtype=float), axis=0).T
    return _Steps(rows=rows, treated=treated, won=won, won_treated=won_treated)


def _sums(kinds: list[tuple[int, int]], sizes: list[int]) -> tuple[int, int, int]:
    pairs = list(zip(kinds, sizes, strict=True))
    return (
        sum(treated * n for (_, treated), n in pairs),
        sum(won * n for (won, _), n in pairs),
        sum(won * treated * n for (won, treated), n in pairs),
    )


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    shares: np.ndarray = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return shares


def _uplift(outcome: np.ndarray, given: np.ndarray) -> float | None:
    """Mean outcome of the treated rows less that of the others; None where there are none of one kind."""
    if given.all() or not given.any():
        return None
    return float(outcome[given].mean() - outcome[~given].mean())


def _ranked(score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order of falling scores, of equal ones the last first, and the scores in it."""
    order = np.argsort(score)[::-1]
    ranked = score[order]
    if (ranked[1:] == ranked[:-1]).any():  # a sort that keeps the order of equals takes twice as long
        order = np.argsort(score, kind="stable")[::-1]
    return order, ranked


def _ends(ranked: np.ndarray) -> np.ndarray:
    """The last place of each run of equal scores."""
    return np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)


def _gains(ordered: np.ndarray, ranked: np.ndarray) -> np.ndarray:
    """Mean of ``ordered`` among its first 1, 2, ... rows, less that of all (rows,); rows of one score share theirs."""
    ends = _ends(ranked)
    if len(ends) < len(ranked):
        sizes = np.diff(ends, prepend=-1)
        ordered = np.repeat(np.add.reduceat(ordered, ends - sizes + 1) / sizes, sizes)
    gains: np.ndarray = np.cumsum(ordered) / np.arange(1, len(ordered) + 1) - ordered.mean()
    return gains


def _weighted(gains: np.ndarray) -> float:
    return float(gains @ np.arange(1, len(gains) + 1)) / len(gains) ** 2
