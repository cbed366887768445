"""Features of 200,000 moments from 10 million events: ours beside DuckDB by hand, pandas and Feast.

40 columns: counts of 13 groups of events over 30, 90 and 365 days, and one more. Each contender runs in processes of
its own (median of three); what they computed is compared. Feast gets its features precomputed, as it computes no
windows: it only joins six columns. It is installed into a throw-away environment (it needs pandas < 3).
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.features_contenders import make_data
from features import CustomerFacts, Event, standard_features

EVENTS, CUSTOMERS, ROWS, RUNS = 10_000_000, 500_000, 200_000, 3
HERE = Path(__file__).resolve().parent
GOALS = {
    "ours": "<= 1.3 x by hand; under 1 GB",
    "pandas": "ours 2 x faster",
    "feast on duckdb": "ours no slower",
    "feast on files": "ours no slower",
}


def main() -> None:
    """Print the table of times, memory and goals."""
    with TemporaryDirectory(prefix="rapport-bench-") as scratch:
        folder = Path(scratch)
        print(f"making {EVENTS:,} events of {CUSTOMERS:,} customers and {ROWS:,} moments ...", flush=True)
        make_data(folder, events=EVENTS, customers=CUSTOMERS, rows=ROWS)
        names = ("by hand", "ours", "pandas")
        runs = [{name: _run(name, folder) for name in names} for _ in range(RUNS)]  # in turn: the same weather for all
        found = {name: _median([run[name] for run in runs]) for name in names}
        found |= _feast(folder)
    _show(found)
    _online()


def _run(name: str, folder: Path, *, python: str = sys.executable, script: str = "features_contenders.py") -> dict:
    command = [python, str(HERE / script), name, str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE.parent)
    lines = ran.stdout.strip().splitlines()
    return json.loads(lines[-1]) if ran.returncode == 0 and lines else {"failed": ran.stderr.strip()[-300:]}


def _median(runs: list[dict]) -> dict:
    failed = [run for run in runs if "failed" in run]
    if failed:
        return failed[0]
    return {**runs[0], "seconds": statistics.median(run["seconds"] for run in runs)} | {
        "megabytes": max(run["megabytes"] for run in runs)
    }


def _feast(folder: Path) -> dict[str, dict]:
    place = folder / "feast-environment"
    python = str(place / "bin" / "python")
    made = subprocess.run([sys.executable, "-m", "venv", str(place)], capture_output=True, text=True, check=False)
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", python, "feast[duckdb]", "pandas<3"]
    if made.returncode == 0:
        made = subprocess.run(install, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        why = {"failed": f"not installable: {made.stderr.strip().splitlines()[-1:]}"}
        return {"feast on duckdb": why, "feast on files": why}
    return {
        f"feast on {store}": _median(
            [_run(store, folder, python=python, script="features_feast.py") for _ in range(RUNS)]
        )
        for store in ("duckdb", "files")
    }


def _show(found: dict[str, dict]) -> None:
    hand = found["by hand"]
    print(f"\n{'contender':<18}{'seconds':>9}{'x by hand':>11}{'peak MB':>9}  {'values':<14}goal")
    for name, each in found.items():
        if "failed" in each:
            print(f"{name:<18}did not run: {each['failed']}")
            continue
        ratio = each["seconds"] / hand["seconds"]
        same = "" if name.startswith("feast") else "equal" if each["digest"] == hand["digest"] else "DIFFER"
        rows = f"{each['rows']:,} rows" if name.startswith("feast") else same
        print(
            f"{name:<18}{each['seconds']:>9.2f}{ratio:>11.2f}{each['megabytes']:>9.0f}  {rows:<14}{GOALS.get(name, '')}"
        )


def _online(*, customers: int = 2_000, facts: int = 200) -> None:
    """Time standard features of one customer at a time, each with facts that were never evaluated before."""
    rng = np.random.default_rng(1)
    now = datetime(2024, 6, 1, tzinfo=UTC)
    channels, categories = ("web", "email", "mail", "call", "store"), ("shoes", "toys")
    features = standard_features(channels=channels, categories=categories)
    kinds = ("visit", "search", "cart", "purchase", "contact", "open", "click", "call")
    taken = []
    for _ in range(customers):
        moments = [now - timedelta(seconds=int(age)) for age in rng.integers(1, 400 * 86_400, facts)]
        picks = zip(
            moments, rng.choice(kinds, facts), rng.choice(channels, facts), rng.choice(categories, facts), strict=True
        )
        events = tuple(
            Event(f"e{place}", "c", str(kind), moment, moment, str(channel), "item", str(category), 100, 1)
            for place, (moment, kind, channel, category) in enumerate(picks)
        )
        known = CustomerFacts(customer_id="c", events=events)
        begun = time.perf_counter()
        features.online(known, now)
        taken.append((time.perf_counter() - begun) * 1_000)
    median, p99 = np.percentile(taken[customers // 10 :], [50, 99])
    print(f"\nonline, {len(features.names)} features of a customer with {facts} facts: ", end="")
    print(f"median {median:.2f} ms, p99 {p99:.2f} ms (goal: under 1 ms)")


if __name__ == "__main__":
    main()
