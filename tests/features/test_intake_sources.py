"""What a source may say beside which column is what: consents, attributes of clicks, namespaces, replies, money."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import Feature, FeatureSet, History, InputError
from features.intake import Field, Loaded, Source, ingest
from features.privacy.suppression import Erased, kept_digests

NOW = datetime(2024, 6, 1, tzinfo=UTC)
KEY = b"a secret beside the database"
CLICK = {"customer_id": "cookie", "kind": Field(constant="visit"), "occurred_at": "at"}


class Shop:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.history = History(folder / "history")

    def load(self, source: Source, *rows: str, **options: object) -> Loaded:
        (self.folder / source.file).write_text("\n".join(rows) + "\n", encoding="utf-8")
        (loaded,) = ingest(
            source,
            data=self.folder,
            history=self.history,
            quarantine=self.folder / "quarantine",
            now=NOW,
            **{"accept_bad": True, **options},
        )
        assert loaded.accepted + loaded.quarantined == loaded.read == len([row for row in rows[1:] if row])
        assert sum(loaded.reasons.values()) == loaded.quarantined
        return loaded

    def texts(self) -> str:
        """All that lies in the folder beside the file itself, as text."""
        found = [path for path in self.folder.rglob("*") if path.is_file() and path.parent != self.folder]
        return "\n".join(path.read_bytes().decode("latin-1") for path in found)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


CONSENTS = Source(
    name="preferences",
    file="consents.csv",
    rows="consents",
    columns={
        "customer_id": "id",
        "channel": "channel",
        "granted": Field(column="state", values={"ja": "yes", "nein": "no"}),
        "wording": "text",
        "occurred_at": "at",
    },
)


def test_consents_become_consent_facts(shop: Shop) -> None:
    rows = ["anna,EMail,ja,Ja bitte,2024-05-01", "ben,,nein,,2024-05-01", "cleo,,ja,,2024-05-01"]
    loaded = shop.load(
        CONSENTS, "id,channel,state,text,at", *rows, "dora,sms,vielleicht,,2024-05-01", ",sms,ja,,2024-05-01"
    )
    assert loaded.reasons == {"missing_channel": 1, "missing_customer_id": 1, "unknown_granted": 1}
    facts = {row["customer_id"]: row for row in shop.history.consents().to_pylist()}
    assert {name: (row["channel"], row["granted"]) for name, row in facts.items()} == {
        "anna": ("email", True),
        "ben": ("all", False),
    }
    told = {(row["purpose"], row["contact_class"], row["said_by"], row["source"]) for row in facts.values()}
    assert told == {("contact", "marketing", "import", "preferences")}
    assert facts["anna"]["wording"] == "Ja bitte"


def test_a_no_in_a_bad_row_of_consents_is_kept(shop: Shop) -> None:
    shop.load(CONSENTS, "id,channel,state,text,at", "anna,email,nein,,hello", "ben,,ja,,hello")
    (path,) = (shop.folder / "history").glob("opt_outs/*")
    (kept,) = pq.read_table(path).to_pylist()
    assert (kept["customer_id"], kept["channel"], kept["occurred_at"]) == ("anna", "email", None)


def test_events_tell_attributes_at_their_times(shop: Shop) -> None:
    source = Source(name="web", file="web.csv", rows="events", columns=CLICK, attributes={"login": "user"})
    rows = ["c1,anna,2024-05-01", "c1,ben,2024-05-02", "c1,anna,2024-05-03", "c1,,2024-05-04", "c2,,2024-05-01"]
    assert shop.load(source, "cookie,user,at", *rows).new == 5 + 3
    assert shop.load(source, "cookie,user,at", *rows).new == 0
    told = [(row["customer_id"], row["value"], row["occurred_at"].day) for row in shop.history.profile().to_pylist()]
    assert sorted(told) == [("c1", "anna", 1), ("c1", "anna", 3), ("c1", "ben", 2)]


told_rows = st.lists(
    st.tuples(st.sampled_from(["Rome", "Oslo"]), st.integers(1, 6), st.integers(0, 4), st.integers(0, 2)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=12, deadline=None)
@given(rows=told_rows)
def test_the_latest_value_that_events_tell_is_right_whatever_file_comes_first(
    rows: list[tuple[str, int, int, int]],
) -> None:
    """Rows of (city, day, days until recorded, file), against all rows read by eye."""
    columns = {**CLICK, "recorded_at": "known"}
    city = FeatureSet.of(Feature(name="city", aggregate="latest", of="city"))
    begin = datetime(2024, 5, 1, tzinfo=UTC)
    with TemporaryDirectory() as folder:
        shop = Shop(Path(folder))
        for number in range(3):
            source = Source(name="web", file=f"{number}.csv", rows="events", columns=columns, attributes=("city",))
            own = [
                f"anna,{name},{begin + timedelta(days=at):%Y-%m-%d},{begin + timedelta(days=at + late):%Y-%m-%d}"
                for name, at, late, file in rows
                if file == number
            ]
            if own:
                shop.load(source, "cookie,city,at,known", *own)
        facts = shop.history.customer("anna")
    for day in range(13):
        known = [(at, at + late, name) for name, at, late, _ in rows if at + late < day]
        expected = max(known)[2] if known else None
        assert city.online(facts, begin + timedelta(days=day)) == {"city": expected}


def test_a_namespace_stands_before_every_account(shop: Shop) -> None:
    source = Source(name="till", file="till.csv", rows="events", columns=CLICK, namespace="card")
    assert shop.load(source, "cookie,at", "4711,2024-05-01", ",2024-05-01", "a b,2024-05-01").reasons == {
        "bad_customer_id": 1,
        "missing_customer_id": 1,
    }
    assert shop.history.events()["customer_id"].to_pylist() == ["card:4711"]
    with pytest.raises(InputError, match="namespace"):
        Source(name="till", file="a", rows="events", columns=CLICK, namespace="card:")


def test_replies_are_events_by_what_they_mean(shop: Shop) -> None:
    columns = {**CLICK, "kind": Field(column="text", replies=True), "channel": Field(constant="sms")}
    source = Source(name="replies", file="replies.csv", rows="events", columns=columns)
    rows = ['a,"STOP, bitte",2024-05-01', "b,Stopp,2024-05-01", "c,START,2024-05-01", "d,When do you open?,2024-05-01"]
    assert shop.load(source, "cookie,text,at", *rows, "e,,2024-05-01").reasons == {"missing_kind": 1}
    kinds = {row["customer_id"]: row["kind"] for row in shop.history.events().to_pylist()}
    assert kinds == {"a": "opt_out", "b": "opt_out", "c": "opt_in", "d": "reply"}


def test_nothing_happens_before_its_cause(shop: Shop) -> None:
    source = Source(name="opens", file="opens.csv", rows="events", columns={**CLICK, "not_before": "sent"})
    rows = [
        "a,2024-05-02,2024-05-01",
        "b,2024-05-02,2024-05-02",
        "c,2024-05-02,2024-05-03",
        "d,2024-05-02,",
        "e,2024-05-02,x",
    ]
    loaded = shop.load(source, "cookie,at,sent", *rows)
    assert loaded.reasons == {"before_its_cause": 1, "unreadable_not_before": 1}
    assert sorted(shop.history.events()["customer_id"].to_pylist()) == ["a", "b", "d"]


def test_amounts_of_another_currency_are_no_amounts(shop: Shop) -> None:
    money = {"amount": "paid", "currency": Field(column="cur", values={"€": "EUR", "EUR": "EUR", "usd": "USD"})}
    source = Source(name="till", file="till.csv", rows="events", columns={**CLICK, **money})
    rows = ["a,2024-05-01,1,€", "b,2024-05-01,1,EUR", "c,2024-05-01,1,usd", "d,2024-05-01,1,", "e,2024-05-01,1,yen"]
    loaded = shop.load(source, "cookie,at,paid,cur", *rows, currency="EUR")
    assert loaded.reasons == {"other_currency": 1, "unknown_currency": 1}


def test_a_local_time_that_never_was(shop: Shop) -> None:
    source = Source(name="web", file="web.csv", rows="events", columns=CLICK, zone="Europe/Berlin")
    rows = [
        f"c{place},{text}"
        for place, text in enumerate(
            [
                "2024-03-31 01:59:59",
                "2024-03-31 02:00:00",
                "2024-03-31 02:59:59",
                "2024-03-31 03:00:00",
                "2024-03-31 02:30:00Z",
                "2023-10-29 02:30:00",
            ]
        )
    ]
    assert shop.load(source, "cookie,at", *rows).reasons == {"impossible_local_time": 2}
    assert sorted(shop.history.events()["customer_id"].to_pylist()) == ["c0", "c3", "c4", "c5"]
    written = {**CLICK, "occurred_at": Field(column="at", format="%d.%m.%Y %H:%M")}
    german = Source(name="german", file="german.csv", rows="events", columns=written, zone="Europe/Berlin")
    assert shop.load(german, "cookie,at", "a,31.03.2024 02:30", "b,31.03.2024 03:30").reasons == {
        "impossible_local_time": 1
    }


def test_a_format_with_an_offset_needs_no_zone(shop: Shop) -> None:
    written = {**CLICK, "occurred_at": Field(column="at", format="%d.%m.%Y %H:%M %z")}
    source = Source(name="web", file="web.csv", rows="events", columns=written, zone="Europe/Berlin")
    shop.load(source, "cookie,at", "a,01.05.2024 12:00 +0500")
    assert shop.history.events()["occurred_at"][0].as_py() == datetime(2024, 5, 1, 7, tzinfo=UTC)


CRM = Source(
    name="crm",
    file="crm.csv",
    rows="profile",
    columns={"customer_id": "id", "occurred_at": "at"},
    attributes={"email": "mail", "city": "city"},
)


def test_an_erased_person_is_counted_and_leaves_no_trace(shop: Shop) -> None:
    erased = Erased(
        KEY, kept_digests("account", "canary-1", secret=KEY) | kept_digests("email", "canary@mail.example", secret=KEY)
    )
    rows = [f"c{number},c{number}@mail.example,Ulm,2024-05-01" for number in range(20)]
    gone = ["canary-1,x@mail.example,canary-city,2024-05-01", "other-7,Canary+shop@MAIL.example,canary-city,2024-05-01"]
    bad = ["canary-1,canary-bad,canary-city,hello", "canary-1,canary-line"]
    loaded = shop.load(CRM, "id,mail,city,at", *rows, *gone, *bad, erased=erased, accept_bad=False)
    assert (loaded.reasons, loaded.refused, loaded.new) == ({"erased_person": 4}, False, 40)
    assert "canary" not in shop.texts() and "other-7" not in shop.texts()
    assert {row["customer_id"] for row in shop.history.profile().to_pylist()} == {f"c{number}" for number in range(20)}


def test_an_erased_person_says_no_more(shop: Shop) -> None:
    columns = {**CLICK, "kind": "kind"}
    source = Source(name="web", file="web.csv", rows="events", columns=columns)
    erased = Erased(KEY, kept_digests("account", "canary-1", secret=KEY))
    shop.load(source, "cookie,at,kind", "canary-1,2024-05-01,opt_out", "canary-1,bad,opt_out", erased=erased)
    assert not list((shop.folder / "history").glob("opt_outs/*"))
    assert shop.history.events().num_rows == 0


KINDS = Field(column="what", values={"seen": "open", "abbestellt": "opt_out"})


@pytest.mark.parametrize(
    ("line", "heard"),
    [
        ("anna,2024-05-01,abbestellt,too,many", ["anna"]),
        ("anna,2024-05-01,Abbestellt,too,many", ["anna"]),
        ('"anna,2024-05-01,abbestellt', ["anna"]),
        ("anna,abbestellt", ["anna"]),
        ("anna,2024-05-01,seen,too,many", []),
        ("nobody,2024-05-01,abbestellt,too,many", []),
        ("x,2024-05-01,abbestellt,bert", ["bert"]),
    ],
)
def test_a_no_in_a_line_that_cannot_be_read(shop: Shop, line: str, heard: list[str]) -> None:
    source = Source(name="mail", file="mail.csv", rows="events", columns={**CLICK, "kind": KINDS})
    shop.load(source, "cookie,at,what", "anna,2024-04-01,seen", "bert,2024-04-01,seen", "x,2024-04-01,seen")
    for _ in range(2):
        shop.load(source, "cookie,at,what", "bert,2024-04-02,seen", line)
    kept = [
        row["customer_id"]
        for path in (shop.folder / "history").glob("opt_outs/*")
        for row in pq.read_table(path).to_pylist()
    ]
    assert kept == heard


def test_a_no_in_a_broken_line_of_json(shop: Shop) -> None:
    only = {**CLICK, "kind": Field(constant="opt_out")}
    source = Source(name="unsub", file="unsub.jsonl", rows="events", columns=only, namespace="crm")
    lines = [json.dumps({"cookie": "anna", "at": "2024-04-01"}), '{"cookie": "anna", "at": "2024-0']
    (shop.folder / "unsub.jsonl").write_text("\n".join(lines), encoding="utf-8")
    take = {"data": shop.folder, "history": shop.history, "quarantine": shop.folder / "quarantine", "now": NOW}
    (loaded,) = ingest(source, **take, accept_bad=True)
    assert (loaded.read, loaded.reasons) == (2, {"unreadable_row": 1})
    (path,) = (shop.folder / "history").glob("opt_outs/*")
    assert [(row["customer_id"], row["channel"]) for row in pq.read_table(path).to_pylist()] == [("crm:anna", None)]


def test_where_the_rows_lie_is_no_part_of_the_mapping() -> None:
    plain = Source(name="a", file="a.csv", rows="events", columns=CLICK)
    assert plain.fingerprint == Source(name="a", file="b/*.csv", rows="events", columns=dict(CLICK)).fingerprint
    others = [
        Source(name="a", file="a.csv", rows="events", columns=CLICK, **change)
        for change in ({"namespace": "x"}, {"zone": "Europe/Berlin"}, {"attributes": ("b",)}, {"delay": "1h"})
    ]
    others.append(Source(name="a", file="a.csv", rows="events", columns={**CLICK, "kind": Field(constant="cart")}))
    assert len({plain.fingerprint, *(each.fingerprint for each in others)}) == 6
