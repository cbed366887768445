"""A champion of before, asked about a challenger's test rows: only those that the champion has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from features.errors import InputError
from training.evaluation import auc_difference, delong, rank_scores
from training.models import OfferRecommender, ResponseModel, UpliftModel
from training.models.bundle import Bundle
from training.models.encoding import TableEncoder, as_frame

SEEN = "seen.npz"
_FEWEST_OF_A_LABEL = 200
_FEWEST_ROWS = 1000
_FEWEST_CUSTOMERS = 200


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What a challenger has over the champion on the same rows: ``theirs`` is the champion's figure, more being better.

    ``difference``: the challenger's less that, with its paired 95% interval. ``rows``: how many the champion had not
    seen.
    """

    theirs: float
    difference: float
    low: float
    high: float
    rows: int


class Challenge(Protocol):
    """A challenger's test rows, on which a champion can be asked too."""

    def against(self, champion: Bundle) -> Gain | None:
        """The gain over ``champion``; None where it has seen all but too few of the rows.

        Raises
        ------
        InputError
            When the champion can't be asked about these rows: it reads other columns, or knows other treatments.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class ResponseChallenge:
    """Test rows as they were given, labels of 0 and 1 (rows,), and the challenger's probabilities (rows,)."""

    table: pd.DataFrame
    label: np.ndarray
    probability: np.ndarray

    def against(self, champion: Bundle) -> Gain | None:
        """The gain in AUC; asks for 200 rows of each label that the champion has not seen."""
        model = ResponseModel.from_bundle(champion)
        rows = model.encoder_.encode(as_frame(self.table))
        new = _unseen(rows, champion)
        label = self.label[new]
        if min(label.sum(), len(label) - label.sum()) < _FEWEST_OF_A_LABEL:
            return None
        theirs = model.predict_rows(rows[new])
        difference, low, high = auc_difference(label, self.probability[new], theirs)
        auc = float(delong(label, theirs[None, :])[0][0])
        return Gain(theirs=auc, difference=difference, low=low, high=high, rows=len(label))


@dataclass(frozen=True, kw_only=True)
class UpliftChallenge:
    """Test rows with doubly robust effects and the challenger's effects, both (rows, treatments), against ``control``.

    ``constant``: the average effect of each treatment in training, which losses are counted from.
    """

    table: pd.DataFrame
    pseudo: np.ndarray
    effect: np.ndarray
    constant: np.ndarray
    treatments: tuple[str, ...]
    control: str

    def against(self, champion: Bundle) -> Gain | None:
        """The gain in loss saved; asks for 1,000 rows that the champion has not seen."""
        model = UpliftModel.from_bundle(champion)
        if (model.treatments_, model.control_) != (self.treatments, self.control):
            raise InputError(
                "it has other arms",
                got=f"{', '.join(model.treatments_)} against {model.control_}",
                do="compare them by hand",
            )
        rows = model.encoder_.encode(as_frame(self.table))
        new = _unseen(rows, champion)
        if int(new.sum()) < _FEWEST_ROWS:
            return None
        theirs = saved(self.pseudo[new], effect=model.predict_rows(rows[new]), constant=self.constant)
        return _paired(saved(self.pseudo[new], effect=self.effect[new], constant=self.constant), theirs)


@dataclass(frozen=True, kw_only=True)
class OffersChallenge:
    """The customers that test, what each took next (customers, most), and what they were listed (customers, k).

    ``model``: learned from all interactions, the tested ones among them. ``features``: of customers, by id.
    """

    who: np.ndarray
    target: np.ndarray
    listed: np.ndarray
    model: OfferRecommender
    features: pd.DataFrame | None = None

    def against(self, champion: Bundle) -> Gain | None:
        """The gain in NDCG; asks for 200 customers whose next item the champion has not seen them take."""
        model = OfferRecommender.from_bundle(champion)
        # What is set aside is the last that a customer took: who took more since then has something that is new.
        before, now = (_taken(each, self.who, self.target) for each in (model, self.model))
        new = before < now * (1 - 1e-6)
        if int(new.sum()) < _FEWEST_CUSTOMERS:
            return None
        theirs = model.recommend(self.who[new], self.listed.shape[1], customers=self.features)[0]
        return _paired(rank_scores(self.listed[new], self.target[new]), rank_scores(theirs, self.target[new]))


def saved(pseudo: np.ndarray, *, effect: np.ndarray, constant: np.ndarray) -> np.ndarray:
    """Squared error against ``pseudo`` (rows, treatments) that ``effect`` saves over ``constant``, mean of each row."""
    less: np.ndarray = ((pseudo - constant) ** 2 - (pseudo - effect) ** 2).mean(axis=1)
    return less


def fingerprints(rows: np.ndarray) -> np.ndarray:
    """The 64-bit hashes of encoded ``rows`` (rows, columns), each once, in order: what a model has seen.

    The label is no part of it: what is left of later rows must not hang on how customers answered.
    """
    return np.unique(_hashes(rows))


def seen_by(encoder: TableEncoder, frame: pd.DataFrame) -> np.ndarray:
    """The :func:`fingerprints` of the rows of ``frame`` as a model with ``encoder`` sees them."""
    return fingerprints(encoder.encode(frame))


def _hashes(rows: np.ndarray) -> np.ndarray:
    # One bit pattern for all that is missing, and one zero.
    plain = np.where(np.isnan(rows), np.nan, rows) + 0.0
    hashes: np.ndarray = pd.util.hash_pandas_object(pd.DataFrame(plain), index=False).to_numpy()
    return hashes


def _unseen(rows: np.ndarray, champion: Bundle) -> np.ndarray:
    """Which encoded rows the champion has not seen (rows,); none, where it doesn't say what it has."""
    if SEEN not in champion.about:
        return np.zeros(len(rows), dtype=bool)
    return ~np.isin(_hashes(rows), champion.arrays(SEEN)["rows"])


def _taken(model: OfferRecommender, who: np.ndarray, items: np.ndarray) -> np.ndarray:
    """How much of ``items`` (customers, most) the model knows each customer to have taken (customers,)."""
    rows = np.repeat(pd.Index(model.customers_).get_indexer(pd.Index(who)), items.shape[1])
    columns = pd.Index(model.items_).get_indexer(pd.Index(items.ravel()))
    known = (rows >= 0) & (columns >= 0)
    taken = np.zeros(items.size)
    taken[known] = np.asarray(model.had_[rows[known], columns[known]]).ravel()
    total: np.ndarray = taken.reshape(items.shape).sum(axis=1)
    return total


def _paired(mine: np.ndarray, theirs: np.ndarray) -> Gain:
    gain = mine - theirs
    mean, half = float(gain.mean()), 1.96 * float(gain.std(ddof=1)) / float(np.sqrt(len(gain)))
    return Gain(theirs=float(theirs.mean()), difference=mean, low=mean - half, high=mean + half, rows=len(gain))
