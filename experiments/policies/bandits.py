"""Policies that learn: Thompson sampling with known probabilities, over arms or over linear rewards.

An update returns a new policy and takes matured outcomes only: a decision whose window is still open has no reward yet,
it is not a zero. Updates don't depend on the order of outcomes, so late ones need no care beyond being passed once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from experiments.policies.choice import Choice, require_share, with_floor
from experiments.policies.posteriors import Beta, Gaussian, LinearGaussian, best_probabilities
from features.errors import InputError


class Thompson(msgspec.Struct, frozen=True, kw_only=True, tag="thompson"):
    """Each action with the chance that it is the best one, by what is believed of each so far (Thompson 1933).

    Parameters
    ----------
    prior: the belief in an action without outcomes.
    arms: action -> belief; ``nothing`` is an arm like the others.
    floor: the chance that every surviving action keeps, ``nothing`` too.

    >>> policy = Thompson(prior=Beta()).update(["a@email", "a@email", "nothing"], np.array([1.0, 1.0, 0.0]))
    >>> policy.probabilities(Choice(actions=("nothing", "a@email"), values=np.zeros(2))).round(3)
    array([0.108, 0.892])
    """

    prior: Beta | Gaussian
    arms: dict[str, Beta | Gaussian] = {}
    floor: float = 0.01

    def __post_init__(self) -> None:
        require_share("floor", self.floor)

    def probabilities(self, choice: Choice) -> np.ndarray:
        """The exact chance that each action's draw is the largest, mixed with the floor."""
        beliefs = tuple(self.arms.get(action, self.prior) for action in choice.actions)
        return with_floor(np.array(best_probabilities(beliefs)), self.floor)

    def update(self, actions: Sequence[str], rewards: np.ndarray, *, mature: np.ndarray | None = None) -> Thompson:
        """The policy after the rewards of ``actions``; rows that are not ``mature`` are left out."""
        names, rewards, kept = _outcomes(actions, rewards, mature)
        fresh = {
            name: self.arms.get(name, self.prior).update(rewards[kept & (names == name)])
            for name in np.unique(names[kept]).tolist()
        }
        return msgspec.structs.replace(self, arms=self.arms | fresh)


class LinearThompson(msgspec.Struct, frozen=True, kw_only=True, tag="linear_thompson"):
    """Thompson sampling where an action's reward is linear in the customer's features (Agrawal & Goyal 2013).

    The scores of the arms are believed to be normal, so their chances are integrals in one dimension.

    Parameters
    ----------
    names: the features, to which a constant is added; pass them scaled to about 1.
    noise_sd: standard deviation of one reward around its mean, in the reward's unit.
    ridge: prior precision of a coefficient in units of 1 / noise_sd^2.
    arms: action -> belief; an action without outcomes has the prior.
    floor: the chance that every surviving action keeps.

    >>> policy = LinearThompson(names=("visits",), noise_sd=1.0, floor=0.0)
    >>> policy.probabilities(Choice(actions=("nothing", "a@email"), values=np.zeros(2), features={"visits": 1.0}))
    array([0.5, 0.5])
    """

    names: tuple[str, ...]
    noise_sd: float
    ridge: float = 1.0
    arms: dict[str, LinearGaussian] = {}
    floor: float = 0.01

    def __post_init__(self) -> None:
        require_share("floor", self.floor)
        if not (self.noise_sd > 0 and self.ridge > 0):
            raise InputError(
                "a belief has no width", got=f"noise_sd {self.noise_sd}, ridge {self.ridge}", do="give numbers above 0"
            )

    def probabilities(self, choice: Choice) -> np.ndarray:
        """The exact chance that each action's score is the largest, mixed with the floor."""
        x = np.array([1.0, *(choice.features.get(name, 0.0) for name in self.names)])
        beliefs = tuple(self._belief(action).score(x, noise_sd=self.noise_sd) for action in choice.actions)
        return with_floor(np.array(best_probabilities(beliefs)), self.floor)

    def update(
        self,
        actions: Sequence[str],
        rewards: np.ndarray,
        *,
        features: Mapping[str, np.ndarray],
        mature: np.ndarray | None = None,
    ) -> LinearThompson:
        """The policy after the rewards of ``actions``; ``features`` holds a column of shape (n,) per name."""
        names, rewards, kept = _outcomes(actions, rewards, mature)
        inputs = np.column_stack([np.ones(len(rewards)), *(features[name] for name in self.names)])
        fresh = {
            name: self._belief(name).update(inputs[rows], rewards[rows])
            for name in np.unique(names[kept]).tolist()
            for rows in [kept & (names == name)]
        }
        return msgspec.structs.replace(self, arms=self.arms | fresh)

    def _belief(self, action: str) -> LinearGaussian:
        return self.arms.get(action) or LinearGaussian.prior(len(self.names) + 1, ridge=self.ridge)


def _outcomes(
    actions: Sequence[str], rewards: np.ndarray, mature: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    names = np.asarray(actions, dtype=str)
    kept = np.ones(len(names), dtype=bool) if mature is None else np.asarray(mature, dtype=bool)
    values = np.asarray(rewards, dtype=float)
    if not names.shape == values.shape == kept.shape or not np.isfinite(values[kept]).all():
        raise InputError(
            "the outcomes don't fit the actions",
            got=f"{len(names)} actions, {values.size} rewards, {kept.size} mature marks",
            do="pass one finite reward per mature action",
        )
    return names, values, kept
