"""The features that every project has without declaring any."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

from features.declaration import FeatureSet
from features.errors import unknown
from features.feature import Aggregate, Feature, Scope

#: What the standard features are about, by group. All but ``household`` are there unless a project chooses: without
#: links that tell households its columns repeat those of the customer.
GROUPS = (
    "recency",
    "frequency",
    "session",
    "pressure",
    "reactions",
    "prices",
    "service",
    "hours",
    "channels",
    "affinities",
    "household",
)
DEFAULT_GROUPS = tuple(each for each in GROUPS if each != "household")

_LONG = ("7d", "30d", "90d", "365d")
_INTEREST = ("visit", "search", "cart")
_ACTIVE = (*_INTEREST, "purchase", "open", "click")
#: The parts of a day, by their first hours.
_PARTS_OF_DAY = {"night": 0, "morning": 6, "afternoon": 12, "evening": 18}


def standard_features(
    *,
    channels: Sequence[str] = (),
    categories: Sequence[str] = (),
    brands: Sequence[str] = (),
    offers: Sequence[str] = (),
    reasons: Sequence[str] = (),
    groups: Sequence[str] = DEFAULT_GROUPS,
    hours_from_utc: int = 0,
) -> FeatureSet:
    """What a marketer would ask of a customer's behaviour first, in the company's own words.

    Parameters
    ----------
    channels: those with habits and reactions of their own, such as ``("web", "email", "store")``.
    categories: those with affinities of their own, such as ``("shoes", "toys")``.
    brands: those with affinities of their own, as events have them, such as ``("Acme", "Ajax")``.
    offers: those whose reactions count by themselves, by their ids.
    reasons: what customers call about, as calls have it for their category.
    groups: which of GROUPS are wanted.
    hours_from_utc: by how much the company's clock is ahead of UTC; parts of the day follow it.

    >>> standard_features(channels=("web",), categories=("shoes",)).names[:3]
    ('seconds_since_purchase', 'seconds_since_visit', 'seconds_since_search')
    """
    made = {
        "recency": _recency(),
        "frequency": _frequency_and_money(),
        "session": _session(categories),
        "pressure": _pressure(channels),
        "reactions": [*_reactions(channels), *(each for offer in offers for each in _reactions_to(offer))],
        "prices": _prices(),
        "service": _service(reasons),
        "hours": _hours(hours_from_utc),
        "channels": _channels(channels),
        "affinities": [*_categories(categories), *(each for brand in brands for each in _brand(brand))],
        "household": _household(),
    }
    for group in groups:
        if group not in made:
            raise unknown("group of features", group, made)
    return FeatureSet.of(*(each for group in GROUPS if group in groups for each in made[group]))


def _behaviour(
    name: str,
    kind: str | tuple[str, ...],
    *windows: str,
    meaning: str,
    aggregate: Aggregate,
    of: str | None = None,
    scope: Scope = "customer",
    **where: str | tuple[str, ...],
) -> Feature:
    return Feature(
        name=name,
        aggregate=aggregate,
        of=of,
        where={"kind": kind, **where},
        windows=windows,
        scope=scope,
        meaning=meaning,
    )


_count = partial(_behaviour, aggregate="count")
_sum = partial(_behaviour, aggregate="sum")
_distinct = partial(_behaviour, aggregate="distinct")
_since = partial(_behaviour, aggregate="seconds_since_last")
_since_first = partial(_behaviour, aggregate="seconds_since_first")
_most_common = partial(_behaviour, aggregate="most_common")


def _recency() -> list[Feature]:
    kinds = ("purchase", "visit", "search", "cart", "contact", "click")
    return [
        *(_since(f"seconds_since_{kind}", kind, meaning=f"time since the last {kind}") for kind in kinds),
        Feature(name="tenure", aggregate="seconds_since_first", meaning="time since the first fact about the customer"),
        _since_first("seconds_as_buyer", "purchase", meaning="time since the first purchase"),
    ]


def _frequency_and_money() -> list[Feature]:
    return [
        _count("purchases", "purchase", *_LONG, meaning="purchases"),
        _sum("spend", "purchase", *_LONG, of="amount", meaning="money spent"),
        _count("visits", "visit", *_LONG, meaning="visits"),
        _count("searches", "search", "7d", "30d", meaning="searches"),
        _count("carts", "cart", "7d", "30d", meaning="products put into the cart"),
    ]


def _session(categories: Sequence[str]) -> list[Feature]:
    """The last half hour: a window of 30 minutes never reaches over a pause of 30 minutes into an earlier session."""
    return [
        _count("session_visits", "visit", "30m", meaning="visits in this session"),
        _count("session_searches", "search", "30m", meaning="searches in this session"),
        _count("session_carts", "cart", "30m", meaning="products put into the cart in this session"),
        _distinct("session_items", _INTEREST, "30m", of="item", meaning="different products looked at in this session"),
        *(
            _count(
                f"session_{column_name(category)}",
                _INTEREST,
                "30m",
                category=category,
                meaning=f"visits, searches and carts in {category} in this session",
            )
            for category in categories
        ),
    ]


def _pressure(channels: Sequence[str]) -> list[Feature]:
    return [
        _count("contacts", "contact", "1d", "7d", "30d", "90d", meaning="contacts sent"),
        _count("opt_outs", "opt_out", "365d", meaning="times opted out"),
        *(
            _count(
                f"contacts_{column_name(each)}", "contact", "30d", "90d", channel=each, meaning=f"contacts by {each}"
            )
            for each in channels
        ),
        *(
            _since(
                f"seconds_since_contact_{column_name(each)}",
                "contact",
                "365d",
                channel=each,
                meaning=f"time since the last contact by {each}",
            )
            for each in channels
        ),
    ]


def _reactions(channels: Sequence[str]) -> list[Feature]:
    """What came of contacts; those that were ignored are contacts less opens, which the model sees."""
    told = (("opens", "open", "opened"), ("clicks", "click", "clicked"))
    return [
        *(_count(name, kind, "30d", "90d", meaning=f"contacts {done}") for name, kind, done in told),
        *(
            _count(
                f"{name}_{column_name(each)}", kind, "90d", channel=each, meaning=f"contacts by {each} that were {done}"
            )
            for each in channels
            for name, kind, done in told
        ),
    ]


def _reactions_to(offer: str) -> list[Feature]:
    told = (
        ("contacts", "contact", "sent"),
        ("opens", "open", "opened"),
        ("clicks", "click", "clicked"),
        ("redeemed", "discount", "redeemed"),
    )
    return [
        _count(f"{name}_{column_name(offer)}", kind, "365d", item=offer, meaning=f"offer {offer}: times {done}")
        for name, kind, done in told
    ]


def _prices() -> list[Feature]:
    return [
        _count("discounts", "discount", "90d", "365d", meaning="discounts used"),
        _sum("saved", "discount", "365d", of="amount", meaning="money saved by discounts"),
        _sum(
            "pieces",
            "purchase",
            "365d",
            of="quantity",
            meaning="products bought; with the money spent, the price of one",
        ),
    ]


def _service(reasons: Sequence[str]) -> list[Feature]:
    return [
        _count("returns", "return", "90d", "365d", meaning="products sent back"),
        _sum("returned", "return", "365d", of="amount", meaning="worth of what was sent back"),
        _count("calls", "call", "30d", "90d", meaning="calls to the call centre"),
        *(
            _count(f"calls_{column_name(each)}", "call", "90d", category=each, meaning=f"calls about {each}")
            for each in reasons
        ),
    ]


def _hours(hours_from_utc: int) -> list[Feature]:
    return [
        _count(
            f"active_{part}",
            _ACTIVE,
            "90d",
            hour=tuple(str((first + hour - hours_from_utc) % 24) for hour in range(6)),
            meaning=f"what the customer did between {first} and {first + 6} o'clock",
        )
        for part, first in _PARTS_OF_DAY.items()
    ]


def _channels(channels: Sequence[str]) -> list[Feature]:
    if not channels:
        return []
    return [
        _most_common(
            "preferred_channel",
            _ACTIVE,
            "365d",
            of="channel",
            channel=tuple(channels),
            meaning="the channel on which the customer did most",
        ),
        *(
            feature
            for each in channels
            for feature in (
                _count(
                    f"purchases_{column_name(each)}", "purchase", "90d", channel=each, meaning=f"purchases by {each}"
                ),
                _sum(
                    f"spend_{column_name(each)}",
                    "purchase",
                    "365d",
                    of="amount",
                    channel=each,
                    meaning=f"money spent by {each}",
                ),
            )
        ),
    ]


def _categories(categories: Sequence[str]) -> list[Feature]:
    return [
        _distinct("categories_bought", "purchase", "365d", of="category", meaning="different categories bought from"),
        *(
            feature
            for each in categories
            for feature in (
                _count(
                    f"interest_{column_name(each)}",
                    _INTEREST,
                    "30d",
                    category=each,
                    meaning=f"visits, searches and carts in {each}",
                ),
                _count(
                    f"purchases_{column_name(each)}", "purchase", "365d", category=each, meaning=f"purchases in {each}"
                ),
                _count(
                    f"clicks_{column_name(each)}",
                    "click",
                    "90d",
                    category=each,
                    meaning=f"contacts about {each} clicked",
                ),
            )
        ),
    ]


def _brand(brand: str) -> list[Feature]:
    name, told = column_name(brand), f"visits, searches and carts of the brand {brand}"
    return [
        _count(f"interest_brand_{name}", _INTEREST, "30d", brand=brand, meaning=told),
        _count(f"purchases_brand_{name}", "purchase", "365d", brand=brand, meaning=f"purchases of the brand {brand}"),
    ]


def _household() -> list[Feature]:
    return [
        _count(
            "household_purchases", "purchase", "90d", "365d", scope="household", meaning="purchases of the household"
        ),
        _sum(
            "household_spend",
            "purchase",
            "365d",
            of="amount",
            scope="household",
            meaning="money spent by the household",
        ),
        _count("household_contacts", "contact", "30d", scope="household", meaning="contacts to the household"),
        _since(
            "seconds_since_household_purchase",
            "purchase",
            scope="household",
            meaning="time since the last purchase of the household",
        ),
        Feature(
            name="household_size",
            aggregate="distinct",
            of="customer_id",
            scope="household",
            meaning="accounts of the household of which an event is known; a person with two counts as two",
            unit="accounts",
        ),
    ]


def column_name(text: str) -> str:
    """``text`` as part of a column's name.

    >>> column_name("Home & Garden")
    'home_garden'
    """
    return re.sub(r"[^a-z0-9]+", "_", text.casefold()).strip("_")
