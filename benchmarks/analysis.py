"""``analyze`` beside tea-tasting: 1 million rows, 5 metrics, one covariate; each way in a process of its own, in turns.

Both get the same table in memory; times are medians, memory is what the process holds at its peak, and how much of that
came on top of the table. Before that, how long a person waits for ``rapport analyze`` on Hillstrom's 64,000 customers,
where the real data are at hand (env RAPPORT_DATA). ``python -m benchmarks analysis``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

ROOT = Path(__file__).resolve().parent.parent
HILLSTROM = Path(os.environ.get("RAPPORT_DATA", ROOT.parent / "shared" / "data")) / "hillstrom/hillstrom.csv.gz"
METRICS = [f"metric_{number}" for number in range(5)]
ROUNDS = 3
REPEATS = 5


def table(rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    before = rng.gamma(2, 3, rows)
    columns = {name: before * 0.3 + rng.normal(size=rows) for name in METRICS}
    return pd.DataFrame({"arm": rng.choice(["static", "personal"], rows), "before": before, **columns})


def ours(frame: Any) -> float:
    from experiments.analysis import analyze

    found = analyze(frame, arm="arm", control="static", metrics=METRICS, covariates=["before"])
    return found.metrics[-1].ci_low


def tea_tasting(frame: Any) -> float:
    import tea_tasting as tt

    metrics = {name: tt.Mean(name, covariate="before", use_t=True, equal_var=False) for name in METRICS}
    found = tt.Experiment(**metrics, variant="arm").analyze(frame, control="static")
    return float(found[METRICS[-1]].effect_size_ci_lower)


def arrow(frame: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(frame, preserve_index=False)


def polars(frame: pd.DataFrame) -> Any:
    import polars as pl

    return pl.from_arrow(arrow(frame))


WAYS: dict[str, tuple[Callable[[Any], float], Callable[[pd.DataFrame], Any]]] = {
    "rapport, Arrow": (ours, arrow),
    "rapport, pandas": (ours, lambda frame: frame),
    "tea-tasting, pandas": (tea_tasting, lambda frame: frame),
}
if importlib.util.find_spec("polars"):
    WAYS["tea-tasting, polars"] = (tea_tasting, polars)


def measure(way: str, rows: int, repeats: int) -> None:
    """Run one way in this process and print what it took, as JSON."""
    run, shape = WAYS[way]
    frame = shape(table(rows))
    forget_peak()
    before = memory("VmRSS")
    seconds, value = [], 0.0
    for _ in range(repeats):
        begun = time.perf_counter()
        value = run(frame)
        seconds.append(time.perf_counter() - begun)
    peak = memory("VmHWM")
    print(json.dumps({"seconds": seconds, "value": value, "peak": peak, "more": peak - before}))


def memory(field: str) -> float:
    """Megabytes that this process holds (VmRSS), or has held at most since the peak was forgotten (VmHWM)."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith(field))) / 1024


def forget_peak() -> None:
    """Linux starts the peak anew when 5 is written here; making the table took more than analysing it does."""
    Path("/proc/self/clear_refs").write_text("5")


def child(way: str, rows: int, repeats: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.analysis", way, str(rows), str(repeats)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def cold_start() -> float:
    """Seconds of the whole command in a new process: start, imports, reading, three metrics, a segment, printing."""
    command = "import sys; from rapport.cli import main; sys.argv[0] = 'rapport'; main()"
    options = ["--arm", "segment", "--control", "No E-Mail", "--segment", "channel"]
    metrics = [each for name in ("visit", "conversion", "spend") for each in ("--metric", name)]
    begun = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", command, "analyze", str(HILLSTROM), *options, *metrics], check=True, capture_output=True
    )
    return time.perf_counter() - begun


def main() -> None:
    if HILLSTROM.exists():
        runs = [cold_start() for _ in range(REPEATS)]
        told = f"median {statistics.median(runs):.2f} s, slowest {max(runs):.2f} s of {REPEATS} (goal: 3 s)"
        print(f"rapport analyze on Hillstrom, from a cold start: {told}")
    else:
        print("rapport analyze on Hillstrom, from a cold start: not measured, the data are not at hand")
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _ in range(ROUNDS):
        for way in WAYS:
            found[way].append(child(way, 1_000_000, REPEATS))
    print("1 million rows, 5 metrics, CUPED with one covariate (goal: no slower than tea-tasting)")
    print(f"{'':22}{'first call':>11}{'median':>10}{'best':>10}{'peak':>10}{'on top':>10}   lower limit")
    for way, runs in found.items():
        warm = [second for run in runs for second in run["seconds"][1:]]
        first = statistics.median(run["seconds"][0] for run in runs)
        peak, more = (max(run[key] for run in runs) for key in ("peak", "more"))
        print(
            f"{way:22}{first:9.3f} s{statistics.median(warm):8.3f} s{min(warm):8.3f} s{peak:7.0f} MB{more:7.0f} MB"
            f"   {runs[0]['value']:.15f}"
        )
    large = child("rapport, Arrow", 10_000_000, 2)
    print(
        f"10 million rows: rapport, Arrow {min(large['seconds']):.2f} s, peak {large['peak']:.0f} MB, "
        f"{large['more']:.0f} MB on top of the table (goal: 10 s, 2,000 MB)"
    )


if __name__ == "__main__":
    if len(sys.argv) == 4:
        measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
