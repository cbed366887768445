"""A bandit's log as arrays: who got what, with which chance, in the order in which it was decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from experiments.adaptive import weights
from experiments.adaptive.chances import impossible
from experiments.adaptive.scores import Chosen, Codes, Floats
from experiments.observations import Labels, arms_of, column_names, numbers, select
from features.errors import InputError, listed

# Room for probabilities that were rounded when they were written.
_ROUNDED = 1e-3
# So many rows in a row with the same chances are a batch, whose chances can't depend on the customer.
_BATCH = 20
_SHORTEST_BLOCK = 100
_MOST_BLOCKS = 200


@dataclass(frozen=True, kw_only=True)
class BanditLog:
    """The decisions of a bandit in their order, those without an action left out.

    ``split``: the action of each row, the control first; ``chances`` and ``known`` (arms, rows): the chance of each
    action, and what was known of it before, which is what weights may look at; ``table``: the other columns;
    ``without_action``: rows that were left out.

    >>> table = pa.table({"action": ["a", None, "b"], "p_a": [0.9, 0.5, 0.4], "p_b": [0.1, 0.5, 0.6]})
    >>> log = read_bandit_log(table, arm="action", control="b", probabilities="p_", columns=[], time=None)
    >>> log.arms, log.chances.tolist(), log.without_action
    (('b', 'a'), [[0.1, 0.6], [0.9, 0.4]], 1)
    """

    split: Labels
    chances: Floats
    known: Floats
    table: pa.Table
    without_action: int

    @property
    def arms(self) -> tuple[str, ...]:
        """The actions, the control first."""
        return self.split.values

    def chosen(self, place: int) -> Chosen:
        """Whether each row has the action at ``place``."""
        mine: Chosen = self.split.codes == place
        return mine


def read_bandit_log(
    table: Any, *, arm: str, control: object, probabilities: str, columns: Sequence[str], time: str | None
) -> BanditLog:
    """The log of a bandit from a table with one row per decision.

    Parameters
    ----------
    arm, control: the column of the action that was taken, and the action that the others are held against.
    probabilities: what the names of the columns of chances begin with: ``p_`` where ``p_mail`` is that of ``mail``. A
        missing one is no chance.
    columns: further columns that are needed.
    time: the column of when it was decided; rows are taken to be in order without it.

    Raises
    ------
    InputError
        When a chosen action has no column or no chance, or chances are none or don't sum to 1.
    """
    named = [each for each in column_names(table) if each.startswith(probabilities) and each != arm]
    rows = select(table, [arm, *named, *columns, *([time] if time else [])])
    if time:
        rows = rows.take(pc.sort_indices(rows, sort_keys=[(time, "ascending")]))
    split = arms_of(rows, arm, control=control)
    missing = [each for each in split.values if f"{probabilities}{each}" not in named]
    if missing:
        raise InputError(
            f"an action has no column of its chances: {listed(missing, most=4)}",
            got=f"columns that begin with {probabilities!r}: {listed(named, most=6)}",
            do=f"name them as the actions, such as {probabilities + missing[0]!r}",
        )
    there = split.codes >= 0
    every = {name: np.nan_to_num(numbers(rows, name).astype(np.float64))[there] for name in named}
    _check_chances(every, probabilities)
    kept = Labels(values=split.values, codes=split.codes[there])
    chances = np.stack([every[f"{probabilities}{each}"] for each in kept.values])
    for place, name in enumerate(kept.values):
        if count := impossible(kept.codes == place, chances[place]):
            raise InputError(
                f"{name!r} was chosen in {count:,} rows in which its chance is 0",
                got=f"{probabilities}{name} = 0",
                do="log the chances with which the action was drawn",
            )
    return BanditLog(
        split=kept,
        chances=chances,
        known=_known(chances),
        table=rows.filter(pa.array(there)),
        without_action=int((~there).sum()),
    )


def _check_chances(every: dict[str, Floats], probabilities: str) -> None:
    for name, chance in every.items():
        if chance.size and not (chance.min() >= 0 and chance.max() <= 1):
            worst = chance.min() if chance.min() < 0 else chance.max()
            raise InputError(f"column {name!r} holds no chances", got=f"{worst:g}", do="pass numbers from 0 to 1")
    total = np.sum(list(every.values()), axis=0)
    off = np.flatnonzero(np.abs(total - 1) > _ROUNDED)
    if off.size:
        raise InputError(
            f"the chances don't add up to 1 in {off.size:,} rows",
            got=f"{total[off[0]]:g} over {listed(list(every), most=6)}",
            do=f"give every action that could be chosen a column that begins with {probabilities!r}",
        )


def _known(chances: Floats) -> Floats:
    """What was known of the chances (arms, rows) before each row: themselves, where batches share them."""
    rows = chances.shape[1]
    runs = 1 + int((np.diff(chances, axis=1) != 0).any(axis=0).sum())
    if runs * _BATCH <= rows:
        return chances
    return weights.known_before(chances, block=max(_SHORTEST_BLOCK, rows // _MOST_BLOCKS), start=1 / chances.shape[0])


def codes_from_zero(codes: Codes) -> Codes:
    """Cluster codes from 0; a row without one (-1) is a cluster of its own.

    >>> codes_from_zero(np.array([2, -1, 2, -1])).tolist()
    [0, 1, 0, 2]
    """
    alone = codes < 0
    own = np.where(alone, codes.max(initial=0) + 1 + np.arange(codes.size), codes)
    _, first, place = np.unique(own, return_index=True, return_inverse=True)
    order = np.empty(first.size, dtype=np.int64)
    order[np.argsort(first)] = np.arange(first.size)
    return order[place]
