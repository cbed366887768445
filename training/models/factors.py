"""Factors of customers and items, and the interactions that they are learned from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it has no types

from features.errors import InputError, unknown
from training.models.encoding import as_frame

_BLOCK = 64


@dataclass(frozen=True, kw_only=True)
class Learned:
    """Factors of items (items, width) and customers (customers, width); ``solve`` finds the customers' anew."""

    items: np.ndarray
    customers: np.ndarray
    solve: Callable[[csr_matrix], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Factors:
    """implicit's alternating least squares (Hu, Koren and Volinsky 2008); a weight w is confidence 1 + alpha x w."""

    width: int
    iterations: int
    regularization: float
    alpha: float
    seed: int
    threads: int

    def fit(self, matrix: csr_matrix) -> Learned:
        """The factors of a matrix (customers, items) of weights."""
        from implicit.cpu.als import AlternatingLeastSquares

        # implicit brings its own threads; those of BLAS beneath would fight with them.
        with threadpool_limits(1, "blas"):
            als = AlternatingLeastSquares(
                factors=self.width,
                iterations=self.iterations,
                regularization=self.regularization,
                alpha=1.0,
                num_threads=self.threads,
                random_state=self.seed,
            )
            als.fit(self._confidence(matrix), show_progress=False)
        return Learned(
            items=np.asarray(als.item_factors, dtype=np.float32),
            customers=np.asarray(als.user_factors, dtype=np.float32),
            solve=lambda later: self._solve(als, later),
        )

    def _solve(self, als: Any, matrix: csr_matrix) -> np.ndarray:
        with threadpool_limits(1, "blas"):
            solved = als.recalculate_user(np.arange(matrix.shape[0]), self._confidence(matrix))
        return np.asarray(solved, dtype=np.float32)

    def _confidence(self, matrix: csr_matrix) -> csr_matrix:
        raised = matrix.copy()
        raised.data = (1.0 + self.alpha * raised.data).astype(np.float32)
        return raised


def liking_of(customers: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Product of factors (customers, items).

    BLAS rounds by the shape of its blocks; blocks of one fixed shape give each customer the same bits alone or among a
    million.
    """
    liking = np.empty((len(customers), len(items)), dtype=np.float32)
    block = np.zeros((_BLOCK, customers.shape[1]), dtype=np.float32)
    for start in range(0, len(customers), _BLOCK):
        part = customers[start : start + _BLOCK]
        block[: len(part)] = part
        liking[start : start + len(part)] = (block @ items.T)[: len(part)]
    return liking


def interactions_of(given: pd.DataFrame) -> pd.DataFrame:
    """Customer, item and weight as text, text and number, in the order of time, and the number of the ``moment``.

    Rows of one time have one moment; without times each row is one by itself.
    """
    frame = as_frame(given)
    for name in ("customer_id", "item_id"):
        if name not in frame.columns:
            raise unknown("column", name, frame.columns)
    if frame.empty or frame[["customer_id", "item_id"]].isna().any(axis=None):
        raise InputError("interactions need a customer and an item", got="none, or gaps", do="drop rows without either")
    frame = frame.assign(**{name: frame[name].astype(str) for name in ("customer_id", "item_id")})
    # Within a moment by name, so that the order of the rows makes no difference.
    ordered = frame.sort_values(["at", "customer_id", "item_id"]) if "at" in frame.columns else frame
    moment = ordered["at"].ne(ordered["at"].shift()).cumsum() if "at" in frame.columns else np.arange(len(frame))
    weight = ordered["weight"].to_numpy(dtype=np.float64) if "weight" in ordered.columns else np.ones(len(ordered))
    if not (np.isfinite(weight) & (weight > 0)).all():
        raise InputError("weights must be positive numbers", got="others", do="leave out rows that count for nothing")
    return pd.DataFrame(
        {
            "customer_id": ordered["customer_id"].astype(str).to_numpy(dtype=object),
            "item_id": ordered["item_id"].astype(str).to_numpy(dtype=object),
            "weight": weight,
            "moment": np.asarray(moment, dtype=np.int64),
        }
    )


def set_aside(taken: pd.DataFrame, *, repeats: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The interactions without the last moment of each customer that has another one besides, and the items of that.

    All that was taken at that moment goes together: in a basket nothing comes before anything else.
    """
    pair = ["customer_id", "item_id"]
    # Without repeats an item counts when it was first taken.
    distinct = taken if repeats else taken.drop_duplicates(pair)
    moments = distinct.groupby("customer_id")["moment"]
    last = moments.transform("max")
    held = distinct[(distinct["moment"] == last) & (moments.transform("min") < last)]
    if repeats:
        return taken.drop(held.index), held.drop_duplicates(pair)
    return taken[~pd.MultiIndex.from_frame(taken[pair]).isin(pd.MultiIndex.from_frame(held[pair]))], held


def by_id(frame: pd.DataFrame, ids: np.ndarray) -> pd.DataFrame:
    """The rows of ``frame`` whose index holds ``ids``, in their order; missing ids give missing values."""
    if not frame.index.is_unique:
        raise InputError("the index of features must hold each id once", got="repeated ids", do="keep one row an id")
    return frame.set_axis(frame.index.astype(str), axis=0).reindex([str(each) for each in ids])
