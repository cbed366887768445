"""Columns of a log that repeat what was decided: reward models that know them can't say what else would have earned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from experiments.estimation.influence import Floats, Integers

_MOST_VALUES = 10_000


def repeats_of_the_decision(log: pa.Table, names: Sequence[str], *, action: Integers, chance: Floats) -> dict[str, str]:
    """Those of ``names`` that the logged action decides, or that are its chance written otherwise; with the reason.

    ``action`` (n,) are the places of the logged actions, ``chance`` (n,) their logged chances. A name or a price of the
    action is the same wherever that action was chosen; ``1 / chance`` has one value for each chance. A model that is
    given either takes it as known before, and keeps it as it is when it values another action: it then says that every
    action earns what the logged one did. Nothing that was known before the decision is lost where an action is always
    chosen for the same customers: there it says no more than the action.
    """
    chances = np.unique(chance, return_inverse=True)[1].astype(np.int64)
    found = {}
    for name in names:
        codes = _codes(log, name)
        if codes is None:
            continue
        if _decides(action, codes):
            found[name] = "the action alone decides it"
        elif _decides(chances, codes) and _decides(codes, chances):
            found[name] = "it is the logged chance in other words"
    return found


def _codes(log: pa.Table, name: str) -> Integers | None:
    """The place of each row's value (n,), a missing one as a value; None for constants and for what hardly repeats."""
    column = log.column(name)
    if pa.types.is_nested(column.type) or not 2 <= pc.count_distinct(column, mode="all").as_py() <= _MOST_VALUES:
        return None
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    return np.asarray(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int64)


def _decides(one: Integers, other: Integers) -> bool:
    """Whether each value of ``one`` goes with a single value of ``other``."""
    lowest = np.full(int(one.max()) + 1, other.max(), dtype=np.int64)
    highest = np.zeros_like(lowest)
    np.minimum.at(lowest, one, other)
    np.maximum.at(highest, one, other)
    return bool((lowest >= highest).all())
