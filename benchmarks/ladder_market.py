"""The ladder in the built-in market: static where customers are alike, beyond it where they differ.

Customers get one action each week for four weeks, drawn once; the outcome is whether they buy in that time, drawn with
the market's own chances. The ladder may learn from what they bought in the year before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from experiments.ladder import ladder
from experiments.market import Market, MarketSpec
from experiments.results import RungName

ARMS = ("nothing", "shoes-10@email", "home-10@email", "sports-10@web")
BEYOND: tuple[RungName, ...] = ("segment", "few", "one_to_one")
_CATEGORIES = ("shoes", "home", "sports")
_WEEKS = range(52, 56)


@dataclass(frozen=True, kw_only=True)
class Town:
    """Customers of a market: ``known`` before the contacts, and the ``chance`` (n, arms) that each buys."""

    known: dict[str, np.ndarray]
    chance: np.ndarray

    @classmethod
    def of(cls, *, heterogeneity: float, customers: int, seed: int = 5) -> Town:
        """The customers of a new market after a year of history."""
        market = Market(MarketSpec(customers=customers, seed=seed, heterogeneity=heterogeneity))
        events = market.history(52)
        bought = events.filter(pc.equal(events["kind"], "purchase"))
        who, category = market.places(bought["customer_id"]), np.asarray(bought["category"].to_pylist(), dtype=object)
        known = {"orders": np.bincount(who, minlength=customers)}
        known |= {name: np.bincount(who[category == name], minlength=customers) for name in _CATEGORIES}
        none = np.ones((customers, len(ARMS)))
        for week in _WEEKS:
            for place, name in enumerate(ARMS):
                actions = np.full(customers, market.actions.index(name))
                none[:, place] *= 1 - market.expected(week, actions).purchase
        return cls(known=known, chance=1 - none)

    def answers(self, *, seed: int) -> tuple[RungName, RungName]:
        """The rung that the ladder recommends after one draw; and naively, the one with the highest estimate."""
        rng = np.random.default_rng([seed, 2026])  # not a stream of the market
        arm = rng.integers(0, len(ARMS), len(self.chance))
        bought = (rng.random(arm.size) < self.chance[np.arange(arm.size), arm]).astype(float)
        table = pa.table({**self.known, "arm": np.array(ARMS)[arm], "bought": bought})
        found = ladder(
            table, arm="arm", control="nothing", outcome="bought", features=list(self.known), repeats=3, seed=seed
        )
        return found.recommended, max(found.rungs, key=lambda each: each.value).rung
