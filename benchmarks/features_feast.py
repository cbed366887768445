"""Feast joins six precomputed columns as of each moment; runs in an environment of its own (it needs pandas < 3)."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory


def main() -> None:
    """Time one historical retrieval on the store named in the arguments, ``duckdb`` or ``files``."""
    store_name, folder = sys.argv[1], Path(sys.argv[2])
    import duckdb
    import pandas as pd
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
    from feast.repo_config import RepoConfig
    from feast.types import Int64

    names = [f"running_{place}" for place in range(6)]
    table = folder / "precomputed.parquet"  # made in the first run, and no part of the time
    if not table.exists():
        counters = ", ".join(
            f"count(*) FILTER (WHERE kind = '{kind}') OVER seen AS {name}"
            for kind, name in zip(("visit", "search", "cart", "purchase", "contact", "open"), names, strict=True)
        )
        duckdb.execute(
            f"COPY (SELECT customer_id, occurred_at, {counters} FROM '{folder}/history/events/*.parquet' "
            f"WINDOW seen AS (PARTITION BY customer_id ORDER BY occurred_at)) TO '{table}' (FORMAT parquet)"
        )
    spine = pd.read_parquet(folder / "spine.parquet").rename(columns={"as_of": "event_timestamp"})
    with TemporaryDirectory() as scratch:
        store = FeatureStore(
            config=RepoConfig(
                project="bench",
                provider="local",
                registry=str(Path(scratch) / "registry.db"),
                online_store={"type": "sqlite", "path": str(Path(scratch) / "online.db")},
                offline_store={"type": "duckdb" if store_name == "duckdb" else "file"},
                entity_key_serialization_version=3,
            )
        )
        customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.STRING)
        source = FileSource(path=str(table), timestamp_field="occurred_at")
        fields = [Field(name=name, dtype=Int64) for name in names]
        store.apply([customer, FeatureView(name="view", entities=[customer], schema=fields, source=source)])
        begun, worked = time.perf_counter(), time.process_time()
        found = store.get_historical_features(entity_df=spine, features=[f"view:{name}" for name in names]).to_df()
        seconds, cpu = time.perf_counter() - begun, time.process_time() - worked
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    peak = next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
    print(json.dumps({"seconds": seconds, "cpu": cpu, "megabytes": peak, "rows": len(found)}))


if __name__ == "__main__":
    main()
