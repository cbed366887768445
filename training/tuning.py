"""The search for better settings with Optuna: few trials, seeded, and no change without evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from training.evaluation import row_log_loss
from training.models import boosting
from training.models.encoding import TableEncoder
from training.models.response import ResponseModel
from training.splits import folds_of, forward_folds

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
    order: np.ndarray | None = None,
    most_rows: int = _MOST_ROWS,
) -> Tuned:
    """Search settings of ``ResponseModel`` by Optuna's TPE over folds of at most ``most_rows`` rows.

    With ``order``, positions from the earliest row to the latest, each fold tests rows that come after those that
    train: what is best among mixed rows may be the worst for rows to come. Else folds are stratified.

    The first trial are the defaults. A trial replaces them only where, in every fold, neither its log loss nor its AUC
    is worse, and its log loss is lower by more than one standard error of the difference, row by row: among many trials
    one is always best by luck.
    """
    if trials <= 0:
        return Tuned(params={}, losses=(), pruned=0, sentence="not tuned: default settings")
    chosen = _sample(len(frame), seed=seed, most=most_rows)
    encoder = TableEncoder.fit(frame.iloc[chosen])
    rows, target = encoder.encode(frame.iloc[chosen]), target[chosen]
    if order is None:
        folds = folds_of(target, folds=_FOLDS, seed=seed, groups=None if groups is None else groups[chosen])
    else:
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        folds = forward_folds(np.argsort(rank[chosen]), folds=_FOLDS)
    search = _Search(rows, target, encoder.categorical, folds, seed=seed)
    search.run(trials)
    how = "stratified folds" if order is None else "folds in order of time"
    where = f"{trials} Optuna trials (TPE, median pruning, {search.pruned} pruned), {how} of {len(rows):,} rows"
    # Errors by row say nothing of drift: a trial must be better in each fold, in level and in order alike.
    steady = [number for number in search.losses if bool((search.gains(number) >= 0).all())]
    best = min(steady, key=lambda number: float(search.losses[number].mean()))
    gain = search.losses[0] - search.losses[best]
    error = float(gain.std(ddof=1)) / np.sqrt(len(gain))
    losses = tuple(float(loss.mean()) for loss in search.losses.values())
    if best == 0 or float(gain.mean()) <= error:
        sentence = f"{where}: none beat the default settings in every fold and beyond one standard error, so these stay"
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
        self.by_fold: dict[int, np.ndarray] = {}

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

    def gains(self, number: int) -> np.ndarray:
        """By how much a trial is better than the defaults in each fold (folds, 2): log loss and AUC."""
        gains: np.ndarray = self.by_fold[number] - self.by_fold[0]
        return gains

    def _worth(self, raw: np.ndarray, target: np.ndarray) -> np.ndarray:
        loss = float(row_log_loss(target, expit(raw)).mean())
        auc = float(roc_auc_score(target, raw)) if 0 < target.mean() < 1 else 0.0
        return np.array([-loss, auc])

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
        held = ~np.isnan(raw)
        self.losses[trial.number] = row_log_loss(self.target[held], expit(raw[held]))
        self.params[trial.number] = params
        self.by_fold[trial.number] = np.array([self._worth(raw[test], self.target[test]) for _, test in self.folds])
        return float(self.losses[trial.number].mean())


_SPACE: Mapping[str, Any] = {
    "num_leaves": lambda trial: trial.suggest_int("num_leaves", 7, 63, log=True),
    "min_data_in_leaf": lambda trial: trial.suggest_int("min_data_in_leaf", 20, 300, log=True),
    "lambda_l2": lambda trial: trial.suggest_float("lambda_l2", 0.1, 50.0, log=True),
    "feature_fraction": lambda trial: trial.suggest_float("feature_fraction", 0.5, 1.0),
}


def _sample(rows: int, *, seed: int, most: int) -> np.ndarray:
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
