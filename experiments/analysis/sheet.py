"""What an analysis reads of a table: its units, the arm of each, when they came, and the columns to be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from experiments.analysis.caps import winsorized
from experiments.analysis.doubts import check_roles
from experiments.analysis.readings import Reader, Spread, Variable, each_own
from experiments.analysis.segments import filled_labels
from experiments.analysis.statistics import Codes
from experiments.analysis.two_arms import TwoArms, in_two_arms
from experiments.estimation.entry import Entry
from experiments.observations import MISSING, Labels, arms_of, codes, column_names, crossed, opened, select
from experiments.periods import periods
from experiments.results import Cap


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """The units as read.

    ``split`` holds the arms of those that count; ``unassigned`` rows had none, and ``twice`` tells of clusters in
    several arms. ``when`` is when units came, ``steps`` the ramp's step of each. ``changed`` says how the arms' shares
    changed over time, where no ramp was named. ``chances``: whether columns look like those of a bandit.
    """

    units: pa.Table
    split: Labels
    reader: Reader
    caps: tuple[Cap, ...]
    spread: Spread | None
    twice: TwoArms | None
    unassigned: int
    when: Labels | None
    steps: Labels | None
    changed: str
    chances: bool

    @classmethod
    def read(
        cls,
        table: Any,
        *,
        arm: str,
        control: object,
        metrics: Sequence[str],
        covariates: Sequence[str],
        cluster: str | None,
        strata: Sequence[str],
        ramp: str | None,
        time: str | None,
        caps: Mapping[str, float | str],
        segments: Sequence[str],
        exposed: str | None,
    ) -> Sheet:
        """Of a table, or of the file at a path, the columns that are named; of segments the file's own words count."""
        counted = {part for each in (*metrics, *covariates) for part in (each, *each.split("/"))}
        words = [each for each in segments if each not in counted and each not in (ramp, time, exposed)]
        others = [*segments, *([exposed] if exposed else [])]
        table = opened(table, text=[arm, *words])
        there = column_names(table)
        goals = [Variable.named(each, there) for each in dict.fromkeys(metrics)]
        adjusters = [Variable.named(each, there) for each in dict.fromkeys(covariates)]
        check_roles(arm, goals, adjusters, within={"cluster": [cluster], "stratum": strata})
        named = [arm, *others, *strata, *(each for each in (ramp, time, cluster) if each)]
        units = select(table, named + [name for each in (*goals, *adjusters) for name in each.columns])
        assigned = arms_of(units, arm, control=control)
        clusters = each_own(codes(units, cluster)[1]) if cluster else None
        twice = None if clusters is None else in_two_arms(clusters, assigned)
        split = _without(assigned, twice.rows) if twice and twice.few else assigned
        when = periods(units, time) if time else None
        entry = _Entered.of(units, time, when=when, split=split, clusters=clusters) if time and when else None
        steps = entry.spans if entry and ramp == time else filled_labels(units, ramp) if ramp else None
        within = [filled_labels(units, each) for each in dict.fromkeys(strata) if each != ramp]
        within += [steps] if steps else []
        reader = Reader.of(
            units, goals=goals, covariates=adjusters, clusters=clusters, strata=crossed(within) if within else None
        )
        reader, capped = winsorized(reader, caps, split)
        return cls(
            units=units,
            split=split,
            reader=reader,
            caps=capped,
            spread=reader.spread(split),
            twice=twice,
            unassigned=int((assigned.codes < 0).sum()),
            when=when,
            steps=steps,
            changed=entry.changed if entry and not ramp else "",
            chances={f"p_{each}" for each in split.values} <= set(there),
        )

    @property
    def drawn(self) -> Sequence[float]:
        """How many of what was assigned each arm holds: clusters where each has one arm, else rows."""
        if self.twice and self.twice.few:
            return self.twice.assigned
        return self.spread.per_group if self.spread and not self.twice else self.split.counts()

    def by_step(self) -> NDArray[np.int64]:
        """How many units came in each step of the ramp (steps, arms)."""
        names = self.steps.values if self.steps else ()
        shape = (len(names), len(self.split.values))
        known = self.split.codes >= 0
        place = self.steps.codes[known].astype(np.int64) if self.steps else np.zeros(0, dtype=np.int64)
        return np.bincount(place * shape[1] + self.split.codes[known], minlength=shape[0] * shape[1]).reshape(shape)


@dataclass(frozen=True, kw_only=True)
class _Entered:
    """The spans of time in which the arms' shares stayed the same, and how they changed; empty where they didn't."""

    spans: Labels
    changed: str

    @classmethod
    def of(cls, units: pa.Table, time: str, *, when: Labels, split: Labels, clusters: Codes | None) -> _Entered:
        known = np.flatnonzero((split.codes >= 0) & (when.codes >= 0))
        dated = units.select([time])
        found = Entry.of(
            dated if len(known) == len(dated) else dated.take(pa.array(known)),
            time,
            arm=split.codes[known].astype(np.int64),
            arms=split.values,
            cluster=None if clusters is None else clusters[known].astype(np.int64),
        )
        last = np.zeros(found.period.max() + 1, dtype=np.int64)
        of_day = np.full(len(when.values), -1)
        of_day[when.codes[known]] = found.period
        np.maximum.at(last, of_day[of_day >= 0], np.flatnonzero(of_day >= 0))
        span = np.full(len(split.codes), len(last))
        span[known] = found.period
        if clusters is not None:  # a cluster was assigned when the first of its rows came
            first = np.full(clusters.max() + 1, len(last))
            np.minimum.at(first, clusters[known], found.period)
            span = first[clusters]
        names = (*(f"until {when.values[place]}" for place in last), MISSING)
        there = len(last) + int((span[split.codes >= 0] == len(last)).any())
        return cls(
            spans=Labels(values=names[:there], codes=np.minimum(span, there - 1).astype(np.int32)),
            changed=found.changed,
        )


def _without(split: Labels, rows: NDArray[np.bool_]) -> Labels:
    return replace(split, codes=np.where(rows, -1, split.codes).astype(np.int32))
