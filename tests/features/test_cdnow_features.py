"""Features of real customers against figures that others published, and against SQL over the publisher's own file.

CDNOW: 69,659 purchases of 23,570 customers who first bought in early 1997 (Fader and Hardie). For a tenth of them the
publisher counts, at the end of week 39 (30 September 1997): ``frequency``, the days on which they bought again;
``recency`` and ``T``, weeks from the first day to the last one and to the end; and the mean spend of a day of repeat.
"""

from __future__ import annotations

import csv
import gzip
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import NamedTuple

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from features import Feature, FeatureSet, History
from features.intake import Source, ingest

WEEK_39 = datetime(1997, 10, 1, tzinfo=UTC)  # purchases have a day and no hour: those of 30 September are known by then
WEEK_78 = datetime(1998, 7, 1, tzinfo=UTC)
CENT = Decimal("0.01")

# Every purchase, and beside it each day with any as a visit: the publisher counts days.
MAPPING = """
[[source]]
name = "orders"
file = "orders.csv"
rows = "events"
[source.columns]
customer_id = "customer_id"
kind = {constant = "purchase"}
occurred_at = {column = "date", format = "%Y%m%d"}
quantity = "number_of_cds"
amount = "dollar_value"

[[source]]
name = "days"
file = "days.csv"
rows = "events"
[source.columns]
customer_id = "customer_id"
kind = {constant = "visit"}
occurred_at = {column = "date", format = "%Y%m%d"}
"""

FEATURES = FeatureSet.of(
    Feature(name="days", where={"kind": "visit"}),
    Feature(name="purchases", where={"kind": "purchase"}, windows=("30d", "90d", "365d")),
    Feature(name="spend", aggregate="sum", of="amount", where={"kind": "purchase"}, windows=("30d", "90d", "365d")),
    Feature(name="discs", aggregate="sum", of="quantity", windows=("365d",)),
    Feature(name="since_first", aggregate="seconds_since_first", where={"kind": "purchase"}),
    Feature(name="since_last", aggregate="seconds_since_last", where={"kind": "purchase"}),
)


class Cdnow(NamedTuple):
    """The history, the publisher's rows as CSV, and what is published about the tenth of the customers."""

    history: History
    orders: Path
    published: pd.DataFrame


@pytest.fixture
def cdnow(data: Callable[[str], Path], tmp_path: Path) -> Cdnow:
    folder = data("cdnow/CDNOW_master.txt.gz").parent
    header, *orders = _rows(folder / "CDNOW_master.txt.gz")
    _write(tmp_path / "orders.csv", [header, *orders])
    _write(tmp_path / "days.csv", [header[:2], *sorted({(customer, day) for customer, day, *_ in orders})])
    history = History(tmp_path / "history")
    for table in tomllib.loads(MAPPING)["source"]:
        ingest(Source.from_config(table), data=tmp_path, history=history, quarantine=tmp_path / "quarantine")
    with gzip.open(folder / "cdnow_customers_summary_with_transactions.csv.gz", "rt", newline="") as stream:
        published = pd.DataFrame(csv.DictReader(stream))  # as text: these are rounded decimals
    customers = {sample: master for master, sample, *_ in _rows(folder / "CDNOW_sample.txt.gz")}
    published["customer_id"] = [customers[f"{int(number):04}"] for number in published["ID"]]
    return Cdnow(history, tmp_path / "orders.csv", published.set_index("customer_id").sort_index())


def _rows(path: Path) -> list[tuple[str, ...]]:
    with gzip.open(path, "rt") as stream:
        return [tuple(line.split()) for line in stream]


def _write(path: Path, rows: list[tuple[str, ...]]) -> None:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


def _features(cdnow: Cdnow, customers: pd.Index, moments: list[datetime]) -> pd.DataFrame:
    spine = pa.table({"customer_id": customers.to_list(), "as_of": moments})
    found: pd.DataFrame = FEATURES.offline(cdnow.history, spine).drop(["as_of"]).to_pandas()
    return found.set_index("customer_id")


def test_all_is_taken_in_to_the_cent(cdnow: Cdnow) -> None:
    purchases = cdnow.history.events().to_pandas().query("kind == 'purchase'")
    assert (len(purchases), purchases["customer_id"].nunique()) == (69_659, 23_570)
    assert (purchases["amount"].sum(), purchases["quantity"].sum()) == (250_031_563, 167_881)


def test_recency_frequency_and_money_are_the_published_ones(cdnow: Cdnow) -> None:
    published = cdnow.published
    at_39 = _features(cdnow, published.index, [WEEK_39] * len(published))
    day = 86_400
    assert (at_39["since_first"] % day == 0).all()
    since_first = at_39["since_first"] // day - 1  # from midnight after the last day, and the publisher counts from it
    since_last = at_39["since_last"] // day - 1
    assert _weeks(since_first) == list(published["T"].map(Decimal))
    assert _weeks(since_first - since_last) == list(published["t_x"].map(Decimal))

    repeats = at_39["days"] - 1
    assert repeats.tolist() == published["x"].astype(int).tolist()
    assert repeats.sum() == 2_457
    at_78 = _features(cdnow, published.index, [WEEK_78] * len(published))
    assert (at_78["days"] - at_39["days"]).sum() == 1_882  # the published holdout, weeks 40 to 78

    # What was spent on the first day is what was known at its end: each customer's own moment.
    first_day = _features(cdnow, published.index, [WEEK_39 - timedelta(days=int(each)) for each in since_first])
    assert (first_day["days"] == 1).all()
    later = (at_39["spend_365d"] - first_day["spend_365d"])[repeats > 0]
    assert len(later) == 946
    means = [
        (Decimal(int(cents)) / 100 / int(days)).quantize(CENT, ROUND_HALF_UP)
        for cents, days in zip(later, repeats[repeats > 0], strict=True)
    ]
    assert means == list(published.loc[later.index, "zbar"].map(Decimal))
    assert round(sum(means) / 946, 4) == Decimal("35.0786")


def _weeks(days: pd.Series) -> list[Decimal]:
    return [(Decimal(int(each)) / 7).quantize(CENT) for each in days]


def test_windows_are_those_of_sql_over_the_publishers_rows(cdnow: Cdnow) -> None:
    moments = [datetime(1997, 2, 15, tzinfo=UTC), datetime(1997, 3, 31, 12, tzinfo=UTC), WEEK_39, WEEK_78]
    by_hand = ", ".join(
        f"count(*) FILTER (day >= as_of - INTERVAL {days} DAY) AS purchases_{days}d, "
        f"coalesce(sum(cents) FILTER (day >= as_of - INTERVAL {days} DAY), 0)::BIGINT AS spend_{days}d, "
        f"coalesce(sum(discs) FILTER (day >= as_of - INTERVAL {days} DAY), 0)::BIGINT AS discs_{days}d"
        for days in (30, 90, 365)
    )
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("moments", pa.table({"as_of": moments}))
        expected = connection.execute(
            f"""
            WITH orders AS (
                SELECT customer_id, CAST(strptime(date, '%Y%m%d') AS TIMESTAMPTZ) AS day,
                       CAST(replace(dollar_value, '.', '') AS BIGINT) AS cents, CAST(number_of_cds AS BIGINT) AS discs
                FROM read_csv('{cdnow.orders}', all_varchar = true)
            )
            SELECT customer_id, as_of, {by_hand}, epoch(as_of - min(day))::BIGINT AS since_first,
                   epoch(as_of - max(day))::BIGINT AS since_last
            FROM orders JOIN moments ON day < as_of GROUP BY customer_id, as_of ORDER BY as_of, customer_id
            """
        ).to_arrow_table()
    assert expected.num_rows > 3 * 14_000
    found = FEATURES.offline(cdnow.history, expected.select(["customer_id", "as_of"]))
    names = [name for name in expected.column_names if name in found.column_names]
    assert len(names) == 2 + 7 + 2
    for name in names[2:]:
        assert found[name].to_pylist() == expected[name].to_pylist(), name
