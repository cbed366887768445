"""The policy that learns: beliefs from matured outcomes, and a rule that turns them into exact chances.

An update returns a new policy and takes matured outcomes only: a decision whose window is still open has no reward yet,
it is not a zero. Updates don't depend on the order of outcomes, so late ones need no care beyond being passed once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec
import numpy as np

from experiments.policies.beliefs import ArmBeliefs, Feedback
from experiments.policies.choice import Choice, require_share, with_floor
from experiments.policies.linear import LinearBeliefs, LogisticBeliefs
from experiments.policies.rules import Rule, Thompson
from features.errors import InputError

Beliefs = ArmBeliefs | LinearBeliefs | LogisticBeliefs


class Bandit(msgspec.Struct, frozen=True, kw_only=True, tag="bandit"):
    """Actions by what is believed of their rewards so far.

    Parameters
    ----------
    beliefs: ``ArmBeliefs``, the same for all customers, or of their features ``LinearBeliefs`` and ``LogisticBeliefs``.
    rule: ``Thompson``, ``TopTwo``, ``Greedy`` (with ``epsilon``: epsilon-greedy) or ``UpperBound`` (LinUCB).
    floor: the chance that every surviving action keeps, ``nothing`` too.
    half_life_days: after so long an outcome counts half, for rewards that drift; None: all count the same for ever.

    >>> from experiments.policies.posteriors import Beta
    >>> policy = Bandit(beliefs=ArmBeliefs(prior=Beta()))
    >>> policy = policy.update(["a@email", "a@email", "nothing"], np.array([1.0, 1.0, 0.0]))
    >>> policy.probabilities(Choice(actions=("nothing", "a@email"), values=np.zeros(2))).round(3)
    array([0.108, 0.892])
    """

    reads_values: ClassVar[bool] = False
    learns: ClassVar[bool] = True

    beliefs: Beliefs
    rule: Rule = Thompson()
    floor: float = 0.01
    half_life_days: float | None = None

    def __post_init__(self) -> None:
        require_share("floor", self.floor)
        if self.half_life_days is not None and not self.half_life_days > 0:
            raise InputError(
                "the half-life is no time", got=str(self.half_life_days), do="give days above 0, or leave it out"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The features that it looks at; none where every customer is alike."""
        return self.beliefs.names

    def probabilities(self, choice: Choice) -> np.ndarray:
        """The rule's exact chances, mixed with the floor."""
        return with_floor(self.rule.chances(self.beliefs.of(choice.actions, choice.features)), self.floor)

    def probabilities_of(self, actions: Sequence[str], features: Mapping[str, np.ndarray]) -> np.ndarray:
        """The same for many customers with the same actions, (n, actions), from a column (n,) per feature."""
        rows = [self.rule.chances(beliefs) for beliefs in self.beliefs.of_rows(actions, features)]
        return np.array([with_floor(row, self.floor) for row in rows]).reshape(len(rows), len(actions))

    def update(
        self,
        actions: Sequence[str] | np.ndarray,
        rewards: np.ndarray,
        *,
        features: Mapping[str, np.ndarray] | None = None,
        mature: np.ndarray | None = None,
        days_ago: np.ndarray | None = None,
    ) -> Bandit:
        """The policy after the rewards of ``actions``.

        Parameters
        ----------
        features: a column of shape (n,) per name, where beliefs are over features.
        mature: whether each row's window has closed; the others are left out, and their rewards never read.
        days_ago: how old each outcome is, for a policy with a half-life.
        """
        names, values = np.asarray(actions, dtype=str), np.asarray(rewards, dtype=float)
        kept = np.ones(len(names), dtype=bool) if mature is None else np.asarray(mature, dtype=bool)
        if not names.shape == values.shape == kept.shape:
            raise InputError(
                "the outcomes don't fit the actions",
                got=f"{len(names)} actions, {values.size} rewards, {kept.size} mature marks",
                do="pass one reward per action",
            )
        ages = np.zeros(len(names)) if days_ago is None else np.asarray(days_ago, dtype=float)
        seen = Feedback(
            actions=names[kept],
            rewards=values[kept],
            weights=self._left_of(ages[kept]),
            features={name: np.asarray(column)[kept] for name, column in (features or {}).items()},
        )
        return msgspec.structs.replace(self, beliefs=self.beliefs.updated(seen))

    def aged(self, days: float) -> Bandit:
        """The policy so many days later: half of what it knows beyond the prior has faded at each half-life.

        Outcomes that arrive late fit in with their age: what was learned then and aged is what is learned now.
        """
        share = float(self._left_of(np.array(days)))
        return self if share == 1 else msgspec.structs.replace(self, beliefs=self.beliefs.faded(share))

    def believing(
        self,
        values: np.ndarray,
        *,
        actions: Sequence[str],
        trust: float,
        features: Mapping[str, np.ndarray] | None = None,
    ) -> Bandit:
        """The policy warm-started from a model: as if each action had had ``trust`` outcomes that were as predicted.

        Parameters
        ----------
        values: what the model expects as each action's reward, (customers, actions), in the reward's unit.
        trust: how many outcomes the model's word is worth; so many real ones weigh as much.
        features: of the same customers, a column per name.
        """
        customers = len(values)
        if values.shape != (customers, len(actions)) or not customers or not trust > 0:
            raise InputError(
                "there is nothing to believe",
                got=f"values of shape {values.shape} for {len(actions)} actions, trust {trust}",
                do="pass a row per customer, a column per action, and a trust above 0",
            )
        told = Feedback(
            actions=np.tile(np.asarray(actions, dtype=str), customers),
            rewards=np.asarray(values, dtype=float).ravel(),
            weights=np.full(values.size, trust / customers),
            features={name: np.repeat(column, len(actions)) for name, column in (features or {}).items()},
        )
        return msgspec.structs.replace(self, beliefs=self.beliefs.updated(told))

    def _left_of(self, days: np.ndarray) -> np.ndarray:
        """The share of an outcome that still counts so many days later."""
        if self.half_life_days is None:
            return np.ones_like(days, dtype=float)
        left: np.ndarray = np.exp2(-np.asarray(days, dtype=float) / self.half_life_days)
        return left
