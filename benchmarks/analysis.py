"""``analyze`` beside tea-tasting: 1 million rows, 5 metrics, one covariate; each way in a process of its own, in turns.

All get the same table in memory; times are medians, memory is what the process holds at its peak, and how much of that
came on top of the table. The Gram matrix is the least that any way has to do: sums of products by arm, block by block,
without checks, intervals or a table of any type. Before that, how long a person waits for ``rapport analyze`` on
Hillstrom's 64,000 customers, where the real data are at hand (env RAPPORT_DATA); after it, for the command on 10
million rows of Parquet. ``python -m benchmarks analysis``; tea-tasting runs on polars, too, where that is installed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parent.parent
HILLSTROM = Path(os.environ.get("RAPPORT_DATA", ROOT.parent / "shared" / "data")) / "hillstrom/hillstrom.csv.gz"
METRICS = [f"metric_{number}" for number in range(5)]
ALL = "rapport, all at once"
ROUNDS = 3
REPEATS = 5


def table(rows: int, *, with_all: bool = False, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    before = rng.gamma(2, 3, rows)
    columns = {name: before * 0.3 + rng.normal(size=rows) for name in METRICS}
    arms = rng.choice(["static", "personal"], rows)
    if with_all:
        columns |= {"region": rng.choice(["north", "south", "west"], rows), "seen": rng.integers(0, 2, rows)}
    return pd.DataFrame({"arm": arms, "before": before, **columns})


def ours(frame: Any) -> float:
    from experiments.analysis import analyze

    found = analyze(frame, arm="arm", control="static", metrics=METRICS, covariates=["before"])
    return found.metrics[-1].ci_low


def ours_with_all(frame: Any) -> float:
    from experiments.analysis import analyze

    found = analyze(
        frame,
        arm="arm",
        control="static",
        metrics=METRICS,
        covariates=["before"],
        strata=["region"],
        caps=dict.fromkeys(METRICS, 5.0),
        exposed="seen",
    )
    return found.metrics[-1].ci_low


def gram(frame: pd.DataFrame) -> float:
    """The moments alone, and of them the difference of the last metric; no interval."""
    arms = (frame["arm"] == "personal").to_numpy()
    columns = [frame[name].to_numpy() for name in ["before", *METRICS]]
    sums = [np.zeros((7, 7)), np.zeros((7, 7))]
    for start in range(0, len(arms), 1 << 16):
        rows = slice(start, start + (1 << 16))
        block = np.vstack([np.ones(len(arms[rows])), *(column[rows] for column in columns)])
        for arm in (0, 1):
            own = block[:, arms[rows] == arm]
            sums[arm] += own @ own.T
    control, arm = (each[0] / each[0, 0] for each in sums)
    return float(arm[-1] - control[-1])


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
    ALL: (ours_with_all, arrow),
    "Gram matrix, numpy": (gram, lambda frame: frame),
    "tea-tasting, pandas": (tea_tasting, lambda frame: frame),
}
if importlib.util.find_spec("polars"):
    WAYS["tea-tasting, polars"] = (tea_tasting, polars)


def measure(way: str, rows: int, repeats: int) -> None:
    """Run one way in this process and print what it took, as JSON."""
    run, shape = WAYS[way]
    frame = shape(table(rows, with_all=way == ALL))
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


def command(source: Path, *options: str) -> tuple[float, float]:
    """Seconds and megabytes of the whole command in a new process: start, imports, reading, analysis, printing."""
    run = (
        "import resource, sys\n"
        "from rapport.cli import main\n"
        "sys.argv[0] = 'rapport'\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n"
    )
    begun = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, "-c", run, "analyze", str(source), *options], check=True, capture_output=True, text=True
    )
    return time.perf_counter() - begun, float(ran.stdout.split()[-1])


def hillstrom() -> None:
    if not HILLSTROM.exists():
        print("rapport analyze on Hillstrom, from a cold start: not measured, the data are not at hand")
        return
    options = ["--arm", "segment", "--control", "No E-Mail", "--segment", "channel"]
    metrics = [each for name in ("visit", "conversion", "spend") for each in ("--metric", name)]
    runs = [command(HILLSTROM, *options, *metrics)[0] for _ in range(REPEATS)]
    told = f"median {statistics.median(runs):.2f} s, slowest {max(runs):.2f} s of {REPEATS} (goal: about 1 s)"
    print(f"rapport analyze on Hillstrom, 64,000 rows of .csv.gz, from a cold start: {told}")


def ten_million() -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "units.parquet"
        with pq.ParquetWriter(source, arrow(table(1, with_all=True)).schema) as writer:
            for seed in range(10):
                writer.write_table(arrow(table(1_000_000, with_all=True, seed=seed)))
        metrics = [each for name in METRICS for each in ("--metric", name)]
        options = ["--arm", "arm", "--control", "static", *metrics, "--covariate", "before"]
        more = ["--stratum", "region", "--exposed", "seen", *[e for name in METRICS for e in ("--cap", f"{name}=5")]]
        for told, extra in (("", []), (", with strata, caps and exposed", more)):
            seconds, megabytes = min(command(source, *options, *extra) for _ in range(2))
            print(
                f"rapport analyze on 10 million rows of Parquet, 5 metrics, CUPED{told}: {seconds:.1f} s, "
                f"peak {megabytes:,.0f} MB (goal: 10 s, 2,000 MB)"
            )


def main() -> None:
    hillstrom()
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _ in range(ROUNDS):
        for way in WAYS:
            found[way].append(child(way, 1_000_000, REPEATS))
    print("1 million rows, 5 metrics, CUPED with one covariate (goal: 0.10 s, peak 300 MB)")
    print(f"{'':22}{'first call':>11}{'median':>10}{'best':>10}{'peak':>10}{'on top':>10}   lower limit")
    for way, runs in found.items():
        warm = [second for run in runs for second in run["seconds"][1:]]
        first = statistics.median(run["seconds"][0] for run in runs)
        peak, more = (max(run[key] for run in runs) for key in ("peak", "more"))
        print(
            f"{way:22}{first:9.3f} s{statistics.median(warm):8.3f} s{min(warm):8.3f} s{peak:7.0f} MB{more:7.0f} MB"
            f"   {runs[0]['value']:.15f}"
        )
    ten_million()


if __name__ == "__main__":
    if len(sys.argv) == 4:
        measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
