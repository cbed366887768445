"""A campaign with an end, looked at 14 times: how often each way to look decides, with and without a gain (E3).

The kinds of interval decide by the verdict itself, on the same runs; the naive ways beside them are the interval of one
look at every look, and the same at alpha over the number of looks (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from operator import add

import numpy as np
from scipy import special

from benchmarks.calibration.table import Line
from experiments.analysis.comparison import Levels, compare
from experiments.analysis.group_sequential import PlannedLooks
from experiments.analysis.readings import Reading, Variable
from experiments.analysis.statistics import Moments, Quantity
from experiments.analysis.verdict import Rule, verdict
from experiments.results import ArmCount, SampleRatio

LOOKS = 14
POWER = 0.8
_BATCH = 250  # units of an arm between two looks
_ARMS = ("static", "personal")
_GREEN = SampleRatio(p_value=1.0, status="green")


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to look: what was fixed before the start, and the rule that decides by it."""

    levels: Levels
    rule: Rule


def ways(look: int) -> dict[str, Way]:
    """The ways at look number ``look`` (from 1) of ``LOOKS``."""
    units = tuple(2.0 * _BATCH * each for each in range(1, look + 1))
    plan = PlannedLooks(units=units, elapsed=tuple(each / LOOKS for each in range(1, look + 1)))
    few = 0.05 / LOOKS
    return {
        "naive": Way(levels=Levels(kind="fixed"), rule=Rule(kind="fixed")),
        "Bonferroni": Way(levels=Levels(alpha=few, kind="fixed"), rule=Rule(alpha=few, kind="fixed")),
        "group_sequential": Way(levels=Levels(kind="group_sequential", plan=plan), rule=Rule(kind="group_sequential")),
        "anytime": Way(levels=Levels(expected=2 * _BATCH * LOOKS), rule=Rule()),
    }


def decided(rng: np.random.Generator, *, runs: int, gain: bool) -> Mapping[str, tuple[float, float]]:
    """By way of looking, the share of runs that are decided at any look, and that are rolled out.

    Without a gain every decision is false; with one, of the size that a single look at the end would show in ``POWER``
    of the runs, a roll-out is right.
    """
    reach = float(special.ndtri(0.975) + special.ndtri(POWER))
    effect = reach * np.sqrt(2 / (_BATCH * LOOKS)) if gain else 0.0
    at = [ways(look) for look in range(1, LOOKS + 1)]
    ended = {name: np.zeros((runs, 2), dtype=bool) for name in at[0]}
    for run in range(runs):
        grown = [_grown(rng, mean=mean) for mean in (0.0, effect)]
        going = set(ended)
        for ways_now, control, arm in zip(at, *grown, strict=True):
            for name in sorted(going):
                code = _code(ways_now[name], control, arm)
                if code != "keep_running":
                    ended[name][run] = True, code == "roll_out"
                    going.discard(name)
    return {name: (float(each[:, 0].mean()), float(each[:, 1].mean())) for name, each in ended.items()}


def _grown(rng: np.random.Generator, *, mean: float) -> list[Moments]:
    """One arm's moments after each look, of a metric with variance 1."""
    drawn = (Moments.of(rng.normal(mean, 1.0, (1, _BATCH))) for _ in range(LOOKS))
    return list(accumulate(drawn, add))


def _code(way: Way, control: Moments, arm: Moments) -> str:
    reading = Reading(
        goal=Variable(name="spend", columns=("spend",)),
        moments=[control, arm],
        quantity=Quantity(numerator=0),
        covariates=(),
        missing=0,
        clustered=False,
    )
    rows = compare(reading, [control, arm], _ARMS, levels=way.levels)
    arms = tuple(
        ArmCount(arm=name, n=each.n, planned_share=0.5) for name, each in zip(_ARMS, (control, arm), strict=True)
    )
    return verdict(rows, arms=arms, srm=_GREEN, rule=way.rule).code


def lines(runs: int) -> Iterator[Line]:
    """Each way to look, without a gain and with one."""
    idle = decided(np.random.default_rng(2031), runs=runs, gain=False)
    told = decided(np.random.default_rng(2032), runs=runs, gain=True)
    error = 3 * np.sqrt(0.05 * 0.95 / runs)
    for name in ("group_sequential", "anytime"):
        yield Line(
            promise="E3",
            what=f"{LOOKS} looks, no gain, decided: {name}",
            nominal="<= .05",
            measured=idle[name][0],
            high=0.05 + error,
            runs=runs,
            naive=idle["naive"][0],
            how=f"one look's; Bonferroni {idle['Bonferroni'][0]:.4f}",
        )
        yield Line(
            promise="E3",
            what="  a gain that one look shows in 80%, rolled out",
            nominal="",
            measured=told[name][1],
            runs=runs,
            naive=told["naive"][1],
            how=f"one look's; Bonferroni {told['Bonferroni'][1]:.4f}",
        )
