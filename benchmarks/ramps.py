"""A ramp of known truth: what the readers of bare tables say with and without the moment at which customers entered.

``python -m benchmarks ramps`` is the full form; the quick form runs in tests/experiments/test_entry.py.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from experiments.analysis import analyze
from experiments.heterogeneity import gains
from experiments.ladder import ladder

TRUE = 0.5


def ramped(*, n: int, rng: np.random.Generator, effect: float = TRUE, ramp: bool = True) -> pa.Table:
    """Half of the customers enter early and are worth 2 more; contacts go to a tenth of them, later to half.

    ``effect`` is what a contact brings each of them; without a ``ramp`` half of all get it throughout.
    """
    day = rng.integers(0, 20, n)
    late = day >= 10
    arm = rng.random(n) < np.where(late | (not ramp), 0.5, 0.1)
    x = rng.normal(size=n)
    y = 10 - 2.0 * late + x + effect * arm + rng.normal(size=n)
    stays = rng.exponential(np.where(late, 40.0, 80.0))
    return pa.table(
        {
            "arm": np.where(arm, "mail", "none"),
            "entered": np.datetime64("2026-01-05") + day,
            "x": x,
            "y": y,
            "days": np.minimum(stays, 90.0),
            "left": stays <= 90.0,
            "held": (~arm).astype(np.int64),
        }
    )


def value_of_contacting(table: pa.Table, *, time: str | None) -> tuple[float, float]:
    """The interval of what contacting everybody brings, by the ladder."""
    found = ladder(
        table.drop_columns(["entered"] if time is None else []),
        arm="arm", control="none", outcome="y", features=["x"], time=time, repeats=1,
    ).rungs[1]  # fmt: skip
    assert found.gain_ci_low is not None and found.gain_ci_high is not None
    return found.gain_ci_low, found.gain_ci_high


def effect_by_gains(table: pa.Table, *, time: str | None) -> tuple[float, float]:
    """The interval of the average effect, by the analysis of who gains."""
    kept = table.drop_columns(["entered"] if time is None else [])
    found = gains(kept, arm="arm", control="none", outcome="y", features=["x"], time=time).arms[0].effect
    return found.ci_low, found.ci_high


def effect_by_analysis(table: pa.Table, *, time: str | None) -> tuple[float, float]:
    """The interval of one look at the effect, by the comparison of the arms."""
    found = analyze(table, arm="arm", control="none", metrics=["y"], time=time, ramp=time, final=True).metrics[0]
    return found.ci_low, found.ci_high


def main(*, runs: int = 200) -> None:
    """Print how often intervals hold the truth, by the day of entry and without it (naive)."""
    print(f"a contact that brings {TRUE}, on a ramp from a tenth to a half: intervals that hold it, nominal 95%")
    for name, interval in (
        ("analyze", effect_by_analysis),
        ("ladder", value_of_contacting),
        ("gains", effect_by_gains),
    ):
        held = dict.fromkeys(("entered", None), 0)
        for seed in range(runs):
            table = ramped(n=3_000, rng=np.random.default_rng(seed))
            for time in held:
                low, high = interval(table, time=time)
                held[time] += low <= TRUE <= high
        print(f"{name:8} by day {held['entered'] / runs:.1%}, plain (naive) {held[None] / runs:.1%}")


if __name__ == "__main__":
    main()
