"""Next-best offers: which items a customer would take next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from features.errors import InputError
from training.models import boosting
from training.models.bundle import Bundle, to_json, to_npz
from training.models.bundled import BundledModel
from training.models.encoding import TableEncoder, as_frame
from training.models.factors import Factors, by_id, interactions_of, liking_of, set_aside

_CHUNK = 512
_FEWEST_LISTS = 100


class OfferRecommender(BundledModel):
    """Factors of customers and items by implicit's alternating least squares, ranked by LightGBM.

    What each customer took last is set aside; factors (Hu, Koren and Volinsky 2008) are learned from the rest, and
    a LambdaRank booster learns to place what was set aside first among the candidates. The item factors then stay,
    and the customers' factors are solved anew with all their interactions. Unknown customers get what is popular.
    Its bundle holds customers' ids and what they had, so it is as personal as the history.

    Parameters
    ----------
    factors, iterations, regularization, alpha: of implicit; a weight w counts as confidence 1 + alpha x w.
    all_items: catalogues up to this size are ranked whole; beyond it the ``candidates`` best by factors are.
    repeats: whether an item that the customer had may be recommended again.
    rounds, num_leaves, learning_rate: of the ranking booster.
    lists: at most so many customers train the booster.
    seed, threads: as in ``ResponseModel``.

    Attributes
    ----------
    items_, customers_: ids, sorted (items,), (customers,). booster_: None where too few customers had a next item;
    then the factors alone rank.

    >>> import pandas as pd
    >>> taken = pd.DataFrame({"customer_id": ["a", "a", "b"], "item_id": ["hat", "bag", "hat"], "weight": [1, 1, 1]})
    >>> ids, scores = OfferRecommender(factors=2).fit(taken).recommend(["b", "stranger"], n=2)
    >>> ids.tolist()
    [['bag', ''], ['hat', 'bag']]
    """

    kind: ClassVar[str] = "offers"

    def __init__(
        self,
        *,
        factors: int = 16,
        iterations: int = 15,
        regularization: float = 0.05,
        alpha: float = 1.0,
        all_items: int = 200,
        candidates: int = 100,
        repeats: bool = False,
        rounds: int = 80,
        num_leaves: int = 15,
        learning_rate: float = 0.1,
        lists: int = 20_000,
        seed: int = 1,
        threads: int = 0,
    ) -> None:
        self.factors = factors
        self.iterations = iterations
        self.regularization = regularization
        self.alpha = alpha
        self.all_items = all_items
        self.candidates = candidates
        self.repeats = repeats
        self.rounds = rounds
        self.num_leaves = num_leaves
        self.learning_rate = learning_rate
        self.lists = lists
        self.seed = seed
        self.threads = threads

    def fit(
        self, interactions: pd.DataFrame, *, customers: pd.DataFrame | None = None, items: pd.DataFrame | None = None
    ) -> OfferRecommender:
        """Fit on rows of customer_id, item_id and, optionally, weight (positive) and ``at`` (moment; else row order).

        ``customers`` and ``items``: features of them, the index holding the ids; missing ids have missing features.
        """
        taken = interactions_of(interactions)
        self.items_ = np.array(sorted(set(taken["item_id"])), dtype=np.str_)
        self.customers_ = np.array(sorted(set(taken["customer_id"])), dtype=np.str_)
        self._index()
        self.customer_encoder_ = None if customers is None else TableEncoder.fit(as_frame(customers))
        self._learn_items(items)
        rest, held = set_aside(taken, repeats=self.repeats)
        before, after = self._matrix(rest), self._matrix(taken)
        factors = Factors(
            width=min(self.factors, len(self.items_)),
            iterations=self.iterations,
            regularization=self.regularization,
            alpha=self.alpha,
            seed=self.seed,
            threads=self.threads or 1,
        )
        learned = factors.fit(before)
        self.item_factors_, self.user_factors_ = learned.items, learned.customers
        self._learn_counts(before)
        self.booster_ = self._ranker(held, customers=customers)
        self.user_factors_ = learned.solve(after)
        self._learn_counts(after)
        return self._named()

    def recommend(
        self, customer_ids: Sequence[str] | np.ndarray, n: int = 10, *, customers: pd.DataFrame | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The ``n`` best items of each customer, best first.

        Returns
        -------
        ids: (customers, n) text; "" where a customer has no further item to get.
        scores: (customers, n), -inf there. They order the items of one customer; between customers they say nothing.
        """
        self._require_fit()
        wanted = np.array([str(each) for each in customer_ids], dtype=np.str_)
        if n < 1:
            raise InputError("the number of items must be positive", got=repr(n), do="pass n=1 or more")
        features = self._customer_rows(wanted, customers)
        ids = np.full((len(wanted), n), "", dtype=self.items_.dtype)
        scores = np.full((len(wanted), n), -np.inf)
        places = np.array([self._place.get(each, -1) for each in wanted], dtype=np.int64)
        for start in range(0, len(wanted), _CHUNK):
            part = slice(start, start + _CHUNK)
            found, found_scores = self._best(places[part], features[part], n)
            width = found.shape[1]
            kept = np.isfinite(found_scores)
            ids[part, :width] = np.where(kept, self.items_[found], "")
            scores[part, :width] = found_scores
        return ids, scores

    @property
    def importances(self) -> dict[str, float]:
        """Share of the ranking booster's gain by feature, largest first."""
        names = self._feature_names()
        gains = np.zeros(len(names)) if self.booster_ is None else boosting.gains(self.booster_)
        return dict(sorted(zip(names, gains.tolist(), strict=True), key=lambda pair: -pair[1]))

    def _files(self) -> dict[str, bytes]:
        encoder = self.customer_encoder_
        settings = {
            "customer_columns": None if encoder is None else encoder.to_json(),
            "item_columns": self.item_names_,
            "params": {name: value for name, value in self.get_params().items() if name != "threads"},
        }
        arrays = {
            "items": self.items_,
            "customers": self.customers_,
            "item_factors": self.item_factors_,
            "user_factors": self.user_factors_,
            "item_rows": self.item_rows_,
            "had_indptr": self.had_.indptr,
            "had_indices": self.had_.indices,
            "had_data": self.had_.data,
        }
        files = {"model.json": to_json(settings), "factors.npz": to_npz(arrays)}
        if self.booster_ is not None:
            files["trees.txt"] = boosting.as_text(self.booster_).encode()
        return files

    @classmethod
    def _read(cls, bundle: Bundle) -> Self:
        settings, arrays = bundle.json("model.json"), bundle.arrays("factors.npz")
        model = cls(**settings["params"])
        columns = settings["customer_columns"]
        model.customer_encoder_ = None if columns is None else TableEncoder.from_json(columns)
        model.item_names_ = list(map(str, settings["item_columns"]))
        model.items_, model.customers_ = arrays["items"], arrays["customers"]
        model.item_factors_, model.user_factors_ = arrays["item_factors"], arrays["user_factors"]
        model.item_rows_ = arrays["item_rows"]
        had = csr_matrix(
            (arrays["had_data"], arrays["had_indices"], arrays["had_indptr"]),
            shape=(len(model.customers_), len(model.items_)),
        )
        had.check_format(full_check=True)
        model._index()
        model._learn_counts(had)
        model._check_shapes()
        model.booster_ = None
        if "trees.txt" in bundle.files:
            model.booster_ = boosting.from_text(bundle.text("trees.txt"), features=len(model._feature_names()))
        return model

    def _best(self, places: np.ndarray, features: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Items (customers, width) and scores of known (>= 0) and unknown (-1) customers, best first."""
        known = np.flatnonzero(places >= 0)
        width = min(n, len(self.items_))
        # What is popular, for everybody; known customers are overwritten.
        popular = np.argsort(-self.popularity_, kind="stable")[:width]
        items = np.tile(popular, (len(places), 1))
        scores = np.tile(self.popularity_[popular].astype(np.float64), (len(places), 1))
        if len(known):
            candidates, allowed = self._candidates(places[known])
            ranked = self._scores(places[known], candidates, features[known])
            ranked[~allowed] = -np.inf
            # Equal scores: the item with the lower id first.
            order = np.lexsort((candidates, -ranked), axis=1)[:, :width]
            found = np.full((len(known), width), 0)
            found_scores = np.full((len(known), width), -np.inf)
            found[:, : order.shape[1]] = np.take_along_axis(candidates, order, axis=1)
            found_scores[:, : order.shape[1]] = np.take_along_axis(ranked, order, axis=1)
            items[known], scores[known] = found, found_scores
        return items, scores

    def _candidates(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Candidate items (customers, c) and which of them may be recommended."""
        allowed = np.ones((len(places), len(self.items_)), dtype=bool)
        if not self.repeats:
            rows = self.had_[places].tocoo()
            allowed[rows.row, rows.col] = False
        if len(self.items_) <= self.all_items:
            return np.tile(np.arange(len(self.items_)), (len(places), 1)), allowed
        liking = np.where(allowed, liking_of(self.user_factors_[places], self.item_factors_), -np.inf)
        most = min(self.candidates, len(self.items_))
        chosen = np.sort(np.argpartition(-liking, most - 1, axis=1)[:, :most], axis=1)
        return chosen, np.take_along_axis(allowed, chosen, axis=1)

    def _scores(self, places: np.ndarray, candidates: np.ndarray, features: np.ndarray) -> np.ndarray:
        liking = np.take_along_axis(liking_of(self.user_factors_[places], self.item_factors_), candidates, axis=1)
        if self.booster_ is None:
            return liking.astype(np.float64)
        pairs = self._pairs(places, candidates, liking, features)
        raw = np.asarray(self.booster_.predict(pairs, raw_score=True, num_threads=1))
        return raw.reshape(candidates.shape)

    def _pairs(
        self, places: np.ndarray, candidates: np.ndarray, liking: np.ndarray, features: np.ndarray
    ) -> np.ndarray:
        """Features of each (customer, candidate) pair (customers x candidates, features)."""
        width = candidates.shape[1]
        flat = candidates.ravel()
        repeated = np.repeat(places, width)
        had = np.asarray(self.had_[repeated, flat]).ravel() if self.repeats else np.zeros(len(flat))
        return np.column_stack(
            [
                flat,
                liking.ravel(),
                self.popularity_[flat],
                self.activity_[repeated],
                had,
                self.user_factors_[repeated],
                self.item_factors_[flat],
                self.item_rows_[flat],
                np.repeat(features, width, axis=0),
            ]
        ).astype(np.float64)

    def _feature_names(self) -> list[str]:
        number = self.item_factors_.shape[1]
        return [
            *("item", "liking", "popularity", "activity", "had"),
            *(f"customer factor {place}" for place in range(number)),
            *(f"item factor {place}" for place in range(number)),
            *self.item_names_,
            *(() if self.customer_encoder_ is None else self.customer_encoder_.names),
        ]

    def _ranker(self, held: pd.DataFrame, *, customers: pd.DataFrame | None) -> Any:
        """The LambdaRank booster; None where fewer than a hundred customers have a next item among the candidates."""
        places = np.array([self._place[each] for each in held["customer_id"].unique()], dtype=np.int64)
        if len(places) > self.lists:
            chosen = np.sort(np.random.default_rng(self.seed).choice(len(places), self.lists, replace=False))
            places = places[chosen]
        if len(places) < _FEWEST_LISTS:
            return None
        features = self._customer_rows(self.customers_[places], customers)
        candidates, allowed = self._candidates(places)
        wanted = self._matrix(held)[np.repeat(places, candidates.shape[1]), candidates.ravel()]
        hit = (np.asarray(wanted).reshape(candidates.shape) > 0) & allowed
        seen = hit.any(axis=1)
        if int(seen.sum()) < _FEWEST_LISTS:
            return None
        places, candidates, hit, features = places[seen], candidates[seen], hit[seen], features[seen]
        liking = np.take_along_axis(liking_of(self.user_factors_[places], self.item_factors_), candidates, axis=1)
        rows = self._pairs(places, candidates, liking, features)
        # Items that may not be recommended are no candidates: they weigh nothing.
        keep = allowed[seen]
        booster = boosting.trees(
            rows[keep.ravel()],
            hit[keep].astype(float),
            params=self._params(),
            rounds=self.rounds,
            categorical=[0] if len(self.items_) <= self.all_items else [],
            group=keep.sum(axis=1),
        )
        return boosting.from_text(boosting.as_text(booster), features=rows.shape[1])

    def _params(self) -> dict[str, Any]:
        return {
            "objective": "lambdarank",
            "num_leaves": self.num_leaves,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": 100,
            "lambda_l2": 10.0,
            "seed": self.seed,
            "num_threads": self.threads,
        }

    def _matrix(self, taken: pd.DataFrame) -> csr_matrix:
        rows = np.searchsorted(self.customers_, taken["customer_id"].to_numpy(dtype=np.str_))
        columns = np.searchsorted(self.items_, taken["item_id"].to_numpy(dtype=np.str_))
        weights = taken["weight"].to_numpy(dtype=np.float32)
        matrix = csr_matrix((weights, (rows, columns)), shape=(len(self.customers_), len(self.items_)))
        matrix.sum_duplicates()
        return matrix

    def _learn_counts(self, had: csr_matrix) -> None:
        self.had_ = had
        self.popularity_ = np.bincount(had.indices, minlength=len(self.items_)) / max(len(self.customers_), 1)
        self.activity_ = np.diff(had.indptr)

    def _learn_items(self, items: pd.DataFrame | None) -> None:
        self.item_names_: list[str] = []
        self.item_rows_ = np.empty((len(self.items_), 0))
        if items is not None:
            encoder = TableEncoder.fit(as_frame(items))
            self.item_names_ = list(encoder.names)
            self.item_rows_ = encoder.encode(by_id(items, self.items_))

    def _customer_rows(self, wanted: np.ndarray, customers: pd.DataFrame | None) -> np.ndarray:
        if self.customer_encoder_ is None:
            return np.empty((len(wanted), 0))
        if customers is None:
            raise InputError(
                "the model was trained with features of customers",
                got="none",
                do="pass customers=, a frame whose index holds the ids",
            )
        return self.customer_encoder_.encode(by_id(as_frame(customers), wanted))

    def _index(self) -> None:
        self._place = {str(each): place for place, each in enumerate(self.customers_)}

    def _check_shapes(self) -> None:
        factors = self.item_factors_.shape[1]
        if (
            self.item_factors_.shape != (len(self.items_), factors)
            or self.user_factors_.shape != (len(self.customers_), factors)
            or self.item_rows_.shape != (len(self.items_), len(self.item_names_))
        ):
            raise ValueError("arrays whose shapes don't fit")

    def _columns(self) -> tuple[Sequence[str], str]:
        encoder = self.customer_encoder_
        if encoder is None:
            return ("customer_id", "item_id", "weight"), "interactions"
        return encoder.names, encoder.fingerprint

    def _named(self) -> Self:
        self.n_features_in_ = len(self._feature_names())
        return self
