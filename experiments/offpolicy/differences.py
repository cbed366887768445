"""What a policy would have earned more or less than another on the same decisions, such as than what ran.

Both values are means over the same rows, so the difference is the mean of the paired differences of their influence
values: what chance gave to both is in neither, and where the policy would have done what ran nothing is unknown but
which action chance took. Two intervals held side by side are too wide for that, the policy's own shifted by the other's
value is too narrow or too wide by turns (``benchmarks/offpolicy.py``).

The relative difference has Fieller's interval (1954), so it holds 0 exactly when that of the difference does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from experiments.estimation.influence import Integers, Interval, mean_interval
from experiments.offpolicy.estimators import NAMES, Terms, intervals
from experiments.offpolicy.logs import Log
from experiments.results import Difference, Earned


def earned(log: Log, *, alpha: float = 0.05) -> Earned:
    """What the log's own decisions earned each, with its interval."""
    found = mean_interval(log.reward, cluster=log.cluster, alpha=alpha)
    low, high = (max(found.low, 0.0), min(found.high, 1.0)) if log.rate else (found.low, found.high)
    return Earned(value=found.value, ci_low=low, ci_high=high)


def against_what_ran(log: Log, terms: Mapping[str, Terms], *, alpha: float = 0.05) -> tuple[Difference, ...]:
    """The value by each estimator less what the log itself earned, paired by row."""
    ran = Terms(known=0.0, weight=1.0, rest=log.reward)
    found = differences(terms, dict.fromkeys(terms, ran), cluster=log.cluster, alpha=alpha)
    if not log.rate:
        return found
    # Nobody can lose more than what ran earned, and that is no more than the end of its interval.
    most = earned(log, alpha=alpha).ci_high
    return tuple(_within(each, most=most) for each in found)


def differences(
    terms: Mapping[str, Terms], others: Mapping[str, Terms], *, cluster: Integers | None, alpha: float = 0.05
) -> tuple[Difference, ...]:
    """The value by each estimator less that of ``others`` under the same name, paired by row."""
    apart = {name: each.against(others[name]) for name, each in terms.items()}
    found = intervals(apart, cluster=cluster, alpha=alpha)
    bases = intervals(others, cluster=cluster, alpha=alpha)
    told = []
    for name in NAMES:
        spoken = "dr" if name == "dm" else name  # whose width models alone get
        common = _common(apart[spoken], others[spoken], cluster=cluster, alpha=alpha)
        share = _relative(found[name], bases[name], common=common)
        told.append(
            Difference(
                estimator=name,
                difference=found[name].value,
                ci_low=found[name].low,
                ci_high=found[name].high,
                relative=share.value if share else None,
                relative_ci_low=share.low if share else None,
                relative_ci_high=share.high if share else None,
            )
        )
    return tuple(told)


def _relative(apart: Interval, base: Interval, *, common: float) -> Interval | None:
    """The difference over the base with Fieller's interval; None where the base is not clearly above 0.

    ``common`` is the covariance of both, in squared half widths.
    """
    if not base.low > 0:
        return None
    square = base.value**2 - (base.high - base.value) ** 2
    middle = apart.value * base.value - common
    rest = apart.value**2 - (apart.high - apart.value) ** 2
    root = math.sqrt(max(middle**2 - square * rest, 0.0))
    return Interval(value=apart.value / base.value, low=(middle - root) / square, high=(middle + root) / square)


def _common(apart: Terms, other: Terms, *, cluster: Integers | None, alpha: float) -> float:
    """The covariance of the difference and of what it is against, in squared half widths of their intervals."""
    one, two = apart.values, other.values
    both, neither = (mean_interval(each, cluster=cluster, alpha=alpha) for each in (one + two, one - two))
    return ((both.high - both.value) ** 2 - (neither.high - neither.value) ** 2) / 4


def _within(each: Difference, *, most: float) -> Difference:
    low = min(each.difference, max(each.ci_low, -most))
    if each.relative is None or each.relative_ci_low is None:
        return replace(each, ci_low=low)
    return replace(each, ci_low=low, relative_ci_low=min(each.relative, max(each.relative_ci_low, -1.0)))
