"""How far a rate may have risen where few units have the event, and they came in clusters or strata."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from scipy import special

from experiments.analysis.mixtures import bernoulli_interval
from experiments.analysis.rare import FEW_EVENTS
from experiments.analysis.statistics import Moments, Quantity, large_strata

_EXPECTED = 100.0  # units of an arm at which the end for every look is narrowest: few, as it is for few events


def seldom_rise(
    arm: Moments, control: Moments, quantity: Quantity, *, alpha: float, any_look: bool, enough: float = FEW_EVENTS
) -> float | None:
    """The most that a rate may lie above the control's, exactly; None where each arm has enough events.

    The exact upper end of the arm's rate less the lower end of the control's, each at half of ``alpha``. Of clusters
    (``quantity`` is then a ratio to their size) a cluster is one trial, in which any event counts: its rate is above
    that of rows. Of strata, one look takes the ends of a weighted sum of counts; for any look the arm's rate is
    stretched as far as its least represented stratum is.

    Parameters
    ----------
    alpha: the chance that the rate rose by more, on that one side; of a campaign's look, the level of that look.
    any_look: whether it shall hold at every look rather than at this one.
    enough: the events of an arm from which on others tell.

    >>> import numpy as np
    >>> none = Moments.of(np.zeros((1, 335))), Moments.of(np.zeros((1, 2_812)))
    >>> most = seldom_rise(*none, Quantity(numerator=0), alpha=0.05, any_look=True)
    >>> f"of 335 without an event up to {most:.1%} may have one"
    'of 335 without an event up to 1.2% may have one'
    """
    column = quantity.numerator
    if arm.filled is None or control.filled is None:
        return None
    known = min(int(arm.filled[column]), int(control.filled[column]))
    if known >= enough:
        return None
    if not (arm.n and control.n):
        return math.nan
    size = 1.0 if quantity.denominator is None else max(float(control.mean[quantity.denominator]), 1.0)
    if (arm.strata or control.strata) and not any_look:
        most, least = _standardized(arm, control, column, alpha=alpha / 2)
        return most - least / size
    low = _edge(int(control.filled[column]), control.n, side="low", alpha=alpha / 2, any_look=any_look)
    high = _edge(_most_events(arm, column), arm.n, side="high", alpha=alpha / 2, any_look=any_look)
    (_, most), (least, _) = _stretch(arm, control), _stretch(control, arm)
    return min(high * most, 1.0) - low * least / size


def _standardized(arm: Moments, control: Moments, column: int, *, alpha: float) -> tuple[float, float]:
    """The upper end of the arm's rate and the lower end of the control's, strata at their shares of both together.

    Each is wrong with chance ``alpha``: the gamma ends of a weighted sum of counts (Fay and Feuer 1997).
    """
    pairs = large_strata(list(zip(arm.strata, control.strata, strict=True)))
    if any(not (mine.n and theirs.n) for mine, theirs in pairs):
        return 1.0, 0.0
    whole = sum(mine.n + theirs.n for mine, theirs in pairs)
    shares = np.array([(mine.n + theirs.n) / whole for mine, theirs in pairs])
    weights = shares / np.array([mine.n for mine, _ in pairs])
    events = np.array([_most_events(mine, column) for mine, _ in pairs])
    largest = weights.max()
    rate, spread = weights @ events + largest, weights**2 @ events + largest**2
    most = spread / rate * special.gammaincinv(rate * rate / spread, 1 - alpha)
    weights = shares / np.array([theirs.n for _, theirs in pairs])
    events = np.array([0 if theirs.filled is None else int(theirs.filled[column]) for _, theirs in pairs])
    rate, spread = weights @ events, weights**2 @ events
    least = spread / rate * special.gammaincinv(rate * rate / spread, alpha) if rate else 0.0
    return min(float(most), 1.0), float(least)


def _edge(events: int, n: int, *, side: Literal["low", "high"], alpha: float, any_look: bool) -> float:
    """One end of the chance of an event, wrong with chance ``alpha``: of Clopper and Pearson's, or at every look."""
    if any_look:
        # Not at twice alpha: of rare events the upper end may take all of the interval's error.
        return bernoulli_interval(events, n, alpha=alpha, expected=_EXPECTED)[side == "high"]
    if side == "high":
        return float(special.betaincinv(events + 1, n - events, 1 - alpha)) if events < n else 1.0
    return float(special.betaincinv(events, n - events + 1, alpha)) if events else 0.0


def _most_events(moments: Moments, column: int) -> int:
    """The units with an event: exactly where they are few; where not all were counted, no fewer than there are."""
    counted = int(moments.filled[column]) if moments.filled is not None else 0
    return counted if counted < FEW_EVENTS else min(moments.n, round(moments.n * float(moments.mean[column])))


def _stretch(own: Moments, other: Moments) -> tuple[float, float]:
    """The least and the most that a unit counts for once strata stand at their shares of both arms together."""
    pairs = large_strata(list(zip(own.strata, other.strata, strict=True))) if own.strata and other.strata else []
    if len(pairs) < 2:
        return 1.0, 1.0
    whole = own.n + other.n
    weights = [(mine.n + theirs.n) / whole * own.n / mine.n if mine.n else float("inf") for mine, theirs in pairs]
    return min(weights), max(weights)
