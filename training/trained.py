"""What training takes and gives: the plan, and the model with its card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from training.card import Card
from training.challenge import SEEN, Challenge
from training.evaluation import PredictionQuality
from training.models.bundle import Bundle, Features, to_npz


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
    tolerance: how much less AUC than a baseline or the champion a model may have and still be promoted.
    threads: of training, 0 for what suits the table.
    """

    trials: int = 0
    seed: int = 1
    test_share: float = 0.25
    tolerance: float = 0.005
    threads: int = 0


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A model, its card, and what goes beside it into MLflow.

    ``challenge``: its test rows, on which a champion is asked too. ``seen``: fingerprints of the rows that the model
    learned from (``training.challenge``), where those say what it has seen. ``curves``: SVG by file name. ``scores``:
    of a response model on the test rows.
    """

    model: Model
    card: Card
    challenge: Challenge
    seen: np.ndarray | None = None
    features: Features | None = None
    scores: PredictionQuality | None = None
    curves: Mapping[str, str] = field(default_factory=dict)

    def bundle(self) -> Bundle:
        """The bundle with the card in it, and beside it what a later challenger must know: which rows it has seen."""
        about = {"card.md": self.card.to_markdown().encode()}
        if self.seen is not None:
            about[SEEN] = to_npz({"rows": self.seen})
        return self.model.bundle(features=self.features, card=self.card.to_json(), about=about)
