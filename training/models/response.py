"""Response propensity: P(response given customer, treatment, moment)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from sklearn.base import ClassifierMixin

from features.errors import InputError, listed
from training.models import boosting
from training.models.bundle import Bundle, to_json
from training.models.bundled import BundledModel
from training.models.calibration import Calibration
from training.models.encoding import TableEncoder, as_frame
from training.splits import folds_of

_YES = {"yes", "y", "true", "t", "1"}
_NO = {"no", "n", "false", "f", "0"}


class ResponseModel(ClassifierMixin, BundledModel):  # type: ignore[misc]  # scikit-learn has no types
    """LightGBM on log loss, calibrated on rows that the trees did not see.

    ``fit`` cross-validates over ``folds`` to find the number of trees and the out-of-fold scores on which the
    calibration is fitted (Platt's line, see ``Calibration``), then grows the final trees on all rows, so that no row is
    lost to calibration. Rows and columns are not sampled: ``seed`` shuffles the folds, the model hardly depends on it.

    Parameters
    ----------
    num_leaves, learning_rate, min_data_in_leaf, lambda_l2, feature_fraction: LightGBM's, by its names.
    rounds: the most trees; training stops ``patience`` rounds after the best.
    folds: parts of the inner cross-validation, stratified by label.
    positive: the label that counts as response; by default True, 1, or one of yes, y, true, t.
    seed: of the folds and of LightGBM; same data, seed and versions give the same model.
    threads: of training, 0 for what suits the table; predicting uses one, quicker for the few rows of a request.

    Attributes
    ----------
    classes_: (2,) labels, the response second. encoder_, booster_, calibration_, rounds_: what was fitted.
    n_features_in_, feature_names_in_: columns. base_rate_: share of responses in the training rows.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"channel": ["mail", "web"] * 200, "visits": [0, 0, 3, 1] * 100})
    >>> model = ResponseModel(min_data_in_leaf=5).fit(frame, ["no", "no", "yes", "no"] * 100)
    >>> model.predict_proba(frame.head(4)).round()[:, 1]
    array([0., 0., 1., 0.])
    """

    kind: ClassVar[str] = "response"

    def __init__(
        self,
        *,
        num_leaves: int = 31,
        learning_rate: float = 0.05,
        min_data_in_leaf: int = 100,
        lambda_l2: float = 10.0,
        feature_fraction: float = 1.0,
        rounds: int = 600,
        patience: int = 30,
        folds: int = 3,
        positive: object = None,
        seed: int = 1,
        threads: int = 0,
    ) -> None:
        self.num_leaves = num_leaves
        self.learning_rate = learning_rate
        self.min_data_in_leaf = min_data_in_leaf
        self.lambda_l2 = lambda_l2
        self.feature_fraction = feature_fraction
        self.rounds = rounds
        self.patience = patience
        self.folds = folds
        self.positive = positive
        self.seed = seed
        self.threads = threads

    def fit(
        self, X: pd.DataFrame, y: object, *, groups: object = None, sample_weight: np.ndarray | None = None
    ) -> ResponseModel:
        """Fit on a frame (rows, columns) and labels (rows,): bool, 0 and 1, or two words such as yes and no.

        ``groups`` (rows,), for example the customer, keeps the rows of one together within the inner folds.

        Raises
        ------
        InputError
            When the label has other than two values, gaps, or no clear response; or the columns can't be used.
        """
        frame = as_frame(X)
        self.classes_, target = binary_label(y, positive=self.positive)
        if len(target) != len(frame):
            raise InputError(
                "labels and rows differ in number", got=f"{len(target)} and {len(frame)}", do="pass one label a row"
            )
        self.encoder_ = TableEncoder.fit(frame)
        rows = self.encoder_.encode(frame)
        folded = boosting.cross_validate(
            rows,
            target,
            params=self.lightgbm_params(len(rows)),
            folds=self._folds(target, groups),
            most=self.rounds,
            patience=self.patience,
            categorical=self.encoder_.categorical,
            weight=sample_weight,
        )
        self.rounds_ = folded.rounds
        self.calibration_ = Calibration.fit(folded.held_out(rows), target)
        self.booster_ = self._reread(
            boosting.trees(
                rows,
                target,
                params=self.lightgbm_params(len(rows)),
                rounds=self.rounds_,
                categorical=self.encoder_.categorical,
                weight=sample_weight,
            )
        )
        self.base_rate_ = float(target.mean())
        return self._named()

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Probabilities (rows, 2) in the order of ``classes_``."""
        self._require_fit()
        response = self.predict_rows(self.encoder_.encode(as_frame(X)))
        return np.column_stack([1 - response, response])

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """The likelier label of each row (rows,)."""
        chosen: np.ndarray = self.classes_[(self.predict_proba(X)[:, 1] >= 0.5).astype(int)]
        return chosen

    def rows(self, records: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Mappings of column to value as the encoded rows (records, columns) of ``predict_rows``, without pandas."""
        self._require_fit()
        return self.encoder_.encode_rows(records)

    def predict_rows(self, rows: np.ndarray) -> np.ndarray:
        """P(response) (rows,) of encoded rows (rows, columns): the quick way, without pandas, on one thread."""
        raw = self.booster_.predict(rows, raw_score=True, num_threads=1)
        return self.calibration_.apply(np.asarray(raw))

    @property
    def importances(self) -> dict[str, float]:
        """Share of the trees' total gain by feature, largest first."""
        shares = zip(self.encoder_.names, boosting.gains(self.booster_).tolist(), strict=True)
        return dict(sorted(shares, key=lambda pair: -pair[1]))

    def _files(self) -> dict[str, bytes]:
        settings = {
            "columns": self.encoder_.to_json(),
            "calibration": self.calibration_.to_json(),
            "classes": [_native(label) for label in self.classes_.tolist()],
            "base_rate": self.base_rate_,
            "rounds": self.rounds_,
            "params": {name: value for name, value in self.get_params().items() if name not in {"positive", "threads"}},
        }
        return {"trees.txt": boosting.as_text(self.booster_).encode(), "model.json": to_json(settings)}

    @classmethod
    def _read(cls, bundle: Bundle) -> Self:
        settings = bundle.json("model.json")
        model = cls(**settings["params"])
        model.encoder_ = TableEncoder.from_json(settings["columns"])
        model.calibration_ = Calibration.from_json(settings["calibration"])
        model.classes_ = np.array(settings["classes"])
        model.base_rate_ = float(settings["base_rate"])
        model.rounds_ = int(settings["rounds"])
        model.booster_ = boosting.from_text(bundle.text("trees.txt"), features=len(model.encoder_.columns))
        return model

    def lightgbm_params(self, rows: int) -> dict[str, Any]:
        """The parameters as LightGBM takes them; a leaf never asks for more than a fiftieth of the ``rows``."""
        return {
            "objective": "binary",
            "metric": "binary_logloss",
            "num_leaves": self.num_leaves,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": max(1, min(self.min_data_in_leaf, rows // 50)),
            "lambda_l2": self.lambda_l2,
            "feature_fraction": self.feature_fraction,
            "seed": self.seed,
            "num_threads": self.threads,
        }

    def _folds(self, target: np.ndarray, groups: object) -> list[boosting.Fold]:
        # Rare labels: fewer folds, but never fewer than two.
        folds = max(2, min(self.folds, int(min(target.sum(), len(target) - target.sum()))))
        return folds_of(target, folds=folds, seed=self.seed, groups=None if groups is None else np.asarray(groups))

    def _reread(self, booster: Any) -> Any:
        # The model in memory and the one read back are the same text, so they predict the same bits.
        return boosting.from_text(boosting.as_text(booster), features=len(self.encoder_.columns))


def binary_label(values: object, *, positive: object = None) -> tuple[np.ndarray, np.ndarray]:
    """The two labels (2,), the response second, and 0.0 or 1.0 for each row (rows,).

    >>> binary_label(["no", "yes", "no"])
    (array(['no', 'yes'], dtype='<U3'), array([0., 1., 0.]))
    """
    series = pd.Series(np.asarray(values)) if not isinstance(values, pd.Series) else values
    if series.isna().any():
        raise InputError(
            "the label has gaps", got=f"{int(series.isna().sum())} empty rows", do="drop rows without an outcome"
        )
    found = sorted(series.unique().tolist(), key=str)
    if len(found) != 2:
        raise InputError(
            "the label must have two values",
            got=f"{len(found)}: {listed(found)}",
            do="pass a column of yes and no, or of 1 and 0",
        )
    chosen = _positive(found, positive)
    other = found[0] if found[1] == chosen else found[1]
    return np.array([other, chosen]), (series == chosen).to_numpy(dtype=np.float64)


def _positive(found: list[Any], positive: object) -> Any:
    words = [_word(value) for value in found]
    matches = [
        value
        for value, word in zip(found, words, strict=True)
        if (word == _word(positive) if positive is not None else word.casefold() in _YES)
    ]
    if len(matches) == 1:
        return matches[0]
    no = [value for value, word in zip(found, words, strict=True) if word.casefold() in _NO]
    if positive is None and not matches and len(no) == 1:
        return next(value for value in found if value != no[0])
    raise InputError(
        "it is not clear which label is the response", got=listed(found), do="name it: positive=... (--positive VALUE)"
    )


def _native(value: object) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float) else str(value)


def _word(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
