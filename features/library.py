"""The features that every project has without declaring any."""

from __future__ import annotations

import re
from collections.abc import Sequence

from features.declaration import FeatureSet
from features.feature import Feature

_LONG = ("7d", "30d", "90d", "365d")
_SHORT = ("30d", "90d")


def standard_features(*, channels: Sequence[str] = (), categories: Sequence[str] = ()) -> FeatureSet:
    """Recency, frequency, money, contact pressure, responses, and habits by channel and affinities by category.

    Parameters
    ----------
    channels: those with habits of their own, such as ``("web", "email", "store")``.
    categories: those with affinities of their own, such as ``("shoes", "toys")``.

    >>> standard_features(channels=("web",), categories=("shoes",)).names[:3]
    ('seconds_since_purchase', 'seconds_since_visit', 'seconds_since_contact')
    """
    return FeatureSet.of(
        *_recency(),
        *_frequency_and_money(),
        *_pressure_and_response(),
        *(each for channel in channels for each in _habits(channel)),
        *(each for category in categories for each in _affinities(category)),
    )


def _recency() -> list[Feature]:
    return [
        *(
            Feature(
                name=f"seconds_since_{kind}",
                aggregate="seconds_since_last",
                where={"kind": kind},
                meaning=f"time since the last {kind}",
            )
            for kind in ("purchase", "visit", "contact", "click")
        ),
        Feature(name="tenure", aggregate="seconds_since_first", meaning="time since the first fact about the customer"),
    ]


def _frequency_and_money() -> list[Feature]:
    return [
        Feature(name="purchases", where={"kind": "purchase"}, windows=_LONG, meaning="purchases"),
        Feature(
            name="spend",
            aggregate="sum",
            of="amount",
            where={"kind": "purchase"},
            windows=_LONG,
            meaning="money spent",
        ),
        Feature(name="visits", where={"kind": "visit"}, windows=_LONG, meaning="visits"),
        Feature(name="searches", where={"kind": "search"}, windows=("7d", "30d"), meaning="searches"),
        Feature(name="carts", where={"kind": "cart"}, windows=("7d", "30d"), meaning="products put into the cart"),
        Feature(name="returns", where={"kind": "return"}, windows=("90d", "365d"), meaning="products sent back"),
        Feature(name="calls", where={"kind": "call"}, windows=_SHORT, meaning="calls to the call centre"),
        Feature(
            name="categories_bought",
            aggregate="distinct",
            of="category",
            where={"kind": "purchase"},
            windows=("365d",),
            meaning="different categories bought from",
        ),
    ]


def _pressure_and_response() -> list[Feature]:
    return [
        Feature(name="contacts", where={"kind": "contact"}, windows=("7d", "30d", "90d"), meaning="contacts sent"),
        Feature(name="opens", where={"kind": "open"}, windows=_SHORT, meaning="contacts opened"),
        Feature(name="clicks", where={"kind": "click"}, windows=_SHORT, meaning="contacts clicked"),
        Feature(name="discounts", where={"kind": "discount"}, windows=("90d",), meaning="discounts used"),
        Feature(name="opt_outs", where={"kind": "opt_out"}, windows=("365d",), meaning="times opted out"),
    ]


def _habits(channel: str) -> list[Feature]:
    name = column_name(channel)
    own = {"channel": channel}
    return [
        Feature(
            name=f"purchases_{name}",
            where={"kind": "purchase", **own},
            windows=("90d",),
            meaning=f"purchases by {channel}",
        ),
        Feature(
            name=f"contacts_{name}",
            where={"kind": "contact", **own},
            windows=("30d",),
            meaning=f"contacts by {channel}",
        ),
        Feature(
            name=f"responses_{name}",
            where={"kind": ("open", "click"), **own},
            windows=("90d",),
            meaning=f"contacts by {channel} opened or clicked",
        ),
    ]


def _affinities(category: str) -> list[Feature]:
    name = column_name(category)
    own = {"category": category}
    return [
        Feature(
            name=f"interest_{name}",
            where={"kind": ("visit", "search", "cart"), **own},
            windows=("30d",),
            meaning=f"visits, searches and carts in {category}",
        ),
        Feature(
            name=f"purchases_{name}",
            where={"kind": "purchase", **own},
            windows=("365d",),
            meaning=f"purchases in {category}",
        ),
    ]


def column_name(text: str) -> str:
    """``text`` as part of a column's name.

    >>> column_name("Home & Garden")
    'home_garden'
    """
    return re.sub(r"[^a-z0-9]+", "_", text.casefold()).strip("_")
