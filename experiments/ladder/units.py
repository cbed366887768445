"""A randomized table as arrays: who got what, what came of it, what was known of them before.

Reading a stranger's table means doubting it. A column that the contact itself moved, or that is the outcome under
another name, would make any policy look good; such columns are left out here, each with a note.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa

from experiments.estimation.columns import (
    LARGEST,
    Column,
    codes_of,
    comparable,
    feature_matrix,
    hardly_dealt,
    moved_columns,
    numbers_of,
    read_columns,
    screen,
    unread,
)
from experiments.estimation.entry import Entry, times_in, unnamed
from experiments.estimation.influence import Floats, Integers
from experiments.estimation.nuisance import LEARN_FROM, Matrix, OutcomeModels
from experiments.estimation.selection import MOST_COLUMNS, blocks, has_many
from experiments.observations import arms_of, is_text, named, text_notes
from features.amounts import amounts
from features.errors import InputError, listed
from features.tables import require_column

FEWEST = 50
FEWEST_CLUSTERS = 20
_SHOWN = 4
# The share of rows left out from which it is told that an empty outcome may mean nothing happened.
_MANY = 0.2


@dataclass(frozen=True, kw_only=True)
class Units:
    """A randomized table, ready for the ladder; arm 0 is the control.

    ``arm`` (n,) index into ``arms``; ``outcome`` (n,) before cost; ``cost`` (arms,); ``chance`` (arms,) with which arms
    were given, or (periods, arms) where it is known in which ``period`` (n,) each unit entered; ``features`` (n, p);
    ``segments`` one column of levels per candidate; ``cluster`` (n,) codes or None; ``notes`` what was left out and
    why; ``source`` the columns behind the features as the table held them, and ``order`` the place there of each unit;
    ``doubt`` a sentence on why the arms were hardly given by chance, empty where nothing says so.
    """

    arms: tuple[str, ...]
    arm: Integers
    outcome: Floats
    cost: Floats
    chance: Floats
    cluster: Integers | None
    features: Matrix
    segments: tuple[Column, ...]
    notes: tuple[str, ...]
    source: pa.Table = field(default_factory=lambda: pa.table({}))
    order: Integers = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    doubt: str = ""
    period: Integers | None = None

    def chance_at(self, rows: Integers) -> Floats:
        """The chance with which each of ``rows`` was given the arm that it has."""
        arm = self.arm[rows]
        found: Floats = self.chance[arm] if self.period is None else self.chance[self.period[rows], arm]
        return found

    @cached_property
    def known(self) -> pa.Table:
        """The columns behind the features as the table held them, its rows in the order of the units."""
        return self.source.take(pa.array(self.order))

    @cached_property
    def level(self) -> Floats:
        """What a unit (n,) of its period brings, of all arms alike: models are to learn what arms do, not periods."""
        if self.period is None:
            return np.zeros(self.arm.size)
        cell = self.period * len(self.arms) + self.arm
        means = np.bincount(cell, weights=self.outcome, minlength=self.chance.size) / np.bincount(cell)
        found: Floats = means.reshape(self.chance.shape).mean(axis=1)[self.period]
        return found

    def models(self, rows: Integers, *, rng: np.random.Generator) -> OutcomeModels:
        """Outcome models of ``rows``, beyond the level of their periods."""
        outcome = self.outcome[rows] - self.level[rows]
        return OutcomeModels.fit(
            self.features[rows], action=self.arm[rows], outcome=outcome, actions=len(self.arms), rng=rng
        )

    def expected(self, models: OutcomeModels, rows: Integers) -> Floats:
        """The expected outcome (rows, arms) by models that have not seen the ``rows``."""
        found = np.empty((rows.size, len(self.arms)))
        for part in blocks(rows.size):
            found[part] = models.predict(self.features[rows[part]]) + self.level[rows[part], None]
        return found

    def learning_notes(self, *, folds: int) -> Iterator[str]:
        """What of the table the models of each of ``folds`` learn from, where that isn't all of the other folds."""
        units, width = self.features.shape
        if (others := units - units // folds) > LEARN_FROM:
            yield f"Models and policies were learned from {LEARN_FROM:,} rows at a time and valued on all {units:,}."
        if has_many(min(others, LEARN_FROM), width):
            yield (
                f"Of {width} model columns each fit used the {MOST_COLUMNS} that told most, chosen on units that it "
                "does not value."
            )


def read_units(
    table: pa.Table,
    *,
    arm: str,
    control: str,
    outcome: str,
    features: Sequence[str] | None = None,
    segments: Sequence[str] = (),
    cluster: str | None = None,
    costs: Mapping[str, float] | None = None,
    exclude: Sequence[str] = (),
    probabilities: Mapping[str, float] | None = None,
    time: str | None = None,
) -> Units:
    """The arrays of a randomized table; see ``experiments.ladder.ladder`` for the parameters.

    Raises
    ------
    InputError
        For unknown columns or arms, a constant or missing outcome, too few units in an arm, or a named feature that
        was not known before the contact.
    """
    own = (arm, outcome, *(each for each in (cluster, time) if each))
    for name in (*own, *(features or ()), *segments, *exclude):
        require_column(table, name)
    _check_asked(arm=arm, outcome=outcome, time=time, planned=probabilities is not None)
    taken = {*own, *exclude}
    wanted = list(features) if features is not None else [name for name in table.column_names if name not in taken]
    asked = [*dict.fromkeys([*wanted, *segments])]
    table, told = with_numbers(table, outcome)
    table, notes = complete_rows(table, own)
    split = arms_of(table, arm, control=control)
    arms, codes = split.values, split.codes.astype(np.int64)
    response = numeric_outcome(table, outcome)
    groups = None if cluster is None else codes_of(table.column(cluster))
    _check_sizes(arms, codes, groups)
    order = _canonical_order(table, exclude=(arm, outcome), arm=codes, outcome=response)
    codes, response = codes[order], response[order]
    groups = None if groups is None else groups[order]
    dated = table.select([time] if time else times_in(table)).take(pa.array(order))
    entry = None if time is None else Entry.of(dated, time, arm=codes, arms=arms, cluster=groups)
    period = None if entry is None else entry.period
    there = read_columns(table, asked, order=order)
    moved = moved_columns(there, arm=codes, cluster=groups, period=period)
    doubted = hardly_dealt(moved, there)
    columns, screened = screen(
        there, outcome=response, named={*(features or ()), *segments}, moved=() if doubted else moved
    )
    known = [column for column in columns if column.name in set(wanted)]
    told_apart = [each for each in columns if each.name in segments] if segments else [e for e in known if e.few_levels]
    shares = np.bincount(codes, minlength=len(arms)) / codes.size
    return Units(
        arms=arms,
        arm=codes,
        outcome=response,
        cost=_per_arm(costs or {}, arms, default=np.zeros(len(arms)), what="cost"),
        chance=_chances(probabilities, arms, shares) if entry is None else entry.shares,
        period=period,
        cluster=groups,
        features=feature_matrix(known, rows=codes.size),
        segments=tuple(replace(column, numbers=None) for column in told_apart),
        notes=(
            *told,
            *notes,
            *_unread_notes(table, there),
            *screened,
            *_entry_notes(dated, entry, arm=codes, cluster=groups),
        ),
        source=table.select([column.name for column in known]),
        order=order,
        doubt=_not_dealt(moved, of=len(asked)) if doubted else "",
    )


def _check_asked(*, arm: str, outcome: str, time: str | None, planned: bool) -> None:
    if time is not None and planned:
        raise InputError(
            "planned shares can't hold at all times", got=f"probabilities with {time!r}", do="leave out one of them"
        )
    if arm == outcome:
        raise InputError("arm and outcome are one column", got=repr(arm), do="name the column that holds the outcome")


def _entry_notes(table: pa.Table, entry: Entry | None, *, arm: Integers, cluster: Integers | None) -> Iterator[str]:
    if entry is None:
        yield from unnamed(table, times_in(table), arm=arm, cluster=cluster, option="--time")
    elif entry.changed:
        yield (
            f"{entry.changed[0].upper()}{entry.changed[1:]} So each arm's customers count as if every span of days had "
            "the same shares."
        )


def _unread_notes(table: pa.Table, columns: Mapping[str, Column | None]) -> Iterator[str]:
    """Which columns hold nothing to learn from, a sentence for each reason."""
    why: dict[str, list[str]] = {}
    for name in (name for name, column in columns.items() if column is None):
        why.setdefault(unread(table, name), []).append(name)
    for reason, names in why.items():
        yield f"{_some(list(map(repr, names)))} left out: {reason}."


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _not_dealt(unlike: Sequence[str], *, of: int) -> str:
    return (
        f"Do not trust these numbers: {len(unlike)} of {of} columns differ between the arms far beyond chance "
        f"({_some(unlike)}), so chance did not decide who got what. If those are outcomes, exclude them."
    )


def numeric_outcome(table: pa.Table, outcome: str, *, may_be_constant: bool = False) -> Floats:
    """The outcome (n,) as finite numbers that vary, or the reason why not."""
    values = numbers_of(table.column(outcome).combine_chunks())
    if values is None:
        kinds = dict.fromkeys(map(str, table.column(outcome).slice(0, 1000).to_pylist()))
        raise InputError(
            f"the outcome {outcome!r} is not a number",
            got=listed(kinds, most=4),
            do="turn it into numbers, such as 0 and 1",
        )
    if (largest := float(np.abs(values).max())) > LARGEST:
        raise InputError(
            f"the outcome {outcome!r} is infinite or absurd in places", got=f"{largest:g}", do="mend or drop those rows"
        )
    if values.min() == values.max() and not may_be_constant:
        raise InputError(
            f"the outcome {outcome!r} never varies", got=f"{values[0]:g} in every row", do="name an outcome that does"
        )
    return values


def with_numbers(table: pa.Table, outcome: str) -> tuple[pa.Table, list[str]]:
    """The table with an outcome that is text as the amounts that it stands for, and a note on how they were read."""
    if not is_text(table.schema.field(outcome).type) or (values := amounts(table[outcome], outcome)) is None:
        return table, []
    notes = list(text_notes(table, [outcome]))
    return table.set_column(table.column_names.index(outcome), outcome, pa.array(values, from_pandas=True)), notes


def complete_rows(table: pa.Table, columns: Sequence[str]) -> tuple[pa.Table, list[str]]:
    """The rows in which none of ``columns`` is missing, and a note on the others."""
    keep = np.ones(table.num_rows, dtype=bool)
    for name in columns:
        column = table.column(name).to_pandas()
        keep &= ~(pd.isna(column) | (column == "")).to_numpy()
    lost = int((~keep).sum())
    if lost == table.num_rows:
        raise InputError(
            "no row has an arm and an outcome", got=f"{lost:,} incomplete rows", do="check the columns named"
        )
    if not lost:
        return table, []
    note = f"{lost:,} of {table.num_rows:,} rows left out: no {' or no '.join(columns)}."
    if lost > _MANY * table.num_rows:
        note += " Where an empty outcome means that nothing happened, write 0."
    return table.filter(pa.array(keep)), [note]


def _check_sizes(arms: tuple[str, ...], arm: Integers, cluster: Integers | None) -> None:
    for index, name in enumerate(arms):
        rows = np.flatnonzero(arm == index)
        if rows.size < FEWEST:
            raise InputError(
                f"arm {name!r} is too small", got=f"{rows.size} units", do=f"leave it out, or wait for {FEWEST} units"
            )
        if cluster is not None and (households := np.unique(cluster[rows]).size) < FEWEST_CLUSTERS:
            raise InputError(
                f"arm {name!r} has too few clusters", got=f"{households}", do=f"at least {FEWEST_CLUSTERS} are needed"
            )


def _canonical_order(table: pa.Table, *, exclude: Sequence[str], arm: Integers, outcome: Floats) -> Integers:
    """An order that depends on what the rows hold, not on how the file is sorted; so nor do the folds."""
    known = [name for name in table.column_names if name not in exclude and comparable(table.schema.field(name).type)]
    key = np.full(table.num_rows, 0x345678, dtype=np.uint64)
    factor = 1_000_003
    for left, name in zip(range(len(known), 0, -1), known, strict=True):
        # Column by column, as a whole table in pandas is a second one. Mixed as Python hashes a tuple.
        key ^= pd.util.hash_pandas_object(table.column(name).to_pandas(), index=False).to_numpy()
        key *= np.uint64(factor)
        factor += 82_520 + 2 * left
    order: Integers = np.lexsort((outcome, arm, key))
    return order


def _per_arm(given: Mapping[str, float], arms: tuple[str, ...], *, default: Floats, what: str) -> Floats:
    amounts = default.copy()
    for name, amount in given.items():
        if not abs(amount) <= LARGEST:
            raise InputError(f"the {what} of arm {name!r} is not a number", got=str(amount), do="pass an amount")
        amounts[arms.index(named("arm", name, arms))] = amount
    return amounts


def _chances(given: Mapping[str, float] | None, arms: tuple[str, ...], shares: Floats) -> Floats:
    if given is None:
        return shares
    chances = _per_arm(given, arms, default=np.zeros(len(arms)), what="probability")
    if chances.min() <= 0 or abs(chances.sum() - 1) > 1e-6:
        raise InputError(
            "the probabilities of the arms don't add up", got=str(dict(zip(arms, chances.tolist(), strict=True))),
            do="give every arm one above 0, together 1",
        )  # fmt: skip
    return chances
