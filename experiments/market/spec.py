"""What can be set of a simulated market."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime

from features.errors import InputError


@dataclass(frozen=True, kw_only=True)
class MarketSpec:
    """A simulated market: equal specs give equal markets, with the same version of numpy.

    Parameters
    ----------
    customers: how many; the first customers of a larger market are those of a smaller one.
    seed: of all draws.
    start: the Monday, 00:00 UTC, on which week 0 begins.
    heterogeneity: how much customers differ in what moves them; at 0 all are alike and the best policy is static.
    annoyed_share: customers whom every contact annoys: no response, fewer purchases, a high hazard of opting out.
    opt_out_hazard: chance that an annoyed customer opts out after one e-mail; others have a fortieth of it.
    household_share: customers who share a household with another one, and with it part of their habits.
    margin_rate: margin as a share of revenue net of returns.
    return_rate: share of purchases that come back.
    seasonality: amplitude of the year's wave in purchases and responses.
    delay_scale: how late facts are recorded; 1 is minutes (web) to ten days (direct mail), 0 at once.
    identity_noise: share of customers whom the exported systems know under two ids.

    >>> MarketSpec(customers=1000, seed=1).margin_rate
    0.4
    """

    customers: int
    seed: int
    start: datetime = datetime(2023, 1, 2, tzinfo=UTC)
    heterogeneity: float = 1.0
    annoyed_share: float = 0.08
    opt_out_hazard: float = 0.04
    household_share: float = 0.3
    margin_rate: float = 0.4
    return_rate: float = 0.06
    seasonality: float = 0.2
    delay_scale: float = 1.0
    identity_noise: float = 0.0

    def __post_init__(self) -> None:
        shares = ("annoyed_share", "opt_out_hazard", "household_share", "margin_rate", "return_rate", "identity_noise")
        for name in shares:
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is not a share", got=str(getattr(self, name)), do="give a number from 0 to 1")
        if not (0 <= self.heterogeneity <= 2 and 0 <= self.seasonality < 1 and 0 <= self.delay_scale <= 10):
            raise InputError(
                "a scale of the market is out of range",
                got=", ".join(f"{each.name} {getattr(self, each.name)}" for each in fields(self)[3:]),
                do="keep heterogeneity within 0 to 2, seasonality below 1, delay_scale within 0 to 10",
            )
        if not (1 <= self.customers <= 50_000_000 and self.seed >= 0):
            raise InputError(
                "the size or the seed of the market is out of range",
                got=f"{self.customers} customers, seed {self.seed}",
                do="give 1 to 50,000,000 customers and a seed from 0",
            )
        if self.start.tzinfo is None or (self.start.weekday(), self.start.hour, self.start.minute) != (0, 0, 0):
            raise InputError(
                "the market's weeks must begin with a week", got=str(self.start), do="give a Monday, 00:00 UTC"
            )
