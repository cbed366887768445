"""What a bandit learns: outcomes of actions, and its beliefs where every customer is alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from experiments.policies.posteriors import Beta, Gaussian
from features.errors import InputError

Marginals = tuple[Beta | Gaussian, ...]
"""What is believed of the mean reward of each action, for one customer."""


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """Matured outcomes, one a row.

    Parameters
    ----------
    actions: names, shape (n,).
    rewards: finite numbers, shape (n,).
    weights: how many outcomes each row counts for, shape (n,); below 1 for old ones.
    features: a column of shape (n,) per name.

    >>> Feedback(actions=np.array(["nothing"]), rewards=np.ones(1), weights=np.ones(1)).by_action()
    {'nothing': array([ True])}
    """

    actions: np.ndarray
    rewards: np.ndarray
    weights: np.ndarray
    features: Mapping[str, np.ndarray] | None = None

    def __post_init__(self) -> None:
        sizes = {len(self.actions), self.rewards.size, self.weights.size, *map(len, (self.features or {}).values())}
        if len(sizes) != 1 or not np.isfinite(self.rewards).all():
            raise InputError(
                "the outcomes don't fit the actions",
                got=f"{len(self.actions)} actions, {self.rewards.size} rewards, rows by column {sorted(sizes)}",
                do="pass one finite reward per mature action, and a feature column as long",
            )

    def by_action(self) -> dict[str, np.ndarray]:
        """Which rows are of each action."""
        return {name: self.actions == name for name in np.unique(self.actions).tolist()}


class ArmBeliefs(msgspec.Struct, frozen=True, kw_only=True, tag="arms"):
    """The same belief in an action for every customer.

    Parameters
    ----------
    prior: of an action without outcomes.
    arms: action -> belief; ``nothing`` is an arm like the others.

    >>> rates = ArmBeliefs(prior=Beta())
    >>> won = Feedback(actions=np.array(["a@email"]), rewards=np.ones(1), weights=np.ones(1))
    >>> rates.updated(won).of(("nothing", "a@email"), {})
    (Beta(a=1.0, b=1.0), Beta(a=2.0, b=1.0))
    """

    prior: Beta | Gaussian
    arms: dict[str, Beta | Gaussian] = {}

    def __post_init__(self) -> None:
        if {type(each) for each in self.arms.values()} - {type(self.prior)}:
            raise InputError(
                "the arms are not of one kind", got="rates beside means of any size", do="believe in Beta or Gaussian"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """No features."""
        return ()

    def of(self, actions: Sequence[str], features: Mapping[str, float]) -> Marginals:
        """What is believed of each action."""
        return tuple(self.arms.get(action, self.prior) for action in actions)

    def of_rows(self, actions: Sequence[str], features: Mapping[str, np.ndarray]) -> Iterator[Marginals]:
        """The same for each row of ``features``."""
        rows = len(next(iter(features.values()), ()))
        return iter([self.of(actions, {})] * rows)

    def updated(self, seen: Feedback) -> ArmBeliefs:
        """The beliefs after ``seen``."""
        return self._with(
            {
                action: self.arms.get(action, self.prior).update(seen.rewards[rows], weights=seen.weights[rows])
                for action, rows in seen.by_action().items()
            }
        )

    def faded(self, share: float) -> ArmBeliefs:
        """The beliefs that keep ``share`` of what was learned beyond the prior."""
        # The prior is of the arms' kind, which the type of a dict can't say.
        return self._with({action: belief.faded(self.prior, share) for action, belief in self.arms.items()})  # type: ignore[arg-type]

    def _with(self, fresh: Mapping[str, Beta | Gaussian]) -> ArmBeliefs:
        return msgspec.structs.replace(self, arms=self.arms | dict(fresh))
