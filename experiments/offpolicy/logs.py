"""A log of decisions beside a policy that never ran: the same rows, the same actions, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from experiments.estimation.columns import codes_of, feature_matrix, numbers_of, screen
from experiments.estimation.influence import Floats, Integers
from experiments.estimation.nuisance import Matrix
from features.errors import InputError, listed
from features.tables import require_column

_PREFIX = "p_"
# Room for probabilities that were rounded when they were written.
_ROUNDED = 1e-3


@dataclass(frozen=True, kw_only=True)
class Log:
    """Decisions and a policy over the same ``actions``.

    ``action`` (n,) index into ``actions``; ``reward`` (n,); ``probability`` (n,) with which the log's policy chose the
    action; ``policy`` (n, actions) rows of probabilities; ``features`` (n, p); ``cluster`` (n,) codes or None;
    ``logged`` (n, actions) the log's probabilities of all actions, where they are known.
    """

    actions: tuple[str, ...]
    action: Integers
    reward: Floats
    probability: Floats
    policy: Floats
    features: Matrix
    cluster: Integers | None
    notes: tuple[str, ...] = ()
    logged: Floats | None = None

    @cached_property
    def weight(self) -> Floats:
        """How much more often (n,) the policy would have chosen the action that the log's policy chose."""
        chosen: Floats = self.policy[np.arange(self.action.size), self.action] / self.probability
        return chosen

    @cached_property
    def untried(self) -> Floats:
        """Mean probability (actions,) that the policy gives to each action where the log never took it.

        Where the log's probabilities of all actions are known, that is wherever one is 0; else an action never seen.
        """
        if self.logged is not None:
            share: Floats = np.where(self.logged > 0, 0.0, self.policy).mean(axis=0)
            return share
        seen = np.bincount(self.action, minlength=len(self.actions)) > 0
        return np.where(seen, 0.0, self.policy.mean(axis=0))


def read_log(
    log: pa.Table,
    *,
    action: str,
    reward: str,
    probability: str,
    policy: pa.Table,
    key: str | None = None,
    features: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    cluster: str | None = None,
) -> Log:
    """The arrays of a log and a policy; see ``experiments.offpolicy.evaluate`` for the parameters."""
    named = [action, reward, probability, *(features or ()), *exclude, *([cluster] if cluster else [])]
    for name in named:
        require_column(log, name)
    _whole(log, [action, reward, probability, *([cluster] if cluster else [])])
    rewards = _numbers(log, reward)
    chances = _numbers(log, probability)
    if not ((chances > 0) & (chances <= 1)).all():
        wrong = chances[~((chances > 0) & (chances <= 1))]
        raise InputError(
            f"{wrong.size:,} probabilities in {probability!r} are not in (0, 1]", got=f"{wrong[0]:g}",
            do="pass the chance with which the logged action was chosen; without it nothing can be told",
        )  # fmt: skip
    names = _texts(log.column(action))
    actions, given = _policy(policy, names, rows=log.num_rows, log=log, key=key)
    place = {name: index for index, name in enumerate(actions)}
    codes, kinds = pd.factorize(names)
    taken = {action, reward, probability, *exclude, *([cluster] if cluster else []), *([key] if key else [])}
    wanted = list(features) if features is not None else [name for name in log.column_names if name not in taken]
    columns, notes = screen(log, wanted, outcome=rewards, named=set(features or ()))
    return Log(
        actions=actions,
        action=np.array([place[name] for name in kinds], dtype=np.int64)[codes],
        reward=rewards,
        probability=chances,
        policy=given,
        features=feature_matrix(columns, rows=log.num_rows),
        cluster=None if cluster is None else codes_of(log.column(cluster)),
        notes=tuple(notes),
    )


def _policy(
    table: pa.Table, logged: np.ndarray, *, rows: int, log: pa.Table, key: str | None
) -> tuple[tuple[str, ...], Floats]:
    """Names of all actions and the policy's probabilities (n, actions) in the order of the log's rows."""
    seen = sorted(set(logged))
    prefixed = [name for name in table.column_names if name.removeprefix(_PREFIX) in seen and name.startswith(_PREFIX)]
    if prefixed:
        columns = [name for name in table.column_names if name.startswith(_PREFIX)]
    else:
        strange = set(log.column_names) - set(seen)
        columns = [name for name in table.column_names if name not in strange and name != key]
    actions = [name.removeprefix(_PREFIX) if prefixed else name for name in columns]
    if not set(actions) & set(seen):
        raise InputError(
            "the policy has no column for any action of the log", got=f"columns {listed(table.column_names, most=6)}",
            do=f"name its columns as the actions: {listed(seen, most=6)}",
        )  # fmt: skip
    table = _aligned(table, rows=rows, log=log, key=key)
    given = np.stack([_probabilities(table, name) for name in columns], axis=1)
    _check_sums(given)
    # Actions that only the log knows: the policy never takes them.
    only = [name for name in seen if name not in set(actions)]
    full = np.hstack([given, np.zeros((given.shape[0], len(only)))]) if only else given
    return (*actions, *only), np.broadcast_to(full, (rows, full.shape[1]))


def _aligned(table: pa.Table, *, rows: int, log: pa.Table, key: str | None) -> pa.Table:
    if key is None:
        if table.num_rows not in (1, rows):
            raise InputError(
                "the policy's rows don't match the log's", got=f"{table.num_rows:,} against {rows:,}",
                do="pass one row per row of the log in the same order, a single row for all, or --key COL",
            )  # fmt: skip
        return table
    require_column(table, key)
    require_column(log, key)
    keys = pd.Index(_texts(table.column(key)))
    if not keys.is_unique:
        twice = keys[keys.duplicated()][0]
        raise InputError(f"the policy has two rows for one {key!r}", got=repr(twice), do="keep one row per key")
    place = keys.get_indexer(pd.Index(_texts(log.column(key))))
    if (place < 0).any():
        raise InputError(
            f"{int((place < 0).sum()):,} rows of the log have no row in the policy",
            got=f"{key} {_texts(log.column(key))[int(np.argmax(place < 0))]!r}", do="add them to the policy",
        )  # fmt: skip
    return table.take(pa.array(place))


def _probabilities(table: pa.Table, name: str) -> Floats:
    values = numbers_of(table.column(name).combine_chunks())
    if values is None:
        raise InputError(
            f"the policy's column {name!r} holds no probabilities", got=str(table.schema.field(name).type),
            do="leave it out, or name it as the key",
        )  # fmt: skip
    known: Floats = np.nan_to_num(values, nan=0.0)
    if known.min() < 0 or known.max() > 1:
        worst = known.min() if known.min() < 0 else known.max()
        raise InputError(
            f"the policy's column {name!r} is no probability", got=f"{worst:g}", do="pass numbers from 0 to 1"
        )
    return known


def _check_sums(given: Floats) -> None:
    sums = given.sum(axis=1)
    off = np.flatnonzero(np.abs(sums - 1) > _ROUNDED)
    if off.size:
        raise InputError(
            f"the policy's probabilities don't add up to 1 in {off.size:,} rows",
            got=f"{sums[off[0]]:g} in row {off[0] + 1:,}", do="give every action a column, and every row a sum of 1",
        )  # fmt: skip


def _whole(log: pa.Table, columns: Sequence[str]) -> None:
    for name in columns:
        if empty := log.column(name).null_count:
            raise InputError(
                f"the log's column {name!r} has gaps", got=f"{empty:,} empty cells",
                do="fill them, or leave out decisions whose outcome is not known yet",
            )  # fmt: skip


def _numbers(log: pa.Table, name: str) -> Floats:
    values = numbers_of(log.column(name).combine_chunks())
    if values is None or not np.isfinite(values).all():
        got = str(log.schema.field(name).type) if values is None else "NaN or infinity"
        raise InputError(f"the log's column {name!r} must hold numbers", got=got, do="turn it into numbers")
    return values


def _texts(column: pa.ChunkedArray) -> np.ndarray:
    """Values as text, so that action 14 of a log is column 14 of a policy; 14.0 is the same."""
    if pa.types.is_floating(column.type) and np.all(np.mod(column.to_numpy(), 1) == 0):
        column = pc.cast(column, pa.int64())
    return np.asarray(pc.cast(column, pa.string()).to_pylist(), dtype=object)
