"""Whether a metric is missing as often in each arm: where it isn't, those who are left are no longer alike."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.analysis.balance import exposure_ratio
from experiments.analysis.readings import Reading
from experiments.observations import Labels


def missing_by_arm(readings: Sequence[Reading], split: Labels, *, shares: Sequence[float]) -> dict[str, str]:
    """Of each metric whose values are missing by arm, a sentence that says so.

    ``shares`` (k,) are the planned shares of the arms. The test is that of ``exposure_ratio``: having a value is held
    against the arm, and stays valid at every look. Clusters lose values together, so clustered metrics are left out.
    """
    units = split.counts()
    found = {}
    for each in readings:
        kept = [moments.n for moments in each.moments]
        if each.clustered or not each.missing or not min(units) or not sum(kept):
            continue
        if exposure_ratio(kept, units, shares).status == "red":
            gone = [1 - n / of for n, of in zip(kept, units, strict=True)]
            most, least = gone.index(max(gone)), gone.index(min(gone))
            found[each.goal.name] = (
                f"{each.goal.name} is missing for {gone[most]:.2%} of {split.values[most]!r} and {gone[least]:.2%} of "
                f"{split.values[least]!r}. The arm changes whose value is known, so those who are left are not alike. "
                "Where nothing happened, write 0; where it isn't known, find out why."
            )
    return found
