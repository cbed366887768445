"""The history: facts are only added, never twice, and are read as known at a moment."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features import EVENTS, PROFILE, History, InputError

START = datetime(2024, 1, 1, tzinfo=UTC)


def events(*rows: tuple[str, int, int], kind: str = "visit") -> pa.Table:
    """Rows of (event id, hour it happened, hour it was recorded) of a customer called as the id's first letter."""
    return pa.Table.from_pylist(
        [
            {
                "event_id": name,
                "customer_id": name[0],
                "kind": kind,
                "occurred_at": START + timedelta(hours=occurred),
                "recorded_at": START + timedelta(hours=recorded),
            }
            for name, occurred, recorded in rows
        ],
        schema=EVENTS,
    )


def ids(table: pa.Table) -> list[str]:
    return sorted(table["event_id"].to_pylist())


def test_an_empty_history_has_no_facts(tmp_path: Path) -> None:
    history = History(tmp_path / "none")
    assert history.events().schema == EVENTS
    assert history.events(until=START).num_rows == history.profile().num_rows == history.items().num_rows == 0
    assert history.customer("anna").events == ()


def test_until_sees_only_what_was_known_before(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.append(events(("a1", 1, 1), ("a2", 1, 5), ("a3", 5, 5)), part="p")
    known = {hour: ids(history.events(until=START + timedelta(hours=hour))) for hour in (1, 2, 5, 6)}
    assert known == {1: [], 2: ["a1"], 5: ["a1"], 6: ["a1", "a2", "a3"]}


def test_parts_from_before_a_column_was_there_hold_nulls_in_it(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.append(events(("a1", 1, 1)), part="old")
    (old,) = history.parts("events")
    pq.write_table(pq.read_table(old).drop_columns(["brand"]), old)
    assert [each.brand for each in History(tmp_path).customer("a").events] == [None]
    later = events(("a1", 1, 1), ("a2", 2, 2))
    branded = later.set_column(later.schema.get_field_index("brand"), EVENTS.field("brand"), pa.array(["Acme"] * 2))
    assert history.append(branded, part="new") == 1
    assert sorted(history.events().select(["event_id", "brand"]).to_pylist(), key=str) == [
        {"event_id": "a1", "brand": None},
        {"event_id": "a2", "brand": "Acme"},
    ]
    assert [each.brand for each in history.customer("a").events] == [None, "Acme"]
    # Once every part has all columns, they are read in one go.
    old.unlink()
    assert history.scan("events").startswith("read_parquet(")


def test_since_keeps_what_occurred_then_or_later(tmp_path: Path) -> None:
    history = History(tmp_path)
    days = [datetime(2024, 5, day, tzinfo=UTC) for day in (1, 2, 3)]
    rows = [
        {"event_id": f"e{place}", "customer_id": "anna", "kind": "visit", "occurred_at": day, "recorded_at": day}
        for place, day in enumerate(days)
    ]
    history.append(pa.Table.from_pylist(rows), part="all")
    assert history.events(since=days[1])["event_id"].to_pylist() == ["e1", "e2"]
    assert history.events(days[2], since=days[1])["event_id"].to_pylist() == ["e1"]


def test_the_same_event_is_added_once_whatever_the_part_is_called(tmp_path: Path) -> None:
    history = History(tmp_path)
    assert history.append(events(("a1", 1, 1), ("b1", 2, 2)), part="monday") == 2
    assert history.append(events(("a1", 1, 1), ("b1", 2, 2)), part="monday") == 0
    assert history.append(events(("b1", 2, 2), ("c1", 3, 3)), part="tuesday") == 1
    assert history.append(events(("d1", 2, 2), ("d1", 2, 2)), part="monday") == 1  # a name may come again with more
    assert ids(history.events()) == ["a1", "b1", "c1", "d1"]
    assert sorted(each.name for each in (tmp_path / "events").iterdir()) == [
        "monday-2.parquet",
        "monday.parquet",
        "tuesday.parquet",
    ]


def test_an_event_id_keeps_its_first_content(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.append(events(("a1", 1, 1)), part="one")
    history.append(events(("a1", 2, 2), kind="purchase"), part="two")
    assert history.events()["kind"].to_pylist() == ["visit"]


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(batches=st.lists(st.lists(st.integers(0, 20), max_size=8), max_size=4), order=st.randoms())
def test_order_and_repetition_of_batches_do_not_matter(tmp_path_factory, batches: list[list[int]], order) -> None:
    once, shuffled = (History(tmp_path_factory.mktemp("history")) for _ in range(2))
    mixed = [list(batch) for batch in batches] * 2
    order.shuffle(mixed)
    for history, given_batches in ((once, batches), (shuffled, mixed)):
        for place, batch in enumerate(given_batches):
            history.append(events(*((f"a{number}", number, number) for number in batch)), part=f"p{place}")
    assert ids(once.events()) == ids(shuffled.events()) == sorted({f"a{n}" for batch in batches for n in batch})
    assert once.customer("a") == shuffled.customer("a")


def test_profile_facts_are_added_once_and_read_back(tmp_path: Path) -> None:
    history = History(tmp_path)
    row = {"customer_id": "anna", "attribute": "age", "value": None, "occurred_at": START, "recorded_at": START}
    facts = pa.Table.from_pylist([row, row, {**row, "value": "41"}], schema=PROFILE)
    assert (history.append_profile(facts, part="p"), history.append_profile(facts, part="q")) == (2, 0)
    assert {each.value for each in history.customer("anna").profile} == {None, "41"}
    items = pa.table(
        {"item": ["o1"], "attribute": ["reward"], "value": ["10"], "occurred_at": [START], "recorded_at": [START]}
    )
    assert (history.append_items(items, part="p"), history.append_items(items, part="p")) == (1, 0)


def test_a_crash_leaves_no_half_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(tmp_path)
    history.append(events(("a1", 1, 1)), part="one")

    def die(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", die)
        with pytest.raises(OSError, match="disk full"):
            history.append(events(("b1", 1, 1)), part="two")
    assert ids(history.events()) == ["a1"]
    assert [each.name for each in (tmp_path / "events").iterdir()] == ["one.parquet"]
    assert history.append(events(("b1", 1, 1)), part="two") == 1


def test_writers_at_the_same_time_add_each_event_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    batches = [[(f"a{number}", 1, 1) for number in rng.integers(0, 30, 20)] for _ in range(6)]
    threads = [
        threading.Thread(
            target=lambda batch=batch, place=place: History(tmp_path).append(events(*batch), part=f"p{place}")
        )
        for place, batch in enumerate(batches)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ids(History(tmp_path).events()) == sorted({name for batch in batches for name, _, _ in batch})


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (lambda table: table.drop_columns(["customer_id"]), "unknown column 'customer_id'"),
        (lambda table: table.set_column(2, "kind", pa.array([None], pa.string())), "must be complete"),
        (lambda table: table.set_column(3, "occurred_at", pa.array(["soon"])), "can't be read as timestamp"),
    ],
)
def test_wrong_facts_are_told(tmp_path: Path, change, wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        History(tmp_path).append(change(events(("a1", 1, 1))), part="p")


@pytest.mark.parametrize("part", ["", "../up", "a/b", "a b", "-x"])
def test_a_part_is_no_path(tmp_path: Path, part: str) -> None:
    with pytest.raises(InputError, match="must be an id"):
        History(tmp_path / "h").append(events(("a1", 1, 1)), part=part)


def test_naive_times_are_utc_and_absent_columns_are_null(tmp_path: Path) -> None:
    history = History(tmp_path)
    naive = datetime(2024, 1, 1, 12)
    row = {"event_id": "e", "customer_id": "anna", "kind": "visit", "occurred_at": naive, "recorded_at": naive}
    history.append(pa.Table.from_pylist([row]), part="p")
    (event,) = history.customer("anna").events
    assert (event.occurred_at, event.channel) == (datetime(2024, 1, 1, 12, tzinfo=UTC), None)
