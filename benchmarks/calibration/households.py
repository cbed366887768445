"""Few homes of unlike size: how often one look finds an effect that is not there (E4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from benchmarks.calibration.table import Line
from experiments.analysis.readings import Reader, Variable
from experiments.analysis.statistics import p_value, sample

ALPHA = 0.05
UNLIKE = 1.3
"""The standard deviation of the logarithm of a home's size: the largest of 20 then holds a third of all rows."""


def wrong_looks(rng: np.random.Generator, *, homes: tuple[int, int], runs: int) -> tuple[float, float]:
    """The share of looks at ``homes`` (per arm) without an effect that find one: as analyzed, and by counting homes."""
    goal = Variable(name="y", columns=("y",))
    arm_of_home = np.repeat([0, 1], homes)
    found = np.zeros((runs, 2), dtype=bool)
    for run in range(runs):
        sizes = np.maximum(rng.lognormal(2.0, UNLIKE, len(arm_of_home)).round(), 1).astype(int)
        home = np.repeat(np.arange(len(sizes)), sizes)
        values = rng.normal(size=len(sizes))[home] + rng.normal(size=len(home))
        reader = Reader.of(pa.table({"y": values}), goals=[goal], covariates=[], clusters=home)
        (reading,) = reader.read(arm_of_home[home], groups=2)
        ours = [sample(each, reading.quantity) for each in reading.moments]
        counted = [sample(replace(each, sizes=None), reading.quantity) for each in reading.moments]
        found[run] = [p_value(*pair) < ALPHA for pair in (ours, counted)]
    return float(found[:, 0].mean()), float(found[:, 1].mean())


def lines(runs: int) -> Iterator[Line]:
    """E4 of few homes, whose size varies by a factor of a hundred."""
    rng = np.random.default_rng(2041)
    for homes in ((10, 10), (20, 20), (50, 50), (10, 60)):
        ours, counted = wrong_looks(rng, homes=homes, runs=runs)
        yield Line(
            promise="E4", what=f"{homes[0]} and {homes[1]} homes of unlike size, no effect: found at one look",
            nominal="<= .06", high=0.06, measured=ours, naive=counted, how="homes counted", runs=runs,
        )  # fmt: skip
