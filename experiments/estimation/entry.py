"""When units entered an experiment, and whether the arms' shares changed meanwhile.

Where they did (a ramp), the arms hold early and late customers in other shares, and who came early is not like who came
late: a plain comparison of the arms compares these, too (Simpson's paradox; Kohavi, Tang and Xu 2020, chapter 3).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import special

from experiments.estimation.columns import Column, dependence, first_rows
from experiments.estimation.influence import Floats, Integers
from experiments.periods import periods
from features.errors import InputError

# A span of days holds so many units of every arm, so that what chance did to its shares is small beside a change.
_LEAST = 50
# A step of the shares is seen where chance alone would make one in so small a part of all experiments.
_STEP = 1e-3
# Chance alone deals arms that look like this once in a million experiments.
_CHANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The span of days ``period`` (n,) in which each unit entered, and the arms' ``shares`` (periods, arms) in each.

    ``changed`` says in words how the shares changed; empty where they differ by no more than chance.
    """

    period: Integers
    shares: Floats
    changed: str

    @classmethod
    def of(
        cls, table: pa.Table, name: str, *, arm: Integers, arms: Sequence[str], cluster: Integers | None = None
    ) -> Entry:
        """From the column ``name`` of when units entered: times, dates or day numbers, none of them missing.

        ``arm`` (n,) points into ``arms``; ``cluster`` (n,) holds codes or is None. Days that follow one another stand
        together until they hold 50 units of every arm, but not those before and after a step of the shares. A cluster
        counts once in both, as it came: its rows share their arm, so a large one would look like a step.

        Raises
        ------
        InputError
            For a column that holds no times or lacks some, and an arm that nobody got in one of the spans.
        """
        when = periods(table, name)
        if missing := int((when.codes < 0).sum()):
            raise InputError(f"{name!r} is missing in places", got=f"{missing:,} rows", do="fill or leave out those")
        rows = first_rows(cluster)
        came = np.zeros((len(when.values), len(arms)))
        np.add.at(came, (when.codes[rows], arm[rows]), 1)
        span = _spans(came)
        held = np.zeros((span[-1] + 1, len(arms)))
        np.add.at(held, (span[when.codes], arm), 1)
        if (never := np.argwhere(held == 0)).size:
            first = when.values[int(np.flatnonzero(span == never[0, 0])[0])]
            raise InputError(
                f"arm {arms[int(never[0, 1])]!r} was not there all the time",
                got=f"nobody in it among those who entered about {first}",
                do="leave out who entered while an arm was missing",
            )
        shares = held / held.sum(axis=1, keepdims=True)
        period = span[when.codes]
        unlike = dependence(period[rows], arm[rows]) < _CHANCE
        return cls(period=period, shares=shares, changed=_said(shares, arms) if unlike else "")

    @property
    def doubt(self) -> str:
        """Why a plain comparison of the arms isn't to be trusted, where their shares changed; else empty."""
        return (
            f"Do not trust these numbers: {self.changed} So early customers are compared with late ones. Keep to "
            "customers who entered while the shares stayed the same."
            if self.changed
            else ""
        )


def times_in(table: Any) -> tuple[str, ...]:
    """The columns of an Arrow table that hold dates or times; of another table none, as its types tell less."""
    if not isinstance(table, pa.Table):
        return ()
    return tuple(each.name for each in table.schema if pa.types.is_timestamp(each.type) or pa.types.is_date(each.type))


def unnamed(
    table: pa.Table, names: Sequence[str], *, arm: Integers, cluster: Integers | None, option: str
) -> Iterator[str]:
    """Of each column of times that goes with the arms (n,), a sentence that asks whether it says when units entered.

    ``option`` is what to name it with.
    """
    rows = first_rows(cluster)
    for name in names:
        column = Column.read(table, name)
        if column is not None and dependence(column.levels[rows], arm[rows]) < _CHANCE:
            yield (
                f"The shares that are compared go with {name!r}. If it says when customers entered, the shares changed "
                f"while it ran, and early customers are compared with late ones: name it as {option}."
            )


def _spans(counts: Floats) -> Integers:
    """The span of each day, from counts (days, arms): days in a row until each arm is there, never over a step."""
    starts = [0, *_steps(counts, 0, len(counts))]
    span, at = np.zeros(len(counts), dtype=np.int64), -1
    for start, stop in zip(starts, [*starts[1:], len(counts)], strict=True):
        first, at, held = at + 1, at + 1, np.zeros(counts.shape[1])
        for day in range(start, stop):
            if held.min() >= _LEAST:
                at, held = at + 1, np.zeros_like(held)
            span[day], held = at, held + counts[day]
        if held.min() < _LEAST and at > first:  # what is left of the days joins those before
            span[span == at], at = at - 1, at - 1
    return span


def _steps(counts: Floats, start: int, stop: int) -> list[int]:
    """The days within ``start`` to ``stop`` from which the shares are others, by halving (Scott and Knott 1974)."""
    if stop - start < 2:
        return []
    before = np.cumsum(counts[start:stop], axis=0)
    whole, before = before[-1], before[:-1]
    apart = _likelihood(before) + _likelihood(whole - before) - _likelihood(whole[None])
    cut = start + 1 + int(apart.argmax())
    if 2 * float(apart.max()) < float(special.chdtri(counts.shape[1] - 1, _STEP / apart.size)):
        return []
    return [*_steps(counts, start, cut), cut, *_steps(counts, cut, stop)]


def _likelihood(counts: Floats) -> Floats:
    """The log-likelihood (days,) of counts (days, arms) under their own shares."""
    total = counts.sum(axis=1)
    found: Floats = special.xlogy(counts, counts).sum(axis=1) - special.xlogy(total, total)
    return found


def _said(shares: Floats, arms: Sequence[str]) -> str:
    """The arm whose share changed most, at first and where it was furthest from that."""
    apart = np.abs(shares - shares[0])
    place, arm = np.unravel_index(int(apart.argmax()), apart.shape)
    return (
        f"the arms' shares changed while it ran ({arms[int(arm)]!r} had {shares[0, arm]:.0%} of those who entered at "
        f"first, {shares[place, arm]:.0%} later)."
    )
