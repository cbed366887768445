"""Which rows train and which test: by time, by file order, by customer, or by label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold

from features.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Split:
    """Positions of the rows that train and of those that test; ``how`` says it in words."""

    train: np.ndarray
    test: np.ndarray
    how: str


def time_split(times: pd.Series, *, test_share: float = 0.25) -> Split:
    """The latest ``test_share`` of rows test; rows of one moment stay together, on the later side.

    >>> import pandas as pd
    >>> time_split(pd.Series([3, 1, 2, 2]), test_share=0.5).train
    array([1])
    """
    _require_share(test_share)
    if times.isna().any():
        raise InputError(
            "the time column has gaps", got=f"{int(times.isna().sum())} empty rows", do="fill or drop them"
        )
    ordered = times.sort_values(kind="stable").reset_index(drop=True)
    cut = ordered.iloc[round(len(ordered) * (1 - test_share))]
    late = (times >= cut).to_numpy(dtype=bool)
    return _both(np.flatnonzero(~late), np.flatnonzero(late), f"by time, test from {cut} on")


def order_split(rows: int, *, test_share: float = 0.25) -> Split:
    """The first rows of the file train, the last ``test_share`` test."""
    _require_share(test_share)
    cut = round(rows * (1 - test_share))
    return _both(np.arange(cut), np.arange(cut, rows), f"by file order, the last {test_share:.0%} test")


def folds_of(
    label: np.ndarray, *, folds: int, seed: int, groups: np.ndarray | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Stratified folds as (train, test) positions; with ``groups`` all rows of a customer share one fold."""
    least = int(min(np.bincount(label.astype(int), minlength=2)))
    if least < folds:
        raise InputError(
            f"there are too few rows of one label for {folds} folds",
            got=f"{least} rows",
            do="pass more rows, or a label that is less rare",
        )
    empty = np.empty((len(label), 0))
    if groups is None:
        return list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(empty, label))
    codes = pd.factorize(groups)[0]
    number = int(codes.max()) + 1
    if number < folds:
        raise InputError(f"there are too few customers for {folds} folds", got=str(number), do="pass more rows")
    # Dealt out like cards: customers with most responses first, then those with most rows, ties at random. Each fold
    # gets its share of both; scikit-learn's StratifiedGroupKFold takes seconds for 50,000 customers.
    dealt = np.lexsort((np.random.default_rng(seed).random(number), -np.bincount(codes), -np.bincount(codes, label)))
    place = np.empty(number, dtype=np.int64)
    place[dealt] = np.arange(number) % folds
    fold = place[codes]
    return [(np.flatnonzero(fold != each), np.flatnonzero(fold == each)) for each in range(folds)]


def forward_folds(order: np.ndarray, *, folds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Folds in time: each of the last ``folds`` parts of the rows tests what all earlier rows train.

    ``order``: positions of the rows from the earliest to the latest.

    >>> forward_folds(np.arange(6), folds=2)
    [(array([0, 1]), array([2, 3])), (array([0, 1, 2, 3]), array([4, 5]))]
    """
    parts = np.array_split(order, folds + 1)
    return [(np.sort(np.concatenate(parts[:place])), np.sort(parts[place])) for place in range(1, folds + 1)]


def _both(train: np.ndarray, test: np.ndarray, how: str) -> Split:
    if len(train) == 0 or len(test) == 0:
        raise InputError(
            "the split leaves no rows on one side",
            got=f"{len(train)} train, {len(test)} test",
            do="pass more rows or moments",
        )
    return Split(train=train, test=test, how=how)


def _require_share(share: float) -> None:
    if not 0 < share < 1:
        raise InputError(
            "the test share is no share", got=repr(share), do="pass a number between 0 and 1, such as 0.25"
        )
