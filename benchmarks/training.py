"""The response model beside scikit-learn's histogram boosting, and predicting with and without pandas.

Run ``python -m benchmarks.training``. Bank Marketing where the real data are at hand (env RAPPORT_DATA), else a made-up
table of the same size.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from features.tables import read_table
from training.models import ResponseModel
from training.splits import folds_of, order_split

ROOT = Path(__file__).resolve().parent.parent
BANK = (
    Path(os.environ.get("RAPPORT_DATA", ROOT.parent / "shared" / "data")) / "bank_marketing/bank-additional-full.csv.gz"
)


def main() -> None:
    """Print both tables."""
    frame, label, name = _table()
    splits = {"5-fold, first fold": folds_of(label, folds=5, seed=1)[0]}
    ordered = order_split(len(label))
    splits["in order of time"] = (ordered.train, ordered.test)
    print(f"{name}: {len(frame):,} rows, {frame.shape[1]} columns")
    print(f"{'split':<20} {'model':<28} {'AUC':>7} {'seconds':>8}")
    for split, (train, test) in splits.items():
        for model, table, fit in (
            ("ResponseModel (calibrated)", frame, lambda *given: ResponseModel().fit(*given).predict_proba),
            ("HistGradientBoosting (raw)", _numbers(frame), lambda *given: _peer().fit(*given).predict_proba),
        ):
            begun = time.perf_counter()
            predict = fit(table.iloc[train], label[train])
            seconds = time.perf_counter() - begun
            auc = roc_auc_score(label[test], predict(table.iloc[test])[:, 1])
            print(f"{split:<20} {model:<28} {auc:7.4f} {seconds:8.2f}")
    _predicting(frame, label)


def _predicting(frame: pd.DataFrame, label: np.ndarray) -> None:
    model = ResponseModel(rounds=100).fit(frame, label)
    fifty = frame.head(50)
    rows, records = model.encoder_.encode(fifty), fifty.to_dict("records")
    peer = _peer().fit(_numbers(frame), label)
    prepared = _numbers(frame).head(50)
    print(f"\n{'50 rows':<44} {'median us':>10} {'p99 us':>8}")
    for what, call in (
        ("predict_rows, encoded array", lambda: model.predict_rows(rows)),
        ("predict_rows, from 50 dictionaries", lambda: model.predict_rows(model.rows(records))),
        ("predict_proba, pandas", lambda: model.predict_proba(fifty)),
        ("HistGradientBoosting, prepared pandas", lambda: peer.predict_proba(prepared)),
    ):
        median, late = _micros(call)
        print(f"{what:<44} {median:10,.0f} {late:8,.0f}")


def _peer() -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(random_state=1)


def _numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Text as codes in order of name: the peer ranks customers better so than with its own categories."""
    texts = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
    return frame.assign(**{name: frame[name].astype("category").cat.codes for name in texts})


def _micros(call, *, times: int = 500) -> tuple[float, float]:
    for _ in range(20):
        call()
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        call()
        taken.append(1e6 * (time.perf_counter() - begun))
    return float(np.median(taken)), float(np.quantile(taken, 0.99))


def _table() -> tuple[pd.DataFrame, np.ndarray, str]:
    if BANK.is_file():
        frame = read_table(BANK).to_pandas()
        label = frame.pop("y").to_numpy(dtype=float)
        return frame.drop(columns="duration"), label, "Bank Marketing"
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.normal(size=(41_188, 10))).rename(columns=lambda place: f"number {place}")
    for place in range(9):
        frame[f"text {place}"] = rng.choice(list("abcdefgh"), len(frame))
    level = -2.5 + frame["number 0"] + 1.5 * (frame["text 0"] == "a") * (frame["number 1"] > 0)
    return frame, (rng.random(len(frame)) < 1 / (1 + np.exp(-level))).to_numpy(dtype=float), "a made-up table"


if __name__ == "__main__":
    main()
