"""Whatever table comes in, ``analyze`` answers or says what is wrong; it never fails otherwise."""

from __future__ import annotations

import json
import math
from collections import Counter
from datetime import date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa

from experiments.analysis import Findings, analyze
from features.errors import InputError

COLUMNS = {
    "bool": lambda rng, n: rng.random(n) < 0.5,
    "never": lambda rng, n: np.zeros(n, dtype=bool),
    "small": lambda rng, n: rng.integers(-3, 4, n),
    "huge": lambda rng, n: rng.integers(-(2**62), 2**62, n),
    "float": lambda rng, n: rng.normal(size=n),
    "extreme": lambda rng, n: 10.0 ** rng.integers(-300, 99, n) * rng.choice([-1, 1], n),
    "infinite": lambda rng, n: rng.choice([np.inf, 1.0, np.nan], n),
    "constant": lambda rng, n: np.full(n, 1.1),
    "decimal": lambda rng, n: [Decimal(int(each)) / 4 for each in rng.integers(-9, 9, n)],
    "text": lambda rng, n: rng.choice(["a", "b", "c", "", " ", "nan", "[b]"], n),
    "number text": lambda rng, n: rng.choice(["1", "2.0", "1e3"], n),
    "date": lambda rng, n: [date(2026, 1, 1) + timedelta(days=int(each)) for each in rng.integers(0, 99, n)],
    "moment": lambda rng, n: [datetime(2026, 1, 1) + timedelta(hours=int(each)) for each in rng.integers(0, 99, n)],
    "list": lambda rng, n: [[int(each)] for each in rng.integers(0, 2, n)],
    "nothing": lambda rng, n: [None] * n,
}
RUNS = 300
METRICS = ["bool", "never", "small", "huge", "float", "extreme", "constant", "decimal", "small/float", "bool/never"]


def _table(rng: np.random.Generator) -> pa.Table:
    n = int(rng.choice([1, 2, 3, 10, 60]))
    columns = {"arm": pa.array(rng.choice(["a", "b", "c"], n)), "pair": pa.array(rng.choice([0, 1], n))}
    for name, make in COLUMNS.items():
        mask = rng.random(n) < rng.choice([0, 0, 0.2])
        columns[name] = pa.array(make(rng, n), mask=mask) if name != "nothing" else pa.nulls(n)
    table = pa.table(columns)
    return pa.concat_tables([table.slice(0, n // 2), table.slice(n // 2)]) if rng.random() < 0.5 else table


def _some(rng: np.random.Generator, names: list[str], most: int) -> list[str]:
    # Mostly such as may be answered, now and then any column at all, or one that isn't there.
    pool = names if rng.random() < 0.9 else [*COLUMNS, "nowhere", "small/nowhere"]
    return [str(each) for each in rng.choice(pool, rng.integers(0, most + 1))]


def _sane(found: Findings) -> None:
    for row in (*found.metrics, *found.segments):
        assert math.isnan(row.p_value) or 0 <= row.p_value <= 1
        assert math.isnan(row.ci_low) or row.ci_low <= row.difference <= row.ci_high
        assert math.isnan(row.anytime_ci_low) or row.anytime_ci_low <= row.difference <= row.anytime_ci_high
    json.dumps(found.to_json())


def test_any_table_is_answered_or_refused() -> None:
    ended = Counter()
    for seed in range(RUNS):
        rng = np.random.default_rng(seed)
        table = _table(rng)
        metrics = ["float", *_some(rng, METRICS, 4)] if rng.random() < 0.8 else _some(rng, METRICS, 3)
        # A metric is no covariate of its own, which most runs needn't try.
        others = [each for each in METRICS if each not in metrics or rng.random() < 0.05]
        try:
            found = analyze(
                table,
                arm="arm" if rng.random() < 0.8 else str(rng.choice(["pair", *COLUMNS])),
                control="a" if rng.random() < 0.8 else 0.0,
                metrics=metrics,
                covariates=_some(rng, others, 2),
                cluster=next(iter(_some(rng, ["small", "text", "huge"], 1)), None),
                segments=_some(rng, ["small", "text", "bool", "nothing"], 1),
                time=next(iter(_some(rng, ["date", "moment", "small"], 1)), None),
                final=bool(rng.random() < 0.5),
                caps={"float": str(rng.choice(["1", "90%", "-2", "x"]))} if rng.random() < 0.2 else {},
                strata=_some(rng, ["small", "text", "bool", "nothing"], 2) if rng.random() < 0.2 else [],
                exposed=str(rng.choice(["bool", "never", "small"])) if rng.random() < 0.1 else None,
                money=["float"] if rng.random() < 0.2 else [],
            )
        except InputError:
            ended["refused"] += 1
            continue
        _sane(found)
        ended["answered"] += 1
    assert min(ended["answered"], ended["refused"]) > RUNS / 5, ended
