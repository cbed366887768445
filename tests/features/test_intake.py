"""Intake: every row is accepted or quarantined with the right reason, and loading again changes nothing."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import History, InputError
from features.intake import Loaded, Source, ingest
from features.intake.quarantine import read

NOW = datetime(2024, 6, 1, tzinfo=UTC)
TILL = {
    "name": "till",
    "file": "till.csv",
    "rows": "events",
    "columns": {
        "event_id": "receipt",
        "customer_id": "card",
        "kind": {"column": "type", "values": {"SALE": "purchase", "REFUND": "return"}},
        "occurred_at": "time",
        "amount": "total",
    },
}


class Shop:
    """A folder of exports with a history beside it."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.data.mkdir()
        self.history = History(folder / "history")
        self.quarantine = folder / "quarantine"

    def load(self, table: dict[str, object], *, accept_bad: bool = False) -> Loaded:
        (loaded,) = ingest(
            Source.from_config(table),
            data=self.data,
            history=self.history,
            quarantine=self.quarantine,
            now=NOW,
            accept_bad=accept_bad,
        )
        assert loaded.accepted + loaded.quarantined == loaded.read
        assert sum(loaded.reasons.values()) == loaded.quarantined
        return loaded

    def till(self, *rows: str, good: int = 0, **options: bool) -> Loaded:
        lines = ["receipt,card,type,time,total", *rows]
        lines += [f"g{number},c{number},SALE,2024-05-01 10:00:00,1.00" for number in range(good)]
        (self.data / "till.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return self.load(TILL, **options)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("r1,,SALE,2024-05-01,1.00", "missing_customer_id"),
        ("r1,anna smith,SALE,2024-05-01,1.00", "bad_customer_id"),
        ("r1,../etc,SALE,2024-05-01,1.00", "bad_customer_id"),
        (f"r1,{'x' * 129},SALE,2024-05-01,1.00", "bad_customer_id"),
        (",anna,SALE,2024-05-01,1.00", "missing_event_id"),
        ("r1,anna,,2024-05-01,1.00", "missing_kind"),
        ("r1,anna,VOID,2024-05-01,1.00", "unknown_kind"),
        ("r1,anna,SALE,,1.00", "missing_occurred_at"),
        ("r1,anna,SALE,2024-02-30,1.00", "unreadable_occurred_at"),
        ("r1,anna,SALE,01/05/2024,1.00", "unreadable_occurred_at"),
        ("r1,anna,SALE,epoch,1.00", "unreadable_occurred_at"),
        ("r1,anna,SALE,infinity,1.00", "unreadable_occurred_at"),
        ("r1,anna,SALE,1024-05-01,1.00", "implausible_time"),
        ("r1,anna,SALE,2024-06-01T00:05:01Z,1.00", "future_time"),
        ("r1,anna,SALE,2024-05-01,1_0", "unreadable_amount"),
        ('r1,anna,SALE,2024-05-01,"1,00"', "unreadable_amount"),
        ("r1,anna,SALE,2024-05-01,-1.00", "negative_amount"),
        ("r1,anna,SALE,2024-05-01,NaN", "unreadable_amount"),
        ("r1,anna,SALE,2024-05-01,99999999999", "implausible_amount"),
        ("r1,anna,SALE,2024-05-01", "unreadable_row"),
        ("r1,anna,SALE,2024-05-01,1.00,more", "unreadable_row"),
    ],
)
def test_each_bad_row_has_its_reason(shop: Shop, row: str, reason: str) -> None:
    loaded = shop.till(row, good=30)
    assert (loaded.accepted, loaded.reasons) == (30, {reason: 1})
    assert read(Path(loaded.quarantine))["reason"].to_pylist() == [reason]


def test_a_good_row_is_kept_as_it_was_meant(shop: Shop) -> None:
    shop.till(
        "r1,anna,REFUND,2024-05-01T12:00:00+02:00,12.345",
        "r2,anna,SALE,2024-06-01T00:05:00Z,",
        "r3,anna,SALE,2024-05-01,1e1",
    )
    rows = sorted(shop.history.events().to_pylist(), key=lambda each: each["event_id"])
    assert [(each["kind"], each["amount"]) for each in rows] == [
        ("return", 1235),
        ("purchase", None),
        ("purchase", 1000),
    ]
    assert rows[0]["occurred_at"] == datetime(2024, 5, 1, 10, tzinfo=UTC) == rows[0]["recorded_at"]
    assert {each["source"] for each in rows} == {"till"}


def test_loading_three_times_changes_nothing(shop: Shop) -> None:
    first = shop.till("r1,anna,SALE,2024-05-01,1.00", "bad,,SALE,2024-05-01,1", good=40)
    before = shop.history.events()
    again = [shop.till("r1,anna,SALE,2024-05-01,1.00", "bad,,SALE,2024-05-01,1", good=40) for _ in range(2)]
    assert (first.new, [each.new for each in again]) == (41, [0, 0])
    assert {(each.read, each.accepted, each.quarantined) for each in (first, *again)} == {(42, 41, 1)}
    assert shop.history.events().equals(before)


def test_bad_rows_of_a_large_file_keep_their_places(shop: Shop) -> None:
    rows = [f"r{number},c{number},SALE,2024-05-01,1.00" for number in range(300_000)]
    bad = (7, 123_456, 299_999)
    for number in bad:
        rows[number] = f"r{number},,SALE,2024-05-01,1.00"
    loaded = shop.till(*rows)
    quarantined = Path(loaded.quarantine).read_text().splitlines()[1:]
    assert [line.split(",")[2:5:2] for line in quarantined] == [[f"row {number + 1}", f"r{number}"] for number in bad]


def test_the_bad_row_of_a_newer_export_takes_the_place_of_the_older_one(shop: Shop) -> None:
    first = shop.till("r1,,SALE,2024-05-01,1.00", "r2,,SALE,2024-05-01,1.00", good=60)
    second = shop.till("r1,,SALE,2024-05-01,1.00", good=70)
    assert [len(Path(each.quarantine).read_text().splitlines()) for each in (first, second)] == [2, 2]
    assert "r2," in Path(first.quarantine).read_text()
    shop.till("r1,,SALE,2024-05-01,1.00", "r2,,SALE,2024-05-01,1.00", good=80)
    assert len(list(shop.quarantine.iterdir())) == 1


def test_an_event_that_comes_again_with_another_amount_is_told_and_not_held_against_the_file(shop: Shop) -> None:
    within = shop.till("r1,anna,SALE,2024-05-01,1.00", "r1,anna,SALE,2024-05-01,2.00", good=3)
    across = shop.till("r1,anna,SALE,2024-05-01,3.00", good=3)
    assert within.reasons == across.reasons == {"changed_event": 1}
    assert (within.refused, across.refused) == (False, False)
    assert [each["amount"] for each in shop.history.events().to_pylist() if each["event_id"] == "r1"] == [100]


def test_blanks_that_pad_columns_count_as_one(shop: Shop) -> None:
    lines = ["receipt  card    type  time        total", 'r1       "a  b"  SALE  2024-05-01   1.00']
    lines += ["r2         ben  SALE  2024-05-02  12.00  "]
    (shop.data / "till.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    loaded = shop.load({**TILL, "delimiter": " "}, accept_bad=True)
    assert (loaded.read, loaded.accepted, loaded.reasons) == (2, 1, {"bad_customer_id": 1})
    assert "a  b" in Path(loaded.quarantine).read_text()


def test_an_overlapping_export_adds_only_what_is_new(shop: Shop) -> None:
    shop.till(good=10)
    loaded = shop.till(good=15)
    assert (loaded.accepted, loaded.new) == (15, 5)


def test_repeated_rows_are_set_aside_and_not_held_against_the_file(shop: Shop) -> None:
    loaded = shop.till(*["g0,c0,SALE,2024-05-01 10:00:00,1.00"] * 5, good=3)
    assert (loaded.refused, loaded.accepted, loaded.new, loaded.reasons) == (False, 3, 3, {"duplicate_event_id": 5})


def test_of_two_events_with_one_id_the_first_is_kept(shop: Shop) -> None:
    within = shop.till("r1,anna,SALE,2024-05-01,1.00", "r1,ben,SALE,2024-05-01,1.00", good=30)
    across = shop.till("r1,zoe,SALE,2024-05-01,1.00", good=40)
    assert within.reasons == across.reasons == {"conflicting_event_id": 1}
    assert [each["customer_id"] for each in shop.history.events().to_pylist() if each["event_id"] == "r1"] == ["anna"]


def test_above_five_per_cent_nothing_is_loaded_unless_told_to(shop: Shop) -> None:
    bad = ["r1,,SALE,2024-05-01,1.00"] * 2
    loaded = shop.till(*bad, good=20)
    assert loaded.refused and loaded.new == 0 and shop.history.events().num_rows == 0
    assert shop.till(*bad, good=20, accept_bad=True).new == 20
    assert not shop.till(*bad, good=38).refused  # exactly 5%


def test_rows_without_an_id_get_one_from_their_content(shop: Shop) -> None:
    columns = {"customer_id": "card", "kind": {"constant": "visit"}, "occurred_at": "time"}
    table = {"name": "web", "file": "web.csv", "rows": "events", "columns": columns}
    (shop.data / "web.csv").write_text("card,time\na,2024-05-01\na,2024-05-01\nb,2024-05-01\n", encoding="utf-8")
    assert shop.load(table).new == 3  # two identical visits are two visits
    (shop.data / "web.csv").write_text("card,time,page\nb,2024-05-01,x\na,2024-05-01,y\n", encoding="utf-8")
    assert shop.load(table).new == 0  # the same facts in another export, in another order
    assert len(set(shop.history.events()["event_id"].to_pylist())) == 3


def test_times_in_zones_formats_and_numbers(shop: Shop) -> None:
    (shop.data / "t.csv").write_text(
        "c;local;day;hours;millis\na;2024-03-31 03:30;20240229;2.5;1704067200123\n", encoding="utf-8"
    )

    def read(field: object, zone: str = "UTC") -> datetime:
        columns = {"customer_id": "c", "kind": {"constant": "visit"}, "occurred_at": field}
        history = History(shop.data / f"h{len(list(shop.data.iterdir()))}")
        source = Source.from_config({"name": "t", "file": "t.csv", "rows": "events", "columns": columns, "zone": zone})
        (loaded,) = ingest(source, data=shop.data, history=history, quarantine=shop.quarantine, now=NOW)
        assert loaded.reasons == {}
        return history.events()["occurred_at"][0].as_py()

    assert read("local") == datetime(2024, 3, 31, 3, 30, tzinfo=UTC)
    assert read("local", "Europe/Berlin") == datetime(2024, 3, 31, 1, 30, tzinfo=UTC)
    assert read({"column": "local", "zone": "America/New_York"}) == datetime(2024, 3, 31, 7, 30, tzinfo=UTC)
    assert read({"column": "day", "format": ["%d.%m.%Y", "%Y%m%d"]}, "Europe/Berlin") == datetime(
        2024, 2, 28, 23, tzinfo=UTC
    )
    hours = {"column": "hours", "number_of": "hours", "since": "2024-01-01T00:00:00+01:00"}
    assert read(hours) == datetime(2024, 1, 1, 1, 30, tzinfo=UTC)
    assert read({"column": "millis", "number_of": "milliseconds"}) == datetime(2024, 1, 1, 0, 0, 0, 123000, tzinfo=UTC)


@pytest.mark.parametrize("packed", ["jsonl", "jsonl.gz", "jsonl.xz"])
def test_nested_json_lines(shop: Shop, packed: str) -> None:
    lines = [
        '{"who": "a", "t": 0, "value": {"offer id": "o1"}}',
        "",
        '{"who": "b", "t": 1, "value": {"offer_id": "o2", "paid": 0.8300000000000001}}',
        "   ",
        '{"who": "c", "t": 2, "value": {"offer_id": null}}',
        "{broken",
        "[1]",
    ]
    raw = "\n".join(lines).encode()
    content = {"jsonl": raw, "jsonl.gz": gzip.compress(raw), "jsonl.xz": lzma.compress(raw)}[packed]
    (shop.data / f"log.{packed}").write_bytes(content)
    columns = {
        "customer_id": "who",
        "kind": {"constant": "click"},
        "occurred_at": {"column": "t", "number_of": "days", "since": "2024-01-01"},
        "item": ["value.offer id", "value.offer_id"],
        "amount": "value.paid",
    }
    table = {"name": "log", "file": "log.*", "rows": "events", "columns": columns}
    loaded = shop.load(table, accept_bad=True)
    assert (loaded.read, loaded.reasons) == (5, {"unreadable_row": 2})
    rows = sorted(shop.history.events().to_pylist(), key=lambda each: each["customer_id"])
    assert [(each["item"], each["amount"]) for each in rows] == [("o1", None), ("o2", 83), (None, None)]


def test_profile_and_items_from_wide_columns(shop: Shop) -> None:
    people = pa.table({"id": ["a", "b"], "since": ["20240101", "20240201"], "age": [118, 40], "income": [None, 5e4]})
    pq.write_table(people, shop.data / "people.parquet")
    offers = pa.table({"id": ["o1"], "channels": [["web", "email"]], "reward": [10]})
    pq.write_table(offers, shop.data / "offers.parquet")
    profile = {
        "name": "crm",
        "file": "people.parquet",
        "rows": "profile",
        "columns": {"customer_id": "id", "occurred_at": {"column": "since", "format": "%Y%m%d"}},
        "attributes": {"age": {"column": "age", "missing": ["118"]}, "income": "income"},
    }
    items = {
        "name": "offers",
        "file": "offers.parquet",
        "rows": "items",
        "columns": {"item": "id", "occurred_at": {"constant": "2024-01-01"}},
        "attributes": ["channels", "reward"],
    }
    assert (shop.load(profile).new, shop.load(items).new) == (2, 2)
    facts = shop.history.profile().to_pylist()
    assert {(each["customer_id"], each["attribute"], each["value"]) for each in facts} == {
        ("b", "age", "40"),
        ("b", "income", "50000"),
    }
    told = {each["attribute"]: each["value"] for each in shop.history.items().to_pylist()}
    assert json.loads(told["channels"]) == ["web", "email"] and told["reward"] == "10"


def test_late_facts_keep_two_times(shop: Shop) -> None:
    (shop.data / "m.csv").write_text("c,at,known\na,2024-05-01,2024-05-03\nb,2024-05-03,2024-05-01\n", encoding="utf-8")
    columns = {"customer_id": "c", "kind": {"constant": "contact"}, "occurred_at": "at"}
    table = {"name": "mail", "file": "m.csv", "rows": "events", "columns": {**columns, "recorded_at": "known"}}
    assert shop.load(table, accept_bad=True).reasons == {"recorded_before_occurred": 1}
    assert shop.load({**table, "name": "delayed", "columns": columns, "delay": "6h"}).new == 2
    delayed = [each for each in shop.history.events().to_pylist() if each["source"] == "delayed"]
    assert {(each["recorded_at"] - each["occurred_at"]).total_seconds() for each in delayed} == {6 * 3600.0}


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"", "is empty"),
        (b"receipt,card\n1,2\n", "unknown column 'type'"),
        (b"\x00\x01\x02\n", "does not begin with a line of column names"),
    ],
)
def test_a_file_that_is_no_table(shop: Shop, content: bytes, wrong: str) -> None:
    (shop.data / "till.csv").write_bytes(content)
    with pytest.raises(InputError, match=wrong):
        shop.load(TILL)


def test_a_truncated_file_is_an_error_and_loads_nothing(shop: Shop) -> None:
    raw = gzip.compress(b"receipt,card,type,time,total\n" + b"r,a,SALE,2024-05-01,1\n" * 20_000)
    (shop.data / "till.csv.gz").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(InputError, match="can't be unpacked"):
        shop.load({**TILL, "file": "till.csv.gz"})
    pq.write_table(pa.table({"receipt": ["1"]}), shop.data / "till.parquet")
    (shop.data / "till.parquet").write_bytes((shop.data / "till.parquet").read_bytes()[:-20])
    with pytest.raises(InputError, match="can't be read"):
        shop.load({**TILL, "file": "till.parquet"})
    assert shop.history.events().num_rows == 0


def test_wrong_bytes_go_to_quarantine(shop: Shop) -> None:
    good = b"".join(b"r%d,a,SALE,2024-05-01,1\n" % number for number in range(40))
    (shop.data / "till.csv").write_bytes(
        b"\xef\xbb\xbfreceipt,card,type,time,total\n" + good + b"x,\xff\xfe,SALE,2024-05-01,1\n"
    )
    assert shop.load(TILL).reasons == {"unreadable_row": 1}
    (shop.data / "till.csv").write_bytes(
        "receipt,card,type,time,total\nr,a,Vente à l'été,2024-05-01,1\n".encode("latin-1")
    )
    latin = {**TILL, "encoding": "latin-1", "columns": {**TILL["columns"], "kind": "type"}}  # type: ignore[dict-item]
    assert shop.load(latin).accepted == 1


def test_another_mapping_of_the_same_file_is_refused(shop: Shop) -> None:
    shop.till(good=3)
    with pytest.raises(InputError, match="another mapping"):
        shop.load({**TILL, "zone": "Europe/Berlin"})


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"rows": "event"}, "declared wrongly"),
        ({"colums": {}}, "unknown key"),
        ({"columns": {"customer_id": "a"}}, "does not map kind and occurred_at"),
        ({"columns": {**TILL["columns"], "colour": "x"}}, "unknown column of events 'colour'"),  # type: ignore[dict-item]
        ({"columns": {**TILL["columns"], "item": {"colum": "x"}}}, "unknown key of field 'colum'"),  # type: ignore[dict-item]
        ({"columns": {**TILL["columns"], "item": {"values": {}}}}, "either a column or a constant"),  # type: ignore[dict-item]
        ({"zone": "Europe/Berlim"}, "unknown time zone"),
        ({"name": "../till"}, "must be an id"),
        ({"file": "nowhere.csv"}, "finds no file"),
    ],
)
def test_a_wrong_source_is_told(shop: Shop, change: dict[str, object], wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        shop.load({**TILL, **change})


def test_the_two_forms_of_the_offers_data_give_the_same_facts(data: Callable[[str], Path], tmp_path: Path) -> None:
    folder = data("starbucks_offers/transcript.json.xz").parent
    kinds = {
        "offer received": "contact",
        "offer viewed": "open",
        "offer completed": "discount",
        "transaction": "purchase",
    }
    columns = {
        "customer_id": "person",
        "kind": {"column": "event", "values": kinds},
        "occurred_at": {"column": "time", "number_of": "hours", "since": "2018-08-01T00:00:00Z"},
    }
    raw = {**columns, "item": ["value.offer id", "value.offer_id"], "amount": ["value.amount", "value.reward"]}
    flat = {**columns, "item": "offer_id", "amount": ["amount", "reward"]}
    events = []
    for file, mapping in (("transcript.json.xz", raw), ("transcript.parquet", flat)):
        history = History(tmp_path / file)
        source = Source.from_config({"name": "transcript", "file": file, "rows": "events", "columns": mapping})
        (loaded,) = ingest(source, data=folder, history=history, quarantine=tmp_path)
        assert (loaded.read, loaded.new) == (306_534, 306_534)
        events.append(history.events())
    assert events[0].equals(events[1])
    frame = events[0].to_pandas()
    assert frame.groupby("kind").size().to_dict() == {
        "contact": 76_277,
        "discount": 33_579,
        "open": 57_725,
        "purchase": 138_953,
    }
    assert frame.loc[frame.kind == "purchase", "amount"].sum() == 177_545_197  # 1,775,451.97, as published
