"""What customers do in a week: draws from the chances of ``reactions``, as events.

Every draw depends on the seed, the week and the customer, never on the action: two worlds that differ in one customer's
contact differ in that customer's events only, and only in what the contact caused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import special

from experiments.market.customers import BLOCK, Customers
from experiments.market.offers import CATEGORIES, CATEGORY, CHANNEL, CHANNELS, DISCOUNT
from experiments.market.reactions import BASKET, REDEEMED, Chances, chances, season
from experiments.market.rows import DAY, NONE, OFFER, WEEK, Rows, rows
from experiments.market.spec import MarketSpec

_WEB, _EMAIL, _MAIL, _CALL, _STORE = range(len(CHANNELS))
# Where a response to a channel's contact is bought, and the day on which its contact reaches people.
_SOLD_ON = np.array([_WEB, _WEB, _MAIL, _CALL, _STORE])
_REACHES = np.array([0.05, 0.05, 2.0, 0.2, 0.2]) * DAY
# Where people buy by themselves, for equal affinities; nobody buys by e-mail.
_SHOPS = np.array([1.6, 0.0, 0.5, 0.3, 1.4])
_AMOUNT_WIDTH = 0.5
#: People browse what they like even more than they buy it: browsing goes by the affinity to this power.
BROWSE = 1.5
_SEARCHES, _CARTS, _OPENS, _CLICKS, _BANNER_CLICKS, _CALLS = 0.35, 0.12, 0.3, 0.12, 0.03, 0.01

_STREAMS = (
    *("base", "base_time", "base_amount", "base_category", "base_channel", "base_return", "redeem"),
    *("response", "response_time", "response_amount", "response_return", "return_time"),
    *("open", "open_time", "click", "opt_out", "opt_out_time", "call", "call_time", "luck"),
)


@dataclass(frozen=True, kw_only=True)
class BlockWeek:
    """One block of customers in one week: who they are, what they were sent, and their draws.

    ``actions`` holds the action of each customer, ``logged`` whose decision is put on record.
    """

    spec: MarketSpec
    customers: Customers
    block: int
    week: int
    actions: np.ndarray
    logged: np.ndarray

    def events(self) -> Iterator[Rows]:
        """All events of the block in this week, by kind."""
        rng = np.random.default_rng([self.spec.seed, 1, self.week, self.block])
        every = rng.random((len(_STREAMS), BLOCK), dtype=np.float32)[:, : len(self.customers)]
        draws = dict(zip(_STREAMS, every.astype(np.float64), strict=True))
        chance = chances(self.spec, self.customers, week=self.week, actions=self.actions)
        yield from self._decisions()
        yield from self._own_purchases(chance, draws)
        yield from self._responses(chance, draws)
        yield from self._opens_and_clicks(chance, draws)
        yield from self._opt_outs_and_calls(chance, draws)
        yield from self._browsing()

    def _numbers(self, who: np.ndarray) -> np.ndarray:
        return who + self.block * BLOCK

    def _decisions(self) -> Iterator[Rows]:
        for kind, chosen in (("contact", self.actions > 0), ("no_contact", self.actions == 0)):
            who = np.flatnonzero(self.logged & chosen)
            action = self.actions[who]
            yield rows(
                self._numbers(who),
                slot=1,
                kind=kind,
                seconds=0.0,
                channel=np.where(action > 0, CHANNEL[action], NONE),
                offer=OFFER[action],
                category=np.where(action > 0, CATEGORY[action], NONE),
            )

    def _own_purchases(self, chance: Chances, draws: dict[str, np.ndarray]) -> Iterator[Rows]:
        who = np.flatnonzero(draws["base"] < chance.base)
        action = self.actions[who]
        category = _pick(self.customers.category[who], draws["base_category"][who])
        channel = _pick(self.customers.channel[who] * _SHOPS, draws["base_channel"][who])
        redeemed = (action > 0) & (CATEGORY[action] == category) & (draws["redeem"][who] < REDEEMED)
        yield from self._sale(
            who,
            slot=20,
            seconds=3600 + (WEEK - 7200) * draws["base_time"][who],
            channel=channel,
            category=category,
            amount=self._amounts(who, category=category, luck=draws["base_amount"]),
            discounted=redeemed,
            returned=draws["base_return"][who] < self.spec.return_rate,
            draws=draws,
        )

    def _responses(self, chance: Chances, draws: dict[str, np.ndarray]) -> Iterator[Rows]:
        who = np.flatnonzero(draws["response"] < chance.response)
        action = self.actions[who]
        yield from self._sale(
            who,
            slot=30,
            seconds=self._response_time(who, draws),
            channel=_SOLD_ON[CHANNEL[action]],
            category=CATEGORY[action],
            amount=self._amounts(who, category=CATEGORY[action], luck=draws["response_amount"]),
            discounted=np.ones(len(who), dtype=bool),
            returned=draws["response_return"][who] < self.spec.return_rate,
            draws=draws,
        )

    def _sale(
        self,
        who: np.ndarray,
        *,
        slot: int,
        seconds: np.ndarray,
        channel: np.ndarray,
        category: np.ndarray,
        amount: np.ndarray,
        discounted: np.ndarray,
        returned: np.ndarray,
        draws: dict[str, np.ndarray],
    ) -> Iterator[Rows]:
        """A purchase and what goes with it: the visit and cart before one on the web, the discount, the return."""
        number, action, luck = self._numbers(who), self.actions[who], draws["luck"][who]
        common = {"seconds": seconds, "channel": channel, "category": category, "luck": luck}
        yield rows(number, slot=slot, kind="purchase", amount=amount, **common)
        online = channel == _WEB
        for step, (kind, before) in enumerate((("visit", 1500), ("cart", 300)), start=1):
            shared = {name: values[online] for name, values in common.items()}
            yield rows(number[online], slot=slot + step, kind=kind, **shared | {"seconds": seconds[online] - before})
        saved = np.rint(DISCOUNT[action] * amount).astype(np.int64)[discounted]
        shared = {name: values[discounted] for name, values in common.items()}
        yield rows(
            number[discounted], slot=slot + 3, kind="discount", amount=saved, offer=OFFER[action[discounted]], **shared
        )
        shared = {name: values[returned] for name, values in common.items()}
        back = seconds + (WEEK - seconds) * draws["return_time"][who]
        yield rows(
            number[returned],
            slot=slot + 4,
            kind="return",
            amount=amount[returned],
            **shared | {"seconds": back[returned]},
        )

    def _opens_and_clicks(self, chance: Chances, draws: dict[str, np.ndarray]) -> Iterator[Rows]:
        channel = CHANNEL[self.actions]
        reached = (self.actions > 0) & (channel <= _EMAIL)
        answered = draws["response"] < chance.response
        likes = len(CHANNELS) * self.customers.channel[:, _EMAIL] * np.where(self.customers.annoyed, 0.5, 1.0)
        opened = reached & (channel == _EMAIL) & (answered | (draws["open"] < np.minimum(_OPENS * likes, 0.95)))
        interest = len(CATEGORIES) * self.customers.category[np.arange(len(channel)), CATEGORY[self.actions]]
        sure = np.minimum(np.where(channel == _EMAIL, _CLICKS, _BANNER_CLICKS) * interest, 0.9)
        clicked = reached & (answered | ((opened | (channel == _WEB)) & (draws["click"] < sure)))
        moment = np.where(
            answered,
            self._response_time(np.arange(len(channel)), draws) - 1800,
            0.04 * DAY + (WEEK - DAY) * draws["open_time"] ** 2,
        )
        for kind, slot, chosen, after in (("open", 2, opened, 0), ("click", 3, clicked, 60)):
            who = np.flatnonzero(chosen)
            action = self.actions[who]
            yield rows(
                self._numbers(who),
                slot=slot,
                kind=kind,
                seconds=moment[who] + after,
                channel=CHANNEL[action],
                offer=OFFER[action],
                category=CATEGORY[action],
                luck=draws["luck"][who],
            )
        who = np.flatnonzero(clicked & ~answered)
        yield rows(
            self._numbers(who),
            slot=4,
            kind="visit",
            seconds=moment[who] + 62,
            channel=_WEB,
            category=CATEGORY[self.actions[who]],
            luck=draws["luck"][who],
        )

    def _opt_outs_and_calls(self, chance: Chances, draws: dict[str, np.ndarray]) -> Iterator[Rows]:
        who = np.flatnonzero(draws["opt_out"] < chance.opt_out)
        reached = _REACHES[CHANNEL[self.actions[who]]]
        yield rows(
            self._numbers(who),
            slot=5,
            kind="opt_out",
            seconds=reached + (WEEK - reached - 60) * draws["opt_out_time"][who],
            channel=CHANNEL[self.actions[who]],
        )
        calls = _CALLS * len(CHANNELS) * self.customers.channel[:, _CALL]
        who = np.flatnonzero(draws["call"] < calls)
        seconds = (WEEK - 60) * draws["call_time"][who]
        yield rows(self._numbers(who), slot=6, kind="call", seconds=seconds, channel=_CALL, luck=draws["luck"][who])

    def _browsing(self) -> Iterator[Rows]:
        counting, browsing = (np.random.default_rng([self.spec.seed, each, self.week, self.block]) for each in (2, 5))
        counts = np.minimum(counting.poisson(self.customers.visits * season(self.spec, self.week)), 300)
        who = np.repeat(np.arange(len(counts)), counts)
        turn = np.arange(len(who)) - np.repeat(np.cumsum(counts) - counts, counts)
        # Drawn row by row, so that a block cut short begins as the whole one does.
        time, taste, search, cart, luck = browsing.random((len(who), 5)).T
        category = _pick(self.customers.category[who] ** BROWSE, taste)
        for step, (kind, chosen) in enumerate(
            (("visit", time >= 0), ("search", search < _SEARCHES), ("cart", cart < _CARTS))
        ):
            yield rows(
                self._numbers(who[chosen]),
                slot=100 + 3 * turn[chosen] + step,
                kind=kind,
                seconds=((WEEK - 3600) * time[chosen]) + 240 * step,
                channel=_WEB,
                category=category[chosen],
                luck=luck[chosen],
            )

    def _response_time(self, who: np.ndarray, draws: dict[str, np.ndarray]) -> np.ndarray:
        reached = _REACHES[CHANNEL[self.actions[who]]]
        # Squaring puts most answers early in the week.
        time: np.ndarray = reached + 3600 + (WEEK - reached - 7200) * draws["response_time"][who] ** 2
        return time

    def _amounts(self, who: np.ndarray, *, category: np.ndarray, luck: np.ndarray) -> np.ndarray:
        """Log-normal around the customer's basket, in whole cents."""
        spread = np.exp(_AMOUNT_WIDTH * special.ndtri(luck[who] + 2.0**-25) - _AMOUNT_WIDTH**2 / 2)
        cents: np.ndarray = np.maximum(1, np.rint(self.customers.basket[who] * BASKET[category] * spread))
        return cents.astype(np.int64)


def _pick(weights: np.ndarray, luck: np.ndarray) -> np.ndarray:
    """A column of each row of ``weights`` (n, k), drawn in proportion."""
    edges = np.cumsum(weights, axis=1)
    place: np.ndarray = (edges[:, :-1] <= (luck * edges[:, -1])[:, None]).sum(axis=1)
    return place
