"""Intake of five million events from Parquet and CSV with all checks: ours beside DuckDB without any, and pandas.

Three contenders read the same file and leave the facts as Parquet: ours (``ingest``: types, ids, zones, duplicates
within the file and against the history, quarantine, receipt), DuckDB's plain COPY with casts (no check, no
duplicates; one bad value and it stops), and pandas with the same checks by hand. Each runs in a process of its own.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

ROWS = {"parquet": 5_000_000, "csv": 2_000_000}
CUSTOMERS = 500_000
GOALS = {"parquet": 500_000, "csv": 150_000}
COLUMNS = "receipt, card, type, sold_at, total, quantity, department"


def main() -> None:
    """Print rows per second, CPU seconds and peak memory of each contender beside the goals."""
    with TemporaryDirectory(prefix="rapport-bench-") as scratch:
        folder = Path(scratch)
        print(f"{'file':8} {'contender':22} {'rows/s':>12} {'CPU s':>8} {'peak MB':>8}  goal", flush=True)
        for kind, rows in ROWS.items():
            path = _make(folder, kind, rows)
            for name in CONTENDERS:
                found = _run(name, path)
                goal = f">= {GOALS[kind]:,} rows/s" if name == "ours" else ""
                rate = f"{rows / found['seconds']:,.0f}"
                print(f"{kind:8} {name:22} {rate:>12} {found['cpu']:8.1f} {found['mb']:8.0f}  {goal}", flush=True)


def _make(folder: Path, kind: str, rows: int) -> Path:
    import duckdb

    path = folder / f"tills.{kind}"
    how = "FORMAT parquet, COMPRESSION zstd" if kind == "parquet" else "FORMAT csv, HEADER"
    duckdb.execute(
        f"""
        COPY (SELECT 'r' || i AS receipt, 'c' || (hash(i) % {CUSTOMERS}) AS card,
                CASE WHEN i % 20 = 0 THEN 'REFUND' ELSE 'SALE' END AS type,
                strftime(make_timestamp(1672531200000000 + i * 6000000), '%Y-%m-%d %H:%M:%S') AS sold_at,
                CASE WHEN i % 1000 = 0 THEN 'n/a' ELSE CAST((i % 9999) / 100 AS DECIMAL(9, 2))::VARCHAR END AS total,
                1 + i % 3 AS quantity, 'dept-' || (i % 12) AS department
              FROM range({rows}) AS t(i)) TO '{path}' ({how})
        """
    )
    return path


def _run(name: str, path: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.ingest", name, str(path)]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=Path(__file__).resolve().parent.parent
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def ours(path: Path, out: Path) -> int:
    from features import History
    from features.intake import Field, Source, ingest

    source = Source(
        name="tills",
        file=path.name,
        rows="events",
        columns={
            "event_id": "receipt",
            "customer_id": "card",
            "kind": Field(column="type", values={"SALE": "purchase", "REFUND": "return"}),
            "occurred_at": "sold_at",
            "amount": "total",
            "quantity": "quantity",
            "category": "department",
        },
    )
    (loaded,) = ingest(source, data=path.parent, history=History(out / "history"), quarantine=out / "quarantine")
    return loaded.new


def duckdb_without_checks(path: Path, out: Path) -> int:
    import duckdb

    read = f"read_parquet('{path}')" if path.suffix == ".parquet" else f"read_csv('{path}', all_varchar = true)"
    duckdb.execute(
        f"""
        COPY (SELECT receipt AS event_id, card AS customer_id,
                CASE type WHEN 'SALE' THEN 'purchase' ELSE 'return' END AS kind,
                CAST(sold_at AS TIMESTAMP) AS occurred_at,
                CAST(try_cast(total AS DECIMAL(18, 2)) * 100 AS BIGINT) AS amount, CAST(quantity AS BIGINT) AS quantity,
                department AS category FROM {read} ORDER BY customer_id, occurred_at)
        TO '{out / "facts.parquet"}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 65536)
        """
    )
    return 0


def pandas_with_checks(path: Path, out: Path) -> int:
    import pandas as pd

    rows = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype=str)
    kind = rows["type"].map({"SALE": "purchase", "REFUND": "return"})
    when = pd.to_datetime(rows["sold_at"], format="%Y-%m-%d %H:%M:%S", errors="coerce", utc=True)
    amount = pd.to_numeric(rows["total"], errors="coerce")
    quantity = pd.to_numeric(rows["quantity"], errors="coerce")
    pattern = r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}"
    good = rows["card"].str.fullmatch(pattern) & rows["receipt"].str.fullmatch(pattern) & kind.notna() & when.notna()
    good &= (amount.notna() & (amount >= 0)) & (quantity >= 0) & (when <= pd.Timestamp.now("UTC"))
    good &= ~rows["receipt"].duplicated()
    facts = pd.DataFrame(
        {
            "event_id": rows["receipt"],
            "customer_id": rows["card"],
            "kind": kind,
            "occurred_at": when,
            "amount": (amount * 100).round(),
            "quantity": quantity,
            "category": rows["department"],
        }
    )
    rows[~good].to_csv(out / "bad.csv", index=False)
    facts[good].sort_values(["customer_id", "occurred_at"]).to_parquet(out / "facts.parquet", compression="zstd")
    return int(good.sum())


CONTENDERS = {"ours": ours, "duckdb without checks": duckdb_without_checks, "pandas with checks": pandas_with_checks}


def _measure(name: str, path: Path) -> None:
    with TemporaryDirectory(prefix="rapport-bench-") as scratch:
        begun = time.perf_counter()
        kept = CONTENDERS[name](path, Path(scratch))
        seconds = time.perf_counter() - begun
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {"seconds": seconds, "cpu": used.ru_utime + used.ru_stime, "mb": used.ru_maxrss / 1024, "kept": kept}
        )
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _measure(sys.argv[1], Path(sys.argv[2]))
    else:
        main()
