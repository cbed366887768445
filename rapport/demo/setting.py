"""The demo's project folder: what the simulated retailer writes down, and what its books say its offers are worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

from experiments.market import CATEGORIES, CHANNELS, Market
from features.sql import in_memory
from rapport.init import keep_out, write_files
from rapport.project import Project, load_project

HISTORY_WEEKS = 52
DELAY_DAYS = 12
CLUSTERS = 5
_TEMPLATE = "rapport/demo/template"

# What each mature contact of the history was followed by within a week, as known when the experiment starts; the action
# of a logged decision of nothing is nothing.
_EARNED = """
    WITH known AS (SELECT * FROM {events} WHERE occurred_at < $start AND recorded_at < $start),
    decided AS (
        SELECT event_id, customer_id, occurred_at, item, coalesce(item || '@' || channel, 'nothing') AS action
        FROM known WHERE kind IN ('contact', 'no_contact') AND occurred_at < $start - INTERVAL 7 DAY - $delay),
    earned AS (
        SELECT decided.event_id, any_value(action) AS action,
            sum(CASE event.kind WHEN 'purchase' THEN $margin * amount WHEN 'return' THEN -$margin * amount
                WHEN 'discount' THEN -amount ELSE 0 END) AS profit,
            sum(CASE WHEN event.kind = 'discount' AND event.item = decided.item THEN amount END) AS discount
        FROM decided LEFT JOIN known AS event ON event.customer_id = decided.customer_id
            AND event.kind IN ('purchase', 'return', 'discount')
            AND event.occurred_at > decided.occurred_at AND event.occurred_at <= decided.occurred_at + INTERVAL 7 DAY
        GROUP BY decided.event_id)
    SELECT action, count(*), avg(profit), stddev(profit), count(discount), coalesce(avg(discount), 0)
    FROM earned GROUP BY action
"""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What an action did in ``n`` random contacts of the history, in the week after them, in cents per contact.

    ``mean`` and ``sd``: of the profit before the contact's cost. ``redeemed``: how many took the discount, and
    ``discount``: what one of them saved.
    """

    n: int
    mean: float
    sd: float
    redeemed: int
    discount: float


def write_project(root: Path, market: Market, *, sources: str, weeks: int) -> Project:
    """The project of the market, but for its offers, which need the history first."""
    values: dict[str, Any] = {
        "margin": market.spec.margin_rate,
        "channels": CHANNELS,
        "categories": CATEGORIES,
        "sources": sources.replace('file = "', 'file = "exports/'),
        "clusters": CLUSTERS,
        "start": _toml_time(market.begin(HISTORY_WEEKS)),
        "end": _toml_time(market.begin(HISTORY_WEEKS + weeks)),
        "window_days": 7 * weeks,
        "delay_days": DELAY_DAYS,
    }
    write_files(root, template=_TEMPLATE, values=values, only="[!o]*.toml")
    keep_out(root)
    return load_project(root)


def tried(project: Project, market: Market) -> dict[str, Tried]:
    """What each action did in the history, where actions were chosen at random."""
    with in_memory() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        sql = _EARNED.format(events=project.history.scan("events"))
        moments = {"start": market.begin(HISTORY_WEEKS), "delay": timedelta(days=DELAY_DAYS)}
        rows = connection.execute(sql, {"margin": market.spec.margin_rate, **moments}).fetchall()
    return {
        action: Tried(n=n, mean=mean, sd=sd, redeemed=redeemed, discount=float(discount))
        for action, n, mean, sd, redeemed, discount in rows
    }


def best_on_average(market: Market, found: Mapping[str, Tried]) -> str:
    """The treatment that earned most per random contact, net of its cost."""
    return max(market.treatments, key=lambda each: found[each.treatment_id].mean - each.cost_cents).treatment_id


def write_offers(project: Project, market: Market, found: Mapping[str, Tried]) -> None:
    """The catalogue. A redemption is worth what contacts with the offer earned more than none, per redemption."""
    offers = []
    for offer, group in groupby(market.treatments, key=lambda each: each.offer_id):
        treatments = list(group)
        results = [found[each.treatment_id] for each in treatments]
        redeemed = sum(each.redeemed for each in results) or 1
        more = sum(each.n * (each.mean - found["nothing"].mean) for each in results) / redeemed
        discount = sum(each.redeemed * each.discount for each in results) / redeemed
        offers.append(
            {
                "offer_id": offer,
                "title": "{}, {}% off".format(*offer.capitalize().split("-")),
                "category": treatments[0].category,
                "value_cents": round(more + discount),
                "discount_cents": round(discount),
                "treatments": treatments,
            }
        )
    values = {"offers": offers, "static": best_on_average(market, found)}
    write_files(project.root, template=_TEMPLATE, values=values, only="offers.toml")


def _toml_time(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
