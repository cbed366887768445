"""The causal truth in closed form: with what chance a customer buys, answers and opts out, by week and action.

The draws of ``behaviour`` use these very chances, so what is expected here is what happens there on average.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from experiments.market.customers import Customers
from experiments.market.offers import CATEGORIES, CATEGORY, CHANNEL, CHANNELS, COST, DISCOUNT
from experiments.market.spec import MarketSpec

#: Size of a basket by category, as a factor.
BASKET = np.array([0.85, 1.0, 1.1, 1.1, 1.0, 1.0])
#: Weekly response of the average customer to an average contact, by channel, before the discount's factor.
RESPONSE = np.array([0.0038, 0.0050, 0.0115, 0.027, 0.0060])
#: How a channel's contact provokes an opt-out, against an e-mail.
PROVOKES = np.array([0.25, 1.0, 0.5, 2.0, 0.25])
#: Growth of the response per unit of discount, times the customer's sensitivity.
DISCOUNT_PULL = 12.0
#: A response is never surer than this.
RESPONSE_MOST = 0.6
#: Chance that a purchase which would have happened anyway takes the discount along.
REDEEMED = 0.5
#: Share of their own purchases that annoyed customers drop in a week with a contact.
HARM = 0.35
#: The week of the year in which each category sells best, and how much more.
_PEAK = np.array([48.0, 40.0, 20.0, 45.0, 12.0, 24.0])
_SWING = np.array([0.1, 0.1, 0.5, 0.1, 0.1, 0.2])


@dataclass(frozen=True, kw_only=True)
class Chances:
    """Chances of one week, each of shape (n,): own purchase, response purchase, opt-out."""

    base: np.ndarray
    response: np.ndarray
    opt_out: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What is expected of each customer in one week, arrays of shape (n,); money in cents.

    Parameters
    ----------
    purchase: chance of at least one purchase. ``purchases``: expected number of them.
    revenue: of purchases at full price. ``returned``: the part that comes back.
    margin: margin rate x (revenue - returned). ``discount``: given. ``cost``: of the contact.
    profit: margin - discount - cost. ``opt_out``: chance of an opt-out.
    """

    purchase: np.ndarray
    purchases: np.ndarray
    revenue: np.ndarray
    returned: np.ndarray
    margin: np.ndarray
    discount: np.ndarray
    cost: np.ndarray
    profit: np.ndarray
    opt_out: np.ndarray


def season(spec: MarketSpec, week: int) -> float:
    """The year's wave over everything, highest in December."""
    return float(1 + spec.seasonality * np.cos(2 * np.pi * (week % 52 - 49) / 52))


def season_of_categories(spec: MarketSpec, week: int) -> np.ndarray:
    """The wave of each category's response, on top of the year's."""
    amplitude = _SWING * (spec.seasonality / 0.2)
    wave: np.ndarray = np.maximum(0.0, 1 + amplitude * np.cos(2 * np.pi * (week % 52 - _PEAK) / 52))
    return wave


def chances(spec: MarketSpec, customers: Customers, *, week: int, actions: np.ndarray) -> Chances:
    """What decides the week's draws under ``actions`` (n,): 0 for nothing, i for ``TREATMENTS[i - 1]``."""
    rows = np.arange(len(customers))
    contacted = actions > 0
    hurt = contacted & customers.annoyed
    year = season(spec, week)
    category, channel = CATEGORY[actions], CHANNEL[actions]
    response = (
        RESPONSE[channel]
        * (year * season_of_categories(spec, week))[category]
        * (1 + DISCOUNT_PULL * DISCOUNT[actions] * customers.sensitivity)
        * (len(CATEGORIES) * customers.category[rows, category])
        * (len(CHANNELS) * customers.channel[rows, channel])
        * customers.responsiveness
    )
    hazard = np.where(customers.annoyed, spec.opt_out_hazard, spec.opt_out_hazard / 40) * PROVOKES[channel]
    return Chances(
        base=np.minimum(customers.base * year, 0.9) * np.where(hurt, 1 - HARM, 1.0),
        response=np.where(contacted & ~customers.annoyed, np.minimum(response, RESPONSE_MOST), 0.0),
        opt_out=np.where(contacted, np.minimum(hazard, 1.0), 0.0),
    )


def expected(spec: MarketSpec, customers: Customers, *, week: int, actions: np.ndarray) -> Expected:
    """What is expected of the week under ``actions`` (n,)."""
    chance = chances(spec, customers, week=week, actions=actions)
    category = CATEGORY[actions]
    offered = customers.basket * BASKET[category]
    interest = customers.category[np.arange(len(customers)), category]
    revenue = chance.base * customers.basket * (customers.category @ BASKET) + chance.response * offered
    # The discount goes to those who answer, and to half of those who would have bought in the category anyway.
    discount = DISCOUNT[actions] * offered * (chance.response + REDEEMED * chance.base * interest)
    margin = spec.margin_rate * (1 - spec.return_rate) * revenue
    cost = COST[actions].astype(float)
    return Expected(
        purchase=1 - (1 - chance.base) * (1 - chance.response),
        purchases=chance.base + chance.response,
        revenue=revenue,
        returned=spec.return_rate * revenue,
        margin=margin,
        discount=discount,
        cost=cost,
        profit=margin - discount - cost,
        opt_out=chance.opt_out,
    )
