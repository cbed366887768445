"""Where a measure that must not rise stands against the largest rise that is allowed."""

from __future__ import annotations

import math
from typing import Literal

from experiments.results import MetricRow

Standing = Literal["within", "over", "open"]


def standing(row: MetricRow, *, interval: tuple[float, float], limit: float) -> Standing:
    """``within`` when the highest possible rise is at or below ``limit``, ``over`` when the whole interval is above it.

    That a limit is kept is a claim about one side, so ``row.highest`` decides it, which is sure on that side alone; the
    upper end of the interval where it isn't known. What is neither is ``open``, and so is what has no interval: where
    nothing varied, as where nobody of a few opted out in either arm, it isn't known how many would.

    >>> row = MetricRow(metric="opt_outs", arm="mail", control="none", arm_mean=0.013, control_mean=0.01,
    ...     difference=0.003, ci_low=0.001, ci_high=0.005, relative=None, relative_ci_low=None, relative_ci_high=None,
    ...     p_value=0.003, anytime_ci_low=-0.001, anytime_ci_high=0.007, anytime_p_value=0.1, adjusted_p_value=0.003,
    ...     n_arm=9000, n_control=9000)
    >>> [standing(row, interval=(0.001, 0.005), limit=limit) for limit in (0.005, 0.003, 0.0)]
    ['within', 'open', 'over']
    """
    low, high = interval
    highest = high if row.highest is None or math.isnan(row.highest) else row.highest
    return "within" if highest <= limit else "over" if low > limit else "open"
