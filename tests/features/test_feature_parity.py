"""Offline equals online, exactly, and both equal SQL written by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features import EVENTS, PROFILE, Feature, FeatureSet, History, standard_features
from features.engines.offline import offline

START = datetime(2024, 1, 1, tzinfo=UTC)
FEATURES = FeatureSet.of(
    Feature(name="visits", where={"kind": "visit"}, windows=("1h", "1d", "7d", "30d")),
    Feature(name="all", windows=("1d",)),
    Feature(name="ever"),
    Feature(name="web", where={"kind": ("visit", "purchase"), "channel": "web"}, windows=("1d", "7d")),
    Feature(name="spend", aggregate="sum", of="amount", where={"kind": "purchase"}, windows=("1d", "30d")),
    Feature(name="pieces", aggregate="sum", of="quantity"),
    Feature(name="categories", aggregate="distinct", of="category", windows=("7d",)),
    Feature(name="brands", aggregate="distinct", of="brand"),
    Feature(name="acme", where={"kind": "visit", "brand": "Acme"}, windows=("7d", "30d")),
    Feature(name="usual_brand", aggregate="most_common", of="brand", where={"brand": ("Acme", "Ajax")}),
    Feature(name="accounts", aggregate="distinct", of="customer_id", scope="household"),
    Feature(name="at_night", where={"hour": ("0", "1", "23"), "kind": ("visit", "purchase")}, windows=("1d", "30d")),
    Feature(
        name="channel",
        aggregate="most_common",
        of="channel",
        where={"channel": ("web", "store")},
        windows=("1d", "30d"),
    ),
    Feature(
        name="usual_category", aggregate="most_common", of="category", where={"category": ("toys", "shoes", "hats")}
    ),
    Feature(name="only_web", aggregate="most_common", of="channel", where={"channel": "web"}, windows=("1d",)),
    Feature(name="since_visit", aggregate="seconds_since_last", where={"kind": "visit"}),
    Feature(name="since_recent", aggregate="seconds_since_last", windows=("1h", "1d")),
    Feature(name="tenure", aggregate="seconds_since_first"),
    Feature(name="gender", aggregate="latest", of="gender"),
    Feature(name="age", aggregate="latest", of="age", integer=True),
)

# Moments on a coarse grid with a microsecond on either side: ties with as_of and with window edges are frequent.
moments = st.builds(
    lambda hours, micros: START + timedelta(hours=hours, microseconds=micros),
    st.integers(0, 800),
    st.sampled_from([-1, 0, 0, 1]),
)
customers = st.sampled_from(["anna", "ben", "Ötzi"])
events = st.fixed_dictionaries(
    {
        "customer_id": customers,
        "kind": st.sampled_from(["visit", "purchase", "other"]),
        "occurred_at": moments,
        "recorded_at": moments,
        "channel": st.sampled_from(["web", "store", None]),
        "category": st.sampled_from(["shoes", "toys", None]),
        "brand": st.sampled_from(["Acme", "Ajax", "Zeta", None]),
        "amount": st.none() | st.integers(-500, 10**12),
        "quantity": st.none() | st.integers(0, 9),
    }
)
profile_facts = st.fixed_dictionaries(
    {
        "customer_id": customers,
        "attribute": st.sampled_from(["gender", "age"]),
        "value": st.sampled_from(["f", "m", "é", "41", "-7", "4.5", " 3", "3\n", "", None]),
        "occurred_at": moments,
        "recorded_at": moments,
    }
)
spines = st.lists(st.tuples(st.sampled_from(["anna", "ben", "Ötzi", "nobody"]), moments), max_size=6)


def filled(folder: Path, rows: list[dict[str, object]], profile: list[dict[str, object]]) -> History:
    history = History(folder)
    numbered = [{"event_id": f"e{place}", **row} for place, row in enumerate(rows)]
    history.append(pa.Table.from_pylist(numbered, schema=EVENTS), part="all")
    history.append_profile(pa.Table.from_pylist(profile, schema=PROFILE), part="all")
    return history


def spine_of(rows: list[tuple[str, datetime]]) -> pa.Table:
    return pa.table(
        {
            "customer_id": pa.array([row[0] for row in rows], pa.string()),
            "as_of": pa.array([row[1] for row in rows], pa.timestamp("us", tz="UTC")),
        }
    )


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(events, max_size=30), profile=st.lists(profile_facts, max_size=10), spine=spines)
@pytest.mark.parametrize("bits", [21, 2])
def test_offline_equals_online(
    bits: int, rows: list[dict[str, object]], profile: list[dict[str, object]], spine: list[tuple[str, datetime]]
) -> None:
    with TemporaryDirectory() as folder:
        history = filled(Path(folder), rows, profile)
        # With 2 bits a band holds 3 events only: the guard must see it and count window by window.
        table = offline(FEATURES.columns, history, spine_of(spine), bits=bits)
        online = [FEATURES.online(history.customer(customer), as_of) for customer, as_of in spine]
    assert table.select(FEATURES.names).to_pylist() == online


def test_counts_that_overflow_a_band_are_still_right(tmp_path: Path) -> None:
    moment = START - timedelta(hours=2)
    rows = [{"customer_id": "anna", "kind": "visit", "occurred_at": moment, "recorded_at": moment}] * 9
    history = filled(tmp_path, rows, [])
    features = FeatureSet.of(Feature(name="visits", windows=("1h", "1d", "7d")))
    counted = offline(features.columns, history, spine_of([("anna", START)]), bits=3)
    assert counted.select(features.names).to_pylist() == [{"visits_1h": 0, "visits_1d": 9, "visits_7d": 9}]


def test_the_hour_is_right_before_1970_too(tmp_path: Path) -> None:
    moments = [datetime(year, 6, 1, 23, 59, 59, 999_999, tzinfo=UTC) for year in (1912, 1969, 1970, 2024)]
    rows = [
        {"customer_id": "anna", "kind": "visit", "occurred_at": moment + step, "recorded_at": moment + step}
        for moment in moments
        for step in (timedelta(0), timedelta(microseconds=1), timedelta(hours=1))
    ]
    history = filled(tmp_path, rows, [])
    features = FeatureSet.of(*(Feature(name=f"at_{hour}", where={"hour": str(hour)}) for hour in (23, 0, 1)))
    counted = features.offline(history, spine_of([("anna", datetime(2025, 1, 1, tzinfo=UTC))]))
    assert counted.select(features.names).to_pylist() == [{"at_23": 4, "at_0": 8, "at_1": 0}]
    assert features.online(history.customer("anna"), datetime(2025, 1, 1, tzinfo=UTC)) == {
        "at_23": 4,
        "at_0": 8,
        "at_1": 0,
    }


ORACLE = """
SELECT
  (SELECT count(*) FROM e WHERE {seen} AND kind = 'purchase' AND {within_90}) AS purchases_90d,
  (SELECT count(*) FROM e WHERE {seen} AND kind = 'visit' AND {within_7}) AS visits_7d,
  (SELECT count(*) FROM e WHERE {seen} AND kind = 'visit' AND {within_365}) AS visits_365d,
  (SELECT coalesce(sum(amount), 0) FROM e WHERE {seen} AND kind = 'purchase' AND {within_30}) AS spend_30d,
  (SELECT count(*) FROM e WHERE {seen} AND kind = 'open' AND channel = 'email' AND {within_90}) AS opens_email_90d,
  (SELECT count(*) FROM e WHERE {seen} AND {active} AND {within_90}
     AND extract('hour' FROM occurred_at) BETWEEN 12 AND 17) AS active_afternoon_90d,
  (SELECT channel FROM e WHERE {seen} AND {active} AND {within_365} AND channel IN ('web', 'email')
     GROUP BY channel ORDER BY count(*) DESC, channel LIMIT 1) AS preferred_channel_365d,
  (SELECT count(DISTINCT item) FROM e WHERE {seen} AND kind IN ('visit', 'search', 'cart')
     AND occurred_at >= s.as_of - INTERVAL 30 MINUTE) AS session_items_30m,
  (SELECT count(*) FROM e WHERE {seen} AND kind IN ('visit', 'search', 'cart') AND category = 'shoes' AND {within_30})
    AS interest_shoes_30d,
  (SELECT date_diff('microsecond', max(occurred_at), s.as_of) // 1000000 FROM e WHERE {seen} AND kind = 'contact')
    AS seconds_since_contact,
  (SELECT date_diff('microsecond', min(occurred_at), s.as_of) // 1000000 FROM e WHERE {seen}) AS tenure,
  (SELECT count(DISTINCT category) FROM e WHERE {seen} AND kind = 'purchase' AND {within_365})
    AS categories_bought_365d
FROM s ORDER BY place
"""


def test_offline_equals_naive_sql(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    count = 4_000
    occurred = rng.integers(0, 500 * 86_400, count) * 1_000_000
    delay = rng.choice([0, 0, 3_600, 5 * 86_400], count) * 1_000_000
    table = pa.table(
        {
            "event_id": [f"e{place}" for place in range(count)],
            "customer_id": [f"c{number}" for number in rng.integers(0, 60, count)],
            "kind": rng.choice(["visit", "search", "cart", "purchase", "contact", "open", "click"], count),
            "occurred_at": pa.array(occurred, pa.timestamp("us", tz="UTC")),
            "recorded_at": pa.array(occurred + delay, pa.timestamp("us", tz="UTC")),
            "channel": rng.choice(["web", "email", "store"], count),
            "category": rng.choice(["shoes", "toys"], count),
            "item": rng.choice(["boot", "doll", "ball"], count),
            "amount": rng.integers(0, 10_000, count),
        }
    )
    history = History(tmp_path)
    history.append(table, part="all")
    as_of = pa.array(rng.choice(occurred, 300), pa.timestamp("us", tz="UTC"))  # moments at which something happened
    spine = pa.table({"customer_id": [f"c{number}" for number in rng.integers(0, 70, 300)], "as_of": as_of})
    features = standard_features(channels=("web", "email"), categories=("shoes", "toys"))
    ours = features.offline(history, spine)

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("e", table)
    connection.register("s", spine.append_column("place", pa.array(range(300))))
    windows = {f"within_{days}": f"occurred_at >= s.as_of - INTERVAL {days} DAY" for days in (7, 30, 90, 365)}
    seen = "e.customer_id = s.customer_id AND occurred_at < s.as_of AND recorded_at < s.as_of"
    active = "kind IN ('visit', 'search', 'cart', 'purchase', 'open', 'click')"
    oracle = connection.execute(ORACLE.format(seen=seen, active=active, **windows)).to_arrow_table()
    for name in oracle.column_names:
        assert ours[name].to_pylist() == oracle[name].cast(ours[name].type).to_pylist(), name


def test_rows_come_back_as_they_were_given(tmp_path: Path) -> None:
    moment = START - timedelta(days=1)
    rows = [{"customer_id": "ben", "kind": "visit", "occurred_at": moment, "recorded_at": moment}]
    history = filled(tmp_path, rows, [])
    spine = pa.table(
        {
            "label": [1, 2, 3, 4],
            "customer_id": ["zoe", "ben", "ben", "anna"],
            "as_of": ["2024-01-01", "2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z", "2023-01-01T00:00:00+02:00"],
        }
    )
    table = FEATURES.offline(history, spine)
    assert table.select(spine.column_names).equals(spine)
    assert table["visits_7d"].to_pylist() == [0, 1, 1, 0]
    assert FEATURES.offline(history, spine.slice(0, 0)).num_rows == 0
    assert table.column_names == [*spine.column_names, *FEATURES.names]
