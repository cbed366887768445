"""A written no is heard however it is spelled, and whatever is wrong with its line or its file."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from features import History
from features.intake import Loaded, Source, ingest

NOW = datetime(2024, 6, 1, tzinfo=UTC)
EVENTS = {
    "name": "crm",
    "file": "crm.csv",
    "rows": "events",
    "columns": {"customer_id": "who", "kind": "what", "occurred_at": "at"},
}
CONSENTS = {
    "name": "consents",
    "file": "consents.csv",
    "rows": "consents",
    "columns": {
        "customer_id": "who",
        "channel": "channel",
        "granted": {"column": "state", "values": {"ja": "yes", "nein": "no"}},
        "occurred_at": "at",
    },
}


class Shop:
    """A history that files are loaded into."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.history = History(folder / "history")

    def load(self, table: dict[str, object], content: str | bytes, *, accept_bad: bool = False) -> Loaded:
        path = self.folder / str(table["file"])
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        (loaded,) = ingest(
            Source.from_config(table),
            data=self.folder,
            history=self.history,
            quarantine=self.folder / "quarantine",
            now=NOW,
            accept_bad=accept_bad,
        )
        assert loaded.accepted + loaded.quarantined == loaded.read
        return loaded

    def noes(self) -> set[tuple[str, str | None]]:
        tables = [pq.read_table(path) for path in self.history.folder.glob("opt_outs/*")]
        return {(each["customer_id"], each["channel"]) for table in tables for each in table.to_pylist()}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_a_no_is_read_whatever_its_capitals(shop: Shop) -> None:
    said = ["nein", "NEIN", "Nein.", " nEIN ", "JA", "Ja"]
    rows = [f"c{number},email,{word},2024-01-01" for number, word in enumerate(said)]
    loaded = shop.load(CONSENTS, "\n".join(["who,channel,state,at", *rows]) + "\n")
    assert loaded.accepted == 6
    granted = {each["customer_id"]: each["granted"] for each in shop.history.consents().to_pylist()}
    assert granted == {"c0": False, "c1": False, "c2": False, "c3": False, "c4": True, "c5": True}


def test_a_value_as_it_is_written_counts_before_one_in_other_capitals(shop: Shop) -> None:
    table = {
        **EVENTS,
        "columns": {**EVENTS["columns"], "kind": {"column": "what", "values": {"S": "visit", "s": "cart"}}},
    }
    loaded = shop.load(table, "who,what,at\na,S,2024-01-01\nb,s,2024-01-01\n")
    assert loaded.accepted == 2
    assert {each["customer_id"]: each["kind"] for each in shop.history.events().to_pylist()} == {
        "a": "visit",
        "b": "cart",
    }


def test_an_answer_that_nobody_can_read_is_a_no(shop: Shop) -> None:
    rows = ["a,email,vielleicht,2024-01-01", "b,,vielleicht,2024-01-01", "c,email,,2024-01-01"]
    good = [f"g{number},email,ja,2024-01-01" for number in range(100)]
    loaded = shop.load(CONSENTS, "\n".join(["who,channel,state,at", *rows, *good]) + "\n")
    assert loaded.reasons == {"missing_granted": 1, "unknown_granted": 2}
    assert shop.noes() == {("a", "email"), ("b", None)}


def test_kinds_are_known_however_they_are_written(shop: Shop) -> None:
    kinds = ["OPT_OUT", "Opt_Out", "opt-out", "Opt out", "Purchase", "Own Kind"]
    rows = [f"c{number},{kind},2024-01-01" for number, kind in enumerate(kinds)]
    shop.load(EVENTS, "\n".join(["who,what,at", *rows]) + "\n")
    told = [each["kind"] for each in sorted(shop.history.events().to_pylist(), key=lambda each: each["customer_id"])]
    assert told == ["opt_out"] * 4 + ["purchase", "Own Kind"]


def _rows(number: int) -> list[str]:
    return [f"c{each},{'opt_out' if each % 140 == 7 else 'visit'},2024-01-01" for each in range(number)]


@pytest.mark.parametrize("number", [500, 40_000])
def test_after_a_mark_that_never_closes_each_line_counts(shop: Shop, number: int) -> None:
    rows = _rows(number)
    shop.load(EVENTS, "\n".join(["who,what,at", *rows]) + "\n")  # the accounts are known
    rows[59] = '"broken' + rows[59]
    loaded = shop.load(EVENTS, "\n".join(["who,what,at", *rows]) + "\n")
    assert (loaded.read, loaded.accepted, loaded.reasons) == (number, 59, {"unreadable_row": number - 59})
    assert loaded.note == "a quotation mark opened in line 61 never closes"
    assert shop.noes() == {(f"c{each}", None) for each in range(7, number, 140)}


def test_the_line_of_a_mark_is_told_behind_values_of_several_lines(shop: Shop) -> None:
    rows = [f'c{each},"vi\nsit",2024-01-01' for each in range(10)]
    loaded = shop.load(EVENTS, "\n".join(["who,what,at", *rows, *_rows(5), '"broken', *_rows(20)]) + "\n")
    assert (loaded.read, loaded.accepted) == (36, 15)
    assert loaded.note == "a quotation mark opened in line 27 never closes"


def test_a_mark_that_a_later_one_closes_costs_only_its_own_lines(shop: Shop) -> None:
    rows = [f'c{each},"visit",2024-01-01' for each in range(300)]
    loaded = shop.load(EVENTS, "\n".join(["who,what,at", *rows[:50], '"broken', *rows[50:]]) + "\n")
    assert loaded.accepted > 290 and loaded.note == ""


@pytest.mark.parametrize("ends", [("\r\n", "\n"), ("\n", "\r\n")])
def test_lines_may_end_in_two_ways(shop: Shop, ends: tuple[str, str]) -> None:
    usual, other = ends
    loaded = shop.load(EVENTS, usual.join(["who,what,at", *_rows(300), ""]) + f"anna,opt_out,2024-01-01{other}")
    assert (loaded.read, loaded.accepted) == (301, 301)


def test_noes_without_a_customer_are_counted(shop: Shop) -> None:
    rows = [",opt_out,2024-01-01", "anna smith,opt_out,2024-01-01", "unknown-one,opt_out", ",visit,2024-01-01"]
    loaded = shop.load(EVENTS, "\n".join(["who,what,at", *rows, *_rows(300)]) + "\n")
    assert loaded.unheard == 3


def test_a_tool_that_knows_only_addresses_is_loaded_by_their_digest(shop: Shop) -> None:
    table = {
        **EVENTS,
        "columns": {
            "customer_id": {"column": "E-Mail-Adresse", "hashed": True},
            "kind": "what",
            "occurred_at": {"column": ["Datum", "Uhrzeit"], "join": " ", "format": "%d.%m.%Y %H:%M"},
        },
        "attributes": {"email": "E-Mail-Adresse"},
    }
    rows = ["Anna@Shop.example,visit,01.02.2024,10:30", " anna@shop.example,opt_out,02.02.2024,08:00", ",visit,,"]
    loaded = shop.load(table, "\n".join(["E-Mail-Adresse,what,Datum,Uhrzeit", *rows]) + "\n", accept_bad=True)
    assert (loaded.accepted, loaded.reasons) == (2, {"missing_customer_id": 1})
    events = sorted(shop.history.events().to_pylist(), key=lambda each: each["occurred_at"])
    assert {each["customer_id"] for each in events} == {hashlib.sha256(b"anna@shop.example").hexdigest()[:32]}
    assert [each["occurred_at"] for each in events] == [
        datetime(2024, 2, 1, 10, 30, tzinfo=UTC),
        datetime(2024, 2, 2, 8, tzinfo=UTC),
    ]
    assert {each["value"] for each in shop.history.profile().to_pylist()} == {"Anna@Shop.example", "anna@shop.example"}


def test_what_a_killed_intake_left_is_cleared(shop: Shop) -> None:
    left = shop.history.folder / ".scratch" / "rapport-intake-killed" / "plain.csv"
    left.parent.mkdir(parents=True)
    left.write_text("anna@shop.example")
    shop.load(EVENTS, "who,what,at\na,visit,2024-01-01\n")
    assert not left.exists() and not list((shop.history.folder / ".scratch").iterdir())


def test_answers_of_a_refused_file_are_the_mappings_fault_and_stop_nobody_for_good(tmp_path: Path) -> None:
    rows = [f"c{n},email,zugestimmt,2026-01-01" for n in range(10)]
    (tmp_path / "said.csv").write_text("id,channel,said,at\n" + "\n".join(rows) + "\n", encoding="utf-8")
    source = Source(
        name="said",
        file="said.csv",
        rows="consents",
        columns={"customer_id": "id", "channel": "channel", "granted": "said", "occurred_at": "at"},
    )
    history = History(tmp_path / "history")
    taken = {"data": tmp_path, "history": history, "quarantine": tmp_path / "quarantine"}
    (loaded,) = ingest(source, **taken)
    assert loaded.refused
    assert not history.parts("opt_outs")
    (loaded,) = ingest(source, **taken, accept_bad=True)  # told to load it, an answer that can't be read is a no
    assert not loaded.refused
    assert len(history.parts("opt_outs")) == 1
