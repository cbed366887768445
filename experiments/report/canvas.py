"""What every chart is drawn on: one style, a figure in two widths, and its SVG as an element of the page.

Plain numbers in, the same bytes out each time. A chart comes in two widths, as text in a scaled picture would be too
small on a phone; the page shows one of them.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from experiments.report.words import short_day, shorten

INK, MUTED, RULE = "#1c2430", "#566070", "#d9dee5"
ACCENT, CONTROL, GOOD, BAD, GREY = "#14538a", "#6b7480", "#1a7448", "#b3341f", "#868e98"
WIDE, NARROW = 760, 340
# Behind a text that lines may cross.
PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 12.5,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 11.5,
    "ytick.labelsize": 11.5,
    "axes.unicode_minus": True,
}


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart in both widths: SVG elements, ready for the page."""

    wide: str
    narrow: str


def row_label(
    axes: Any, text: str, place: float, *, width: int, strong: bool, pitch: int, colour: str = INK, above: int = 16
) -> None:
    """The words of a row: left of it, or above it where the picture is narrow."""
    weight = "bold" if strong else "normal"
    if width == WIDE:
        axes.text(-0.015, place, shorten(text, most=28), transform=axes.get_yaxis_transform(), ha="right", va="center",
                  fontsize=12, color=colour, fontweight=weight)  # fmt: skip
        return
    axes.text(0, place - above / pitch, shorten(text, most=52), transform=axes.get_yaxis_transform(), ha="left",
              va="center", fontsize=11, color=colour, fontweight=weight,
              bbox=PAPER)  # fmt: skip


def blank(width: int, height: int, *, left: int, right: int, top: int, bottom: int) -> tuple[Figure, Any]:
    """A figure of ``width`` and ``height`` pixels with axes inside these margins."""
    figure = Figure(figsize=(width / 72, height / 72), facecolor="none")
    box = (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    axes = figure.add_axes(box, facecolor="none")
    axes.tick_params(length=0, pad=5)
    return figure, axes


def bare(axes: Any) -> None:
    """Take away the ticks and the axis itself."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines["bottom"].set_visible(False)


def fewer_ticks(axes: Any, *, along: str, most: int) -> None:
    """At most ``most`` round ticks along ``x`` or ``y``, all with the same decimals."""
    axes.locator_params(axis=along, nbins=most)
    line = axes.xaxis if along == "x" else axes.yaxis
    ticks = line.get_ticklocs()
    decimals = next(digits for digits in range(9) if all(abs(each - round(each, digits)) < 1e-9 for each in ticks))
    line.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.{decimals}f}".replace("-", "\u2212")))


def day_number(moment: datetime) -> float:
    """Days since 1970, UTC where no zone is told."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() / 86_400


def day_axis(axes: Any, at: Sequence[float], *, width: int) -> None:
    """Days along x, as many as there is room for."""
    most = 8 if width == WIDE else 4
    first, last = min(at), max(at)
    stride = max(1, -(-len(at) // most))
    shown = list(at)[::stride]
    axes.set_xticks(shown, [short_day(datetime.fromtimestamp(each * 86_400, UTC)) for each in shown])
    edge = 0.02 * (last - first or 1)
    axes.set_xlim(first - edge, last + edge)


def both_widths(name: str, title: str, draw: Callable[[int], Figure]) -> Chart:
    """The chart that ``draw`` makes for each width; ``name`` is unique on the page, ``title`` is read aloud."""
    return Chart(
        wide=_svg(f"{name}-wide", title, draw, width=WIDE), narrow=_svg(f"{name}-narrow", title, draw, width=NARROW)
    )


def _svg(name: str, title: str, draw: Callable[[int], Figure], *, width: int) -> str:
    out = io.StringIO()
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        # A letter that matplotlib's own font lacks is drawn by the reader's browser.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = draw(width)
        FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inline(out.getvalue(), name=name, title=title)


def _inline(raw: str, *, name: str, title: str) -> str:
    """The drawing as an element of the page: named for screen readers, ids of its own, no size but its proportions."""
    body = raw[raw.index("<svg") :]
    box = re.search(r'viewBox="([^"]+)"', body)
    inner = body[body.index(">") + 1 :].strip().removesuffix("</svg>")
    inner = re.sub(r"<metadata>.*?</metadata>", "", inner, flags=re.DOTALL)
    inner = re.sub(r"<!--.*?-->", "", inner, flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(|xlink:href=")#([\w.-]+)', inner))
    inner = re.sub(r' id="([^"]*)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", inner)
    inner = inner.replace("url(#", f"url(#{name}-").replace('xlink:href="#', f'href="#{name}-')
    inner = re.sub(r"'DejaVu Sans'|DejaVu Sans", "var(--sans)", inner)
    inner = re.sub(r"\n\s*", "\n", inner)
    label = escape(shorten(title, most=300), quote=True)
    return f'<svg role="img" aria-label="{label}" viewBox="{box.group(1) if box else ""}">{inner}</svg>'
