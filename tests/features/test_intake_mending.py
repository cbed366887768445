"""The quarantine is a table: what a person mends in a spreadsheet is loaded by the same checks, and only once."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import History, InputError
from features.intake import Loaded, Source, ingest, mend
from features.intake.quarantine import meant, read, safe
from features.sql import literal

NOW = datetime(2024, 6, 1, tzinfo=UTC)
TILL = {
    "name": "till",
    "file": "till.*",
    "rows": "events",
    "columns": {
        "event_id": "receipt",
        "customer_id": "card",
        "kind": {"column": "type", "values": {"SALE": "purchase", "NO": "opt_out"}},
        "occurred_at": "time",
        "amount": "total",
    },
}
GOOD = [f"g{number},c{number},SALE,2024-05-01 10:00:00,1.00,fine" for number in range(60)]


class Shop:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.history = History(folder / "history")
        self.quarantine = folder / "quarantine"
        self.source = Source.from_config(TILL)

    def load(self) -> Loaded:
        (loaded,) = ingest(
            self.source, data=self.folder, history=self.history, quarantine=self.quarantine, now=NOW, accept_bad=True
        )
        return loaded

    def till(self, *rows: str) -> Loaded:
        lines = ["receipt,card,type,time,total,reason", *rows, *GOOD]
        (self.folder / "till.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return self.load()

    def mend(self, path: Path) -> Loaded:
        (loaded,) = mend(path, sources=[self.source], history=self.history, quarantine=self.quarantine, now=NOW)
        return loaded


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def edited(
    path: str | Path, changes: dict[str, dict[str, str]], *, delimiter: str = ",", encoding: str = "utf-8"
) -> Path:
    """The table as a spreadsheet would save it after a person changed the cells of some places."""
    with Path(path).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        row.update(changes.get(row["place"], {}))
    target = Path(path).parent.parent / "mended.csv"
    with target.open("w", encoding=encoding, newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return target


def test_bad_rows_stand_in_their_own_columns(shop: Shop) -> None:
    loaded = shop.till("r1,,SALE,2024-05-01,1.00,=cmd|calc", "r2,anna,SALE,2024-05-01,-1.00,x,one more")
    with Path(loaded.quarantine).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["place"], row["reason"], row["receipt"], row["reason of file"]) for row in rows] == [
        ("row 1", "missing_customer_id", "r1", "'=cmd|calc"),
        ("line 3", "unreadable_row", "", ""),
    ]
    assert rows[1]["line"] == "r2,anna,SALE,2024-05-01,-1.00,x,one more"


@settings(deadline=None)  # a database answers each
@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
    | st.from_regex(r"'{0,2}[=+@\-\t\r][^\n\0]{0,3}", fullmatch=True)  # a literal of the query holds no NUL
)
def test_no_cell_is_a_formula_and_each_is_given_back(text: str) -> None:
    import duckdb

    shown, back = duckdb.sql(f"SELECT shown, {meant('shown')} FROM (SELECT {safe(literal(text))} AS shown)").fetchone()
    assert back == text
    assert shown[:1] not in ("=", "@", "\t", "\r")
    if shown[:1] in ("+", "-"):
        assert shown[1:].replace(".", "").replace(",", "").isdigit()


@pytest.mark.parametrize(("delimiter", "encoding"), [(",", "utf-8"), (";", "utf-8-sig")])
def test_mended_rows_become_facts_and_leave_the_quarantine(shop: Shop, delimiter: str, encoding: str) -> None:
    first = shop.till(
        "r1,,SALE,2024-05-01,1.00,", "r2,ben,VOID,2024-05-01,1.00,", "r3,cleo,SALE,2024-05-01,1.00,x,one more"
    )
    fixed = {"receipt": "r3", "card": "cleo", "type": "SALE", "time": "2024-05-01", "total": "3.00"}
    table = edited(
        first.quarantine,
        {"row 1": {"card": "anna"}, "row 2": {"type": "SALE", "time": "2034-05-01"}, "line 4": fixed},
        delimiter=delimiter,
        encoding=encoding,
    )
    loaded = shop.mend(table)
    assert (loaded.read, loaded.accepted, loaded.new, loaded.reasons) == (3, 2, 2, {"future_time": 1})
    amounts = {row["customer_id"]: row["amount"] for row in shop.history.events().to_pylist()}
    assert (amounts["anna"], amounts["cleo"]) == (100, 300)
    assert read(Path(loaded.quarantine)).select(["place", "reason", "type"]).to_pylist() == [
        {"place": "row 2", "reason": "future_time", "type": "SALE"}
    ]
    again = shop.mend(table)
    assert (again.read, again.accepted, again.new) == (1, 0, 0)  # what left is passed over; what is bad stays
    last = shop.mend(edited(loaded.quarantine, {"row 2": {"time": "2024-05-01"}}))
    assert (last.accepted, last.new, last.quarantine) == (1, 1, "")
    assert not list(shop.quarantine.iterdir())
    after = shop.load()
    assert (after.read, after.accepted, after.quarantined, after.reasons) == (63, 63, 0, {})


def test_rows_that_nobody_mended_keep_their_reason(shop: Shop) -> None:
    first = shop.till("r1,,SALE,2024-05-01,1.00,", "r3,cleo,SALE,2024-05-01,1.00,x,one more")
    before = Path(first.quarantine).read_bytes()
    assert shop.mend(Path(first.quarantine)).accepted == 0
    assert Path(first.quarantine).read_bytes() == before


def test_rows_of_parquet_and_json_are_mended_in_a_csv(shop: Shop) -> None:
    rows = [
        {"receipt": f"g{n}", "card": f"c{n}", "type": "SALE", "time": NOW.replace(month=5), "total": n}
        for n in range(50)
    ]
    bad = {"receipt": "r1", "card": None, "type": "SALE", "time": NOW.replace(month=5), "total": 12.5}
    pq.write_table(pa.Table.from_pylist([bad, *rows]), shop.folder / "till.parquet")
    loaded = shop.load()
    assert shop.mend(edited(loaded.quarantine, {"row 1": {"card": "anna"}})).new == 1
    (row,) = [each for each in shop.history.events().to_pylist() if each["customer_id"] == "anna"]
    assert (row["amount"], row["occurred_at"]) == (1250, NOW.replace(month=5))


def test_nested_rows_are_mended_by_their_paths(tmp_path: Path) -> None:
    lines = ['{"who": "", "at": "2024-05-01", "v": {"offer id": "o1"}, "more": 1}']
    (tmp_path / "app.jsonl").write_text("\n".join(lines * 1) + "\n", encoding="utf-8")
    source = Source(
        name="app",
        file="app.jsonl",
        rows="events",
        columns={"customer_id": "who", "kind": "v.kind", "occurred_at": "at", "item": "v.offer id"},
    )
    history, quarantine = History(tmp_path / "history"), tmp_path / "quarantine"
    (loaded,) = ingest(source, data=tmp_path, history=history, quarantine=quarantine, now=NOW, accept_bad=True)
    table = edited(loaded.quarantine, {"row 1": {"who": "anna", "v.kind": "click"}})
    (mended,) = mend(table, sources=[source], history=history, quarantine=quarantine, now=NOW)
    assert (mended.new, history.events()["item"][0].as_py()) == (1, "o1")


def test_a_table_that_is_none_of_the_quarantine_is_told(shop: Shop, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    with pytest.raises(InputError, match="no table at"):
        shop.mend(other)
    other.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match="no table of quarantined rows"):
        shop.mend(other)
    loaded = shop.till("r1,,SALE,2024-05-01,1.00,")
    ragged = Path(loaded.quarantine).read_text(encoding="utf-8") + "till,till.csv,x\n"
    other.write_text(ragged, encoding="utf-8")
    with pytest.raises(InputError, match=r"line 3 of other\.csv"):
        shop.mend(other)
    with pytest.raises(InputError, match="unknown source 'till'"):
        mend(Path(loaded.quarantine), sources=[], history=shop.history, quarantine=shop.quarantine)


def test_rows_of_a_file_that_was_refused_are_not_loaded_alone(shop: Shop) -> None:
    (shop.folder / "till.csv").write_text("receipt,card,type,time,total\nr1,,SALE,2024-05-01,1\n", encoding="utf-8")
    (loaded,) = ingest(shop.source, data=shop.folder, history=shop.history, quarantine=shop.quarantine, now=NOW)
    with pytest.raises(InputError, match="was not loaded"):
        shop.mend(Path(loaded.quarantine))
