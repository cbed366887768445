"""What is read of each metric from the units: its moments per group, by row or by cluster, missing values aside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from experiments.analysis.cluster_sizes import ClusterSizes
from experiments.analysis.statistics import Codes, Moments, Quantity, grouped_moments
from experiments.observations import Column, Labels, numbers
from features.errors import InputError, unknown


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A metric or covariate as the user names it: a column, or ``NUM/DEN`` for a ratio of sums.

    >>> Variable.named("clicks/views", ["clicks", "views"]).columns
    ('clicks', 'views')
    """

    name: str
    columns: tuple[str, ...]

    @classmethod
    def named(cls, name: str, there: Sequence[str]) -> Variable:
        """The variable that ``name`` means among the columns that are there; a column's whole name goes first."""
        cuts = [place for place, mark in enumerate(name) if mark == "/"]
        pairs = [(name[:cut].strip(), name[cut + 1 :].strip()) for cut in cuts]
        for columns in [(name,), *pairs]:
            if all(each in there for each in columns):
                return cls(name=name, columns=columns)
        missing = next((each for pair in pairs for each in pair if each not in there), name)
        raise unknown("column", missing, there)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A goal's moments per group, and where in them the goal and the covariates stand."""

    goal: Variable
    moments: Sequence[Moments]
    quantity: Quantity
    covariates: tuple[Quantity, ...]
    missing: int
    clustered: bool

    def units(self, moments: Moments) -> int:
        """The rows behind ``moments``: as clusters go, their mean size times their number."""
        return round(moments.n * float(moments.mean[-1])) if self.clustered and moments.n else moments.n


@dataclass(frozen=True, kw_only=True)
class Before:
    """The covariates ``names`` per group: ``quantities`` of ``moments``; ``reach`` is each one's furthest unit.

    A unit's distance is that of its influence on the covariate's mean over all groups.
    """

    names: tuple[str, ...]
    moments: Sequence[Moments]
    quantities: tuple[Quantity, ...]
    reach: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How many clusters each group holds (a cluster of several groups counts in each), and how many are ``shared``."""

    per_group: list[int]
    shared: int


@dataclass(frozen=True, kw_only=True)
class Reader:
    """The columns of an analysis, read as often as groups are asked for.

    ``valid`` holds a mask for each metric column with missing values; ``fills`` the number of values of each covariate
    that were missing and stand at its mean; ``clusters`` (n,) the cluster of each row, if rows are clustered;
    ``strata`` the stratum of each, if the groups' moments shall keep strata apart.

    >>> table = pa.table({"spend": [1.0, 3.0, None, 8.0]})
    >>> reader = Reader.of(table, goals=[Variable.named("spend", ["spend"])], covariates=[], clusters=None)
    >>> (spend,) = reader.read(np.array([0, 0, 1, 1]), groups=2)
    >>> [(group.n, spend.quantity.value(group)) for group in spend.moments], spend.missing
    ([(2, 2.0), (1, 8.0)], 1)
    """

    goals: tuple[Variable, ...]
    covariates: tuple[Variable, ...]
    columns: Mapping[str, Column]
    valid: Mapping[str, NDArray[np.bool_]]
    adjusters: Mapping[str, Column]
    fills: Mapping[str, int]
    clusters: Codes | None
    strata: Labels | None = None

    @classmethod
    def of(
        cls,
        table: pa.Table,
        *,
        goals: Sequence[Variable],
        covariates: Sequence[Variable],
        clusters: Codes | None,
        strata: Labels | None = None,
    ) -> Reader:
        """The reader of an Arrow table.

        ``clusters`` holds a code per row, -1 where missing; ``strata`` a label per row. Raises InputError when strata
        cut through a cluster: its parts are no independent samples.
        """
        columns = {name: numbers(table, name) for each in goals for name in each.columns}
        masks = {name: ~np.isnan(column) for name, column in columns.items() if column.dtype.kind == "f"}
        adjusters, fills = {}, {}
        for name in dict.fromkeys(name for each in covariates for name in each.columns):
            adjusters[name], fills[name] = _filled(name, numbers(table, name))
        owned = None if clusters is None else each_own(clusters)
        if owned is not None and strata is not None:
            _check_whole(owned, strata)
        return cls(
            goals=tuple(goals),
            covariates=tuple(covariates),
            columns=columns,
            valid={name: mask for name, mask in masks.items() if not mask.all()},
            adjusters=adjusters,
            fills={name: count for name, count in fills.items() if count},
            clusters=owned,
            strata=strata,
        )

    def read(self, codes: Codes, *, groups: int) -> list[Reading]:
        """Every goal's moments within each group; rows with a negative code, or without the goal, are left out."""
        whole = [each for each in self.goals if not any(name in self.valid for name in each.columns)]
        found = {each.goal: each for each in self._pass(whole, codes, groups)}
        for each in self.goals:
            if each not in found:
                valid = np.logical_and.reduce([self.valid[name] for name in each.columns if name in self.valid])
                missing = int((~valid & (codes >= 0)).sum())
                (found[each],) = self._pass([each], np.where(valid, codes, -1), groups, missing=missing)
        return [found[each] for each in self.goals]

    def rates(self) -> list[str]:
        """The metrics that are shares of units: one column of 0 and 1."""
        return [each.name for each in self.goals if len(each.columns) == 1 and _zero_one(self.columns[each.columns[0]])]

    def spread(self, labels: Labels) -> Spread | None:
        """How the clusters spread over the labels; None where rows aren't clustered."""
        if self.clusters is None:
            return None
        groups = len(labels.values)
        pairs = pairs_of(self.clusters, labels.codes, groups).pairs
        per_group = np.bincount(pairs % groups, minlength=groups)
        clusters = pairs // groups  # ascending, so that those of one cluster stand side by side
        shared = np.count_nonzero(np.diff(np.flatnonzero(np.diff(clusters, prepend=-1)), append=len(clusters)) > 1)
        return Spread(per_group=[int(each) for each in per_group], shared=int(shared))

    def before(self, codes: Codes, *, groups: int, readings: Sequence[Reading] = ()) -> Before | None:
        """The covariates of all units in a group, whether they have the goals or not; None where there are none.

        ``readings`` of the same groups spare another pass where one of them lacks no row.
        """
        if not self.covariates:
            return None
        arrays: list[Column] = list(self.adjusters.values())
        place = {name: number for number, name in enumerate(self.adjusters)}
        size = None
        if self.clusters is not None:
            size = len(arrays)
            arrays, codes = _totals(arrays, self.clusters, codes, groups)
        own = tuple(_quantity(each, place, size) for each in self.covariates)
        whole = next((each for each in readings if not each.missing and size is None), None)
        moments = whole.moments if whole else grouped_moments(arrays, codes, groups=groups)
        quantities = whole.covariates if whole else own
        together = reduce(add, moments)
        values = [each.value(together) for each in quantities]
        return Before(
            names=tuple(each.name for each in self.covariates),
            moments=moments,
            quantities=quantities,
            reach=tuple(_reach(each, value, arrays) for each, value in zip(own, values, strict=True)),
        )

    def stratum_sizes(self, codes: Codes, *, groups: int) -> dict[str, list[int]]:
        """How many independent units (clusters, else rows) each stratum holds of each group; empty without strata."""
        if self.strata is None:
            return {}
        names = self.strata.values
        cells = np.where(codes < 0, -1, self.strata.codes * groups + codes)
        if self.clusters is not None:
            cells = pairs_of(self.clusters, cells, len(names) * groups).pairs % (len(names) * groups)
        counted = np.bincount(cells[cells >= 0], minlength=len(names) * groups).reshape(len(names), groups)
        return dict(zip(names, counted.tolist(), strict=True))

    def _pass(self, goals: Sequence[Variable], codes: Codes, groups: int, *, missing: int = 0) -> list[Reading]:
        if not goals:
            return []
        names = list(dict.fromkeys(name for each in goals for name in each.columns))
        arrays = [self.columns[name] for name in names] + list(self.adjusters.values())
        place = {name: number for number, name in enumerate(names)}
        shifted = {name: len(names) + number for number, name in enumerate(self.adjusters)}
        size = None
        within = len(self.strata.values) if self.strata else 1
        if self.strata:
            codes = np.where(codes < 0, -1, codes * within + self.strata.codes)
        if self.clusters is not None:
            size = len(arrays)
            arrays, codes = _totals(arrays, self.clusters, codes, groups * within)
        moments = grouped_moments(arrays, codes, groups=groups * within)
        if size is not None:
            moments = _sized(moments, arrays[size], codes)
        if self.strata:
            moments = [Moments.stratified(moments[first : first + within]) for first in range(0, len(moments), within)]
        return [
            Reading(
                goal=each,
                moments=moments,
                quantity=_quantity(each, place, size),
                covariates=tuple(_quantity(other, shifted, size) for other in self.covariates),
                missing=missing,
                clustered=size is not None,
            )
            for each in goals
        ]


def _quantity(goal: Variable, place: Mapping[str, int], size: int | None) -> Quantity:
    # Of clusters a mean per row is a ratio too: the clusters' totals over their sizes.
    below = place[goal.columns[1]] if len(goal.columns) > 1 else size
    return Quantity(numerator=place[goal.columns[0]], denominator=below)


def _reach(quantity: Quantity, value: float, arrays: Sequence[Column]) -> float:
    above = arrays[quantity.numerator].astype(float, copy=False)
    if quantity.denominator is None:
        return float(max(above.max() - value, value - above.min()))
    below = arrays[quantity.denominator].astype(float, copy=False)
    return float(np.abs(above - value * below).max() / below.mean())


def _zero_one(column: Column) -> bool:
    # A glance at the first rows spares most other columns the full comparison.
    return all(bool(((part == 0) | (part == 1) | (part != part)).all()) for part in (column[:1000], column))


def _filled(name: str, column: Column) -> tuple[Column, int]:
    if column.dtype.kind != "f":
        return column, 0
    empty = np.isnan(column)
    count = int(empty.sum())
    if count == len(column):
        raise InputError(f"covariate {name!r} is empty", got="no value in any row", do="leave it out")
    return (np.where(empty, column[~empty].mean(), column), count) if count else (column, 0)


def _check_whole(clusters: Codes, strata: Labels) -> None:
    pairs = pairs_of(clusters, strata.codes, len(strata.values)).pairs // len(strata.values)
    cut = len(pairs) - len(np.unique(pairs))
    if cut:
        raise InputError(
            "the strata cut through clusters",
            got=f"{cut:,} clusters with rows in several strata",
            do="stratify by what is the same for a whole cluster, or leave out the strata",
        )


def each_own(clusters: Codes) -> Codes:
    """Rows without a cluster become clusters of their own: they share nothing that we know of."""
    alone = clusters < 0
    numbered = clusters.astype(np.int64)
    numbered[alone] = numbered.max(initial=0) + 1 + np.arange(int(alone.sum()))
    return numbered


@dataclass(frozen=True, kw_only=True)
class _Pairs:
    """Which clusters have rows in which groups: ``pairs`` = cluster x groups + group, ascending.

    ``keys`` holds the bin of each row that is ``kept``, ``bins`` those of the pairs.
    """

    kept: NDArray[np.bool_]
    keys: Codes
    bins: Codes
    pairs: Codes


def pairs_of(clusters: Codes, codes: Codes, groups: int) -> _Pairs:
    """The clusters (n,) and groups (n,) that stand together in a row; rows with a negative group are left out."""
    kept = codes >= 0
    keys = clusters[kept] * groups + codes[kept]
    room = (int(clusters.max(initial=0)) + 1) * groups
    if room <= 4 * len(keys) + 1000:
        # Few enough to count them in place: many times quicker than sorting the rows.
        pairs = np.flatnonzero(np.bincount(keys, minlength=room))
        return _Pairs(kept=kept, keys=keys, bins=pairs, pairs=pairs)
    pairs, keys = np.unique(keys, return_inverse=True)
    return _Pairs(kept=kept, keys=keys, bins=np.arange(len(pairs)), pairs=pairs)


def _totals(arrays: Sequence[Column], clusters: Codes, codes: Codes, groups: int) -> tuple[list[Column], Codes]:
    """Each cluster's totals within its group and, as the last column, its size; and the group of each."""
    found = pairs_of(clusters, codes, groups)
    totals: list[Column] = [np.bincount(found.keys, weights=array[found.kept])[found.bins] for array in arrays]
    return [*totals, np.bincount(found.keys)[found.bins]], found.pairs % groups


def _sized(moments: Sequence[Moments], sizes: Column, codes: Codes) -> list[Moments]:
    """The moments of clusters with their sizes, each group's of its own."""
    held = sizes.astype(np.float64)
    powers = zip(*(np.bincount(codes, weights=held**power, minlength=len(moments)) for power in (1, 2, 3)), strict=True)
    return [
        replace(each, sizes=ClusterSizes(total=float(total), squares=float(squares), cubes=float(cubes)))
        for each, (total, squares, cubes) in zip(moments, powers, strict=True)
    ]
