"""Columns that can't be what they are named as: a covariate that is the metric, a segment that the arm decides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from experiments.analysis.balance import exposure_ratio
from experiments.analysis.readings import Variable
from experiments.observations import Labels
from features.errors import InputError


def check_roles(
    arm: str, goals: Sequence[Variable], covariates: Sequence[Variable], *, within: Mapping[str, Sequence[str | None]]
) -> None:
    """Refuse a covariate that is a metric, and a metric that is the arm or a column ``within`` which arms are compared.

    ``within`` holds these columns by what they are called.
    """
    for role, columns in {"arm": [arm], **within}.items():
        both = [each for goal in goals for each in goal.columns if each in columns]
        if both:
            raise InputError(
                f"{role} and metric are one column", got=repr(both[0]), do="name the column that holds the outcome"
            )
    for each in covariates:
        if any(each.columns == goal.columns for goal in goals):
            raise InputError(
                "a covariate is the metric itself",
                got=repr(each.name),
                do="name a column known before the start: the metric explains all of itself, the arm's effect too",
            )


def check_groupings(arm: str, roles: Mapping[str, Sequence[str | None]]) -> None:
    """Refuse the arm in one of ``roles``, within which arms are compared: the columns by what they are called."""
    for role, columns in roles.items():
        if arm in columns:
            raise InputError(
                f"arm and {role} are one column",
                got=repr(arm),
                do=f"name the column of the {role}, or leave it out: within one arm there is nothing to compare",
            )


def moved_segments(segments: dict[str, Labels], split: Labels, *, shares: Sequence[float]) -> Iterator[str]:
    """A sentence for each segment whose values hold the arms at unlike shares: the arm decides who is in it.

    ``shares`` (k,) are the planned shares of the arms. The test is that of ``exposure_ratio``, valid at every look, of
    each value beside all others; where arms were drawn at other shares in each segment by plan, it speaks as well.
    """
    units = split.counts()
    for name, found in segments.items():
        inside = split.codes >= 0
        counts = np.zeros((len(found.values), len(units)), dtype=np.int64)
        np.add.at(counts, (found.codes[inside], split.codes[inside]), 1)
        moved = [
            value
            for value, row in zip(found.values, counts, strict=True)
            if exposure_ratio(row.tolist(), units, shares).status == "red"
        ]
        if moved:
            yield (
                f"{name}: the arms do not hold {moved[0]!r} at the same share, far beyond chance. Where the arm "
                "decides who is in a segment, differences within it are no effect of the arm."
            )
