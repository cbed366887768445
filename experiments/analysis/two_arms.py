"""Clusters that stand in more than one arm: left out where they are few, kept where arms were drawn within clusters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.analysis.readings import pairs_of
from experiments.analysis.statistics import Codes
from experiments.observations import Labels

# Of so large a part of any arm's clusters, to stand in several arms is no mishap: arms were drawn within clusters.
_FEW = 0.1


@dataclass(frozen=True, kw_only=True)
class TwoArms:
    """Which clusters stand in more than one arm.

    ``clusters`` is how many, ``rows`` (n,) are theirs; ``assigned`` (arms,) counts all clusters by arm, one in several
    in equal parts: where they were drawn anew by the same shares, that is as many as was planned, which those of a
    single arm are not. ``few``: under a tenth of the clusters of every arm.
    """

    clusters: int
    rows: NDArray[np.bool_]
    assigned: tuple[float, ...]
    few: bool

    @property
    def note(self) -> str:
        """That they are left out, and what that may do; or why they are not."""
        if self.few:
            return (
                f"{self.clusters:,} clusters ({int(self.rows.sum()):,} rows) stand in several arms and are left out; "
                "the check of the split counts them in parts. Who stands in two arms is no chance sample (they came "
                "more often), so leaving them out makes arms of unlike size a little unlike, too."
            )
        return (
            f"{self.clusters:,} clusters have rows in several arms, too many for a mishap, so arms were drawn within "
            "clusters: the split is checked by rows, and the intervals, which take arms as independent, are too wide "
            "rather than too narrow where members of a cluster are alike."
        )


def in_two_arms(clusters: Codes, split: Labels) -> TwoArms | None:
    """The clusters (n,) with rows in several arms; None where there are none."""
    width = len(split.values)
    pairs = pairs_of(clusters, split.codes, width).pairs
    cluster, arm = pairs // width, pairs % width
    held = np.bincount(cluster)
    if not (held > 1).any():
        return None
    several = held[cluster] > 1
    there = np.bincount(arm, minlength=width)
    return TwoArms(
        clusters=int((held > 1).sum()),
        rows=(held > 1)[np.minimum(clusters, len(held) - 1)] & (split.codes >= 0),
        assigned=tuple(map(float, np.bincount(arm, weights=1 / held[cluster], minlength=width))),
        few=bool((np.bincount(arm[several], minlength=width) < _FEW * np.maximum(there, 1)).all()),
    )
