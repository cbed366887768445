"""Next-best offers: every treatment of the catalogue in order of expected incremental profit, for every customer."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from features.errors import InputError
from rapport.project import Project
from serving.assembly import rules_of, scorer_of
from serving.catalogue import Offer
from serving.rules import Rules
from training.models.bundle import Bundle


def ranked_offers(project: Project, bundle: Bundle, customers: pa.Table, *, at: datetime, top: int) -> pa.Table:
    """The ``top`` treatments of each customer, best first.

    Parameters
    ----------
    customers: ``customer_id`` and a column per feature of the project.
    at: the moment at which offers hold and their attributes are known.

    Columns: customer_id, rank (from 1), offer_id, channel, response_probability, added_response (the probability less
    that of a response to nothing, where the model knows it) and expected_profit (cents, incremental; nothing has 0, so
    below 0 it is better to send nothing). Eligibility, consent and limits are not asked: ``rapport score`` without
    ``--top`` decides, within them.
    """
    if top < 1:
        raise InputError("top must be at least 1", got=str(top), do="say how many offers to rank for each customer")
    rules = rules_of(project)
    choices = [place for place, each in enumerate(rules.treatments, start=1) if _holds(each.offer, at)]
    if not choices:
        raise InputError("no offer holds at that moment", got=f"{at}", do="check the catalogue, or pass another --at")

    def values(**worth: int) -> np.ndarray:
        wanted = _valued(rules, **worth) if worth else rules
        return scorer_of(bundle, project=project, rules=wanted, at=at).values_of(customers)[:, choices]

    # With a response worth 1 the scorer's value is p - p0; with all of it given away again, - p0.
    profit, added = values(), values(value_cents=1, discount_cents=0)
    chance = added - values(value_cents=1, discount_cents=1)
    order = np.argsort(-profit, axis=1, kind="stable")[:, :top]
    shown = order.shape[1]
    picked = (np.arange(len(order))[:, np.newaxis], order)
    sent = [rules.treatments[place - 1] for place in choices]
    return pa.table(
        {
            "customer_id": customers["customer_id"].take(pa.array(np.repeat(np.arange(len(order)), shown))),
            "rank": pa.array(np.tile(np.arange(1, shown + 1), len(order)), pa.int32()),
            "offer_id": _named(order, [each.offer.offer_id for each in sent]),
            "channel": _named(order, [each.channel for each in sent]),
            "response_probability": chance[picked].ravel(),
            "added_response": added[picked].ravel(),
            "expected_profit": profit[picked].ravel(),
        }
    )


class FirstChoice(NamedTuple):
    """A treatment and the customers for whom it ranks first: how many, means of probability and profit (cents).

    ``better_alone`` of them are expected to earn nothing by it, or less.
    """

    offer_id: str
    channel: str
    customers: int
    chance: float
    profit: float
    better_alone: int


def first_choices(ranked: pa.Table) -> tuple[FirstChoice, ...]:
    """What ranks first in a table of :func:`ranked_offers`, the most frequent one first."""
    first = ranked.filter(pc.equal(ranked["rank"], 1))
    first = first.append_column("alone", pc.cast(pc.less_equal(first["expected_profit"], 0), pa.int64()))
    grouped = first.group_by(["offer_id", "channel"]).aggregate(
        [("rank", "count"), ("response_probability", "mean"), ("expected_profit", "mean"), ("alone", "sum")]
    )
    ordered = grouped.sort_by([("rank_count", "descending"), ("offer_id", "ascending"), ("channel", "ascending")])
    names = ("offer_id", "channel", "rank_count", "response_probability_mean", "expected_profit_mean", "alone_sum")
    return tuple(map(FirstChoice._make, zip(*(ordered[name].to_pylist() for name in names), strict=True)))


def _named(order: np.ndarray, names: list[str]) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(order.ravel()))


def _holds(offer: Offer, at: datetime) -> bool:
    started = offer.valid_from is None or offer.valid_from <= at
    return started and (offer.valid_until is None or at < offer.valid_until)


def _valued(rules: Rules, *, value_cents: int, discount_cents: int) -> Rules:
    """The same rules with all offers worth the same, and free contacts."""
    offers = tuple(
        replace(
            offer,
            value_cents=value_cents,
            discount_cents=discount_cents,
            treatments=tuple(replace(each, cost_cents=0) for each in offer.treatments),
        )
        for offer in rules.book.catalogue.offers
    )
    return Rules(replace(rules.book, catalogue=replace(rules.book.catalogue, offers=offers)))
