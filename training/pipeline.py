"""From a table to a model with its card: split, tune, fit, calibrate, evaluate beside baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from features.errors import InputError
from training.card import Card, Figure, Part, drift_sentence
from training.challenge import ResponseChallenge, seen_by
from training.columns import Usable, digest, usable
from training.curves import curves
from training.evaluation import ECE, SLOPE, LogisticBaseline, PredictionQuality, auc_difference, score
from training.models import ResponseModel
from training.models.bundle import Features
from training.models.response import binary_label
from training.offers import train_offers
from training.splits import Split, folds_of, order_split, time_split
from training.trained import Plan, Trained
from training.tuning import tune
from training.uplift import train_uplift

__all__ = ["Plan", "Trained", "train_offers", "train_response", "train_uplift"]

_CV_ROWS = 60_000
_CV_FOLDS = 5


def train_response(
    frame: pd.DataFrame,
    label: object,
    *,
    name: str = "response",
    label_name: str = "label",
    times: pd.Series | None = None,
    in_order: bool = False,
    groups: object = None,
    positive: object = None,
    features: Features | None = None,
    plan: Plan | None = None,
) -> Trained:
    """A response model for ``frame`` (rows, columns) and ``label`` (rows,), beside base rate and logistic regression.

    Parameters
    ----------
    times: moment of each row: the latest quarter tests.
    in_order: whether the rows are in order of time already: the last quarter tests.
    groups: the customer of each row, kept within one fold.
    features: the feature set behind the columns; its fingerprint goes into the bundle.

    Without times or order, up to 60,000 rows are cross-validated (5 folds) and the model is then grown on all rows;
    more rows are split once, at random. Where rows are split, the model that was evaluated is the model that is kept.
    """
    plan = plan or Plan()
    table = usable(frame)
    classes, target = binary_label(label, positive=positive)
    if len(target) != len(table.frame):
        raise InputError("labels and rows differ", got=f"{len(target)} and {len(frame)}", do="pass one label a row")
    known = None if groups is None else np.asarray(groups)
    splits = _splits(target, times=times, in_order=in_order, groups=known, plan=plan)
    search = splits[0].train if len(splits) == 1 else np.arange(len(target))
    tuned = tune(
        table.frame.iloc[search],
        target[search],
        trials=plan.trials,
        seed=plan.seed,
        groups=None if known is None else known[search],
        order=_order(search, times=times, in_order=in_order),
    )

    def fitted(rows: np.ndarray) -> ResponseModel:
        model = ResponseModel(**tuned.params, seed=plan.seed, threads=plan.threads)
        return model.fit(table.frame.iloc[rows], target[rows], groups=None if known is None else known[rows])

    tested = _evaluate(table.frame, target, splits, fitted=fitted, seed=plan.seed)
    model = tested.model or fitted(np.arange(len(target)))
    model.classes_ = classes
    words = _Words(name=name, label=f"{label_name} = {classes[1]}", split=splits[0].how, tuning=tuned.sentence)
    card = _card(model, tested, table=table, words=words, features=features, plan=plan)
    predictions = {"model": tested.probability, "logistic regression": tested.logistic}
    return Trained(
        model=model,
        card=card,
        features=features,
        scores=tested.scores,
        challenge=ResponseChallenge(table=frame.iloc[tested.rows], label=tested.label, probability=tested.probability),
        seen=seen_by(model.encoder_, table.frame.iloc[tested.learned]),
        curves=curves(tested.label, predictions),
    )


@dataclass(frozen=True, kw_only=True)
class _Words:
    """What the card says of the training, as ``training.card.Card`` has it."""

    name: str
    label: str
    split: str
    tuning: str


@dataclass(frozen=True, kw_only=True)
class _Tested:
    """Test rows of all folds together, in the order of the table, with what each model said of them.

    ``learned``: the rows that the model which is kept learns from.
    """

    rows: np.ndarray
    label: np.ndarray
    probability: np.ndarray
    logistic: np.ndarray
    base_rate: np.ndarray
    train_rows: int
    train_rate: float
    model: ResponseModel | None
    learned: np.ndarray
    notes: tuple[str, ...]

    @cached_property
    def scores(self) -> PredictionQuality:
        """Of the model."""
        return score(self.label, self.probability)

    @cached_property
    def baseline(self) -> PredictionQuality:
        """Of logistic regression."""
        return score(self.label, self.logistic)

    @cached_property
    def constant(self) -> PredictionQuality:
        """Of the base rate of the rows that trained."""
        return score(self.label, self.base_rate)


def _splits(
    target: np.ndarray, *, times: pd.Series | None, in_order: bool, groups: np.ndarray | None, plan: Plan
) -> list[Split]:
    if times is not None:
        return [time_split(times.reset_index(drop=True), test_share=plan.test_share)]
    if in_order:
        return [order_split(len(target), test_share=plan.test_share)]
    whole = len(target) <= _CV_ROWS
    folds = _CV_FOLDS if whole else max(2, round(1 / plan.test_share))
    by = "stratified by label" + ("" if groups is None else ", customers kept together")
    how = f"{folds}-fold cross-validation, {by}" if whole else f"at random, {1 / folds:.0%} test, {by}"
    parts = folds_of(target, folds=folds, seed=plan.seed, groups=groups)
    return [Split(train=train, test=test, how=how) for train, test in (parts if whole else parts[:1])]


def _order(rows: np.ndarray, *, times: pd.Series | None, in_order: bool) -> np.ndarray | None:
    """Positions among ``rows`` from the earliest to the latest, where that is known."""
    if times is not None:
        return np.argsort(times.iloc[rows].to_numpy(), kind="stable")
    return np.arange(len(rows)) if in_order else None


def _evaluate(
    frame: pd.DataFrame,
    target: np.ndarray,
    splits: list[Split],
    *,
    fitted: Callable[[np.ndarray], ResponseModel],
    seed: int,
) -> _Tested:
    found = np.full((3, len(target)), np.nan)
    fold_auc = []
    for split in splits:
        _require_both(target, split)
        model = fitted(split.train)
        held = frame.iloc[split.test]
        found[0, split.test] = model.predict_proba(held)[:, 1]
        logistic = LogisticBaseline(seed=seed).fit(frame.iloc[split.train], target[split.train])
        found[1, split.test] = logistic.predict(held)
        found[2, split.test] = target[split.train].mean()
        fold_auc.append(score(target[split.test], found[0, split.test]).auc)
    rows = np.flatnonzero(~np.isnan(found[0]))
    once = len(splits) == 1
    notes = (
        "the model that was evaluated is the model that is kept: it was trained on the train rows only"
        if once
        else f"AUC of the folds: {', '.join(f'{auc:.4f}' for auc in fold_auc)}; the model kept was trained on all rows",
    )
    return _Tested(
        rows=rows,
        label=target[rows],
        probability=found[0, rows],
        logistic=found[1, rows],
        base_rate=found[2, rows],
        train_rows=len(splits[0].train),
        train_rate=float(target[splits[0].train].mean()),
        model=model if once else None,
        learned=splits[0].train if once else rows,
        notes=notes,
    )


def _require_both(target: np.ndarray, split: Split) -> None:
    for side, rows in (("train", split.train), ("test", split.test)):
        if target[rows].min() == target[rows].max():
            raise InputError(
                f"the {side} rows hold one label only", got=f"{len(rows):,} rows", do="pass more rows or another split"
            )


def _card(
    model: ResponseModel, tested: _Tested, *, table: Usable, words: _Words, features: Features | None, plan: Plan
) -> Card:
    scores = tested.scores
    parts = (
        Part(name="train", rows=tested.train_rows, label_rate=tested.train_rate),
        Part(name="test", rows=scores.rows, label_rate=scores.label_rate),
    )
    bundle = model.bundle(features=features)
    return Card(
        kind=bundle.kind,
        name=words.name,
        label=words.label,
        rows=len(table.frame),
        features=table.frame.shape[1],
        split=words.split,
        parts=parts,
        drift=drift_sentence(*parts),
        figures=_figures(tested),
        calibration="calibrated" if scores.calibrated else "uncalibrated",
        calibration_detail=_calibration_detail(scores),
        objections=_objections(tested, tolerance=plan.tolerance),
        compared="auc",
        tuning=words.tuning,
        params={**model.get_params(), "rounds": model.rounds_},
        importances=model.importances,
        notes=(*table.notes, *tested.notes),
        versions=bundle.versions,
        model_hash=bundle.model_hash,
        test_digest=digest(table.frame.iloc[tested.rows], tested.label),
    )


def _figures(tested: _Tested) -> tuple[Figure, ...]:
    scores = tested.scores
    both = {"base rate": tested.constant.to_json(), "logistic": tested.baseline.to_json()}
    # A constant has no order: what the folds' slightly different rates would say of it is noise.
    both["base rate"] |= {"auc": 0.5, "lift_top_decile": 1.0, "captured_top_half": 0.5}
    del both["base rate"]["slope"], both["base rate"]["intercept"]
    mine = scores.to_json()
    shown = ("auc", "log_loss", "brier", "ece", "slope", "intercept", "lift_top_decile", "captured_top_half")
    figures = [
        Figure(
            name=name,
            value=mine[name],
            low=scores.auc_low if name == "auc" else None,
            high=scores.auc_high if name == "auc" else None,
            baselines={baseline: values[name] for baseline, values in both.items() if name in values},
        )
        for name in shown
    ]
    gain, low, high = auc_difference(tested.label, tested.probability, tested.logistic)
    return (*figures, Figure(name="auc_over_logistic", value=gain, low=low, high=high))


def _calibration_detail(scores: PredictionQuality) -> str:
    return (
        f"slope {scores.slope:.3f} ({SLOPE[0]} to {SLOPE[1]} wanted), expected calibration error {scores.ece:.4f} "
        f"(below {ECE} wanted); mean probability {scores.mean_probability:.2%} where {scores.label_rate:.2%} responded"
    )


def _objections(tested: _Tested, *, tolerance: float) -> tuple[str, ...]:
    scores, logistic, constant = tested.scores, tested.baseline, tested.constant
    return tuple(
        reason
        for holds, reason in (
            (not scores.calibrated, "uncalibrated on the test rows"),
            (
                scores.log_loss >= constant.log_loss,
                f"worse than the base rate: log loss {scores.log_loss:.4f} against {constant.log_loss:.4f}",
            ),
            (
                scores.auc < logistic.auc - tolerance,
                f"worse than logistic regression: AUC {scores.auc:.4f} against {logistic.auc:.4f}",
            ),
        )
        if holds
    )
