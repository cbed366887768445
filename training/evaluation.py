"""How good a model is, with intervals, beside baselines on the same rows."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm, rankdata
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from training.models.calibration import log_odds, logistic_line
from training.models.encoding import Rows, TableEncoder

SLOPE = (0.9, 1.1)
ECE = 0.02
_Z = float(norm.ppf(0.975))


@dataclass(frozen=True, kw_only=True)
class PredictionQuality:
    """Probabilities against labels on one set of rows.

    ``auc_low`` and ``auc_high``: 95% interval by DeLong's variance. ``log_loss`` in nats a row, ``brier`` the mean
    squared error. ``ece``: expected calibration error over 10 bins of equal count. ``slope`` and ``intercept``: of the
    logistic regression of the label on the log odds of the probability, 1 and 0 when honest. ``lift_top_decile``:
    response rate among the tenth with the highest scores, divided by the rate of all. ``captured_top_half``: share of
    all responses in the upper half.
    """

    rows: int
    label_rate: float
    mean_probability: float
    auc: float
    auc_low: float
    auc_high: float
    log_loss: float
    brier: float
    ece: float
    slope: float
    intercept: float
    lift_top_decile: float
    captured_top_half: float

    @property
    def calibrated(self) -> bool:
        """Promise F3: slope from 0.9 to 1.1 and expected calibration error below 0.02."""
        return SLOPE[0] <= self.slope <= SLOPE[1] and self.ece < ECE

    def to_json(self) -> dict[str, Any]:
        """The scores as a dictionary."""
        return asdict(self)


def score(label: np.ndarray, probability: np.ndarray) -> PredictionQuality:
    """The scores of ``probability`` (rows,) against ``label`` (rows,) of 0 and 1, both classes present.

    >>> import numpy as np
    >>> score(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])).auc
    0.75
    """
    auc, covariance = delong(label, probability[None, :])
    half = _Z * float(np.sqrt(max(covariance[0, 0], 0.0)))
    intercept, slope = logistic_line(log_odds(probability), label)
    return PredictionQuality(
        rows=len(label),
        label_rate=float(label.mean()),
        mean_probability=float(probability.mean()),
        auc=float(auc[0]),
        auc_low=max(0.0, float(auc[0]) - half),
        auc_high=min(1.0, float(auc[0]) + half),
        log_loss=float(row_log_loss(label, probability).mean()),
        brier=float(np.mean((probability - label) ** 2)),
        ece=calibration_error(label, probability),
        slope=slope,
        intercept=intercept,
        lift_top_decile=captured(label, probability, share=0.1) / 0.1,
        captured_top_half=captured(label, probability, share=0.5),
    )


def delong(label: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUC (models,) of ``scores`` (models, rows) and their covariance (models, models).

    DeLong, DeLong and Clarke-Pearson (1988) by midranks, as Sun and Xu (2014): n log n instead of pairs.
    """
    positive = label.astype(bool)
    m, n = int(positive.sum()), int((~positive).sum())
    v01 = np.empty((len(scores), m))
    v10 = np.empty((len(scores), n))
    for place, row in enumerate(scores):
        ranks = rankdata(row)
        v01[place] = (ranks[positive] - rankdata(row[positive])) / n
        v10[place] = 1.0 - (ranks[~positive] - rankdata(row[~positive])) / m
    covariance = np.atleast_2d(np.cov(v01)) / m + np.atleast_2d(np.cov(v10)) / n
    return v01.mean(axis=1), covariance


def auc_difference(label: np.ndarray, probability: np.ndarray, other: np.ndarray) -> tuple[float, float, float]:
    """AUC of ``probability`` minus that of ``other`` on the same rows, with its 95% interval (paired, DeLong)."""
    auc, covariance = delong(label, np.stack([probability, other]))
    difference = float(auc[0] - auc[1])
    half = _Z * float(np.sqrt(max(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1], 0.0)))
    return difference, difference - half, difference + half


def row_log_loss(label: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Log loss of each row (rows,) in nats."""
    kept = np.clip(probability, 1e-12, 1 - 1e-12)
    loss: np.ndarray = -(label * np.log(kept) + (1 - label) * np.log1p(-kept))
    return loss


@dataclass(frozen=True, kw_only=True)
class CalibrationBin:
    """Rows of like probability: how many, their mean probability, and the rate of responses among them."""

    rows: int
    probability: float
    rate: float


def calibration_bins(label: np.ndarray, probability: np.ndarray, *, bins: int = 10) -> tuple[CalibrationBin, ...]:
    """Bins of equal count by rising probability; equal probabilities stay in one bin, so there may be fewer."""
    order = np.argsort(probability, kind="stable")
    ordered = probability[order]
    # The border between two bins moves right past rows of the same probability.
    borders = np.searchsorted(ordered, ordered[(np.arange(1, bins) * len(order)) // bins], side="left")
    parts = np.split(order, np.unique(borders[borders > 0]))
    return tuple(
        CalibrationBin(rows=len(part), probability=float(probability[part].mean()), rate=float(label[part].mean()))
        for part in parts
    )


def calibration_error(label: np.ndarray, probability: np.ndarray) -> float:
    """Expected calibration error: mean distance of rate and probability over 10 bins of equal count, by rows."""
    bins = calibration_bins(label, probability)
    return sum(each.rows * abs(each.rate - each.probability) for each in bins) / len(label)


def captured(label: np.ndarray, score: np.ndarray, *, share: float) -> float:
    """Share of all responses among the ``share`` of rows with the highest scores; ties count in proportion.

    >>> import numpy as np
    >>> captured(np.array([1, 0, 1, 0]), np.array([0.9, 0.1, 0.8, 0.2]), share=0.5)
    1.0
    """
    contacted, gained = gain_curve(label, score)
    return float(np.interp(share, contacted, gained))


def gain_curve(label: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of rows contacted, highest score first, and share of responses found; from (0, 0) to (1, 1)."""
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    found = np.cumsum(label[order])[ends]
    return np.append(0.0, (ends + 1) / len(order)), np.append(0.0, found / max(float(label.sum()), 1.0))


class LogisticBaseline:
    """Logistic regression, one column a category, gaps filled by the median: the model that boosting has to beat.

    Fitted on at most ``most`` rows, taken at random, which is plenty for its few coefficients.
    """

    def __init__(self, *, seed: int = 1, most: int = 50_000) -> None:
        self.seed = seed
        self.most = most

    def fit(self, frame: pd.DataFrame, label: np.ndarray) -> LogisticBaseline:
        """Fit on a frame and labels of 0 and 1."""
        self.encoder = TableEncoder.fit(frame, most=50)
        rows = self.encoder.encode(frame)
        if len(rows) > self.most:
            chosen = np.random.default_rng(self.seed).choice(len(rows), self.most, replace=False)
            rows, label = rows[chosen], label[chosen]
        # A hundred iterations without full convergence is a fair baseline still.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.pipeline = self._pipeline().fit(rows, label)
        return self

    def predict_rows(self, rows: Rows) -> np.ndarray:
        """P(response) (rows,) of encoded rows."""
        chance: np.ndarray = self.pipeline.predict_proba(rows)[:, 1]
        return chance

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """P(response) (rows,)."""
        return self.predict_rows(self.encoder.encode(frame))

    def _pipeline(self) -> Pipeline:
        categories = self.encoder.categorical
        numbers = [place for place in range(len(self.encoder.columns)) if place not in categories]
        filled = SimpleImputer(strategy="median", keep_empty_features=True)
        columns = ColumnTransformer(
            [
                ("numbers", make_pipeline(filled, StandardScaler()), numbers),
                ("categories", OneHotEncoder(handle_unknown="ignore"), categories),
            ]
        )
        return make_pipeline(columns, LogisticRegression(max_iter=100))


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """How well lists of offers hold what the customers then took; each a mean over customers, with its 95% interval.

    ``recall``: share of what a customer took next that is among the first ``k``. ``ndcg``: 1 / log2(1 + place) of each
    item, beside what the best list would get (Jarvelin and Kekalainen 2002). ``mrr``: 1 / place of the first hit.
    """

    customers: int
    k: int
    recall: float
    recall_low: float
    recall_high: float
    ndcg: float
    ndcg_low: float
    ndcg_high: float
    mrr: float

    def to_json(self) -> dict[str, Any]:
        """The ranking's figures as a dictionary."""
        return asdict(self)


def rank_scores(listed: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """NDCG of each customer (customers,), of what :func:`rank` takes.

    The best list has all that was taken, or as much of it as fits, on its first places.

    >>> rank_scores(np.array([["a", "b"], ["c", "b"]]), np.array([["a", "b"], ["b", ""]])).round(2).tolist()
    [1.0, 0.63]
    """
    gains = 1 / np.log2(np.arange(2, listed.shape[1] + 2))
    fitting = np.clip(_taken(taken), 1, listed.shape[1])
    scores: np.ndarray = (_hits(listed, taken) * gains).sum(axis=1) / gains.cumsum()[fitting - 1]
    return scores


def _hits(listed: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Which places of the lists hold what was taken (customers, k)."""
    hit = np.zeros(listed.shape, dtype=bool)
    for items in np.reshape(taken, (len(taken), -1)).T:
        hit |= (listed == items[:, None]) & (items != "")[:, None]
    return hit


def _taken(taken: np.ndarray) -> np.ndarray:
    """How many items each customer took (customers,)."""
    counts: np.ndarray = (np.reshape(taken, (len(taken), -1)) != "").sum(axis=1)
    return counts


def rank(listed: np.ndarray, taken: np.ndarray) -> Ranking:
    """The figures of the lists ``listed`` (customers, k) against what was ``taken`` next.

    ``taken``: one item a customer (customers,), or several (customers, most), ended by "".
    """
    hit = _hits(listed, taken)
    recall = hit.sum(axis=1) / np.maximum(_taken(taken), 1)
    ndcg = rank_scores(listed, taken)
    low, high = _interval(recall)
    ndcg_low, ndcg_high = _interval(ndcg)
    return Ranking(
        customers=len(taken),
        k=listed.shape[1],
        recall=float(recall.mean()),
        recall_low=low,
        recall_high=high,
        ndcg=float(ndcg.mean()),
        ndcg_low=ndcg_low,
        ndcg_high=ndcg_high,
        mrr=float((hit / np.arange(1, listed.shape[1] + 1)).max(axis=1).mean()),
    )


def _interval(values: np.ndarray) -> tuple[float, float]:
    mean, half = float(values.mean()), _Z * float(values.std(ddof=1)) / float(np.sqrt(len(values)))
    return max(0.0, mean - half), min(1.0, mean + half)


def flat(prefix: str, scores: Mapping[str, Any]) -> dict[str, float]:
    """Figures with a prefix, as MLflow's metrics."""
    return {f"{prefix}{name}": float(value) for name, value in scores.items() if isinstance(value, int | float)}
