"""Policies that rank by expected incremental profit: one-to-one, and its softened form."""

from __future__ import annotations

from typing import ClassVar

import msgspec
import numpy as np

from experiments.policies.choice import Choice, certain, require_share, with_floor
from features.errors import InputError


class OneToOne(msgspec.Struct, frozen=True, kw_only=True, tag="one_to_one"):
    """The action of the highest expected incremental profit for this customer; of equals, the first.

    Parameters
    ----------
    floor: the chance that every surviving action keeps, so that what was not chosen can still be judged.

    >>> choice = Choice(actions=("nothing", "a@email"), values=np.array([0.0, 42.0]))
    >>> OneToOne(floor=0.01).probabilities(choice)
    array([0.01, 0.99])
    """

    reads_values: ClassVar[bool] = True
    learns: ClassVar[bool] = False

    floor: float = 0.0

    def __post_init__(self) -> None:
        require_share("floor", self.floor)

    def probabilities(self, choice: Choice) -> np.ndarray:
        """All on the best action but for the floor."""
        return with_floor(certain(choice, int(np.argmax(choice.values))), self.floor)


class Softmax(msgspec.Struct, frozen=True, kw_only=True, tag="softmax"):
    """Chances that grow with the expected incremental profit: proportional to exp(value / temperature).

    Parameters
    ----------
    temperature: in cents, above 0; a difference of so many cents makes an action 2.7 times as likely.
    floor: the chance that every surviving action keeps.

    >>> choice = Choice(actions=("nothing", "a@email"), values=np.array([0.0, 10.0]))
    >>> Softmax(temperature=10.0).probabilities(choice).round(3)
    array([0.269, 0.731])
    """

    reads_values: ClassVar[bool] = True
    learns: ClassVar[bool] = False

    temperature: float
    floor: float = 0.0

    def __post_init__(self) -> None:
        require_share("floor", self.floor)
        if not self.temperature > 0:
            raise InputError(
                "the temperature is not positive", got=str(self.temperature), do="give the cents that make a difference"
            )

    def probabilities(self, choice: Choice) -> np.ndarray:
        """The softmax of the values, mixed with the floor."""
        weights = np.exp((choice.values - choice.values.max()) / self.temperature)
        return with_floor(weights / weights.sum(), self.floor)
