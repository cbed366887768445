"""Policies that don't look at values: nothing, random, static (one-to-all), segment (one-to-many), few (k clusters)."""

from __future__ import annotations

import math
from typing import ClassVar

import msgspec
import numpy as np

from experiments.policies.choice import NOTHING, Choice, certain, require_share
from features.errors import InputError


class Nothing(msgspec.Struct, frozen=True, kw_only=True, tag="nothing"):
    """No contact, ever: the arm that shows what customers do by themselves.

    >>> Nothing().probabilities(Choice(actions=("nothing", "shoes-10@email"), values=np.zeros(2)))
    array([1., 0.])
    """

    reads_values: ClassVar[bool] = False
    learns: ClassVar[bool] = False

    def probabilities(self, choice: Choice) -> np.ndarray:
        """All on ``nothing``."""
        return certain(choice, 0)


class RandomEligible(msgspec.Struct, frozen=True, kw_only=True, tag="random"):
    """Each surviving treatment with the same chance: the arm that models and off-policy estimates learn from.

    Parameters
    ----------
    nothing_share: the chance of ``nothing``; None gives it the same chance as each treatment.

    >>> choice = Choice(actions=("nothing", "a@email", "b@email"), values=np.zeros(3))
    >>> RandomEligible(nothing_share=0.5).probabilities(choice)
    array([0.5 , 0.25, 0.25])
    """

    reads_values: ClassVar[bool] = False
    learns: ClassVar[bool] = False

    nothing_share: float | None = None

    def __post_init__(self) -> None:
        require_share("nothing_share", self.nothing_share or 0.0)

    def probabilities(self, choice: Choice) -> np.ndarray:
        """Uniform over the treatments, ``nothing`` with its own share."""
        count = len(choice.actions)
        if count == 1:
            return certain(choice, 0)
        share = 1 / count if self.nothing_share is None else self.nothing_share
        chances = np.full(count, (1 - share) / (count - 1))
        chances[0] = share
        return chances


class Static(msgspec.Struct, frozen=True, kw_only=True, tag="static"):
    """The same treatment for everybody who may have it, nothing for the others (one-to-all).

    >>> Static(treatment="a@email").probabilities(Choice(actions=("nothing", "a@email"), values=np.zeros(2)))
    array([0., 1.])
    """

    reads_values: ClassVar[bool] = False
    learns: ClassVar[bool] = False

    treatment: str

    def probabilities(self, choice: Choice) -> np.ndarray:
        """All on the treatment, or on ``nothing`` when it did not survive."""
        return certain(choice, choice.place(self.treatment))


class Segment(msgspec.Struct, frozen=True, kw_only=True, tag="segment"):
    """One treatment per segment (one-to-many).

    Parameters
    ----------
    table: segment -> treatment id or ``nothing``.
    default: what customers of other segments get.
    by: the text feature that tells a customer's segment; None for the marketers' own, which comes with the customer.

    >>> policy = Segment(table={"young": "a@email"})
    >>> policy.probabilities(Choice(actions=("nothing", "a@email"), values=np.zeros(2), segment="young"))
    array([0., 1.])
    """

    reads_values: ClassVar[bool] = False
    learns: ClassVar[bool] = False

    table: dict[str, str]
    default: str = NOTHING
    by: str | None = None

    def probabilities(self, choice: Choice) -> np.ndarray:
        """All on the segment's treatment, or on ``nothing`` when it did not survive."""
        segment = choice.segment if self.by is None else choice.labels.get(self.by)
        return certain(choice, choice.place(self.default if segment is None else self.table.get(segment, self.default)))


class Few(msgspec.Struct, frozen=True, kw_only=True, tag="few"):
    """One treatment per cluster of customers who behave alike (one-to-few).

    Parameters
    ----------
    names: the features that are looked at.
    means, scales: of each feature; a feature that is missing counts as its mean.
    centroids: k rows of scaled features.
    treatments: k treatment ids or ``nothing``.

    >>> policy = Few(names=("visits",), means=(2.0,), scales=(1.0,), centroids=((-1.0,), (1.0,)),
    ...              treatments=("nothing", "a@email"))
    >>> policy.probabilities(Choice(actions=("nothing", "a@email"), values=np.zeros(2), features={"visits": 9.0}))
    array([0., 1.])
    """

    reads_values: ClassVar[bool] = False
    learns: ClassVar[bool] = False

    names: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    centroids: tuple[tuple[float, ...], ...]
    treatments: tuple[str, ...]

    def __post_init__(self) -> None:
        widths = {len(self.names), len(self.means), len(self.scales), *map(len, self.centroids)}
        if (
            len(widths) != 1
            or len(self.centroids) != len(self.treatments)
            or not self.treatments
            or min(self.scales) <= 0
        ):
            raise InputError(
                "the clusters don't fit together",
                got=f"{len(self.names)} features, {len(self.centroids)} centroids, {len(self.treatments)} treatments",
                do="give a mean and a scale above 0 per feature, a treatment per centroid",
            )

    def cluster(self, choice: Choice) -> int:
        """The nearest centroid, the first one when two are equally near."""
        raw = [choice.features.get(name, math.nan) for name in self.names]
        scaled = [
            0.0 if math.isnan(each) else (each - mean) / scale
            for each, mean, scale in zip(raw, self.means, self.scales, strict=True)
        ]
        return min(range(len(self.centroids)), key=lambda place: math.dist(scaled, self.centroids[place]))

    def probabilities(self, choice: Choice) -> np.ndarray:
        """All on the cluster's treatment, or on ``nothing`` when it did not survive."""
        return certain(choice, choice.place(self.treatments[self.cluster(choice)]))
