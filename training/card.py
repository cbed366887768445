"""The model card: what a model was trained on, how good it is and beside what, and whether it may be promoted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jinja2 import Template

_MOST_FEATURES = 15


@dataclass(frozen=True, kw_only=True)
class Part:
    """One side of the split: its name, rows, and the rate of its label (None where there is none)."""

    name: str
    rows: int
    label_rate: float | None = None


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of the model on the test rows, its 95% interval where there is one, and the baselines' beside it."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    baselines: Mapping[str, float] = field(default_factory=dict)

    @property
    def interval(self) -> str:
        """The interval as text, empty where there is none."""
        return "" if self.low is None or self.high is None else f"{self.low:.4f} to {self.high:.4f}"


@dataclass(frozen=True, kw_only=True)
class Card:
    """A model card.

    Parameters
    ----------
    kind, name: of the model; ``label``: what it predicts.
    rows, features: size of the table.
    split: how train and test rows were told apart; ``parts``: both sides.
    drift: how the label's rate moved from one to the other.
    figures: what was measured on the test rows.
    calibration: ``calibrated``, ``uncalibrated`` (promise F3) or ``not applicable``; the figures behind it in
    ``calibration_detail``.
    objections: reasons why the model must not be promoted, whatever the champion is; empty when there are none.
    compared: name of the figure, more being better, by which champion and challenger are compared.
    tuning, params, importances, notes, versions, model_hash: how to make it again.
    test_digest: sha256 of the test rows.
    """

    kind: str
    name: str
    label: str
    rows: int
    features: int
    split: str
    parts: tuple[Part, ...]
    drift: str
    figures: tuple[Figure, ...]
    calibration: str
    calibration_detail: str
    objections: tuple[str, ...]
    compared: str
    tuning: str
    params: Mapping[str, Any]
    importances: Mapping[str, float]
    notes: tuple[str, ...]
    versions: Mapping[str, str]
    model_hash: str
    test_digest: str

    @property
    def metrics(self) -> dict[str, float]:
        """Every figure by name, baselines as ``<baseline>.<name>``: what MLflow keeps."""
        found = {figure.name: figure.value for figure in self.figures}
        for figure in self.figures:
            bounds = {f"{figure.name}.low": figure.low, f"{figure.name}.high": figure.high}
            found |= {name: value for name, value in bounds.items() if value is not None}
            found |= {f"{name}.{figure.name}": value for name, value in figure.baselines.items()}
        return found

    def figure(self, name: str) -> Figure:
        """The figure called ``name``."""
        return next(each for each in self.figures if each.name == name)

    def to_json(self) -> dict[str, Any]:
        """The card as plain dictionaries and lists."""
        return asdict(self)

    def to_markdown(self) -> str:
        """The card for people."""
        fit = not self.objections
        return _template().render(
            card=self,
            verdict="Fit for promotion." if fit else f"Not fit for promotion: {'; '.join(self.objections)}.",
            baselines=list(self.figures[0].baselines),
            importances=list(self.importances.items())[:_MOST_FEATURES],
            rate=_rate,
            number=_number,
            pairs=lambda values, mark: ", ".join(f"{name}{mark}{value}" for name, value in values.items()),
        )


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = FileSystemLoader(Path(__file__).parent)
    # What is written is Markdown, where HTML's escapes would be read as they stand.
    environment = Environment(loader=folder, undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)
    return environment.get_template("card.md.j2")


def drift_sentence(train: Part, test: Part) -> str:
    """How the label's rate moved from train to test, and whether that is more than chance."""
    before, after = train.label_rate or 0.0, test.label_rate or 0.0
    error = float(np.sqrt(before * (1 - before) / max(train.rows, 1) + after * (1 - after) / max(test.rows, 1)))
    moved = f"The label rate is {before:.1%} in the train rows and {after:.1%} in the test rows"
    drift = f"it drifted by {100 * (after - before):+.1f} points"
    if abs(after - before) <= 3 * error:
        return f"{moved}, which may be chance."
    if abs(after - before) <= 0.1 * max(before, after):
        return f"{moved}: {drift}, which is more than chance and less than a tenth of the rate."
    return f"{moved}: {drift}, so the past is a poor guide to its level."


def _rate(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.2%}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
