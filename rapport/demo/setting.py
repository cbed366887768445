"""The demo's project folder: what the simulated retailer writes down, and what its books say its offers are worth."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import duckdb

from experiments.market import CATEGORIES, CHANNELS, Market
from features.history import History
from rapport.init import keep_out, write_files
from rapport.project import Project, load_project

HISTORY_WEEKS = 52
DELAY_DAYS = 12
CLUSTERS = 5
_TEMPLATE = "rapport/demo/template"

# Margin of a purchase by category; discount given away per purchase in the week after a contact, by offer.
_WORTH = "SELECT category, avg(amount) FROM {events} WHERE kind = 'purchase' GROUP BY category"
_AFTER = """
    decided AS (SELECT event_id, customer_id, occurred_at, coalesce(item || '@' || channel, 'nothing') AS action
        FROM {events} WHERE kind IN ('contact', 'no_contact')),
    after AS (SELECT decided.event_id, decided.action, event.kind, event.amount
        FROM decided LEFT JOIN {events} AS event ON event.customer_id = decided.customer_id
            AND event.kind IN ('purchase', 'return', 'discount')
            AND event.occurred_at > decided.occurred_at AND event.occurred_at < decided.occurred_at + INTERVAL 7 DAY)
"""
_DISCOUNTS = """
    WITH {after}
    SELECT split_part(action, '@', 1),
        coalesce(sum(amount) FILTER (WHERE kind = 'discount'), 0) / count(*) FILTER (WHERE kind = 'purchase')
    FROM after GROUP BY 1
"""
_EARNED = """
    WITH {after}, earned AS (
        SELECT event_id, any_value(action) AS action, sum(CASE kind WHEN 'purchase' THEN $margin * amount
            WHEN 'return' THEN -$margin * amount WHEN 'discount' THEN -amount ELSE 0 END) AS profit
        FROM after GROUP BY event_id)
    SELECT action, avg(profit), stddev(profit), count(*) FROM earned GROUP BY action
"""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What an action earned in the week after it, in cents net of its cost, in ``n`` random contacts of the history."""

    mean: float
    sd: float
    n: int


def write_project(root: Path, market: Market, *, sources: str, weeks: int) -> Project:
    """The project of the market, but for its offers, which need the history first."""
    values: dict[str, Any] = {
        "margin": market.spec.margin_rate,
        "channels": CHANNELS,
        "categories": CATEGORIES,
        "sources": sources,
        "clusters": CLUSTERS,
        "start": _toml_time(market.begin(HISTORY_WEEKS)),
        "end": _toml_time(market.begin(HISTORY_WEEKS + weeks)),
        "window_days": 7 * weeks,
        "delay_days": DELAY_DAYS,
    }
    write_files(root, template=_TEMPLATE, values=values, only="[!o]*.toml")
    keep_out(root)
    return load_project(root)


def write_offers(project: Project, market: Market, *, static: str) -> None:
    """The catalogue, with the worth and discount of each offer as the project's history shows them."""
    worth, discount = _books(project.history, margin=market.spec.margin_rate * (1 - market.spec.return_rate))
    offers = [
        {
            "offer_id": offer,
            "title": "{}, {}% off".format(offer.split("-")[0].capitalize(), offer.split("-")[1]),
            "category": category,
            "value_cents": worth[category],
            "discount_cents": discount.get(offer, 0),
            "treatments": list(treatments),
        }
        for (offer, category), treatments in groupby(market.treatments, key=lambda each: (each.offer_id, each.category))
    ]
    write_files(project.root, template=_TEMPLATE, values={"offers": offers, "static": static}, only="offers.toml")


def tried(project: Project, market: Market) -> dict[str, Tried]:
    """What each action earned on average in the history, where actions were chosen at random."""
    costs = {"nothing": 0, **{each.treatment_id: each.cost_cents for each in market.treatments}}
    rows = _books_query(project.history, _EARNED, margin=market.spec.margin_rate)
    return {action: Tried(mean=mean - costs[action], sd=sd, n=n) for action, mean, sd, n in rows}


def _books(history: History, *, margin: float) -> tuple[dict[str, int], dict[str, int]]:
    worth = {category: round(margin * float(amount)) for category, amount in _books_query(history, _WORTH)}
    return worth, {offer: round(float(discount)) for offer, discount in _books_query(history, _DISCOUNTS)}


def _books_query(history: History, sql: str, **values: float) -> list[tuple[Any, ...]]:
    events = history.scan("events")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        filled = sql.format(events=events, after=_AFTER.format(events=events))
        rows: list[tuple[Any, ...]] = connection.execute(filled, values).fetchall()
        return rows


def _toml_time(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
