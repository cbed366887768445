"""What must hold before an experiment starts, and how its shares may change while it runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from experiments.naming import check
from features.errors import unknown


@dataclass(frozen=True, kw_only=True)
class StartRules:
    """What must hold before the first unit is assigned; until then the experiment waits and says why.

    Parameters
    ----------
    history_days: how far back the history reaches, for covariates and a baseline.
    audience_size: how many customers the audience holds at the start.
    balanced: features that may not differ between the arms before the start: an A/A of the split that is to come.

    >>> StartRules(history_days=90, balanced=("purchases_90d",)).asks_of_customers
    True
    """

    history_days: float = 0.0
    audience_size: int = 0
    balanced: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check(
            0 <= self.history_days < math.inf and self.audience_size >= 0,
            "the start rules are out of range",
            got=f"history_days {self.history_days:g}, audience_size {self.audience_size}",
            do="give numbers of 0 or more",
        )

    @property
    def asks_of_customers(self) -> bool:
        """Whether the features of all customers must be read to know."""
        return self.audience_size > 0 or bool(self.balanced)


@dataclass(frozen=True, kw_only=True)
class Ramp:
    """New shares from a moment on: for units that have no arm yet. Who has one keeps it.

    >>> Ramp(at=datetime(2026, 1, 12), shares={"static": 0.5, "personal": 0.5}).shares["personal"]
    0.5
    """

    at: datetime
    shares: dict[str, float]


def check_shares(shares: Mapping[str, float], *, arms: tuple[str, ...], where: str) -> None:
    """Refuse shares that don't name each of ``arms`` with a part of the whole."""
    for name in shares:
        if name not in arms:
            raise unknown("arm", name, arms)
    total = math.fsum(shares.values())
    fine = len(shares) == len(arms) and all(share > 0 for share in shares.values()) and abs(total - 1) <= 1e-9
    check(
        fine,
        f"the planned shares {where} don't sum to 1",
        got=" + ".join(f"{name} {share:g}" for name, share in shares.items()) + f" = {total:.10g}",
        do="give every arm one above 0 so that the sum is 1",
    )
