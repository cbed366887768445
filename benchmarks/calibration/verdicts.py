"""A verdict at every look rolls out what is no better than the control as seldom as it says (E3)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.calibration.looks import BATCH, LOOKS
from benchmarks.calibration.table import Line
from experiments.analysis.comparison import Levels, adjust_p_values, compare
from experiments.analysis.readings import Reading, Variable
from experiments.analysis.statistics import Moments, Quantity
from experiments.analysis.verdict import Rule, verdict
from experiments.results import ArmCount, IntervalKind, SampleRatio

_ARMS = ("static", "a", "b")


def false_verdicts(rng: np.random.Generator, *, runs: int) -> np.ndarray:
    """Shares of A/A/A runs rolled out at any of the looks: by the rule, and with the rule of one planned look."""
    goal = Variable(name="visit", columns=("visit",))
    arms = tuple(ArmCount(arm=name, n=1, planned_share=1 / 3) for name in _ARMS)
    wrong = np.zeros((runs, 2), dtype=bool)
    for run in range(runs):
        hits = rng.binomial(BATCH // 2, 0.05, (3, LOOKS)).cumsum(axis=1)
        for look in range(LOOKS):
            n = BATCH // 2 * (look + 1)
            moments = [Moments.from_sums(n=n, total=int(each), squares=int(each)) for each in hits[:, look]]
            reading = Reading(
                goal=goal, moments=moments, quantity=Quantity(numerator=0), covariates=(), missing=0, clustered=False
            )
            rows = adjust_p_values(compare(reading, moments, _ARMS, levels=Levels()))
            green = SampleRatio(p_value=1.0, status="green")
            kinds: tuple[IntervalKind, ...] = ("anytime", "fixed")
            for place, kind in enumerate(kinds):
                found = verdict(rows, arms=arms, srm=green, rule=Rule(kind=kind))
                wrong[run, place] |= found.code == "roll_out"
    return wrong.mean(axis=0)


def lines(runs: int) -> Iterator[Line]:
    """A/A/A, a verdict after each batch."""
    rolled, single = false_verdicts(np.random.default_rng(2027), runs=runs)
    yield Line(
        promise="E3", what=f"A/A/A rolled out at any of {LOOKS} looks", nominal="<= .05", high=0.05, measured=rolled,
        naive=single, how="as if each look were the planned one", runs=runs,
    )  # fmt: skip
