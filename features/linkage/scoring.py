"""From compared pairs to what they tell: how often each pattern came up, and the odds of each pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from features.linkage.comparisons import Comparison
from features.linkage.engines import Engine
from features.linkage.model import Patterns, Weights, score_sql

# Log odds under which a pair is as good as not compared.
LEAST = -7.0


def patterns_of(spot: Engine, compared: Any, comparisons: Sequence[Comparison], *, everything: bool) -> Patterns:
    """The patterns of levels with their counts; ``everything``: all pairs are compared, so none had to be drawn."""
    names = ", ".join(f"level_{one.name}" for one in comparisons)
    rows = spot.query(
        f"SELECT {names}, sum(CASE WHEN match_key = '0' THEN 1 ELSE 0 END) AS compared, "
        f"sum(CASE WHEN match_key = '1' THEN 1 ELSE 0 END) AS drawn FROM {compared.physical_name} "
        f"GROUP BY {names} ORDER BY {names}"
    ).as_pyarrow_table()
    levels = np.stack([rows.column(f"level_{one.name}").to_numpy() for one in comparisons], axis=1).astype(np.int8)
    counted = rows.column("compared").to_numpy().astype(float)
    return Patterns(
        levels=levels, compared=counted, drawn=counted if everything else rows.column("drawn").to_numpy().astype(float)
    )


def scored_pairs(
    spot: Engine,
    compared: Any,
    records: Any,
    comparisons: Sequence[Comparison],
    weights: Weights,
    *,
    size: int,
    least: float = LEAST,
) -> pa.Table:
    """The pairs that share a key and are not next to impossible: record_l, record_r, odds (log odds of one person),
    told (how many fields that name a person both records hold).

    ``least``: the log odds under which a pair is as good as not compared.
    """
    sums, odds = score_sql(comparisons, weights, records=size)
    often = "".join(f", r.often_{one.name}" for one in comparisons if one.rare)
    told = " + ".join(["0", *(f"least(level_{one.name}, 1)" for one in comparisons if one.tie == "person")])
    summed = spot.query(
        f"SELECT record_l, record_r, {told} AS told, {sums} FROM (SELECT c.*{often} FROM {compared.physical_name} AS c "
        f"JOIN {records.physical_name} AS r ON r.record = c.record_l WHERE c.match_key = '0') AS seen"
    )
    scored = f"SELECT record_l, record_r, {odds} AS odds, told FROM {summed.physical_name}"
    return spot.query(
        f"SELECT * FROM ({scored}) AS scored WHERE odds > {least} ORDER BY record_l, record_r"
    ).as_pyarrow_table()
