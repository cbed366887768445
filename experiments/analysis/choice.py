"""The best of several arms against the second best: the choice that is left once both beat the control."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from experiments.analysis.comparison import Levels, compare
from experiments.analysis.readings import Reading
from experiments.analysis.verdict import Rule, told_difference
from experiments.results import MetricRow


def best_against_second(
    reading: Reading, arms: Sequence[str], rows: Sequence[MetricRow], *, levels: Levels, rule: Rule
) -> MetricRow | None:
    """The row of the best arm with the second best as its control; None with fewer than two arms beside the control.

    Parameters
    ----------
    reading: the first metric's, with moments per arm.
    arms: the arms' names, the control's first.
    rows: the first metric's rows, each arm against the control.

    Which two are held against each other is chosen by the data, so intervals and p-values allow for all pairs of arms
    beside the control (Bonferroni).
    """
    known = [row for row in rows if row.difference == row.difference]
    if len(known) < 2:
        return None
    best, second = sorted(known, key=lambda row: -rule.sign(row.metric) * row.difference)[:2]
    pairs = _pairs(len(arms))
    places = [arms.index(each.arm) for each in (second, best)]
    (row,) = compare(
        reading,
        [reading.moments[place] for place in places],
        [arms[place] for place in places],
        levels=replace(
            levels,
            alpha=levels.alpha / pairs,
            shares=tuple(levels.shares[place] for place in places) if levels.shares else (),
        ),
    )
    return replace(
        row,
        adjusted_p_value=_corrected(row.p_value, pairs),
        p_value=_corrected(row.p_value, pairs),
        anytime_p_value=_corrected(row.anytime_p_value, pairs),
        sequential_p_value=None if row.sequential_p_value is None else _corrected(row.sequential_p_value, pairs),
    )


def choice_note(row: MetricRow, *, arms: int, rule: Rule) -> str:
    """What is told of the best against the second, of so many ``arms`` with the control."""
    first = f"Best against second, {row.arm!r} against {row.control!r}: {row.metric}"
    if rule.worst_case(row) != rule.worst_case(row):
        return f"{first} can't be compared yet."
    pairs = _pairs(arms)
    told_apart = "the best is ahead" if rule.worst_case(row) > 0 else "not enough to tell them apart"
    corrected = f" It allows for all {pairs} pairs of arms beside the control." if pairs > 1 else ""
    return f"{first} {told_difference(row, rule)}: {told_apart}.{corrected}"


def _corrected(p: float, pairs: int) -> float:
    return p if math.isnan(p) else min(1.0, pairs * p)


def _pairs(arms: int) -> int:
    return (arms - 1) * (arms - 2) // 2
