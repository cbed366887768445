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

from experiments.analysis.looks import periods
from experiments.estimation.columns import Column, dependence, first_rows
from experiments.estimation.influence import Floats, Integers
from features.errors import InputError

# A span of days holds so many units of every arm, so that what chance did to its shares is small beside a change.
_LEAST = 50
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
        together until they hold 50 units of every arm.
        """
        when = periods(table, name)
        if missing := int((when.codes < 0).sum()):
            raise InputError(f"{name!r} is missing in places", got=f"{missing:,} rows", do="fill or leave out those")
        counts = np.zeros((len(when.values), len(arms)))
        np.add.at(counts, (when.codes, arm), 1)
        span = _spans(counts)
        held = np.zeros((span[-1] + 1, len(arms)))
        np.add.at(held, span, counts)
        shares = held / held.sum(axis=1, keepdims=True)
        period, rows = span[when.codes], first_rows(cluster)
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
    """The span of each day, from counts (days, arms): days in a row until each arm is there; what is left joins it."""
    span, held, at = np.zeros(len(counts), dtype=np.int64), np.zeros(counts.shape[1]), 0
    for day, each in enumerate(counts):
        if held.min() >= _LEAST:
            at, held = at + 1, np.zeros_like(held)
        span[day], held = at, held + each
    if at and held.min() < _LEAST:
        span[span == at] = at - 1
    return span


def _said(shares: Floats, arms: Sequence[str]) -> str:
    """The arm whose share changed most, at first and where it was furthest from that."""
    apart = np.abs(shares - shares[0])
    place, arm = np.unravel_index(int(apart.argmax()), apart.shape)
    return (
        f"the arms' shares changed while it ran ({arms[int(arm)]!r} had {shares[0, arm]:.0%} of those who entered at "
        f"first, {shares[place, arm]:.0%} later)."
    )
