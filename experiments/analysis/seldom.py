"""How far a rate may have risen where few units have the event, and they came in clusters or strata."""

from __future__ import annotations

import math
from typing import Literal

from scipy import special

from experiments.analysis.mixtures import bernoulli_interval
from experiments.analysis.rare import FEW_EVENTS
from experiments.analysis.statistics import Moments, Quantity, large_strata

_EXPECTED = 100.0  # units of an arm at which the end for every look is narrowest: few, as it is for few events


def seldom_rise(arm: Moments, control: Moments, quantity: Quantity, *, alpha: float, any_look: bool) -> float | None:
    """The most that a rate may lie above the control's, exactly; None where each arm has enough events.

    The exact upper end of the arm's rate less the lower end of the control's, each at half of ``alpha``. Of clusters
    (``quantity`` is then a ratio to their size) a cluster is one trial, in which any event counts: its rate is above
    that of rows. Of strata, the arm's rate is stretched as far as its least represented stratum is.

    Parameters
    ----------
    alpha: the chance that the rate rose by more, on that one side; of a campaign's look, the level of that look.
    any_look: whether it shall hold at every look rather than at this one.

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
    if known >= FEW_EVENTS:
        return None
    if not (arm.n and control.n):
        return math.nan
    low = _edge(int(control.filled[column]), control.n, side="low", alpha=alpha / 2, any_look=any_look)
    high = _edge(_most_events(arm, column), arm.n, side="high", alpha=alpha / 2, any_look=any_look)
    size = 1.0 if quantity.denominator is None else max(float(control.mean[quantity.denominator]), 1.0)
    (_, most), (least, _) = _stretch(arm, control), _stretch(control, arm)
    return min(high * most, 1.0) - low * least / size


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
