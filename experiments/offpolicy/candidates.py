"""The table of a policy that never ran, as people write it, beside the rows of a log."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from experiments.estimation.influence import Floats
from experiments.observations import numbers
from features.errors import InputError, listed
from features.tables import require_column

# What stands before an action in a column's name ends in one of these; in doubt the first of these prefixes is meant.
_SEPARATORS = "_-.: "
_PREFIXES = ("p_", "prob_", "probability_", "")
# What tables put behind whole numbers.
_DECIMALS = r"^(-?\d+)\.0+$"
# Room for probabilities that were rounded when they were written.
_ROUNDED = 1e-3


def read_policy(
    table: pa.Table, *, seen: Sequence[str], log: pa.Table, action: str, key: str | None
) -> tuple[tuple[str, ...], Floats]:
    """Names of all actions, and the policy's probabilities (n, actions) in the order of the log's rows.

    Parameters
    ----------
    table: one probability per action, in columns named as the actions or with a prefix such as ``p_``; or one column
        that holds the action it would take. One row for all decisions, one per row of the log, or joined by ``key``.
    seen: the actions of the log, sorted.
    action: the log's column of the action, of whose name the policy's column of actions may be.
    """
    shares = _share_columns(table, seen=seen, log=log, key=key)
    choice = None if shares else _choice_column(table, seen=seen, log=log, action=action, key=key)
    aligned = _aligned(table, log=log, key=key, used={*shares.values(), choice})
    if choice is not None:
        actions, given = _one_hot(aligned, choice, seen=seen)
    else:
        given = np.stack([_probabilities(aligned, name) for name in shares.values()], axis=1)
        _check_sums(given, lacking=[name for name in seen if name not in shares])
        actions = tuple(shares)
    # Actions that only the log knows: the policy never takes them.
    only = [name for name in seen if name not in set(actions)]
    full = np.hstack([given, np.zeros((given.shape[0], len(only)))]) if only else given
    return (*actions, *only), np.broadcast_to(full, (log.num_rows, full.shape[1]))


def texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Values as text, so that action 14 of a log is column 14 of a policy; 14.0 is the same."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type) and not np.mod(column.drop_null().to_numpy(), 1).any():
        column = pc.cast(column, pa.int64())
    return pc.replace_substring_regex(pc.cast(column, pa.string()), pattern=_DECIMALS, replacement=r"\1")


def _share_columns(table: pa.Table, *, seen: Sequence[str], log: pa.Table, key: str | None) -> dict[str, str]:
    """The column of each action's probability; none where no column is named as any action of the log is."""
    actions = set(seen)
    found: dict[str, int] = {}
    for name in table.column_names:
        ends = [0, *(place + 1 for place, sign in enumerate(name) if sign in _SEPARATORS)]
        for prefix in {name[:end] for end in ends if _plain(name[end:]) in actions and name != key}:
            found[prefix] = found.get(prefix, 0) + 1
    if not found:
        return {}
    most = [prefix for prefix, count in found.items() if count == max(found.values())]
    prefix = next((each for each in _PREFIXES if each in most), most[0])
    if len(most) > 1 and prefix not in _PREFIXES:
        raise InputError(
            "the policy's table holds several probabilities for each action", got=f"columns of {listed(sorted(most))}",
            do="leave those of one policy",
        )  # fmt: skip
    strange = set(log.column_names) - actions if prefix == "" else set()
    columns = [each for each in table.column_names if each.startswith(prefix) and each not in strange and each != key]
    return {_plain(each.removeprefix(prefix)): each for each in columns}


def _plain(name: str) -> str:
    """The name of an action, as :func:`texts` has it."""
    return re.sub(_DECIMALS, r"\1", name)


def _choice_column(table: pa.Table, *, seen: Sequence[str], log: pa.Table, action: str, key: str | None) -> str:
    """The column of the action that the policy would take."""
    if action in table.column_names:
        return action
    own: list[str] = [name for name in table.column_names if name != key and name not in log.column_names]
    known = {name: _known(table, name, seen) for name in own}
    sure = [name for name in own if known[name] > 0] if len(own) == 1 else [name for name in own if known[name] == 1.0]
    if len(sure) != 1:
        raise InputError(
            "the policy has no column for any action of the log", got=f"columns {listed(table.column_names, most=6)}",
            do=f"name its columns as the actions {listed(seen, most=6)}, with their probabilities; "
            f"or pass one column {action!r} with the action that it would take",
        )  # fmt: skip
    (name,) = sure
    return name


def _known(table: pa.Table, name: str, seen: Sequence[str]) -> float:
    """The share of a column's values that are actions of the log; 0 where they can't be any."""
    if pa.types.is_nested(table.schema.field(name).type):
        return 0.0
    return float(pc.mean(pc.is_in(texts(table.column(name)), pa.array(seen, pa.string()))).as_py())


def _one_hot(table: pa.Table, name: str, *, seen: Sequence[str]) -> tuple[tuple[str, ...], Floats]:
    values = texts(table.column(name))
    if values.null_count:
        raise InputError(
            f"the policy's column {name!r} has gaps", got=f"{values.null_count:,} empty cells",
            do="name the action that it would take in each row",
        )  # fmt: skip
    actions = (*seen, *sorted(set(pc.unique(values).to_pylist()) - set(seen)))
    chosen = pd.Index(actions).get_indexer(pd.Index(values.to_pylist()))
    given = np.zeros((table.num_rows, len(actions)))
    given[np.arange(table.num_rows), chosen] = 1.0
    return actions, given


def _aligned(table: pa.Table, *, log: pa.Table, key: str | None, used: set[str | None]) -> pa.Table:
    """The policy's rows in the order of the log's, or its single row."""
    if key is not None:
        return _joined(table, log=log, key=key)
    both = [name for name in table.column_names if name in log.column_names and name not in used]
    if table.num_rows not in (1, log.num_rows):
        joined = f"--key {both[0]}, the column that both hold" if both else "--key COL"
        raise InputError(
            "the policy's rows don't match the log's", got=f"{table.num_rows:,} against {log.num_rows:,}",
            do=f"pass one row per row of the log in the same order, a single row for all, or {joined}",
        )  # fmt: skip
    for name in both if table.num_rows > 1 else ():
        ours, theirs = (np.asarray(texts(each.column(name)).fill_null("").to_pylist()) for each in (table, log))
        if not np.array_equal(ours, theirs) and np.array_equal(np.sort(ours), np.sort(theirs)):
            raise InputError(
                "the policy's rows are in another order than the log's",
                got=f"the same {name!r} in both, {int((ours != theirs).sum()):,} of them in other places",
                do=f"pass --key {name}, where it is one row's own, or sort both the same way",
            )
    return table


def _joined(table: pa.Table, *, log: pa.Table, key: str) -> pa.Table:
    require_column(table, key)
    require_column(log, key)
    keys = pd.Index(texts(table.column(key)).to_pylist())
    if not keys.is_unique:
        twice = keys[keys.duplicated()][0]
        raise InputError(f"the policy has two rows for one {key!r}", got=repr(twice), do="keep one row per key")
    wanted = texts(log.column(key)).to_pylist()
    place = keys.get_indexer(pd.Index(wanted))
    if (place < 0).any():
        raise InputError(
            f"{int((place < 0).sum()):,} rows of the log have no row in the policy",
            got=f"{key} {wanted[int(np.argmax(place < 0))]!r}", do="add them to the policy",
        )  # fmt: skip
    return table.take(pa.array(place))


def _probabilities(table: pa.Table, name: str) -> Floats:
    known: Floats = np.nan_to_num(np.asarray(numbers(table, name), dtype=np.float64), nan=0.0)
    if known.min() < 0 or known.max() > 1:
        worst = known.min() if known.min() < 0 else known.max()
        raise InputError(
            f"the policy's column {name!r} is no probability", got=f"{worst:g}",
            do="pass numbers from 0 to 1 (percents over 100, the exponential of logarithms), or leave the column out",
        )  # fmt: skip
    return known


def _check_sums(given: Floats, *, lacking: Sequence[str]) -> None:
    sums = given.sum(axis=1)
    off = np.flatnonzero(np.abs(sums - 1) > _ROUNDED)
    if off.size:
        raise InputError(
            f"the policy's probabilities don't add up to 1 in {off.size:,} rows",
            got=f"{sums[off[0]]:g} in row {off[0] + 1:,}" + (f", without {listed(lacking, most=4)}" if lacking else ""),
            do="give every action a column, and every row a sum of 1",
        )  # fmt: skip
