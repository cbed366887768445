"""The simulated market at scale: a year of 50,000 and of 1 million customers, time and peak memory.

Beside it the plain way, a loop over customers with the same law for purchases alone, on as many as fit into its time.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LOOPED = 2_000
GOAL_SECONDS, GOAL_BYTES, GOAL_EVENTS = 120, 8e9, 20_000_000


def main() -> None:
    print(f"{'what':<44}{'events':>12}{'seconds':>10}{'peak GB':>10}{'events/s':>12}")
    for customers in (50_000, 1_000_000):
        told = _alone(customers)
        _line(f"a year of {customers:,} customers, to Parquet", **told)
    met = told["seconds"] < GOAL_SECONDS and told["peak"] < GOAL_BYTES and told["events"] >= GOAL_EVENTS
    print(f"goal for 1 million: 20 million events in under 120 s and 8 GB: {'met' if met else 'MISSED'}")
    begun = time.perf_counter()
    events = _looped(LOOPED)
    _line(
        f"a loop over {LOOPED:,} customers, purchases only", events=events, seconds=time.perf_counter() - begun, peak=0
    )


def _line(what: str, *, events: int, seconds: float, peak: float) -> None:
    memory = f"{peak / 1e9:.2f}" if peak else "-"
    print(f"{what:<44}{events:>12,}{seconds:>10.1f}{memory:>10}{events / seconds:>12,.0f}")


def _alone(customers: int) -> dict[str, float]:
    """One market in a process of its own, so that its peak memory is its own."""
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.market", str(customers)], capture_output=True, text=True, check=True
    )
    told: dict[str, float] = json.loads(ran.stdout)
    return told


def _year(customers: int) -> dict[str, float]:
    import resource

    import pyarrow.parquet as pq

    from experiments.market import Market, MarketSpec
    from features.facts import EVENTS

    begun, events = time.perf_counter(), 0
    with tempfile.TemporaryDirectory() as folder, pq.ParquetWriter(Path(folder) / "history.parquet", EVENTS) as parquet:
        for week in Market(MarketSpec(customers=customers, seed=1)).history_weeks():
            parquet.write_table(week)
            events += week.num_rows
    seconds = time.perf_counter() - begun
    return {"events": events, "seconds": seconds, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def _looped(customers: int) -> int:
    from experiments.market.customers import draw_customers
    from experiments.market.reactions import BASKET, season
    from experiments.market.spec import MarketSpec

    spec = MarketSpec(customers=customers, seed=1)
    who = draw_customers(spec)
    rng = np.random.default_rng(1)
    rows = []
    for week in range(52):
        year = season(spec, week)
        for number in range(customers):
            if rng.random() < who.base[number] * year:
                category = rng.choice(6, p=who.category[number])
                rows.append(
                    (number, week, category, int(who.basket[number] * BASKET[category] * rng.lognormal(0, 0.5)))
                )
    return len(rows)


if __name__ == "__main__":
    print(json.dumps(_year(int(sys.argv[1])))) if len(sys.argv) > 1 else main()
