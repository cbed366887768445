"""Uplift models from a randomized table: does ranking by effect beat one effect for all?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.errors import InputError
from training.card import Card, Figure, Part
from training.challenge import UpliftChallenge, saved, seen_by
from training.columns import Usable, digest, usable
from training.models import UpliftModel
from training.models.bundle import Features
from training.models.uplift import Probabilities
from training.splits import Split, folds_of, order_split, time_split
from training.targeting import DEFINITIONS, autoc, qini
from training.trained import Plan, Trained


def train_uplift(
    frame: pd.DataFrame,
    outcome: object,
    treatment: object,
    *,
    control: str,
    name: str = "uplift",
    label_name: str = "outcome",
    probabilities: Probabilities = None,
    times: pd.Series | None = None,
    in_order: bool = False,
    features: Features | None = None,
    plan: Plan | None = None,
) -> Trained:
    """An uplift model for ``frame`` (rows, columns), outcomes (rows,) and treatments (rows,) against ``control``.

    A part of the rows is set apart, where doubly robust effects of each row are made without the model: their loss says
    whether the model's effects beat the average effect, and their order is judged by AUTOC and Qini, both as
    grf defines them (Yadlowsky et al. 2021).
    """
    plan = plan or Plan()
    table = usable(frame)
    values = np.asarray(outcome, dtype=np.float64)
    arms = pd.Series(np.asarray(treatment)).astype(str).to_numpy(dtype=object)
    split = _split(arms, times=times, in_order=in_order, plan=plan)
    train, test = split.train, split.test
    model = UpliftModel(seed=plan.seed, threads=plan.threads)
    model.fit(
        table.frame.iloc[train],
        values[train],
        arms[train],
        control=control,
        probabilities=_of(probabilities, train),
    )
    missing = sorted({control, *model.treatments_} - set(arms[test].tolist()))
    if missing:
        raise InputError("an arm is missing from the test rows", got=", ".join(missing), do="pass another split")
    rows = model.encoder_.encode(table.frame.iloc[test])
    # The test rows' own nuisances, cross-fitted within them: nothing of the model enters its judgement.
    pseudo = model.pseudo_effects(rows, values[test], arms[test], probabilities=_of(probabilities, test))
    predicted = model.predict_rows(rows)
    card = _card(
        model,
        _figures(model, predicted, pseudo),
        table=table,
        outcome=values,
        split=split,
        name=name,
        label=label_name,
        features=features,
    )
    challenge = UpliftChallenge(
        table=frame.iloc[test],
        pseudo=pseudo,
        effect=predicted,
        constant=model.average_["effect"].to_numpy(),
        treatments=model.treatments_,
        control=control,
    )
    seen = seen_by(model.encoder_, table.frame.iloc[train])
    return Trained(model=model, card=card, challenge=challenge, seen=seen, features=features)


def _card(
    model: UpliftModel,
    figures: tuple[Figure, ...],
    *,
    table: Usable,
    outcome: np.ndarray,
    split: Split,
    name: str,
    label: str,
    features: Features | None,
) -> Card:
    train, test = outcome[split.train], outcome[split.test]
    rate = _is_rate(outcome)
    loss = next(figure for figure in figures if figure.name == "loss_saved")
    worse = loss.high is not None and loss.high < 0
    bundle = model.bundle(features=features)
    return Card(
        kind=bundle.kind,
        name=name,
        label=label,
        rows=len(outcome),
        features=table.frame.shape[1],
        split=split.how,
        parts=tuple(
            Part(name=side, rows=len(values), label_rate=float(values.mean()) if rate else None)
            for side, values in (("train", train), ("test", test))
        ),
        drift=f"Mean outcome {train.mean():.4f} in the train rows, {test.mean():.4f} in the test rows.",
        figures=figures,
        calibration="not applicable",
        calibration_detail="effects are differences, not probabilities",
        objections=("worse than one effect for all",) if worse else (),
        compared=loss.name,
        tuning="not tuned: default settings",
        params=model.get_params(),
        importances=model.importances,
        notes=(
            *table.notes,
            _heterogeneity(model),
            *(f"{name}: {DEFINITIONS[name]}" for name in ("autoc", "qini")),
            "the model that was evaluated is the model that is kept",
        ),
        versions=bundle.versions,
        model_hash=bundle.model_hash,
        test_digest=digest(table.frame.iloc[split.test], test),
    )


def _figures(model: UpliftModel, predicted: np.ndarray, pseudo: np.ndarray) -> tuple[Figure, ...]:
    figures = []
    average = model.average_
    constant = average["effect"].to_numpy()
    # Squared error of the effects against doubly robust ones: what the average loses and the model does not.
    less = saved(pseudo, effect=predicted, constant=constant)
    mean, half = float(less.mean()), 1.96 * float(less.std(ddof=1)) / float(np.sqrt(len(less)))
    figures.append(Figure(name="loss_saved", value=mean, low=mean - half, high=mean + half))
    for place, treatment in enumerate(model.treatments_):
        effect = pseudo[:, place]
        half = 1.96 * float(effect.std(ddof=1)) / float(np.sqrt(len(effect)))
        figures.append(
            Figure(
                name=f"effect.{treatment}",
                value=float(effect.mean()),
                low=float(effect.mean()) - half,
                high=float(effect.mean()) + half,
                baselines={"in training": float(average["effect"].iloc[place])},
            )
        )
        if model.boosters_[place] is not None:
            area, error = autoc(predicted[:, place], effect)
            figures.append(
                Figure(name=f"autoc.{treatment}", value=area, low=area - 1.96 * error, high=area + 1.96 * error)
            )
            figures.append(Figure(name=f"qini.{treatment}", value=qini(predicted[:, place], effect)))
    return tuple(figures)


def _heterogeneity(model: UpliftModel) -> str:
    differ = [name for name, booster in zip(model.treatments_, model.boosters_, strict=True) if booster is not None]
    if not differ:
        return "no treatment's effect differs between customers beyond chance: everybody gets the average effect"
    return f"effects differ between customers for: {', '.join(differ)}"


def _split(arms: np.ndarray, *, times: pd.Series | None, in_order: bool, plan: Plan) -> Split:
    if times is not None:
        return time_split(times.reset_index(drop=True), test_share=plan.test_share)
    if in_order:
        return order_split(len(arms), test_share=plan.test_share)
    folds = max(2, round(1 / plan.test_share))
    train, test = folds_of(pd.factorize(arms, sort=True)[0], folds=folds, seed=plan.seed)[0]
    return Split(train=train, test=test, how=f"at random, {1 / folds:.0%} test, stratified by treatment")


def _of(probabilities: Probabilities, rows: np.ndarray) -> Probabilities:
    return probabilities.iloc[rows] if isinstance(probabilities, pd.DataFrame) else probabilities


def _is_rate(values: np.ndarray) -> bool:
    return bool(np.isin(values, (0.0, 1.0)).all())
