"""Winsorizing: the largest value that a row of a metric counts with, fixed before the start."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from experiments.analysis.readings import Reader
from experiments.observations import Column, Labels, named
from experiments.results import Cap
from features.errors import InputError

_MOST_ARMS_TOLD = 4


def winsorized(reader: Reader, caps: Mapping[str, float | str], arms: Labels) -> tuple[Reader, tuple[Cap, ...]]:
    """The reader with values above a metric's cap counting as it, and how many lay above it in each arm.

    ``caps`` maps a metric, or a part of a ratio, to an amount in its unit, or to a share of the rows such as ``"99%"``:
    the cap is then that quantile of all arms together. As no arm is favoured, a difference of means stays one of like
    with like, and the error of the quantile itself is of a smaller order than that of the means (its first-order part
    is the difference of the arms' shares above it). But it moves from look to look: an amount does not.

    Raises
    ------
    InputError
        For an unknown metric, an amount that is no number, a share outside of 0 and 100%, and a quantile that is the
        metric's smallest value, as where fewer units buy than it leaves out.
    """
    found = {named("metric with a cap", name, list(reader.columns)): given for name, given in caps.items()}
    columns = dict(reader.columns)
    told = []
    for name, given in found.items():
        column = reader.columns[name]
        amount, share = _amount(name, given, column, kept=arms.codes >= 0)
        # NaN compares as false: a missing value is neither capped nor counted.
        above = np.greater(column, amount)
        counts = np.bincount(arms.codes[above] + 1, minlength=len(arms.values) + 1)[1:]
        by_arm = dict(zip(arms.values, counts.tolist(), strict=True))
        columns[name] = np.minimum(column, np.float64(amount))
        told.append(Cap(metric=name, cap=amount, share=share, above=by_arm))
    return replace(reader, columns=columns), tuple(told)


def ranges(reader: Reader, caps: tuple[Cap, ...]) -> dict[str, tuple[float, float]]:
    """The least and the most that a row has of each metric whose cap is an amount: a quantile isn't declared before."""
    return {
        each.metric: (float(np.nanmin(reader.columns[each.metric])), each.cap)
        for each in caps
        if each.share is None and np.isfinite(reader.columns[each.metric]).any()
    }


def cap_notes(caps: tuple[Cap, ...], arms: Labels) -> Iterator[str]:
    """For each cap, that it was declared, and how many values of each arm it holds down."""
    sizes = dict(zip(arms.values, arms.counts(), strict=True))
    for cap in caps:
        most = sorted(cap.above, key=lambda arm: -cap.above[arm] / max(sizes[arm], 1))[:_MOST_ARMS_TOLD]
        counts = ", ".join(f"{cap.above[arm]:,} of {sizes[arm]:,} with {arm!r}" for arm in sizes if arm in most)
        more = f", and {len(sizes) - len(most)} arms more" if len(sizes) > len(most) else ""
        which = "" if cap.share is None else f", the {cap.share:.6g} quantile of all arms together,"
        moves = "" if cap.share is None else " It moves from look to look; an amount doesn't."
        yield (
            f"{cap.metric}: values above the declared cap of {cap.cap:,.6g}{which} count as it: {counts}{more}.{moves}"
        )


def _amount(name: str, given: float | str, column: Column, *, kept: NDArray[np.bool_]) -> tuple[float, float | None]:
    text = str(given).strip()
    percent = text.endswith("%")
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or (percent and not 0 < value < 100):
        raise InputError(f"the cap of {name!r} is no number", got=text, do="pass an amount, or a share such as 99%")
    if not percent:
        return value, None
    known = column[kept].astype(float)
    known = known[~np.isnan(known)]
    amount = float(np.quantile(known, value / 100)) if len(known) else math.nan
    if not amount > known.min(initial=np.inf):
        raise InputError(
            f"the cap of {name!r} would leave nothing of it",
            got=f"{amount:g} at {text}, which is its smallest value",
            do="pass a larger share, or an amount",
        )
    return amount, value / 100
