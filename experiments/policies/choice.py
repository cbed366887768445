"""What a policy is asked, what it answers, and how the answer and a seed become one action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np

from features.errors import InputError, listed

NOTHING = "nothing"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One customer at one moment: the actions that survived eligibility, consent and limits.

    Parameters
    ----------
    actions: ``nothing`` first, then treatment ids, each once.
    values: expected incremental profit of each action in cents, shape (len(actions),); 0 for ``nothing``.
    features: numbers that clusters and contextual bandits look at.
    labels: texts that are known of the customer, by which segments can be told.
    segment: the marketers' segment of the customer, when there is one.

    >>> Choice(actions=("nothing", "shoes-10@email"), values=np.array([0.0, 42.0])).place("shoes-10@email")
    1
    """

    actions: tuple[str, ...]
    values: np.ndarray
    features: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    segment: str | None = None

    def __post_init__(self) -> None:
        if not self.actions or self.actions[0] != NOTHING or len(set(self.actions)) != len(self.actions):
            raise InputError(
                "the actions of a choice are not in order",
                got=listed(self.actions),
                do="put 'nothing' first, each once",
            )
        if self.values.shape != (len(self.actions),) or not np.isfinite(self.values).all():
            raise InputError(
                "the values of a choice don't fit its actions",
                got=f"{len(self.actions)} actions and values {self.values!r}",
                do="give one finite number per action",
            )

    def place(self, action: str) -> int:
        """The place of ``action``, or 0 (nothing) when it did not survive."""
        return self.actions.index(action) if action in self.actions else 0


class Policy(Protocol):
    """A rule that says with which chance each action is chosen.

    ``reads_values`` says whether it ranks by the model's values, ``learns`` whether outcomes change it.
    """

    reads_values: ClassVar[bool]
    learns: ClassVar[bool]

    def probabilities(self, choice: Choice) -> np.ndarray:
        """The chance of each of ``choice.actions``: float64 of shape (len(actions),), sums to 1."""
        ...


def certain(choice: Choice, place: int) -> np.ndarray:
    """All probability on the action at ``place``."""
    chances = np.zeros(len(choice.actions))
    chances[place] = 1.0
    return chances


def with_floor(chances: np.ndarray, floor: float) -> np.ndarray:
    """``chances`` mixed with uniform ones: each of k actions keeps at least ``floor``, or 1/k if that is less.

    A mixture, not a clip: what a policy prefers stays preferred, and the sum stays 1.

    >>> with_floor(np.array([0.0, 1.0]), 0.05)
    array([0.05, 0.95])
    """
    kept = min(floor, 1 / len(chances))
    mixed: np.ndarray = kept + (1 - kept * len(chances)) * chances
    return mixed


def choose(chances: np.ndarray, u: float) -> int:
    """The place of the action that ``u`` in [0, 1) falls on; an action without a chance is never chosen.

    With ``u = uniform(decision_id, key)`` a decision can be replayed bit for bit.

    >>> choose(np.array([0.25, 0.75]), 0.3)
    1
    """
    edges = np.cumsum(chances)
    return int(np.searchsorted(edges, u * edges[-1], side="right").clip(max=np.flatnonzero(chances)[-1]))


def require_share(name: str, value: float) -> None:
    """Raise unless ``value`` is within [0, 1]."""
    if not 0 <= value <= 1:
        raise InputError(f"{name} is not a share", got=str(value), do="give a number from 0 to 1")
