"""The ladder stands where it should: at static where all are alike, at the right rung where that is known."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.calibration.table import Line
from benchmarks.ladder import WORLDS, answers
from benchmarks.ladder_market import BEYOND, Town

_SAID = {
    "nothing": "every contact harms",
    "static": "all respond alike",
    "segment": "the region tells",
    "few": "two features together tell",
    "one_to_one": "everybody is a case of their own",
}


def lines(runs: int) -> Iterator[Line]:
    """Each world in a tenth of the ``runs``, 200 in full; naively, the rung with the highest estimate."""
    often = max(runs // 10, 1)
    for rung, effects in WORLDS.items():
        found = [answers(effects, n=3_000, seed=seed) for seed in range(often)]
        least = 0.95 if rung == "static" else 0.90
        right, highest = (sum(each[way] == rung for each in found) / often for way in (0, 1))
        nominal = f">= {least:.2f}".replace("0.", ".")
        yield Line(
            promise="", what=f"ladder stops at {rung}, where {_SAID[rung]}", nominal=nominal, low=least, measured=right,
            runs=often, naive=highest, how="the highest estimate",
        )  # fmt: skip
    alike = Town.of(heterogeneity=0.0, customers=10_000)
    found = [alike.answers(seed=seed) for seed in range(often)]
    right, highest = (sum(each[way] == "static" for each in found) / often for way in (0, 1))
    yield Line(
        promise="", what="ladder in the built-in market, customers alike: static", nominal=">= .95", low=0.95,
        measured=right, runs=often, naive=highest, how="the highest estimate",
    )  # fmt: skip
    often = max(runs // 40, 1)
    unlike = Town.of(heterogeneity=2.0, customers=60_000)
    beyond = sum(unlike.answers(seed=seed)[0] in BEYOND for seed in range(often)) / often
    yield Line(
        promise="", what="ladder in the built-in market, customers differ: beyond static", nominal=">= .90", low=0.90,
        measured=beyond, runs=often,
    )  # fmt: skip
