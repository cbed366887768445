"""The charts of the lift report: forests, differences over time, traffic, the money bridge, the ladder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from experiments.report.canvas import (
    ACCENT,
    BAD,
    CONTROL,
    GOOD,
    GREY,
    INK,
    MUTED,
    PAPER,
    RULE,
    WIDE,
    Chart,
    bare,
    blank,
    both_widths,
    day_axis,
    day_number,
    fewer_ticks,
    row_label,
)
from experiments.report.words import shorten

_SHARES = ("#14538a", "#8fb8de", "#e0b354", "#7d9c5b", "#b06a4f", "#7a6aa8", "#3f8f8b", "#a84d78", "#c9a4bd", "#5c6672")
_NOTHING = "#d3d8de"
_TONES = {"good": GOOD, "bad": BAD, "open": ACCENT, "few": GREY, "plain": ACCENT}


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One line of a forest: a value with its interval, and how it reads. ``tone``: good, bad, open, few or plain."""

    label: str
    value: float
    low: float
    high: float
    text: str
    tone: str = "open"
    group: str = ""
    other: float | None = None


@dataclass(frozen=True, kw_only=True)
class Step:
    """One bar of a money bridge; ``total`` bars stand on zero."""

    label: str
    value: float
    text: str
    total: bool = False


def forest(marks: Sequence[Mark], *, key: str, axis: str, title: str, other: str = "") -> Chart:
    """Values with intervals on one axis, a line at zero; groups under their headings; ``key`` is unique on the page."""
    return both_widths(key, title, lambda width: _forest(marks, axis=axis, other=other, width=width))


def over_time(
    days: Sequence[datetime],
    *,
    values: Sequence[float],
    lows: Sequence[float],
    highs: Sequence[float],
    changes: Sequence[tuple[datetime, str]],
    axis: str,
    title: str,
) -> Chart:
    """A difference look by look, with its band where ``lows`` and ``highs`` are finite, and marks for changes."""

    def draw(width: int) -> Figure:
        figure, axes = blank(width, 270, left=58, right=14, top=34 if changes else 12, bottom=44)
        at = [day_number(each) for each in days]
        axes.fill_between(at, lows, highs, color=ACCENT, alpha=0.14, linewidth=0)
        axes.vlines(at, lows, highs, color=ACCENT, alpha=0.45, linewidth=1.2)
        axes.plot(at, values, color=ACCENT, linewidth=2, marker="o", markersize=5)
        axes.axhline(0, color=INK, linewidth=1)
        axes.grid(axis="y", color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
        for when, text in changes:
            axes.axvline(day_number(when), color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
            side = "right" if day_number(when) > (min(at) + max(at)) / 2 else "left"
            axes.text(
                day_number(when), 1.03, shorten(text, most=40), transform=axes.get_xaxis_transform(),
                ha=side, va="bottom", fontsize=11, color=MUTED,
            )  # fmt: skip
        day_axis(axes, at, width=width)
        fewer_ticks(axes, along="y", most=6)
        axes.set_ylabel(axis, fontsize=11.5)
        return figure

    return both_widths("time", title, draw)


def curves(
    times: Sequence[float],
    *,
    shares: Mapping[str, Sequence[float]],
    lows: Mapping[str, Sequence[float]],
    highs: Mapping[str, Sequence[float]],
    axis: str,
    along: str,
    title: str,
) -> Chart:
    """Shares that only fall, as steps over time, each with its band; the first, the control, is dashed."""

    def draw(width: int) -> Figure:
        columns = 4 if width == WIDE else 2
        rows = -(-len(shares) // columns)
        figure, axes = blank(width, 250 + 20 * rows, left=62, right=14, top=14 + 20 * rows, bottom=44)
        lines = []
        for place, name in enumerate(shares):
            colour, dash = (CONTROL, "--") if place == 0 else (_SHARES[(place - 1) % len(_SHARES)], "-")
            axes.fill_between(times, lows[name], highs[name], color=colour, alpha=0.12, linewidth=0, step="post")
            lines += axes.step(times, shares[name], where="post", color=colour, linewidth=2, linestyle=dash)
        figure.legend(
            lines, [shorten(name, most=20) for name in shares], loc="upper left", ncols=columns, frameon=False,
            fontsize=11.5, handlelength=1.6, bbox_to_anchor=(0.04, 1.0), borderpad=0.1, columnspacing=1.2,
        )  # fmt: skip
        axes.grid(axis="y", color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
        fewer_ticks(axes, along="y", most=6)
        fewer_ticks(axes, along="x", most=7 if width == WIDE else 5)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.4g}%")
        axes.set_xlabel(along, fontsize=11.5)
        axes.set_ylabel(axis, fontsize=11.5)
        return figure

    return both_widths("retention", title, draw)


def allocation(days: Sequence[datetime], *, shares: Mapping[str, Sequence[float]], title: str) -> Chart:
    """Shares over time, stacked to the whole; each holds until the next of ``days``, which end with one day more."""

    def draw(width: int) -> Figure:
        columns = 4 if width == WIDE else 2
        rows = -(-len(shares) // columns)
        figure, axes = blank(width, 210 + 20 * rows, left=44, right=14, top=14 + 20 * rows, bottom=32)
        colours = [_NOTHING if name == "nothing" else _SHARES[at % len(_SHARES)] for at, name in enumerate(shares)]
        # Thin white seams keep neighbours apart for who can't tell the colours.
        at = [day_number(each) for each in days]
        held = [[*each, each[-1]] for each in shares.values()]
        axes.stackplot(at, *held, colors=colours, step="post", edgecolor="white", linewidth=0.8)
        axes.set_ylim(0, 1)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
        handles = [Patch(color=colour) for colour in colours]
        figure.legend(
            handles, [shorten(name, most=20) for name in shares], loc="upper left", ncols=columns, frameon=False,
            fontsize=11.5, handlelength=1, handleheight=1, bbox_to_anchor=(0.04, 1.0), borderpad=0.1, columnspacing=1.2,
        )  # fmt: skip
        day_axis(axes, at, width=width)
        return figure

    return both_widths("allocation", title, draw)


def bridge(steps: Sequence[Step], *, title: str) -> Chart:
    """A waterfall: what each step adds or takes, and the total at its end."""

    def draw(width: int) -> Figure:
        rows = len(steps)
        left = 180 if width == WIDE else 10
        pitch = 34 if width == WIDE else 50
        figure, axes = blank(width, pitch * rows + 12, left=left, right=20, top=6, bottom=6)
        level, reach = 0.0, []
        spread = max((abs(step.value) for step in steps), default=1.0) or 1.0
        for place, step in enumerate(steps):
            base = 0.0 if step.total else level
            tip = base + step.value
            colour = ACCENT if step.total else GOOD if step.value > 0 else GREY
            axes.barh(place, step.value, left=base, height=0.5 if width == WIDE else 0.36, color=colour, linewidth=0)
            after = max(base, tip)
            axes.text(after + 0.015 * spread, place, step.text, ha="left", va="center", fontsize=12, color=INK)
            row_label(axes, step.label, place, width=width, strong=step.total, pitch=pitch, above=19)
            level = tip
            reach += [base, tip]
            if place + 1 < rows:
                axes.plot([tip, tip], [place - 0.25, place + 1.25], color=MUTED, linewidth=0.8)
        axes.axvline(0, color=INK, linewidth=1)
        room = 0.30 if width == WIDE else 0.62
        extent = max(reach) - min(reach) or 1.0
        axes.set_xlim(min(reach) - 0.02 * extent, max(reach) + room * extent)
        axes.set_ylim(rows - 0.5, -0.6 if width == WIDE else -0.8)
        bare(axes)
        return figure

    return both_widths("bridge", title, draw)


def ladder(marks: Sequence[Mark], *, best: str, axis: str, title: str) -> Chart:
    """The value of each rung with its interval, left to right; the recommended one stands out."""

    def draw(width: int) -> Figure:
        figure, axes = blank(width, 280 if width == WIDE else 300, left=58, right=14, top=26, bottom=38)
        at = range(len(marks))
        axes.plot(at, [mark.value for mark in marks], color=RULE, linewidth=1.5, zorder=1)
        for place, mark in enumerate(marks):
            chosen = mark.label == best
            colour = ACCENT if chosen else CONTROL
            axes.vlines(place, mark.low, mark.high, color=colour, linewidth=3 if chosen else 2, zorder=2)
            axes.plot([place], [mark.value], marker="o", markersize=9 if chosen else 7, color=colour, zorder=3)
            if chosen:
                axes.text(place, 1.03, "recommended", transform=axes.get_xaxis_transform(), ha="center", va="bottom",
                          fontsize=11, color=ACCENT)  # fmt: skip
            if width == WIDE:
                axes.annotate(mark.text, (place, mark.value), xytext=(9, 0), textcoords="offset points", va="center",
                              bbox=PAPER, fontsize=11.5, color=INK)  # fmt: skip
        names = [mark.label if width == WIDE else mark.label.replace("one-to-one", "1:1") for mark in marks]
        axes.set_xticks(list(at), names, fontsize=11.5 if width == WIDE else 9.5)
        axes.set_xlim(-0.45, len(marks) - (0.2 if width == WIDE else 0.55))
        axes.grid(axis="y", color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_ylabel(axis, fontsize=11.5)
        fewer_ticks(axes, along="y", most=6)
        return figure

    return both_widths("ladder", title, draw)


def _forest(marks: Sequence[Mark], *, axis: str, other: str, width: int) -> Figure:
    wide = width == WIDE
    pitch = 27 if wide else 44
    places, headings = _places(marks, wide=wide)
    rows = max(places) + 1
    below = 60 if other and not wide else 44
    left, right = (188, 156) if wide else (10, 20)
    figure, axes = blank(width, round(pitch * rows) + 4 + below, left=left, right=right, top=4, bottom=below)
    for mark, place in zip(marks, places, strict=True):
        colour = _TONES[mark.tone]
        axes.plot([mark.low, mark.high], [place, place], color=colour, linewidth=2.4, solid_capstyle="butt")
        axes.plot([mark.value], [place], marker="o", markersize=6.5, color=colour, markeredgecolor="white")
        if mark.other is not None:
            axes.plot([mark.other], [place], marker="D", markersize=5.5, color="white", markeredgecolor=INK)
        strong = mark.group == "" and wide
        text = INK if mark.tone != "few" else MUTED
        if wide:
            axes.text(
                1.02, place, mark.text, transform=axes.get_yaxis_transform(), va="center", fontsize=11.5, color=text
            )
            row_label(axes, mark.label, place, width=width, strong=strong, pitch=pitch, colour=text)
        else:
            row_label(
                axes, f"{shorten(mark.label, most=18)}: {mark.text}", place, width=width, strong=False, pitch=pitch
            )
    for text, place in headings:
        row_label(axes, text, place, width=width, strong=True, pitch=pitch, colour=MUTED)
    axes.axvline(0, color=INK, linewidth=1, zorder=0)
    axes.set_ylim(rows - 0.4, -0.7)
    axes.set_yticks([])
    axes.set_xlim(*_reach(marks))
    fewer_ticks(axes, along="x", most=7 if wide else 5)
    gap = "   " if wide else "\n"
    axes.set_xlabel(axis + (f"{gap}◇ {other}" if other else ""), fontsize=11.5)
    return figure


def _reach(marks: Sequence[Mark]) -> tuple[float, float]:
    """The limits of the axis: all intervals but those of too few customers, which may run out of the picture."""
    told = [mark for mark in marks if mark.tone != "few"] or list(marks)
    every = (each for mark in told for each in (mark.low, mark.high, mark.other))
    ends = [0.0, *(each for each in every if each is not None and math.isfinite(each))]
    edge = 0.04 * (max(ends) - min(ends) or 1.0)
    return min(ends) - edge, max(ends) + edge


def _places(marks: Sequence[Mark], *, wide: bool) -> tuple[list[float], list[tuple[str, float]]]:
    places: list[float] = []
    headings: list[tuple[str, float]] = []
    row, group = 0.0, ""
    for mark in marks:
        if mark.group != group:
            group = mark.group
            headings.append((group, row + (0.15 if wide else 0.2)))
            row += 1.0 if wide else 0.7
        places.append(row)
        row += 1
    return places, headings
