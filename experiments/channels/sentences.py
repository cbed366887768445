"""What the channels' numbers say, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from experiments.channels.results import ChannelEffect, Pair
from experiments.estimation.influence import Interval


def of_pair(first: str, second: str, found: Interval) -> str:
    """What two channels bring together, against the sum of each without the other."""
    whom = f"{first} and {second} together"
    if found.low > 0:
        return f"{whom} bring more than the sum of each alone: they make each other work better."
    if found.high < 0:
        return f"{whom} bring less than the sum of each alone: in part one stands in for the other."
    return f"Whether {whom} bring more or less than the sum of each alone can't be told yet."


def of_everything(found: Interval) -> str:
    """What everything brings, against the sum of the channels."""
    if found.low > 0:
        return "Everything together brings more than the channels add up to: where one is missing, others stand in."
    if found.high < 0:
        return "Everything together brings less than the channels add up to: each needs the others to work."
    return "Everything together brings what the channels add up to, as far as can be told."


def sentences(effects: Sequence[ChannelEffect], pairs: Sequence[Pair], gap: Pair | None) -> Iterator[str]:
    """What all of it says, the surest first."""
    paying = [each.channel for each in effects if each.ci_low > 0]
    losing = [each.channel for each in effects if each.ci_high < 0]
    open_ones = [each.channel for each in effects if each.ci_low <= 0 <= each.ci_high]
    if paying:
        yield f"{_listed(paying)} {'pays' if len(paying) == 1 else 'pay'}, by more than chance explains."
    if losing:
        yield f"{_listed(losing)} {'costs more than it brings' if len(losing) == 1 else 'cost more than they bring'}."
    if open_ones:
        yield f"Whether {_listed(open_ones)} {'pays' if len(open_ones) == 1 else 'pay'} can't be told yet."
    claimed = [each for each in effects if each.matchback is not None and each.matchback > each.ci_high]
    if claimed:
        yield (
            f"Matchback claims more than the data allow for {_listed([each.channel for each in claimed])}: "
            "it counts purchases that would have come anyway."
        )
    for pair in pairs:
        if not pair.ci_low <= 0 <= pair.ci_high:
            yield pair.sentence
    if gap is not None:
        yield gap.sentence


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def method(
    effects: Sequence[ChannelEffect],
    pairs: Sequence[Pair],
    untold: Sequence[tuple[str, str]],
    *,
    least: int,
    everything: bool,
    alpha: float,
) -> Iterator[str]:
    """How it was found, and what can't be told."""
    yield (
        f"Each channel: those who might get it against those withheld from it by chance, all else as it was; "
        f"{'its interval holds' if len(effects) == 1 else f'the {len(effects)} intervals hold together'} at "
        f"{100 * (1 - alpha):.4g}%."
    )
    if pairs:
        together = f"; the {len(pairs)} intervals hold together" if len(pairs) > 1 else ""
        yield f"Pairs: four cells each{together}."
    for first, second in untold:
        yield f"{first} with {second}: fewer than {least} in one of the four cells, so nothing is told of the two."
    if not everything and len(effects) > 1:
        yield "Nobody was withheld from everything, so what all channels bring together can't be told."
