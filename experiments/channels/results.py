"""What an analysis of channels returns: plain records, in units of the outcome per 1,000 customers."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.results import Result


@dataclass(frozen=True, kw_only=True)
class ChannelEffect:
    """What a channel brings per 1,000 customers who may get it, while all others go on as they do.

    ``n`` customers might get it, ``n_held`` were withheld from it by chance. ``matchback`` is what crediting every
    purchase to the contact before it would claim.
    """

    channel: str
    n: int
    n_held: int
    effect: float
    ci_low: float
    ci_high: float
    matchback: float | None = None
    contacts: int | None = None


@dataclass(frozen=True, kw_only=True)
class Pair:
    """What two channels bring together beyond the sum of what each brings without the other.

    Below zero they stand in for each other, above zero each makes the other work better. ``n_both`` customers were
    withheld from both.
    """

    first: str
    second: str
    n_both: int
    beyond_sum: float
    ci_low: float
    ci_high: float
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Channels(Result):
    """All channels in one unit.

    ``together`` is what everything brings against a holdout from everything, ``beyond_sum`` that less the sum of the
    channels; None without such a holdout. ``untold`` names pairs that too few were withheld from.
    """

    channels: tuple[ChannelEffect, ...]
    pairs: tuple[Pair, ...]
    together: ChannelEffect | None
    beyond_sum: Pair | None
    untold: tuple[tuple[str, str], ...]
    sentences: tuple[str, ...]
    notes: tuple[str, ...] = ()
