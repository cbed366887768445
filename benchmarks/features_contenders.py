"""The contenders of the features benchmark, each run as a process: ``features_contenders.py NAME FOLDER``."""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

KINDS = ("visit", "search", "cart", "purchase", "contact", "open", "click", "call")
CHANNELS = ("web", "email", "mail", "call", "store")
DAYS = (30, 90, 365)
DAY = 86_400_000_000
#: Name -> filters: 13 groups of events over three windows, and one over the shortest: 40 columns.
GROUPS = {kind: {"kind": kind} for kind in KINDS} | {
    f"visit_{channel}": {"kind": "visit", "channel": channel} for channel in CHANNELS
}
EXTRA = ("purchase_web", {"kind": "purchase", "channel": "web"})


def make_data(folder: Path, *, events: int, customers: int, rows: int, parts: int = 1) -> None:
    """``history/events/*.parquet`` and ``spine.parquet``: events over 400 days, 5% recorded up to a day late.

    Each part holds events of all customers over the whole time, sorted by customer as the history sorts it.
    """
    (folder / "history" / "events").mkdir(parents=True)
    kinds = ", ".join(f"'{kind}'" for kind in ("visit", "visit", *KINDS))
    channels = ", ".join(f"'{channel}'" for channel in CHANNELS)
    share = events // parts
    with duckdb.connect() as connection:
        connection.execute(f"SET TimeZone = 'UTC'; SET temp_directory = '{folder}/spilled'; SELECT setseed(0.5)")
        for part in range(parts):
            connection.execute(
                f"""
                CREATE OR REPLACE TABLE e AS SELECT 'e' || i AS event_id,
                    'c' || floor(random() * {customers})::INT AS customer_id,
                    [{kinds}][1 + floor(random() * {len(KINDS) + 2})::INT] AS kind,
                    TIMESTAMPTZ '2023-06-01' + to_microseconds((random() * 400 * {DAY})::BIGINT) AS occurred_at,
                    [{channels}][1 + floor(random() * {len(CHANNELS)})::INT] AS channel,
                    'i' || floor(random() * 1000)::INT AS item,
                    ['shoes', 'toys', 'home'][1 + floor(random() * 3)::INT] AS category,
                    floor(random() * 10000)::BIGINT AS amount, 1::BIGINT AS quantity, 'made' AS source
                    FROM range({part * share}, {(part + 1) * share}) t(i);
                COPY (SELECT event_id, customer_id, kind, occurred_at, occurred_at + to_microseconds(
                        CASE WHEN random() < 0.05 THEN (random() * {DAY})::BIGINT ELSE 0 END) AS recorded_at,
                    channel, item, category, amount, quantity, source
                    FROM e ORDER BY customer_id, occurred_at, event_id)
                    TO '{folder}/history/events/part-{part:02d}.parquet'
                    (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 65536)
                """
            )
        connection.execute(
            f"""
            COPY (SELECT 'c' || floor(random() * {customers})::INT AS customer_id,
                TIMESTAMPTZ '2024-01-01' + to_microseconds((random() * 180 * {DAY})::BIGINT) AS as_of
                FROM range({rows}))
                TO '{folder}/spine.parquet' (FORMAT parquet)
            """
        )


def ours(folder: Path) -> pa.Table:
    """Rapport's compiled features."""
    from features import Feature, FeatureSet, History

    windows = tuple(f"{days}d" for days in DAYS)
    declared = [Feature(name=name, where=where, windows=windows) for name, where in GROUPS.items()]
    features = FeatureSet.of(*declared, Feature(name=EXTRA[0], where=EXTRA[1], windows=windows[:1]))
    return features.offline(History(folder / "history"), pq.read_table(folder / "spine.parquet")).select(features.names)


def by_hand(folder: Path) -> pa.Table:
    """One pass in DuckDB, packed, as one would write it for these 40 columns and no others."""
    tests = {name: " AND ".join(f"{key} = '{value}'" for key, value in where.items()) for name, where in GROUPS.items()}
    sums = ", ".join(f"sum(CASE WHEN {test} THEN band ELSE 0 END)::BIGINT AS {name}" for name, test in tests.items())
    extra = " AND ".join(f"{key} = '{value}'" for key, value in EXTRA[1].items())
    unpacked = ", ".join(
        f"coalesce({name} & 2097151, 0) AS {name}_30d, "
        f"coalesce(({name} & 2097151) + ({name} >> 21 & 2097151), 0) AS {name}_90d, "
        f"coalesce(({name} & 2097151) + ({name} >> 21 & 2097151) + ({name} >> 42), 0) AS {name}_365d"
        for name in GROUPS
    )
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(
            f"CREATE TABLE s AS SELECT row_number() OVER () AS row, * FROM read_parquet('{folder}/spine.parquet')"
        )
        return connection.execute(
            f"""
            SELECT {unpacked}, coalesce({EXTRA[0]}, 0) AS {EXTRA[0]}_30d FROM s LEFT JOIN (
                SELECT row, {sums}, count(*) FILTER (WHERE {extra} AND band = 1) AS {EXTRA[0]} FROM (
                    SELECT row, kind, channel,
                        CASE WHEN age <= {30 * DAY} THEN 1 WHEN age <= {90 * DAY} THEN 2097152
                            ELSE 4398046511104 END AS band
                    FROM (
                        SELECT row, kind, channel, epoch_us(as_of) - epoch_us(occurred_at) AS age
                        FROM s JOIN read_parquet('{folder}/history/events/*.parquet') AS e
                        ON s.customer_id = e.customer_id AND e.occurred_at < s.as_of AND e.recorded_at < s.as_of
                    ) WHERE age <= {365 * DAY}
                ) GROUP BY row
            ) USING (row) ORDER BY row
            """
        ).to_arrow_table()


def pandas(folder: Path) -> pa.Table:
    """A merge in pandas, masks in numpy, one bincount for each column."""
    import pandas as pd

    columns = ["customer_id", "kind", "channel", "occurred_at", "recorded_at"]
    events = pd.read_parquet(folder / "history" / "events", columns=columns)
    spine = pd.read_parquet(folder / "spine.parquet").reset_index(names="row")
    joined = spine.merge(events, on="customer_id")
    joined = joined[(joined.occurred_at < joined.as_of) & (joined.recorded_at < joined.as_of)]
    age = (joined.as_of - joined.occurred_at).to_numpy().astype("timedelta64[us]").astype(np.int64)
    row = joined.row.to_numpy()
    equal = {(name, value): (joined[name] == value).to_numpy() for name, value in _values()}
    found = {}
    for name, where in [*GROUPS.items(), EXTRA]:
        mask = np.logical_and.reduce([equal[each] for each in where.items()])
        rows, ages = row[mask], age[mask]
        for days in DAYS if name in GROUPS else DAYS[:1]:
            found[f"{name}_{days}d"] = np.bincount(rows[ages <= days * DAY], minlength=len(spine))
    return pa.table(found)


def _values() -> list[tuple[str, str]]:
    return [("kind", kind) for kind in KINDS] + [("channel", channel) for channel in CHANNELS]


IMPORTS = {"ours": ("pandas", "features.engines.offline", "ibis.backends.duckdb"), "pandas": ("pandas",)}
CONTENDERS: dict[str, Callable[[Path], pa.Table]] = {"ours": ours, "by hand": by_hand, "pandas": pandas}


def peak_megabytes() -> float:
    """Peak memory of this process since it began (``ru_maxrss`` would begin with that of the parent)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return float("nan")


def report(contender: Callable[[Path], pa.Table], folder: Path) -> None:
    """Run a contender and print its time, that of all processors, its peak memory and a digest of what it computed."""
    begun, worked = time.perf_counter(), time.process_time()
    table = contender(folder)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - worked
    digest = hashlib.sha256()
    for column in sorted(table.column_names):
        digest.update(column.encode() + table[column].to_numpy().astype(np.int64).tobytes())
    print(
        json.dumps(
            {
                "seconds": seconds,
                "cpu": cpu,
                "megabytes": peak_megabytes(),
                "rows": table.num_rows,
                "digest": digest.hexdigest(),
            }
        )
    )


def main() -> None:
    """Run one contender in this process."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    for module in IMPORTS.get(name, ()):  # importing is no part of the time, for none of them
        importlib.import_module(module)
    report(CONTENDERS[name], folder)


if __name__ == "__main__":
    main()
