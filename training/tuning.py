"""The search for better settings with Optuna: few trials, seeded, and no change without evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from training.evaluation import row_log_loss
from training.models import boosting
from training.models.calibration import Calibration
from training.models.encoding import TableEncoder
from training.models.response import ResponseModel
from training.splits import folds_of

_FOLDS = 3
_MOST_ROWS = 30_000


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What a search found: settings for ``ResponseModel``, empty where the defaults stay.

    ``losses``: mean held-out log loss of each trial that ran to its end, the defaults first. ``pruned``: how many were
    stopped early.
    """

    params: Mapping[str, Any]
    losses: tuple[float, ...]
    pruned: int
    sentence: str


def tune(
    frame: pd.DataFrame,
    target: np.ndarray,
    *,
    trials: int,
    seed: int,
    groups: np.ndarray | None = None,
    most_rows: int = _MOST_ROWS,
) -> Tuned:
    """Search settings of ``ResponseModel`` by Optuna's TPE over stratified folds of at most ``most_rows`` rows.

    The first trial are the defaults. The best trial replaces them only where its held-out log loss is lower by more
    than one standard error of the difference, row by row: among many trials one is always best by luck.
    """
    if trials <= 0:
        return Tuned(params={}, losses=(), pruned=0, sentence="not tuned: default settings")
    rows, target, groups, categorical = _sample(frame, target, groups, seed=seed, most=most_rows)
    search = _Search(rows, target, categorical, folds_of(target, folds=_FOLDS, seed=seed, groups=groups), seed=seed)
    search.run(trials)
    where = f"{trials} Optuna trials (TPE, median pruning, {search.pruned} pruned) on {len(rows):,} rows"
    best = min(search.losses, key=lambda number: float(search.losses[number].mean()))
    gain = search.losses[0] - search.losses[best]
    error = float(gain.std(ddof=1)) / np.sqrt(len(gain))
    losses = tuple(float(loss.mean()) for loss in search.losses.values())
    if best == 0 or float(gain.mean()) <= error:
        sentence = f"{where}: none beat the default settings by more than one standard error, so these stay"
        return Tuned(params={}, losses=losses, pruned=search.pruned, sentence=sentence)
    sentence = f"{where}: trial {best} has a log loss lower by {gain.mean():.5f} (standard error {error:.5f})"
    return Tuned(params=search.params[best], losses=losses, pruned=search.pruned, sentence=sentence)


class _Search:
    """One Optuna study, with the held-out losses of each finished trial by row."""

    def __init__(
        self, rows: np.ndarray, target: np.ndarray, categorical: list[int], folds: list[boosting.Fold], *, seed: int
    ) -> None:
        self.rows, self.target, self.categorical, self.folds, self.seed = rows, target, categorical, folds, seed
        self.losses: dict[int, np.ndarray] = {}
        self.params: dict[int, dict[str, Any]] = {}
        self.pruned = 0

    def run(self, trials: int) -> None:
        """Run ``trials`` trials, the defaults first."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(seed=self.seed, n_startup_trials=max(3, trials // 3)),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=30, interval_steps=10),
        )
        defaults = ResponseModel().get_params()
        study.enqueue_trial({name: defaults[name] for name in _SPACE})
        study.optimize(self._trial, n_trials=trials)

    def _trial(self, trial: Any) -> float:
        import optuna

        def watch(number: int, loss: float) -> None:
            trial.report(loss, number)
            if trial.should_prune():
                self.pruned += 1
                raise optuna.TrialPruned

        params = {name: suggest(trial) for name, suggest in _SPACE.items()}
        model = ResponseModel(seed=self.seed, **params)
        folded = boosting.cross_validate(
            self.rows,
            self.target,
            params=model.lightgbm_params(len(self.rows)),
            folds=self.folds,
            most=model.rounds,
            patience=model.patience,
            categorical=self.categorical,
            watch=watch,
        )
        raw = folded.held_out(self.rows)
        self.losses[trial.number] = row_log_loss(self.target, Calibration(intercept=0.0, slope=1.0).apply(raw))
        self.params[trial.number] = params
        return float(self.losses[trial.number].mean())


_SPACE: Mapping[str, Any] = {
    "num_leaves": lambda trial: trial.suggest_int("num_leaves", 7, 63, log=True),
    "min_data_in_leaf": lambda trial: trial.suggest_int("min_data_in_leaf", 20, 300, log=True),
    "lambda_l2": lambda trial: trial.suggest_float("lambda_l2", 0.1, 50.0, log=True),
    "feature_fraction": lambda trial: trial.suggest_float("feature_fraction", 0.5, 1.0),
}


def _sample(
    frame: pd.DataFrame, target: np.ndarray, groups: np.ndarray | None, *, seed: int, most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, list[int]]:
    if len(frame) > most:
        chosen = np.sort(np.random.default_rng(seed).choice(len(frame), most, replace=False))
        frame, target = frame.iloc[chosen], target[chosen]
        groups = None if groups is None else groups[chosen]
    encoder = TableEncoder.fit(frame)
    return encoder.encode(frame), target, groups, encoder.categorical
