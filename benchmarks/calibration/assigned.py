"""The same unit, the same arm (E1); changed shares move nobody who has one, and who was seen in two is counted (E2)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy import stats

from benchmarks.calibration.table import Line
from experiments.assignment import assign, assign_all, uniform, uniform_all
from experiments.measures import Goal
from experiments.outcomes import count_outcomes

IDS = 10_000_000
_CHUNK = 1_000_000
_VECTORS = Path(__file__).resolve().parents[2] / "docs" / "assignment_vectors.json"


def wrong_vectors() -> tuple[int, int]:
    """How many of the published vectors come out otherwise, and how many there are."""
    published = json.loads(_VECTORS.read_text(encoding="utf-8"))
    wrong = sum(
        uniform(row["unit_id"], row["experiment"]) != row["uniform"]
        or assign(row["unit_id"], experiment=row["experiment"], shares=published["shares"]) != row["arm"]
        for row in published["vectors"]
    )
    return wrong, len(published["vectors"])


def least_balance(ids: int) -> tuple[float, float]:
    """The smallest chi-square p-value over 2 to 20 equal arms: by the hash, and by the id modulo the arms.

    All ids are even: the naive way gives half of the arms nobody.
    """
    hashed, modulo = ({arms: np.zeros(arms, dtype=np.int64) for arms in range(2, 21)} for _ in range(2))
    for start in range(0, ids, _CHUNK):
        own = 2 * np.arange(start, min(start + _CHUNK, ids))
        numbers = uniform_all([f"customer-{each}" for each in own], "balance")
        for arms in hashed:
            hashed[arms] += np.bincount((numbers * arms).astype(int), minlength=arms)
            modulo[arms] += np.bincount(own % arms, minlength=arms)
    least = [min(float(stats.chisquare(each).pvalue) for each in counts.values()) for counts in (hashed, modulo)]
    return least[0], least[1]


def largest_correlation(ids: int, *, pairs: int = 100) -> tuple[float, float]:
    """The largest correlation of the halves of two experiments, in standard errors; and without a key of each."""
    names = [f"customer-{number}" for number in range(ids)]
    halves = np.array([uniform_all(names, f"experiment-{number}") < 0.5 for number in range(15)], dtype=float)
    found = np.corrcoef(halves)
    chosen = list(combinations(range(15), 2))[:pairs]
    unsalted = np.sqrt(ids)  # one hash for all experiments puts the same units together
    return max(abs(float(found[a, b])) for a, b in chosen) * float(np.sqrt(ids)), float(unsalted)


def moved_by_new_shares(ids: int) -> tuple[int, int, float]:
    """Units seen in two arms after the shares changed, how many the report leaves out, and the share that moved."""
    names = [f"c{number}" for number in range(ids)]
    before = np.asarray(assign_all(names, experiment="ramp", shares={"static": 0.9, "personal": 0.1}))
    after = np.asarray(assign_all(names, experiment="ramp", shares={"static": 0.5, "personal": 0.5}))
    start = datetime(2026, 1, 5, tzinfo=UTC)
    times = pa.array([start] * ids + [start + timedelta(days=3)] * ids, pa.timestamp("us", tz="UTC"))
    units = pa.table({"customer_id": names * 2, "arm": np.concatenate([before, after]), "assigned_at": times})
    goal = Goal(name="bought", kind="any", events=("purchase",), window_days=7)
    empty = pa.table(
        {
            **{name: pa.array([], pa.string()) for name in ("event_id", "customer_id", "kind")},
            **{name: pa.array([], pa.timestamp("us", tz="UTC")) for name in ("occurred_at", "recorded_at")},
            "amount": pa.array([], pa.int64()),
        }
    )
    counted = count_outcomes(units, empty, [goal], as_of=start + timedelta(days=60)).two_arms
    return int((before != after).sum()), counted, float((before != after).mean())


def lines(runs: int) -> Iterator[Line]:
    """E1 with ``runs`` x 5,000 ids (10 million in full); E2."""
    ids = min(IDS, runs * 5_000)
    wrong, vectors = wrong_vectors()
    yield Line(promise="E1", what="published vectors that differ", nominal="0", high=0, measured=wrong, runs=vectors)
    hashed, modulo = least_balance(ids)
    yield Line(
        promise="E1", what="balance for 2 to 20 arms: least p of 19 (ids that end alike)", nominal="> .0001", low=1e-4,
        measured=hashed, naive=modulo, how="id modulo arms", runs=ids,
    )  # fmt: skip
    correlation, unsalted = largest_correlation(200_000)
    yield Line(
        promise="E1", what="100 pairs of experiments: largest correlation in s.e.", nominal="< 4.5", high=4.5,
        measured=correlation, naive=unsalted, how="one hash for all", runs=100,
    )  # fmt: skip
    two, counted, share = moved_by_new_shares(100_000)
    yield Line(
        promise="E2", what="seen in two arms: counted and left out, of those that were", nominal="1", low=1, high=1,
        measured=counted / two, naive=share, how="moved, were arms not kept", runs=two,
    )  # fmt: skip
