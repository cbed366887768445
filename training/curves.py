"""Pictures of a model's honesty and use: calibration, ROC and gain, as SVG that is the same bytes each time."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from training.evaluation import calibration_bins, gain_curve

_BLUE, _GREY = "#1f5fa8", "#767676"


def curves(label: np.ndarray, predictions: Mapping[str, np.ndarray]) -> dict[str, str]:
    """``calibration.svg``, ``roc.svg`` and ``gain.svg`` of the first of ``predictions`` beside the others."""
    return {
        "calibration.svg": _picture(lambda axes: _calibration(axes, label, predictions)),
        "roc.svg": _picture(lambda axes: _roc(axes, label, predictions)),
        "gain.svg": _picture(lambda axes: _gain(axes, label, predictions)),
    }


def _calibration(axes: Any, label: np.ndarray, predictions: Mapping[str, np.ndarray]) -> None:
    top = 0.0
    for style, (name, probability) in zip(_styles(), predictions.items(), strict=False):
        bins = calibration_bins(label, probability)
        axes.plot([each.probability for each in bins], [each.rate for each in bins], marker="o", label=name, **style)
        top = max(top, *(max(each.probability, each.rate) for each in bins))
    axes.plot([0, top], [0, top], color=_GREY, linewidth=0.8, label="honest")
    _name(axes, "Calibration", "mean predicted probability (tenths of the rows)", "response rate")


def _roc(axes: Any, label: np.ndarray, predictions: Mapping[str, np.ndarray]) -> None:
    for style, (name, probability) in zip(_styles(), predictions.items(), strict=False):
        passed, found = gain_curve(1 - label, probability)[1], gain_curve(label, probability)[1]
        axes.plot(*_thin(passed, found), label=name, **style)
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, label="chance")
    _name(axes, "ROC", "share of the others passed", "share of responses found")


def _gain(axes: Any, label: np.ndarray, predictions: Mapping[str, np.ndarray]) -> None:
    for style, (name, probability) in zip(_styles(), predictions.items(), strict=False):
        axes.plot(*_thin(*gain_curve(label, probability)), label=name, **style)
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, label="chance")
    _name(axes, "Gain", "share of rows contacted, best first", "share of responses found")


def _thin(x: np.ndarray, y: np.ndarray, *, points: int = 200) -> tuple[np.ndarray, np.ndarray]:
    kept = np.unique(np.linspace(0, len(x) - 1, points).round().astype(int))
    return x[kept], y[kept]


def _styles() -> tuple[dict[str, Any], ...]:
    return {"color": _BLUE, "linewidth": 2.0}, {"color": _GREY, "linewidth": 1.4, "linestyle": "--"}


def _name(axes: Any, title: str, x: str, y: str) -> None:
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def _picture(draw: Callable[[Any], None]) -> str:
    # No pyplot (global state), no display; salt and date are fixed so that equal curves are equal bytes.
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "rapport", "svg.fonttype": "none", "path.simplify": True, "font.size": 10}):
        figure = Figure(figsize=(5.0, 4.0), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
