"""What an analysis of gains returns: plain records, in units of the outcome per customer."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.results import Result


@dataclass(frozen=True, kw_only=True)
class GroupEffect:
    """What an arm brings beyond the control, per customer, among ``n`` customers of a group."""

    group: str
    n: int
    effect: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True, kw_only=True)
class KnownGroups:
    """A column cut in two, and the effect on each side; ``p_value`` of their difference is adjusted for all cuts."""

    column: str
    inside: GroupEffect
    outside: GroupEffect
    p_value: float


@dataclass(frozen=True, kw_only=True)
class Trait:
    """How the fifth expected to gain most differs from the fifth expected to gain least, in one column.

    ``top``, ``bottom`` and ``everybody`` are means of numbers, or shares of customers with the ``level`` of a column of
    words; ``distance`` is top less bottom in standard deviations.
    """

    column: str
    level: str | None
    top: float
    bottom: float
    everybody: float
    distance: float


@dataclass(frozen=True, kw_only=True)
class ArmGains:
    """Who gains from one arm, against the control.

    Parameters
    ----------
    effect: of the arm on everybody.
    differ: whether there is evidence that customers gain differently; ``p_value`` is that of the evidence, corrected
        for its two tests and for the number of arms.
    autoc, autoc_ci_low, autoc_ci_high, qini: rank-weighted average effects of the order that models of earlier folds
        gave (grf's definition).
    fifths: the effect in each fifth of the customers, from those expected to gain most to least; intervals hold
        together. Empty where the models expect the same of everybody.
    groups: what is known of customers and goes with different effects, the clearest first; intervals hold together,
        for all cuts that were tried.
    traits: who is in the first and last fifth.
    visible: how large a difference between the first and the last fifth would probably have been seen.
    sentences: the finding in words.
    """

    arm: str
    control: str
    effect: GroupEffect
    differ: bool
    p_value: float
    autoc: float
    autoc_ci_low: float
    autoc_ci_high: float
    qini: float
    fifths: tuple[GroupEffect, ...]
    groups: tuple[KnownGroups, ...]
    traits: tuple[Trait, ...]
    visible: float
    sentences: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Gains(Result):
    """Who gains from each arm; times ``scale`` amounts are in ``unit``, the words for people.

    Where the arms were hardly given by chance ``trusted`` is false, and the sentences say nothing but why.
    """

    arms: tuple[ArmGains, ...]
    unit: str
    scale: float
    notes: tuple[str, ...] = ()
    trusted: bool = True
