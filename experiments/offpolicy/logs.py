"""A log of decisions beside a policy that never ran: the same rows, the same actions, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from experiments.estimation.columns import Column, codes_of, feature_matrix, read_columns, screen, unread
from experiments.estimation.influence import Floats, Integers
from experiments.estimation.nuisance import Matrix
from experiments.observations import numbers, text_notes
from experiments.offpolicy.candidates import read_policy, texts
from experiments.offpolicy.consequences import repeats_of_the_decision
from features.errors import InputError
from features.tables import require_column


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
    rewards = _amounts(log, reward, do="fill them, or leave out decisions whose outcome is not known yet")
    chances = _chances(log, probability)
    kinds, codes = _actions(log, action)
    actions, given = read_policy(policy, seen=kinds, log=log, action=action, key=key)
    place = {name: index for index, name in enumerate(actions)}
    taken = {action, reward, probability, *exclude, *beside}
    wanted = list(features) if features is not None else [name for name in log.column_names if name not in taken]
    repeats = {} if features else repeats_of_the_decision(log, wanted, action=codes, chance=chances)
    fitting = [name for name in wanted if name not in repeats]
    columns, notes = screen(read_columns(log, fitting), outcome=rewards, named=set(features or ()))
    known = tuple(column.name for column in columns)
    return Log(
        actions=actions,
        action=np.array([place[name] for name in kinds], dtype=np.int64)[codes],
        reward=rewards,
        probability=chances,
        policy=given,
        features=feature_matrix(columns, rows=log.num_rows),
        cluster=None if cluster is None else codes_of(_whole(log, cluster)),
        notes=(*text_notes(log, (reward, probability)), *notes),
        known=known,
        left_out={name: repeats.get(name) or _why(log, name) for name in wanted if name not in set(known)},
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


def _chances(log: pa.Table, name: str) -> Floats:
    chances = _amounts(log, name, do="leave these decisions out, if the gaps are chance's own")
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


def _amounts(log: pa.Table, name: str, *, do: str) -> Floats:
    """A column of the log as finite numbers (n,), of which none is missing."""
    values: Floats = np.asarray(numbers(log, name), dtype=np.float64)
    if empty := int(np.isnan(values).sum()):
        raise _gaps(name, empty, do=do)
    return values


def _whole(log: pa.Table, name: str) -> pa.ChunkedArray:
    """A column of the log in which nothing is missing."""
    column = log.column(name)
    if empty := pc.sum(column.is_null(nan_is_null=pa.types.is_floating(column.type))).as_py():
        raise _gaps(name, empty, do="fill them, or leave these decisions out")
    return column


def _gaps(name: str, empty: int, *, do: str) -> InputError:
    return InputError(f"the log's column {name!r} has gaps", got=f"{empty:,} empty cells", do=do)
