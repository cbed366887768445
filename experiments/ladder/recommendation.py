"""Where personalization stops paying: which rung to stand on, and the sentence that says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.estimation.influence import Floats, Integers, Interval, Mean, mean_of
from experiments.results import Rung, RungName
from experiments.wording import Wording

_SAID: dict[RungName, str] = {
    "nothing": "contact nobody",
    "random": "random contacts",
    "static": "the same for everybody",
    "segment": "one contact per segment",
    "few": "one contact per group, in a few groups of alike customers",
    "one_to_one": "one-to-one",
}


@dataclass(frozen=True, kw_only=True)
class Climb:
    """Influence values (..., n, rungs) of rungs; clusters (n,) or None; the rung (n,) of each unit where each had one.

    >>> climb = Climb(influence=np.array([[1.0, 2.0], [1.0, 4.0]]), cluster=None)
    >>> climb.gain(1, over=0).value
    2.0
    """

    influence: Floats
    cluster: Integers | None
    rung: Integers | None = None

    def value(self, place: int) -> Mean:
        """The value of a rung."""
        return mean_of(self.influence[..., place], cluster=self.cluster, part=self._part(place))

    def gain(self, place: int, *, over: int) -> Mean:
        """What a rung is worth beyond another one, of paired values: what both share cancels."""
        paired = self.influence[..., place] - self.influence[..., over]
        return mean_of(paired, cluster=self.cluster, part=self._part(place, over))

    def _part(self, *places: int) -> Integers | None:
        return None if self.rung is None else np.where(np.isin(self.rung, places), self.rung, -1)


def rungs_of(
    names: Sequence[RungName], climb: Climb, *, shares: Floats, arms: Sequence[str], alpha: float
) -> tuple[Rung, ...]:
    """The records of the rungs; ``shares`` (rungs, arms) of units that a rung gives to an arm."""
    rungs: list[Rung] = []
    for place, name in enumerate(names):
        value = climb.value(place).interval(alpha=alpha)
        gain = climb.gain(place, over=place - 1).interval(alpha=alpha) if place else None
        rungs.append(
            Rung(
                rung=name,
                value=value.value,
                ci_low=value.low,
                ci_high=value.high,
                gain=gain.value if gain else None,
                gain_ci_low=gain.low if gain else None,
                gain_ci_high=gain.high if gain else None,
                shares={arm: round(float(share), 6) for arm, share in zip(arms, shares[place], strict=True)},
            )
        )
    return tuple(rungs)


def recommend(rungs: Sequence[Rung], climb: Climb, *, alpha: float, wording: Wording) -> tuple[RungName, str]:
    """The lowest rung after which no further step pays, and the sentence that says so.

    From the lowest rung on: go to the lowest higher rung whose gain has its interval above 0, until there is none.
    The intervals of one step share ``alpha`` (Bonferroni), so that in a world where everybody responds alike the
    climb ends at ``static`` in at least 1 - ``alpha`` of all cases. ``random`` is a yardstick, never a
    recommendation.
    """
    places = [place for place, rung in enumerate(rungs) if rung.rung != "random"]
    stand = places[0]
    while (step := _next(_gains(climb, stand, places, alpha=alpha))) is not None:
        stand = step
    return rungs[stand].rung, _sentence(rungs, climb, stand, places, alpha=alpha, wording=wording)


def _gains(climb: Climb, stand: int, places: Sequence[int], *, alpha: float) -> dict[int, Interval]:
    higher = [place for place in places if place > stand]
    return {place: climb.gain(place, over=stand).interval(alpha=alpha / len(higher)) for place in higher}


def _next(gains: Mapping[int, Interval]) -> int | None:
    return next((place for place, gain in gains.items() if gain.above(0.0)), None)


def _sentence(
    rungs: Sequence[Rung], climb: Climb, stand: int, places: Sequence[int], *, alpha: float, wording: Wording
) -> str:
    value = climb.value(stand).interval(alpha=alpha)
    text = f"{_headline(rungs[stand])}: {wording.unit} is {wording.around(value)}"
    if stand > places[0]:
        lift = climb.gain(stand, over=places[0]).interval(alpha=alpha)
        text += f", {wording.around(lift)} more than {_than(rungs[places[0]])}"
    text += "."
    gains = _gains(climb, stand, places, alpha=alpha)
    if not gains:
        return f"{text} Each step up to it pays."
    top = max(gains)
    return (
        f"{text} No step beyond it pays for certain: {_name(rungs[top])} would change it by "
        f"{wording.around(gains[top])}{', allowing for the steps compared' if len(gains) > 1 else ''}."
    )


def _headline(rung: Rung) -> str:
    if rung.rung == "nothing":
        return "Contact nobody"
    if rung.rung == "one_to_one":
        return "Go one-to-one"
    everybody = [arm for arm, share in rung.shares.items() if share > 0.999]
    return f"Stop at {rung.rung}, {repr(everybody[0]) + ' to everybody' if everybody else _SAID[rung.rung]}"


def _than(rung: Rung) -> str:
    return "by contacting nobody" if rung.rung == "nothing" else f"with {_name(rung)}"


def _name(rung: Rung) -> str:
    return rung.rung.replace("_", "-")
