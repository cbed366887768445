"""The columns that tell most, of a table that has hundreds: models of all of them would cost more and know less."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from experiments.estimation.influence import Floats, Integers

# Of more columns than these, and more cells, so many columns are used.
MOST_COLUMNS = 64
_MANY_CELLS = 4_000_000
# The rows that choose the columns: few of those that models learn from, which then hardly flatter the chosen.
_CHOOSE_FROM = 30_000
_ONE_IN = 4
_THREADS_FROM = 50_000
_BLOCK = 1 << 14
_ROUNDS = 50
_LEAST_ROUNDS = 5


def blocks(rows: int) -> Iterator[slice]:
    """Slices that together are all ``rows``, so that what is made of them need not be held for all at once."""
    return (slice(first, first + _BLOCK) for first in range(0, rows, _BLOCK))


def has_many(rows: int, columns: int) -> bool:
    """Whether of so many ``columns``, of so many ``rows`` to learn from, only the most telling are used."""
    return columns > MOST_COLUMNS and rows * columns > _MANY_CELLS


def threads_for(rows: int) -> int:
    """How many threads training on so many ``rows`` is worth: they wait for each other after every tree."""
    return 1 if rows < _THREADS_FROM else (os.cpu_count() or 1)


def most_telling(
    matrix: npt.NDArray[np.float32], *, action: Integers, outcome: Floats, actions: int, rng: np.random.Generator
) -> Integers:
    """The places of the columns of ``matrix`` (n, p) that tell most of the outcome and of what actions do to it.

    All, up to 64 of them or 4 million cells; else 64, by the gain of boosted trees on some of the rows: half of it on
    ``outcome`` (n,), half on what each ``action`` (n,) changes, of which (1 / share - 1) times the rest where it was
    done, and -1 times it where not, is a noisy measure (Athey and Imbens 2016). Who values a policy with other rows
    than these values it honestly.
    """
    if not has_many(*matrix.shape):
        return np.arange(matrix.shape[1])
    import lightgbm

    some = np.sort(rng.choice(outcome.size, min(_CHOOSE_FROM, outcome.size // _ONE_IN), replace=False))
    rest = outcome[some] - outcome[some].mean()
    params = {
        "objective": "regression",
        "learning_rate": 0.1,
        "num_leaves": 8,
        "min_data_in_leaf": max(30, some.size // 100),
        "lambda_l2": 10.0,
        "max_bin": 31,
        "verbosity": -1,
        "seed": 1,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": threads_for(some.size),
    }
    # Cut into bins once: only what is to be explained changes.
    bins = lightgbm.Dataset(matrix[some], rest, params=params, free_raw_data=False).construct()

    def gain(explained: Floats, rounds: int) -> Floats:
        trees = lightgbm.train(params, bins.set_label(explained), num_boost_round=rounds)
        found: Floats = np.asarray(trees.feature_importance("gain"), dtype=np.float64)
        return found / max(float(found.sum()), 1e-300)

    told = gain(rest, _ROUNDS)
    each = max(_LEAST_ROUNDS, _ROUNDS // actions)
    for one in range(actions):
        done = action[some] == one
        if done.any():
            told += gain(np.where(done, 1.0 / done.mean() - 1.0, -1.0) * rest, each) / actions
    return np.sort(np.argsort(-told, kind="stable")[:MOST_COLUMNS])
