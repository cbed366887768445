"""Guesses of each arm's reward, row by row, that never saw the row: running means, or models of what is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from experiments.adaptive.scores import Codes, Floats, running_mean

_FEWEST = 500
_STEPS = 8


def expected_rewards(action: Codes, reward: Floats, *, arms: int, features: pa.Table | None = None) -> Floats:
    """The expected reward (arms, rows) of each arm in each row, by what came before the row.

    Without ``features`` it is the running mean of the arm. With them, from 500 rows on, it is what a model of each arm
    expects of the row's features; models are fitted anew each time the rows have doubled, on the rows before only, so
    a bad one costs width and never honesty.
    """
    expected = np.stack([running_mean(action == arm, reward) for arm in range(arms)])
    if features is None:
        return expected
    # LightGBM takes a second to load, which an analysis without features needn't pay for.
    from experiments.estimation.columns import Column, feature_matrix
    from experiments.estimation.nuisance import LEARN_FROM, OutcomeModels

    columns = [found for name in features.column_names if (found := Column.read(features, name)) is not None]
    matrix = feature_matrix(columns, rows=reward.size)
    for start, end in _steps(reward.size):
        past = slice(max(0, start - LEARN_FROM), start)
        models = OutcomeModels.fit(
            matrix[past], action=action[past].astype(np.int64), outcome=reward[past], actions=arms,
            rng=np.random.default_rng(start),
        )  # fmt: skip
        expected[:, start:end] = models.predict(matrix[start:end]).T
    return expected


def _steps(rows: int) -> Sequence[tuple[int, int]]:
    """Where models are fitted anew, and up to where each is used."""
    starts = [_FEWEST << step for step in range(_STEPS) if _FEWEST << step < rows]
    return list(zip(starts, [*starts[1:], rows], strict=True))
