"""Offer recommenders from interactions: what each customer took last tests, beside what is popular."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from features.errors import InputError
from training.card import Card, Figure, Part
from training.challenge import OffersChallenge
from training.columns import digest
from training.evaluation import rank, rank_scores
from training.models import OfferRecommender
from training.models.bundle import Features
from training.models.factors import interactions_of, set_aside
from training.trained import Plan, Trained

_FEWEST = 30
_MOST_TESTED = 20_000


def train_offers(
    interactions: pd.DataFrame,
    *,
    name: str = "offers",
    customers: pd.DataFrame | None = None,
    items: pd.DataFrame | None = None,
    repeats: bool = False,
    k: int = 10,
    features: Features | None = None,
    plan: Plan | None = None,
) -> Trained:
    """An offer recommender for rows of customer_id, item_id and, optionally, weight and ``at``.

    All that each customer took at their last moment, where there was one before, is set aside (without ``at``, the last
    row); a model of the rest lists ``k`` items for each of them, beside the most popular items that they had not yet.
    The model that is kept then learns from all rows. One that is not surely better than popularity is not promoted.
    """
    plan = plan or Plan()
    model = OfferRecommender(seed=plan.seed, threads=plan.threads, repeats=repeats)
    taken = interactions_of(interactions)
    rest, held = set_aside(taken, repeats=repeats)
    known = set(rest["item_id"])
    held = held[held["item_id"].isin(known)].reset_index(drop=True)
    tested = held["customer_id"].drop_duplicates()
    if len(tested) > _MOST_TESTED:
        tested = tested.sample(_MOST_TESTED, random_state=plan.seed).sort_index()
        held = held[held["customer_id"].isin(set(tested))]
    if len(tested) < _FEWEST or len(known) < 2:
        raise InputError(
            "there is too little to test recommendations on",
            got=f"{len(tested)} customers with a further item, {len(known)} items",
            do=f"pass at least {_FEWEST} customers with two items or more",
        )
    k = min(k, len(known) - 1)
    evaluated = model.fit(rest, customers=customers, items=items)
    who, target = tested.to_numpy(dtype=np.str_), _side_by_side(held)
    listed = evaluated.recommend(who, k, customers=customers)[0]
    popular = _popular(evaluated, who, k)
    figures = _figures(listed, popular, target)
    model = OfferRecommender(seed=plan.seed, threads=plan.threads, repeats=repeats)
    model.fit(taken, customers=customers, items=items)
    card = _card(
        model,
        figures,
        rows=len(taken),
        rest=rest,
        held=held,
        name=name,
        k=k,
        importances=evaluated.importances,
        features=features,
    )
    challenge = OffersChallenge(who=who, target=target, listed=listed, model=model, features=customers)
    return Trained(model=model, card=card, challenge=challenge, features=features)


def _card(
    model: OfferRecommender,
    figures: tuple[Figure, ...],
    *,
    rows: int,
    rest: pd.DataFrame,
    held: pd.DataFrame,
    name: str,
    k: int,
    importances: Mapping[str, float],
    features: Features | None,
) -> Card:
    gain = next(figure for figure in figures if figure.name == "ndcg_over_popularity")
    doubt = f"not surely better than popularity: NDCG differs by {gain.value:+.4f} ({gain.interval})"
    bundle = model.bundle(features=features)
    return Card(
        kind=bundle.kind,
        name=name,
        label="what each customer took next",
        rows=rows,
        features=len(importances),
        split="what each customer took last tests",
        parts=(Part(name="train", rows=len(rest)), Part(name="test", rows=len(held))),
        drift="Lists hold no probabilities, so there is no label rate to drift.",
        figures=figures,
        calibration="not applicable",
        calibration_detail="scores order the items of one customer and are no probabilities",
        objections=() if (gain.low or 0.0) > 0 else (doubt,),
        compared="ndcg",
        tuning="not tuned: default settings",
        params=model.get_params(),
        importances=importances,
        notes=(
            f"{len(model.customers_):,} customers, {len(model.items_):,} items, lists of {k}",
            "the model kept was trained on all rows",
            "" if model.booster_ is not None else "too few customers with a next item: factors alone rank",
        ),
        versions=bundle.versions,
        model_hash=bundle.model_hash,
        test_digest=digest(held[["customer_id", "item_id"]], np.zeros(len(held))),
    )


def _side_by_side(held: pd.DataFrame) -> np.ndarray:
    """The items of each customer (customers, most), customers in the order in which they first come, ended by ""."""
    place = held.groupby("customer_id").cumcount()
    wide = held.assign(place=place).pivot(index="customer_id", columns="place", values="item_id").fillna("")
    return wide.loc[held["customer_id"].unique()].to_numpy(dtype=np.str_)


def _popular(model: OfferRecommender, who: np.ndarray, k: int) -> np.ndarray:
    """The most popular items that each customer had not yet, ids (customers, k)."""
    order = np.argsort(-model.popularity_, kind="stable")
    listed = np.full((len(who), k), "", dtype=model.items_.dtype)
    places = np.searchsorted(model.customers_, who)
    for row, place in enumerate(places):
        # A customer whose only other interaction was set aside is unknown to the model.
        known = place < len(model.customers_) and model.customers_[place] == who[row] and not model.repeats
        had = model.had_[place].indices if known else ()
        free = order[~np.isin(order, had)][:k]
        listed[row, : len(free)] = model.items_[free]
    return listed


def _figures(listed: np.ndarray, popular: np.ndarray, target: np.ndarray) -> tuple[Figure, ...]:
    mine, theirs = rank(listed, target), rank(popular, target)
    difference = rank_scores(listed, target) - rank_scores(popular, target)
    gain, half = float(difference.mean()), 1.96 * float(difference.std(ddof=1)) / float(np.sqrt(len(difference)))
    return (
        Figure(
            name="ndcg", value=mine.ndcg, low=mine.ndcg_low, high=mine.ndcg_high, baselines={"popularity": theirs.ndcg}
        ),
        Figure(
            name="recall",
            value=mine.recall,
            low=mine.recall_low,
            high=mine.recall_high,
            baselines={"popularity": theirs.recall},
        ),
        Figure(name="mrr", value=mine.mrr, baselines={"popularity": theirs.mrr}),
        Figure(name="ndcg_over_popularity", value=gain, low=gain - half, high=gain + half),
    )
