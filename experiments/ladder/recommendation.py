"""Where personalization stops paying: which rung to stand on, and the sentence that says so."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.estimation.influence import Floats, Integers, Interval, mean_interval
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


def rungs_of(
    names: Sequence[RungName],
    influence: Floats,
    *,
    shares: Floats,
    arms: Sequence[str],
    cluster: Integers | None,
    alpha: float,
) -> tuple[Rung, ...]:
    """The records of the rungs from their influence values (..., n, rungs); gains are paired with the rung before."""
    rungs: list[Rung] = []
    for place, name in enumerate(names):
        value = mean_interval(influence[..., place], cluster=cluster, alpha=alpha)
        gain = mean_interval(influence[..., place] - influence[..., place - 1], cluster=cluster, alpha=alpha)
        rungs.append(
            Rung(
                rung=name,
                value=value.value,
                ci_low=value.low,
                ci_high=value.high,
                gain=gain.value if place else None,
                gain_ci_low=gain.low if place else None,
                gain_ci_high=gain.high if place else None,
                shares={arm: round(float(share), 6) for arm, share in zip(arms, shares[place], strict=True)},
            )
        )
    return tuple(rungs)


def recommend(
    rungs: Sequence[Rung], influence: Floats, *, cluster: Integers | None, alpha: float, wording: Wording
) -> tuple[RungName, str]:
    """The lowest rung after which no further step pays, and the sentence that says so.

    From the lowest rung on: go to the lowest higher rung whose gain has its interval above 0, until there is none.
    The intervals of one step share ``alpha`` (Bonferroni), so that in a world where everybody responds alike the
    climb ends at ``static`` in at least 1 - ``alpha`` of all cases. ``random`` is a yardstick, never a
    recommendation.
    """
    places = [place for place, rung in enumerate(rungs) if rung.rung != "random"]
    stand = places[0]
    while (step := _next(stand, places, influence, cluster=cluster, alpha=alpha)) is not None:
        stand = step
    return rungs[stand].rung, _sentence(rungs, stand, places, influence, cluster=cluster, alpha=alpha, wording=wording)


def _gains(
    stand: int, places: Sequence[int], influence: Floats, *, cluster: Integers | None, alpha: float
) -> dict[int, Interval]:
    higher = [place for place in places if place > stand]
    return {
        place: mean_interval(influence[..., place] - influence[..., stand], cluster=cluster, alpha=alpha / len(higher))
        for place in higher
    }


def _next(
    stand: int, places: Sequence[int], influence: Floats, *, cluster: Integers | None, alpha: float
) -> int | None:
    gains = _gains(stand, places, influence, cluster=cluster, alpha=alpha)
    return next((place for place, gain in gains.items() if gain.above(0.0)), None)


def _sentence(
    rungs: Sequence[Rung],
    stand: int,
    places: Sequence[int],
    influence: Floats,
    *,
    cluster: Integers | None,
    alpha: float,
    wording: Wording,
) -> str:
    here = rungs[stand]
    value = mean_interval(influence[..., stand], cluster=cluster, alpha=alpha)
    text = f"{_headline(here)}: {wording.unit} is {wording.around(value)}"
    if stand > places[0]:
        lift = mean_interval(influence[..., stand] - influence[..., places[0]], cluster=cluster, alpha=alpha)
        text += f", {wording.around(lift)} more than {_than(rungs[places[0]])}"
    text += "."
    gains = _gains(stand, places, influence, cluster=cluster, alpha=alpha)
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
