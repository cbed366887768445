"""What must be exact: a look as of a day (E7), the numbers of one look (E8), and the money (E9)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import stats

from benchmarks.calibration.table import Line
from experiments.analysis import analyze
from experiments.measures import Goal
from experiments.money import money_by_arm, unit_money
from experiments.outcomes import join_outcomes

DATA_SETS = 50
_START = datetime(2026, 1, 5, tzinfo=UTC)
_MOMENT = pa.timestamp("us", tz="UTC")
_GOALS = (
    Goal(name="bought", kind="any", events=("purchase",), window_days=7),
    Goal(name="revenue", kind="sum", events=("purchase",), window_days=14, money=True),
)


def _times(days: np.ndarray) -> pa.Array:
    micros = (np.asarray(days) * 86_400e6).astype("int64") + int(_START.timestamp()) * 1_000_000
    return pa.array(micros).cast(_MOMENT)


def history(rng: np.random.Generator, *, customers: int = 200, rows: int = 2_000) -> tuple[pa.Table, pa.Table]:
    """Assignments of half of the customers, and a log of which some is recorded days later, or sent again."""
    who = [f"c{number}" for number in range(0, customers, 2)]
    units = pa.table(
        {
            "customer_id": who,
            "arm": rng.choice(["static", "personal"], len(who)),
            "assigned_at": _times(rng.uniform(0, 20, len(who))),
        }
    )
    at = rng.uniform(0, 40, rows)
    events = pa.table(
        {
            "event_id": [f"e{number}" for number in rng.integers(0, rows, rows)],
            "customer_id": [f"c{number}" for number in rng.integers(0, customers, rows)],
            "kind": rng.choice(["purchase", "return", "discount", "visit"], rows),
            "occurred_at": _times(at),
            "recorded_at": _times(at + rng.exponential(3, rows)),
            "amount": rng.integers(0, 100_000, rows),
        }
    )
    return units, events


def looks_that_differ(rng: np.random.Generator, *, runs: int) -> tuple[float, float]:
    """The share of looks that differ from the log replayed to that day: as reported, and by the events' own time."""
    differ = np.zeros((runs, 2), dtype=bool)
    for run in range(runs):
        units, events = history(rng)
        as_of = _START + timedelta(days=float(rng.uniform(16, 40)))
        replayed = join_outcomes(units, events.filter(pc.less(events["recorded_at"], as_of)), _GOALS, as_of=as_of)
        place = events.column_names.index("recorded_at")
        own_time = events.set_column(place, "recorded_at", events["occurred_at"])
        for column, log in enumerate((events, own_time)):
            differ[run, column] = not join_outcomes(units, log, _GOALS, as_of=as_of).equals(replayed)
    return float(differ[:, 0].mean()), float(differ[:, 1].mean())


def furthest_from_scipy(rng: np.random.Generator, *, runs: int) -> tuple[float, float]:
    """The largest relative distance to scipy's Welch test (interval and p); and of p by ``1 - cdf``."""
    furthest = [0.0, 0.0]
    for run in range(runs):
        n = [int(each) for each in rng.integers(50, 2_000, 2)]
        mean = rng.uniform(0, 3)
        parts = [rng.gamma(2.0, 3.0, n[0]), rng.gamma(2.0, 3.0, n[1]) + mean * (run % 5)]
        table = pa.table({"arm": np.repeat(["a", "b"], n), "y": np.concatenate(parts)})
        row = analyze(table, arm="arm", control="a", metrics=["y"], final=True).metrics[0]
        other = stats.ttest_ind(parts[1], parts[0], equal_var=False)
        low, high = other.confidence_interval(0.95)
        pairs = [(row.ci_low, low), (row.ci_high, high), (row.p_value, other.pvalue)]
        furthest[0] = max([furthest[0], *(abs(ours - theirs) / abs(theirs) for ours, theirs in pairs if theirs)])
        careless = 2 * (1 - stats.t.cdf(abs(other.statistic), other.df))
        furthest[1] = max(furthest[1], abs(careless - other.pvalue) / other.pvalue if other.pvalue else 0.0)
    return furthest[0], furthest[1]


def cents_missing(rng: np.random.Generator, *, runs: int) -> tuple[int, float]:
    """The most cents by which arms and unassigned differ from the history; and the share that arms alone leave out."""
    most, left_out = 0, []
    for _ in range(runs):
        units, events = history(rng)
        as_of = _START + timedelta(days=float(rng.uniform(16, 60)))
        costs = pa.table(
            {
                "decision_id": units["customer_id"],
                "customer_id": units["customer_id"],
                "decided_at": units["assigned_at"],
                "contact_cost": rng.integers(0, 80, units.num_rows),
            }
        )
        money = unit_money(units, events, costs, as_of=as_of, margin_bp=3_333, since=_START, window=None)
        bridge = money_by_arm(money)
        first: dict[str, int] = {}
        for row in sorted(events.to_pylist(), key=lambda row: (row["recorded_at"], row["occurred_at"])):
            if row["recorded_at"] < as_of and row["occurred_at"] < as_of and row["kind"] != "visit":
                first.setdefault(row["event_id"], row["amount"] if row["kind"] == "purchase" else 0)
        whole = sum(first.values())
        most = max(most, abs(sum(each.revenue for each in bridge) - whole))
        arms = sum(each.revenue for each in bridge if each.arm in ("static", "personal"))
        left_out.append(1 - arms / whole)
    return most, float(np.mean(left_out))


def lines(runs: int) -> Iterator[Line]:
    """E7 in a tenth of the runs, E8 on 50 data sets, E9 in a twentieth."""
    rng = np.random.default_rng(2034)
    often = max(runs // 10, 1)
    differ, naive = looks_that_differ(rng, runs=often)
    yield Line(
        promise="E7", what="looks as of a day that differ from the log replayed to it", nominal="0", high=0.0,
        measured=differ, naive=naive, how="by the events' own time", runs=often,
    )  # fmt: skip
    sets = min(runs, DATA_SETS)
    furthest, careless = furthest_from_scipy(rng, runs=sets)
    yield Line(
        promise="E8", what="one look: largest relative distance to scipy x 10^9", nominal="<= 1", high=1.0,
        measured=furthest * 1e9, naive=careless, how="p by 1 - cdf (not x 10^9)", runs=sets,
    )  # fmt: skip
    often = max(runs // 20, 1)
    cents, share = cents_missing(rng, runs=often)
    yield Line(
        promise="E9", what="revenue by arm and unassigned, off the history: most cents", nominal="0", high=0.0,
        measured=float(cents), naive=share, how="share outside the arms", runs=often,
    )  # fmt: skip
