"""All parts of the table, one after the other."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.calibration import (
    assigned,
    bandits,
    bounds,
    campaigns,
    exact,
    hadad,
    households,
    looks,
    replays,
    rungs,
    small_arms,
    splits,
    verdicts,
)
from benchmarks.calibration.table import HEAD, Part

RUNS = 2000
PARTS: dict[str, Part] = {
    "assigned": assigned.lines,
    "looks": looks.lines,
    "small_arms": small_arms.lines,
    "verdicts": verdicts.lines,
    "campaigns": campaigns.lines,
    "bounds": bounds.lines,
    "bandits": bandits.lines,
    "hadad": hadad.lines,
    "households": households.lines,
    "splits": splits.lines,
    "exact": exact.lines,
    "replays": replays.lines,
    "rungs": rungs.lines,
}


def table(names: Sequence[str], *, runs: int) -> int:
    """Print the lines of the named parts; how many promises were missed."""
    begun = time.perf_counter()
    print(HEAD)
    missed = 0
    for name in names:
        for line in PARTS[name](runs):
            missed += not line.held
            print(line, flush=True)
    print(f"{missed} missed; {time.perf_counter() - begun:.0f} s")
    return missed


def main() -> None:
    """The whole table, with the full number of runs."""
    table(list(PARTS), runs=RUNS)


def run(arguments: Sequence[str]) -> int:
    """``[PART]... [--runs N]``: 1 when a promise was missed, 2 for a part that isn't one."""
    wanted = list(arguments)
    runs = RUNS
    if "--runs" in wanted:
        place = wanted.index("--runs")
        runs = int(wanted[place + 1])
        del wanted[place : place + 2]
    wrong = [name for name in wanted if name not in PARTS]
    if wrong:
        print(f"no part named {', '.join(wrong)}; there are {', '.join(PARTS)}")
        return 2
    return 1 if table(wanted or list(PARTS), runs=runs) else 0
