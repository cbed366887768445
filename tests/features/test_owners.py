"""Behaviour of all the accounts that were known, at the moment asked for, to be one customer's or one household's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features import EVENTS, PROFILE, Feature, FeatureSet, History
from features.engines.offline import DuckDB, offline
from features.facts import MEMBERS

START = datetime(2024, 1, 1, tzinfo=UTC)
FEATURES = FeatureSet.of(
    Feature(name="visits", where={"kind": "visit"}, windows=("1d", "30d")),
    Feature(name="spend", aggregate="sum", of="amount", where={"kind": "purchase"}),
    Feature(name="since_any", aggregate="seconds_since_last"),
    Feature(name="gender", aggregate="latest", of="gender"),
    Feature(name="home_visits", where={"kind": "visit"}, windows=("1d", "30d"), scope="household"),
    Feature(name="home_size", aggregate="distinct", of="customer_id", scope="household"),
    Feature(name="home_spend", aggregate="sum", of="amount", windows=("7d",), scope="household"),
)
ACCOUNTS = ("web-1", "card-7", "call-3", "app-9")

Member = tuple[str, str, str, datetime, datetime | None]

hours = st.builds(
    lambda hour, micros: START + timedelta(hours=hour, microseconds=micros),
    st.integers(0, 60),
    st.sampled_from([-1, 0, 0, 1]),
)
# Linked, unlinked, linked again to the same or to another person; a link may be known long before or after the facts.
members = st.tuples(
    st.sampled_from(["personalize", "household", "count"]),
    st.sampled_from(ACCOUNTS),
    st.sampled_from(["web-1", "call-3"]),
    hours,
    st.none() | hours,
)
events = st.fixed_dictionaries(
    {
        "customer_id": st.sampled_from(ACCOUNTS),
        "kind": st.sampled_from(["visit", "purchase"]),
        "occurred_at": hours,
        "recorded_at": hours,
        "amount": st.integers(0, 10**9),
    }
)
profile_facts = st.fixed_dictionaries(
    {
        "customer_id": st.sampled_from(ACCOUNTS),
        "attribute": st.just("gender"),
        "value": st.sampled_from(["f", "m", None]),
        "occurred_at": hours,
        "recorded_at": hours,
    }
)


def written(
    folder: Path,
    rows: Sequence[dict[str, object]],
    linked: Sequence[Member],
    profile: Sequence[dict[str, object]] = (),
) -> History:
    history = History(folder)
    numbered = [{"event_id": f"e{place}", **row} for place, row in enumerate(rows)]
    history.append(pa.Table.from_pylist(numbered, schema=EVENTS), part="all")
    history.append_profile(pa.Table.from_pylist(list(profile), schema=PROFILE), part="all")
    if linked:
        (folder / "members").mkdir()
        known = [dict(zip(MEMBERS.names, each, strict=True)) for each in linked]
        pq.write_table(pa.Table.from_pylist(known, schema=MEMBERS), folder / "members" / "all.parquet")
    return history


def spine_of(rows: Sequence[tuple[str, datetime]]) -> pa.Table:
    return pa.table(
        {
            "customer_id": pa.array([row[0] for row in rows], pa.string()),
            "as_of": pa.array([row[1] for row in rows], pa.timestamp("us", tz="UTC")),
        }
    )


def accounts(named: set[str], linked: Sequence[Member], as_of: datetime, *, strength: str) -> set[str]:
    """All accounts in a group with one of ``named``, by reading every row."""
    known = [each for each in linked if each[0] == strength and each[3] < as_of and (not each[4] or as_of <= each[4])]
    groups = {group for _, account, group, _, _ in known if account in named}
    return named | {account for _, account, group, _, _ in known if group in groups}


def counted(customer: str, as_of: datetime, rows: Sequence[dict[str, object]], linked: Sequence[Member]) -> list[int]:
    """Visits in 30 days and spend of the person, visits in 30 days and size of the household: all by brute force."""
    own = accounts({customer}, linked, as_of, strength="personalize")
    home = accounts(own, linked, as_of, strength="household")
    seen = [row for row in rows if row["occurred_at"] < as_of and row["recorded_at"] < as_of]
    visits = [row["customer_id"] for row in seen if row["kind"] == "visit"]
    spend = sum(row["amount"] for row in seen if row["kind"] == "purchase" and row["customer_id"] in own)
    size = len({row["customer_id"] for row in seen} & home)
    return [sum(each in own for each in visits), spend, sum(each in home for each in visits), size]


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(events, max_size=40),
    linked=st.lists(members, min_size=1, max_size=8),
    profile=st.lists(profile_facts, max_size=6),
    spine=st.lists(st.tuples(st.sampled_from([*ACCOUNTS, "nobody"]), hours), min_size=1, max_size=16),
)
def test_offline_equals_online_for_persons(
    rows: list[dict[str, object]],
    linked: list[Member],
    profile: list[dict[str, object]],
    spine: list[tuple[str, datetime]],
) -> None:
    with TemporaryDirectory() as folder:
        history = written(Path(folder), rows, linked, profile)
        table = FEATURES.offline(history, spine_of(spine)).to_pylist()
        online = [FEATURES.online(history.customer(customer, as_of=as_of), as_of) for customer, as_of in spine]
    assert [{name: row[name] for name in FEATURES.names} for row in table] == online
    assert [[row["visits_30d"], row["spend"], row["home_visits_30d"], row["home_size"]] for row in table] == [
        counted(customer, as_of, rows, linked) for customer, as_of in spine
    ]


def test_a_link_counts_from_when_it_was_known_until_it_was_taken_back(tmp_path: Path) -> None:
    bought = {"customer_id": "card-7", "kind": "purchase", "amount": 500, "occurred_at": START, "recorded_at": START}
    known, undone = START + timedelta(days=5), START + timedelta(days=9)
    linked = [("personalize", account, "card-7", known, undone) for account in ("card-7", "web-1")]
    history = written(tmp_path, [bought], linked)
    micro = timedelta(microseconds=1)
    moments = [known, known + micro, undone, undone + micro]
    spend = FEATURES.offline(history, spine_of([("web-1", moment) for moment in moments]))["spend"]
    assert spend.to_pylist() == [0, 500, 500, 0]


def test_a_person_is_found_by_any_of_their_accounts(tmp_path: Path) -> None:
    visit = {"kind": "visit", "occurred_at": START, "recorded_at": START}
    linked = [("personalize", account, "web-1", START, None) for account in ACCOUNTS]
    history = written(tmp_path, [{"customer_id": account, **visit} for account in ACCOUNTS], linked)
    spine = spine_of([(account, START + timedelta(hours=1)) for account in (*ACCOUNTS, "nobody")])
    assert FEATURES.offline(history, spine)["visits_1d"].to_pylist() == [4, 4, 4, 4, 0]


def test_a_spine_in_ranges_of_customers_gives_the_same(tmp_path: Path) -> None:
    rows = [
        {
            "customer_id": ACCOUNTS[place % 4],
            "kind": "visit" if place % 3 else "purchase",
            "occurred_at": START + timedelta(hours=place),
            "recorded_at": START + timedelta(hours=place + place % 5),
            "amount": place,
        }
        for place in range(60)
    ]
    linked = [("personalize", account, "web-1", START + timedelta(hours=30), None) for account in ACCOUNTS[:2]]
    history = written(tmp_path, rows, linked)
    spine = spine_of([(ACCOUNTS[(place * 7) % 4], START + timedelta(hours=place)) for place in range(50)])
    at_once = FEATURES.offline(history, spine)
    for most_values in (100, 250):  # of 50 rows 14 and 35 at once
        assert offline(FEATURES.columns, history, spine, engine=DuckDB(most_values=most_values)).equals(at_once)
