"""What is known of customers as groups that a person can name: cuts of one column, and the effect on either side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy import stats

from experiments.estimation.columns import numbers_of
from experiments.estimation.influence import Floats, Integers, mean_interval, mean_of
from experiments.heterogeneity.results import GroupEffect, KnownGroups, Trait

Mask = npt.NDArray[np.bool_]

# A side with a smaller share of customers, or fewer, is no group to speak of, and its mean is not normal yet.
_LEAST_SHARE = 0.05
_LEAST = 200
_LEVELS = 8


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A column cut in two: who is ``inside`` (n,), of those ``known`` (n,), and what either side is called."""

    column: str
    inside: Mask
    known: Mask
    called: str
    others: str


def cuts_of(table: pa.Table) -> list[Cut]:
    """The cuts of every column, made without a look at any outcome.

    Numbers are cut at their fifths, words by each frequent value against the others.
    """
    cuts = [cut for name in table.column_names for cut in _cuts(table.column(name).combine_chunks(), name)]
    return [cut for cut in cuts if _fit(cut)]


def _cuts(column: pa.Array, name: str) -> Iterator[Cut]:
    if pa.types.is_boolean(column.type):
        inside = pc.fill_null(column, False).to_numpy(zero_copy_only=False)
        known = pc.is_valid(column).to_numpy(zero_copy_only=False)
        yield Cut(column=name, inside=inside, known=known, called=f"{name} = yes", others=f"{name} = no")
        return
    numbers = numbers_of(column)
    yield from _word_cuts(column, name) if numbers is None else _number_cuts(column, numbers, name)


def _number_cuts(column: pa.Array, numbers: Floats, name: str) -> Iterator[Cut]:
    known = np.isfinite(numbers)
    there = numbers[known]
    if not there.size:
        return
    distinct = np.unique(there)
    if distinct.size == 2:
        low, high = (_said(column, numbers, value) for value in distinct)
        yield Cut(
            column=name, inside=numbers == distinct[1], known=known, called=f"{name} = {high}", others=f"{name} = {low}"
        )
        return
    for edge in np.unique(np.quantile(there, np.arange(1, 5) / 5, method="inverted_cdf")):
        said = _said(column, numbers, edge)
        yield Cut(
            column=name,
            inside=known & (numbers > edge),
            known=known,
            called=f"{name} above {said}",
            others=f"{name} up to {said}",
        )


def _said(column: pa.Array, numbers: Floats, value: float) -> str:
    """A number as the table writes it: a day as a day."""
    if pa.types.is_temporal(column.type):
        return str(column[int(np.flatnonzero(numbers == value)[0])].as_py())[:10]
    return f"{value:,.6g}"


def _word_cuts(column: pa.Array, name: str) -> Iterator[Cut]:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    texts = column.cast(pa.string())
    known = pc.is_valid(texts).to_numpy(zero_copy_only=False)
    counts = sorted(pc.value_counts(texts.drop_null()).to_pylist(), key=lambda each: (-each["counts"], each["values"]))
    levels = [each["values"] for each in counts[:_LEVELS]]
    for level in levels[: 1 if len(counts) == 2 else None]:
        other = f"{name} = {levels[1]}" if len(counts) == 2 else f"{name} other than {level}"
        inside = pc.fill_null(pc.equal(texts, level), False).to_numpy(zero_copy_only=False)
        yield Cut(column=name, inside=inside, known=known, called=f"{name} = {level}", others=other)


def _fit(cut: Cut) -> bool:
    sides = int(cut.inside.sum()), int((cut.known & ~cut.inside).sum())
    return min(sides) >= max(_LEAST, _LEAST_SHARE * cut.inside.size)


def known_groups(
    cuts: list[Cut], *, effect: Floats, cluster: Integers | None, alpha: float, arms: int = 1
) -> list[KnownGroups]:
    """The effect on both sides of every cut, the clearest difference first.

    Parameters
    ----------
    effect: (n,) doubly robust effects.
    alpha, arms: the intervals of all sides of all cuts, in each of so many arms, hold together (Sidak 1967); p-values
        are adjusted for all cuts (Bonferroni).
    """
    level = 1 - (1 - alpha) ** (1 / (2 * max(len(cuts), 1) * arms))
    found = [(_difference(cut, effect=effect, cluster=cluster, level=level), cut) for cut in cuts]
    rows = [
        KnownGroups(column=cut.column, inside=inside, outside=outside, p_value=min(1.0, len(cuts) * p))
        for (inside, outside, p), cut in found
    ]
    return sorted(rows, key=lambda row: (row.p_value, -abs(row.inside.effect - row.outside.effect)))


def _difference(
    cut: Cut, *, effect: Floats, cluster: Integers | None, level: float
) -> tuple[GroupEffect, GroupEffect, float]:
    out = cut.known & ~cut.inside
    inside = group_effect(cut.called, effect, rows=np.flatnonzero(cut.inside), cluster=cluster, alpha=level)
    outside = group_effect(cut.others, effect, rows=np.flatnonzero(out), cluster=cluster, alpha=level)
    influence = (
        cut.inside / cut.inside.mean() * (effect - inside.effect)
        - out / out.mean() * (effect - outside.effect)
        + (inside.effect - outside.effect)
    )
    sides = np.where(cut.known, cut.inside, -1).astype(np.int64)
    return inside, outside, float(2 * stats.norm.sf(abs(mean_of(influence, cluster=cluster, part=sides).z)))


def group_effect(name: str, effect: Floats, *, rows: Integers, cluster: Integers | None, alpha: float) -> GroupEffect:
    """The mean effect of the units ``rows`` with its interval."""
    codes = None if cluster is None else np.unique(cluster[rows], return_inverse=True)[1].astype(np.int64)
    found = mean_interval(effect[rows], cluster=codes, alpha=alpha)
    return GroupEffect(group=name, n=int(rows.size), effect=found.value, ci_low=found.low, ci_high=found.high)


def traits_of(table: pa.Table, *, top: Integers, bottom: Integers) -> list[Trait]:
    """How the customers ``top`` differ from those ``bottom``, by column, the most different first."""
    found = [_trait(table.column(name).combine_chunks(), name, top, bottom) for name in table.column_names]
    return sorted((each for each in found if each is not None), key=lambda each: -abs(each.distance))


def _trait(column: pa.Array, name: str, top: Integers, bottom: Integers) -> Trait | None:
    numbers = numbers_of(column) if not pa.types.is_temporal(column.type) else None
    if numbers is not None:
        return _apart(name, None, numbers, top, bottom)
    if pa.types.is_temporal(column.type):
        return None
    each = [
        _apart(name, cut.called.removeprefix(f"{name} = "), np.where(cut.known, cut.inside, np.nan), top, bottom)
        for cut in _word_cuts(column, name)
    ]
    return max((trait for trait in each if trait is not None), key=lambda trait: abs(trait.distance), default=None)


def _apart(name: str, level: str | None, numbers: Floats, top: Integers, bottom: Integers) -> Trait | None:
    there = numbers[np.isfinite(numbers)]
    spread = float(there.std()) if there.size else 0.0
    first, last = (values[np.isfinite(values)] for values in (numbers[top], numbers[bottom]))
    if not (spread > 0 and first.size and last.size):
        return None
    means = float(first.mean()), float(last.mean())
    return Trait(
        column=name,
        level=level,
        top=means[0],
        bottom=means[1],
        everybody=float(there.mean()),
        distance=(means[0] - means[1]) / spread,
    )
