"""What is said where few units lie apart from the rest, as buyers do: no interval, an exact one, or a caution."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from experiments.analysis.comparison import Levels, exact, few_apart, few_for_their_sizes, one_by_one
from experiments.analysis.readings import Reading
from experiments.analysis.statistics import ENOUGH_FILLED, MOST_FILLED
from experiments.results import MetricRow, Verdict


def few_notes(
    readings: Sequence[Reading], rows: Sequence[MetricRow], arms: Sequence[str], *, levels: Levels
) -> Iterator[str]:
    """Which metrics have too few such units for the interval that decides, and what stands for it.

    ``rows`` are those of the metrics; ``arms`` names them as ``readings`` hold them, the control first.
    """
    untold = {row.metric for row in rows if math.isnan(row.p(levels.kind)) and not math.isnan(row.p_value)}
    waiting = [each for each in readings if each.goal.name in untold]
    exactly = [each for each in readings if _told_exactly(each, levels=levels)]
    wary = [each for each in readings if _leaning(each, arms, levels=levels)]
    if waiting:
        yield (
            f"{_names(waiting)}: fewer than {ENOUGH_FILLED} units of an arm (of a much smaller one up to "
            f"{MOST_FILLED}) lie apart from the rest, as buyers do, or a quarter as many hold most of what there is: "
            f"too few for an interval that holds at more than one look.{_way_out(waiting, levels=levels)}"
        )
    if exactly:
        yield (
            f"{_names(exactly)}: few units of an arm lie apart from the rest, as buyers do, so the interval is exact: "
            "it takes the declared cap and the planned shares, no approximation, and holds at every look, with half of "
            "the error on each side."
        )
    if wary:
        yield (
            f"{_names(wary)}: few units lie apart from the rest, as buyers do, in arms of unlike size. An interval of "
            "one look, or of a campaign's, then leaves out the truth on one side two to five times as often as it says."
        )


def caution(found: Verdict, reading: Reading, arms: Sequence[str], *, levels: Levels) -> str:
    """Not to act on the verdict alone, where its interval leans on more such units than there are; else nothing.

    Nor on the range of a single look that stands there for want of one that holds at every look.
    """
    control, *others = reading.moments
    waits = found.code == "keep_running" and all(few_apart(reading, own, control, levels=levels) for own in others)
    if not waits and found.code not in ("roll_out", "stop"):
        return ""
    few = _leaning(reading, arms, levels=replace(levels, kind="fixed", plan=None) if waits else levels)
    if not few:
        return ""
    return (
        f"But few units of {' and '.join(map(repr, few))} lie apart from the rest, as buyers do, and the arms are of "
        f"unlike size: {'the range of a single look' if waits else 'such an interval'} then errs on one side more "
        "often than it says. Don't act on it alone."
    )


def _names(readings: Sequence[Reading]) -> str:
    return ", ".join(each.goal.name for each in readings)


def _way_out(waiting: Sequence[Reading], *, levels: Levels) -> str:
    """That a cap helps, of the metrics of which it does."""
    helped = [
        each
        for each in waiting
        if one_by_one(each, each.moments[0], levels)
        and len(each.goal.columns) == 1
        and each.goal.name not in levels.ranges
    ]
    if not helped:
        return ""
    return (
        f" For {_names(helped)} there is an exact one with a cap that is declared before the start "
        "(--cap METRIC=AMOUNT, `cap` in a design): the largest amount that a unit counts with."
    )


def _told_exactly(reading: Reading, *, levels: Levels) -> bool:
    """Whether a mean is told by an exact interval for want of units; rates are so by their events, without a word."""
    control, *others = reading.moments
    return reading.goal.name in levels.ranges and any(
        few_apart(reading, own, control, levels=levels)
        and exact(reading, own, control, place=place, levels=levels, few=True) is not None
        for place, own in enumerate(others, start=1)
    )


def _leaning(reading: Reading, arms: Sequence[str], *, levels: Levels) -> list[str]:
    """The arms whose interval takes means to be normal, as one of a single look does, where they are skewed."""
    control, *others = reading.moments
    return [
        arms[place]
        for place, own in enumerate(others, start=1)
        if levels.kind != "anytime"
        and few_for_their_sizes(reading, own, control)
        and not few_apart(reading, own, control, levels=levels)
        and (levels.kind == "fixed" or exact(reading, own, control, place=place, levels=levels, few=False) is None)
    ]
