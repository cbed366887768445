"""What training takes and gives: the plan, and the model with its card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd

from training.card import Card
from training.evaluation import Scores
from training.models.bundle import Bundle, Features


class Model(Protocol):
    """What the three models share."""

    @property
    def importances(self) -> dict[str, float]:
        """Share of the trees' gain by feature."""
        ...

    def bundle(
        self,
        *,
        features: Features | None = None,
        card: Mapping[str, Any] | None = None,
        about: Mapping[str, bytes] | None = None,
    ) -> Bundle:
        """The model as a bundle."""
        ...


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to train.

    Parameters
    ----------
    trials: Optuna trials; 0 keeps the default settings, which are chosen to hold under drift.
    seed: of every draw.
    test_share: share of rows that test, where they are set apart once.
    tolerance: how much less than a baseline or the champion a model may score and still be promoted.
    threads: of training, 0 for what suits the table.
    """

    trials: int = 0
    seed: int = 1
    test_share: float = 0.25
    tolerance: float = 0.005
    threads: int = 0


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The test rows with their labels: what a champion of before is asked too; ``table`` as it was given."""

    table: pd.DataFrame
    label: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A model, its card, and what goes beside it into MLflow.

    ``curves``: SVG by file name. ``scores``: of a response model on the test rows. ``test``: those rows.
    """

    model: Model
    card: Card
    features: Features | None = None
    scores: Scores | None = None
    test: Rows | None = None
    curves: Mapping[str, str] = field(default_factory=dict)

    def bundle(self) -> Bundle:
        """The bundle with the card in it."""
        about = {"card.md": self.card.to_markdown().encode()}
        return self.model.bundle(features=self.features, card=self.card.to_json(), about=about)
