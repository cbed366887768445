"""A log of decisions beside a policy that never ran: the same rows, the same actions, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from experiments.estimation.columns import Column, codes_of, feature_matrix, numbers_of, screen, unread
from experiments.estimation.influence import Floats, Integers
from experiments.estimation.nuisance import Matrix
from experiments.offpolicy.candidates import read_policy, texts
from features.errors import InputError
from features.tables import require_column

_YES, _NO = ("yes", "y", "true", "t"), ("no", "n", "false", "f")


@dataclass(frozen=True, kw_only=True)
class Log:
    """Decisions and a policy over the same ``actions``.

    ``action`` (n,) index into ``actions``; ``reward`` (n,); ``probability`` (n,) with which the log's policy chose the
    action; ``policy`` (n, actions) rows of probabilities; ``features`` (n, p); ``cluster`` (n,) codes or None;
    ``logged`` (n, actions) the log's probabilities of all actions, where they are known; ``known`` the columns behind
    the features, ``left_out`` those that are none of them, with the reason.
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
    known: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)

    @cached_property
    def weight(self) -> Floats:
        """How much more often (n,) the policy would have chosen the action that the log's policy chose."""
        chosen: Floats = self.policy[np.arange(self.action.size), self.action] / self.probability
        return chosen

    @property
    def rate(self) -> bool:
        """Whether every decision earned 0 or 1."""
        return bool(((self.reward == 0.0) | (self.reward == 1.0)).all())

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
    beside = [*([cluster] if cluster else []), *([key] if key else [])]
    for name in (action, reward, probability, *beside, *(features or ()), *exclude):
        require_column(log, name)
        if log.column_names.count(name) > 1:
            raise InputError("a column's name stands twice", got=repr(name), do="rename one of the two")
    rewards, chances = _rewards(log, reward), _chances(log, probability)
    kinds, codes = _actions(log, action)
    actions, given = read_policy(policy, seen=kinds, log=log, action=action, key=key)
    place = {name: index for index, name in enumerate(actions)}
    taken = {action, reward, probability, *exclude, *beside}
    wanted = list(features) if features is not None else [name for name in log.column_names if name not in taken]
    columns, notes = screen(log, wanted, outcome=rewards, named=set(features or ()))
    known = tuple(column.name for column in columns)
    return Log(
        actions=actions,
        action=np.array([place[name] for name in kinds], dtype=np.int64)[codes],
        reward=rewards,
        probability=chances,
        policy=given,
        features=feature_matrix(columns, rows=log.num_rows),
        cluster=None if cluster is None else codes_of(_whole(log, cluster)),
        notes=tuple(notes),
        known=known,
        left_out={name: _why(log, name) for name in wanted if name not in set(known)},
    )


def _why(log: pa.Table, name: str) -> str:
    return "it looks measured afterwards" if Column.read(log, name) is not None else unread(log, name)


def _actions(log: pa.Table, name: str) -> tuple[tuple[str, ...], Integers]:
    """The actions that were taken, sorted, and the place of each row's (n,) among them."""
    encoded = texts(_whole(log, name)).combine_chunks().dictionary_encode()
    names = encoded.dictionary.to_pylist()
    kinds = tuple(sorted(names))
    place = {each: index for index, each in enumerate(kinds)}
    return kinds, np.array([place[each] for each in names], dtype=np.int64)[encoded.indices.to_numpy()]


def _rewards(log: pa.Table, name: str) -> Floats:
    """What each decision earned: numbers, or words such as yes and no."""
    column = _whole(log, name, do="fill them, or leave out decisions whose outcome is not known yet")
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        said = pc.utf8_lower(pc.utf8_trim_whitespace(column))
        if set(pc.unique(said).to_pylist()) <= {*_YES, *_NO}:
            return np.asarray(pc.is_in(said, pa.array(_YES)).to_numpy(), dtype=np.float64)
    return _numbers(column, name)


def _chances(log: pa.Table, name: str) -> Floats:
    chances = _numbers(_whole(log, name, do="leave these decisions out, if the gaps are chance's own"), name)
    wrong = np.flatnonzero(~((chances > 0) & (chances <= 1)))
    if not wrong.size:
        return chances
    worst = float(chances[wrong[0]])
    do = "pass the chance with which the logged action was chosen; without it nothing can be told"
    if chances.min() < 0:
        do = "if these are logarithms, pass their exponentials"
    elif float(np.median(chances)) > 1:
        do = "if these are percents, divide them by 100; else " + do
    elif worst == 0:
        do = "what has no chance is not chosen: " + do
    raise InputError(
        f"{wrong.size:,} probabilities in {name!r} are not in (0, 1]", got=f"{worst:g} in row {wrong[0] + 1:,}", do=do
    )


def _whole(log: pa.Table, name: str, *, do: str = "fill them, or leave these decisions out") -> pa.ChunkedArray:
    """A column of the log in which nothing is missing."""
    column = log.column(name)
    missing = column.is_null(nan_is_null=pa.types.is_floating(column.type))
    if empty := pc.sum(missing).as_py():
        raise InputError(f"the log's column {name!r} has gaps", got=f"{empty:,} empty cells", do=do)
    return column


def _numbers(column: pa.ChunkedArray, name: str) -> Floats:
    values = numbers_of(_parsed(column).combine_chunks())
    if values is None or not np.isfinite(values).all():
        some = ", ".join(str(each) for each in pc.unique(column).slice(0, 3).to_pylist())
        got = f"{column.type} such as {some}" if values is None else "infinity"
        raise InputError(f"the log's column {name!r} must hold numbers", got=got, do="turn it into numbers")
    return values


def _parsed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text that holds numbers alone as these; any other column as it is."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    try:
        return pc.cast(column, pa.float64())
    except pa.ArrowInvalid:
        return column
