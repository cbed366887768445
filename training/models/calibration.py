"""Honest probabilities: a straight line on the log odds, fitted on rows that the trees did not see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from features.errors import InputError

_FLOOR = 1e-12


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """P(response) = expit(intercept + slope x raw score): Platt's method (1999) on log odds.

    Two numbers, always rising: the order of customers stays as the trees gave it, without the ties that isotonic
    regression makes among those who matter most, and rows beyond the range seen are carried on smoothly. Trees grown on
    log loss and stopped early are off by scale and level, which is what two numbers mend.

    >>> import numpy as np
    >>> Calibration(intercept=0.0, slope=1.0).apply(np.array([0.0]))
    array([0.5])
    """

    intercept: float
    slope: float

    @classmethod
    def fit(cls, raw: np.ndarray, label: np.ndarray) -> Calibration:
        """The line for out-of-fold raw scores (n,) and labels 0 or 1 (n,)."""
        intercept, slope = logistic_line(raw, label)
        # A falling line says that the trees rank the wrong way round: they know nothing, so the base rate holds.
        return cls(intercept=intercept, slope=slope) if slope > 0 else cls(intercept=log_odds(label.mean()), slope=1e-6)

    def apply(self, raw: np.ndarray) -> np.ndarray:
        """Probabilities (n,) of raw scores (n,)."""
        calibrated: np.ndarray = expit(self.intercept + self.slope * raw)
        return calibrated

    def to_json(self) -> dict[str, Any]:
        """The line as JSON."""
        return {"method": "platt", "coefficients": [self.intercept, self.slope]}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Calibration:
        """The calibration that ``to_json`` wrote; raises InputError for another."""
        numbers = content.get("coefficients")
        if content.get("method") != "platt" or not isinstance(numbers, list) or len(numbers) != 2:
            raise InputError("the calibration can't be read", got=repr(dict(content))[:200], do="fetch the bundle anew")
        intercept, slope = map(float, numbers)
        if not (np.isfinite(intercept) and np.isfinite(slope) and slope > 0):
            raise InputError("the calibration is no rising line", got=repr(numbers), do="fetch the bundle anew")
        return cls(intercept=intercept, slope=slope)


def log_odds(probability: np.ndarray | float) -> Any:
    """ln(p / (1 - p)), with p kept a hair away from 0 and 1."""
    kept = np.clip(probability, _FLOOR, 1 - _FLOOR)
    return np.log(kept) - np.log1p(-kept)


def logistic_line(x: np.ndarray, label: np.ndarray, *, steps: int = 50) -> tuple[float, float]:
    """Intercept and slope of the logistic regression of ``label`` (0 or 1) on ``x``, by Newton's method.

    One class only, or a constant ``x``: the slope is 0. Separable data: a tiny ridge keeps the slope finite.
    """
    rate = float(np.mean(label))
    spread = float(np.std(x))
    if spread == 0 or rate in (0.0, 1.0):
        return float(log_odds(rate)), 0.0
    z = np.column_stack([np.ones(len(x)), (x - x.mean()) / spread])
    beta = np.array([float(log_odds(rate)), 0.0])
    ridge = np.diag([0.0, 1e-9 * len(x)])
    for _ in range(steps):
        p = expit(z @ beta)
        gradient = z.T @ (label - p) - ridge @ beta
        hessian = (z * np.maximum(p * (1 - p), 1e-12)[:, None]).T @ z + ridge
        move = np.linalg.solve(hessian, gradient)
        # Newton's full step overshoots where the fit is nearly perfect.
        move *= min(1.0, 4.0 / max(float(np.abs(move).max()), 1e-12))
        beta = beta + move
        if float(np.abs(move).max()) < 1e-10:
            break
    slope = float(beta[1]) / spread
    return float(beta[0]) - slope * float(x.mean()), slope
