"""The same 40 columns by Polars' streaming engine, in an environment of its own: ``features_polars.py NAME FOLDER``.

``polars`` is as one writes it, a sum for each column; ``polars packed`` takes the trick of three windows in one sum.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import polars as pl

from benchmarks.features_contenders import DAY, DAYS, EXTRA, GROUPS, report

BITS = 21


def joined(folder: Path) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """The spine with row numbers, and the events that each row knew, with their age."""
    spine = pl.scan_parquet(folder / "spine.parquet").with_row_index("row")
    events = pl.scan_parquet(folder / "history" / "events" / "*.parquet")
    known = (pl.col("occurred_at") < pl.col("as_of")) & (pl.col("recorded_at") < pl.col("as_of"))
    age = (pl.col("as_of") - pl.col("occurred_at")).dt.total_microseconds()
    both = events.select("customer_id", "kind", "channel", "occurred_at", "recorded_at").join(spine, on="customer_id")
    return spine, both.filter(known).with_columns(age=age).filter(pl.col("age") <= DAYS[-1] * DAY)


def matches(where: dict[str, str]) -> pl.Expr:
    return pl.all_horizontal([pl.col(column) == value for column, value in where.items()])


def plain(folder: Path) -> pl.LazyFrame:
    """One sum for each column."""
    spine, events = joined(folder)
    wanted = [(name, where, days) for name, where in GROUPS.items() for days in DAYS] + [(*EXTRA, DAYS[0])]
    sums = [
        (matches(where) & (pl.col("age") <= days * DAY)).sum().alias(f"{name}_{days}d") for name, where, days in wanted
    ]
    return _filled(spine, events.group_by("row").agg(sums))


def packed(folder: Path) -> pl.LazyFrame:
    """Three windows in one sum."""
    spine, events = joined(folder)
    age = pl.col("age")
    band = pl.when(age <= DAYS[0] * DAY).then(1).when(age <= DAYS[1] * DAY).then(1 << BITS).otherwise(1 << 2 * BITS)
    sums = [(matches(where).cast(pl.Int64) * pl.col("band")).sum().alias(name) for name, where in GROUPS.items()]
    extra = (matches(EXTRA[1]) & (pl.col("band") == 1)).sum().alias(f"{EXTRA[0]}_{DAYS[0]}d")
    counted = events.with_columns(band=band.cast(pl.Int64)).group_by("row").agg(*sums, extra)
    columns = []
    for name in GROUPS:
        bands = [pl.col(name) // (1 << place * BITS) % (1 << BITS) for place in range(len(DAYS))]
        columns += [pl.sum_horizontal(bands[: place + 1]).alias(f"{name}_{days}d") for place, days in enumerate(DAYS)]
    return _filled(spine, counted).select(*columns, pl.col(f"{EXTRA[0]}_{DAYS[0]}d"))


def _filled(spine: pl.LazyFrame, counted: pl.LazyFrame) -> pl.LazyFrame:
    return spine.select("row").join(counted, on="row", how="left").fill_null(0).sort("row").drop("row")


if __name__ == "__main__":
    query = {"polars": plain, "polars packed": packed}[sys.argv[1]]
    report(lambda folder: query(folder).collect(engine="streaming").to_arrow(), Path(sys.argv[2]))
