"""A rate of which too few events are known for any approximation: an exact interval, valid at every look."""

from __future__ import annotations

import math
from dataclasses import dataclass

from experiments.analysis.mixtures import bernoulli_interval, bernoulli_log_e_value

FEW_EVENTS = 20
_EXPECTED_EVENTS = 100.0
_OF_THE_LEVEL = 0.1  # what the rate of both arms together takes of alpha: it only scales the difference


@dataclass(frozen=True, kw_only=True)
class Count:
    """Units of an arm, how many of them had the event, and the arm's planned share."""

    n: int
    events: int
    share: float


@dataclass(frozen=True, kw_only=True)
class RareRates:
    """The rates of two arms, and the number of units at which the common one is known best."""

    arm: Count
    control: Count
    expected: float

    def interval(self, alpha: float) -> tuple[float, float]:
        """The limits of their difference that leave out the truth at any look with chance ``alpha`` at most."""
        return rare_difference(self.arm, self.control, alpha=alpha, expected=self.expected)

    def p_value(self) -> float:
        """The smallest level at which that interval leaves out no difference; at most 1."""
        return rare_p_value(self.arm, self.control)


def few_events(arm: Count, control: Count) -> bool:
    """Whether an arm holds so few events, or so few units without one, that a mean isn't near to normal."""
    return any(min(each.events, each.n - each.events) < FEW_EVENTS for each in (arm, control))


def rare_difference(arm: Count, control: Count, *, alpha: float, expected: float) -> tuple[float, float]:
    """The difference of two rates, arm minus control, sure at every look from the first unit on.

    Units are drawn into the arms by their planned shares, so each event is the arm's with a chance that depends on the
    rates' ratio alone, and any unit has one with the mean of both rates: two sequences of coin tosses, each with an
    exact confidence sequence (Lindon and Malek 2022 for the first). Together they bound the difference.

    Parameters
    ----------
    alpha: the chance that the truth is ever outside.
    expected: the number of units at which the common rate is known best.

    >>> arm, control = Count(n=1_000, events=12, share=0.1), Count(n=9_000, events=18, share=0.9)
    >>> low, high = rare_difference(arm, control, alpha=0.05, expected=10_000)
    >>> f"{arm.events / arm.n - control.events / control.n:.2%}, {low:.2%} to {high:.2%}"
    '1.00%, 0.08% to 3.62%'
    """
    if 2 * (arm.events + control.events) > arm.n + control.n:
        low, high = rare_difference(_rest(arm), _rest(control), alpha=alpha, expected=expected)
        return -high, -low
    events, share = arm.events + control.events, arm.share / (arm.share + control.share)
    mine = bernoulli_interval(arm.events, events, alpha=(1 - _OF_THE_LEVEL) * alpha, expected=_EXPECTED_EVENTS)
    common = bernoulli_interval(events, arm.n + control.n, alpha=_OF_THE_LEVEL * alpha, expected=expected)
    low, high = ((chance / share - (1 - chance) / (1 - share)) for chance in mine)
    return low * common[low < 0], high * common[high > 0]


def _rest(count: Count) -> Count:
    """The units without the event."""
    return Count(n=count.n, events=count.n - count.events, share=count.share)


def rare_p_value(arm: Count, control: Count) -> float:
    """The smallest level at which that interval leaves out no difference; at most 1."""
    events = arm.events + control.events
    if 2 * events > arm.n + control.n:
        return rare_p_value(_rest(arm), _rest(control))
    value = bernoulli_log_e_value(
        arm.events, events, chance=arm.share / (arm.share + control.share), expected=_EXPECTED_EVENTS
    )
    return min(1.0, math.exp(-value) / (1 - _OF_THE_LEVEL))
