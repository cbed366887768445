"""What the simulated retailer can send: eight offers on the channels that suit them, twenty treatments in all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CATEGORIES = ("beauty", "clothing", "garden", "home", "shoes", "sports")
CHANNELS = ("web", "email", "mail", "call", "store")

#: Contact cost in cents: a banner, an e-mail, a printed letter, a phone call, a coupon at the till.
COSTS = {"web": 0, "email": 1, "mail": 60, "call": 250, "store": 5}

_OFFERS: dict[str, tuple[str, ...]] = {
    "beauty-15": ("email", "web", "store"),
    "clothing-15": ("email", "web", "mail", "store"),
    "garden-20": ("mail", "call"),
    "home-10": ("email", "call"),
    "home-25": ("email", "mail"),
    "shoes-10": ("email", "web", "store"),
    "shoes-25": ("email", "mail"),
    "sports-10": ("email", "web"),
}


@dataclass(frozen=True, kw_only=True)
class Treatment:
    """An offer on one channel; ``discount`` is the share of the price that is taken off."""

    treatment_id: str
    offer_id: str
    category: str
    channel: str
    cost_cents: int
    discount: float


TREATMENTS = tuple(
    Treatment(
        treatment_id=f"{offer}@{channel}",
        offer_id=offer,
        category=offer.split("-")[0],
        channel=channel,
        cost_cents=COSTS[channel],
        discount=int(offer.split("-")[1]) / 100,
    )
    for offer, channels in _OFFERS.items()
    for channel in channels
)

#: Columns of the treatments by action number; place 0 is no contact (its category and channel are never looked at).
CATEGORY = np.array([0, *(CATEGORIES.index(each.category) for each in TREATMENTS)])
CHANNEL = np.array([0, *(CHANNELS.index(each.channel) for each in TREATMENTS)])
DISCOUNT = np.array([0.0, *(each.discount for each in TREATMENTS)])
COST = np.array([0, *(each.cost_cents for each in TREATMENTS)])
