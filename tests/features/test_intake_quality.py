"""How good a source is: growing files, changes since the file before, the page and what the command prints."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from features import History, InputError
from features.intake import Field, Loaded, Source, ingest
from features.intake.page import render
from features.intake.quality import Quality
from features.intake.receipts import Receipts

NOW = datetime(2024, 6, 1, tzinfo=UTC)
CLICKS = Source(
    name="web",
    file="web.csv",
    rows="events",
    columns={"customer_id": "who", "kind": "what", "occurred_at": "at", "recorded_at": "known", "amount": "paid"},
)


class Shop:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.history = History(folder / "history")
        self.files = 0

    def load(self, *rows: str, source: Source = CLICKS, **options: bool) -> Loaded:
        (self.folder / "web.csv").write_text("\n".join(["who,what,at,known,paid", *rows]) + "\n", encoding="utf-8")
        self.files += 1
        (loaded,) = ingest(
            source,
            data=self.folder,
            history=self.history,
            quarantine=self.folder / "quarantine",
            now=NOW.replace(hour=self.files),
            **options,
        )
        return loaded

    @property
    def quality(self) -> Quality:
        return Quality.of(Receipts(self.history.folder / "receipts").of("web"), now=NOW.replace(hour=12))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def clicks(first: int, last: int, *, what: str = "visit", paid: str = "1", who: str = "c") -> list[str]:
    return [f"{who}{n},{what},2024-05-0{1 + n % 9},2024-05-{10 + n % 9},{paid}" for n in range(first, last)]


def test_a_growing_file_adds_what_is_new(shop: Shop) -> None:
    assert shop.load(*clicks(0, 50)).new == 50
    assert shop.load(*clicks(0, 60)).new == 10
    assert shop.load(*clicks(0, 60)).new == 0
    assert shop.load(*clicks(0, 60)[::-1]).new == 0
    assert shop.load(*clicks(0, 59), "c59,cart,2024-05-06,2024-05-16,1").new == 1  # a changed row is a new fact
    late = shop.load(*clicks(0, 60), "late,visit,2024-01-01,2024-05-31,1")
    assert late.new == 1
    (fact,) = [row for row in shop.history.events().to_pylist() if row["customer_id"] == "late"]
    assert (fact["occurred_at"].month, fact["recorded_at"].month) == (1, 5)


def test_a_receipt_that_was_cut_short_is_told(shop: Shop) -> None:
    shop.load(*clicks(0, 3))
    (receipt,) = (shop.history.folder / "receipts").glob("web-*.json")
    receipt.write_bytes(receipt.read_bytes()[:20])
    with pytest.raises(InputError, match="its file is taken in again then, and no fact counts twice"):
        shop.load(*clicks(0, 3))
    receipt.unlink()
    assert shop.load(*clicks(0, 3)).new == 0


def test_measures_of_a_file(shop: Shop) -> None:
    shop.load(
        "a,visit,2024-05-01,2024-05-03,",
        "b,cart,2024-05-02,2024-05-02,5",
        "b,cart,2024-05-02,2024-05-02,5",
        accept_bad=True,
    )
    measured = shop.quality.latest.measured
    assert (measured.occurred_at, measured.recorded_at) == (
        datetime(2024, 5, 2, tzinfo=UTC),
        datetime(2024, 5, 3, tzinfo=UTC),
    )
    assert measured.missing == {
        "customer_id": 0,
        "kind": 0,
        "occurred_at": 0,
        "recorded_at": 0,
        "amount": pytest.approx(1 / 3),
    }
    assert measured.words == {"kind": ("cart", "visit")}
    assert measured.identical == 1
    assert shop.quality.warnings == ()


@pytest.mark.parametrize(
    ("after", "warning"),
    [
        (clicks(0, 30), "70% fewer rows than in the file before: 30 after 100"),
        (clicks(0, 300), "3.0 times as many rows as in the file before: 300 after 100"),
        ([*clicks(0, 100), *clicks(200, 204, paid="x")], "more bad rows: 3.8% after 0.0%"),
        ([*clicks(0, 80), *clicks(80, 100, paid="")], "amount is missing in 20% of rows, 0% before"),
        ([*clicks(0, 99), *clicks(99, 100, what="BROWSE")], "kind has new words: BROWSE"),
        (clicks(0, 100, what="see"), "kind has lost words: visit"),
        (clicks(0, 100, paid="x"), "the file was refused: 100.0% of its rows are bad"),
        (
            [row.replace("2024-05", "2024-04") for row in clicks(0, 100)],
            "the latest row is older than that of the file before",
        ),
    ],
)
def test_what_changed_is_said(shop: Shop, after: list[str], warning: str) -> None:
    shop.load(*clicks(0, 100))
    assert shop.quality.warnings == ()
    shop.load(*after)
    assert warning in shop.quality.warnings


def test_an_ordinary_change_is_no_warning(shop: Shop) -> None:
    shop.load(*clicks(0, 100))
    shop.load(*clicks(0, 130), *clicks(130, 132, paid=""))
    assert shop.quality.warnings == ()


class Page(HTMLParser):
    """Tables with their captions and headers, and every address that the page names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables, self.captions, self.heads, self.addresses, self.open = 0, 0, 0, [], []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tables += tag == "table"
        self.captions += tag == "caption"
        self.heads += tag == "th" and "scope" in dict(attrs)
        self.addresses += [value for name, value in attrs if name in ("href", "src") and value]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_escapes_what_files_hold(shop: Shop) -> None:
    evil = "<script>alert(1)</script>"
    shop.load(*clicks(0, 100))
    shop.load(*clicks(0, 100), f"x,{evil},2024-05-01,2024-05-02,1", "y,visit,2024-05-01,2024-05-02,z")
    text = render([shop.quality], company='Tom & "Jerry" <b>')
    page = Page(text)
    assert page.open == [] and page.addresses == []
    assert page.tables == page.captions == 4
    assert page.heads > 20
    assert "<script" not in text and "&lt;script&gt;" in text and "Tom &amp; &#34;Jerry&#34;" in text
    assert "unreadable_amount" in text and "kind has new words" in text
    assert not re.search(r"https?://|@import|url\(", text)


PROJECT = """
[project]
name = "Shop"
currency = "EUR"
[[source]]
name = "till"
file = "till.csv"
rows = "events"
[source.columns]
customer_id = "card"
kind = {constant = "purchase"}
occurred_at = "at"
amount = "paid"
currency = "cur"
"""


def test_from_a_new_file_to_a_mended_row(tmp_path: Path, rapport_cli: Callable[..., object]) -> None:
    (tmp_path / "rapport.toml").write_text(PROJECT, encoding="utf-8")
    rows = [f"c{n},2024-05-01,{n}.5,EUR" for n in range(40)]
    till = tmp_path / "till.csv"
    till.write_text("\n".join(["card,at,paid,cur", *rows, "dora,2024-05-01,7,USD"]) + "\n", encoding="utf-8")

    ran = rapport_cli("ingest", "--project", tmp_path, "--propose", till, "--json", tmp_path / "p.json")
    assert ran.exit_code == 0, ran.stderr
    assert 'customer_id = "card"' in ran.stdout and 'currency = "cur"' in ran.stdout
    assert "40 would be accepted and 1 refused" in " ".join(ran.stdout.split())
    assert not (tmp_path / "history").exists()
    assert json.loads((tmp_path / "p.json").read_text(encoding="utf-8"))["loaded"]["reasons"] == {"other_currency": 1}

    ran = rapport_cli("ingest", "--project", tmp_path, "--page", tmp_path / "q.html", "--json", tmp_path / "i.json")
    assert ran.exit_code == 0, ran.stderr
    (file,) = json.loads((tmp_path / "i.json").read_text(encoding="utf-8"))["files"]
    assert (file["read"], file["accepted"], file["reasons"]) == (41, 40, {"other_currency": 1})
    assert "other_currency" in (tmp_path / "q.html").read_text(encoding="utf-8")

    table = Path(file["quarantine"])
    table.write_text(table.read_text(encoding="utf-8").replace("USD", "EUR"), encoding="utf-8")
    ran = rapport_cli("ingest", "--project", tmp_path, "--mended", table)
    assert ran.exit_code == 0, ran.stderr
    assert not table.exists()
    assert History(tmp_path / "history").events().num_rows == 41


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (("--propose", "nowhere.csv"), "no file"),
        (("--mended", "nowhere.csv"), "no table"),
        (("--page", "page.txt"), "HTML"),
    ],
)
def test_wrong_options_are_told(
    tmp_path: Path, rapport_cli: Callable[..., object], options: tuple[str, ...], wrong: str
) -> None:
    (tmp_path / "rapport.toml").write_text(PROJECT, encoding="utf-8")
    (tmp_path / "till.csv").write_text("card,at,paid,cur\na,2024-05-01,1,EUR\n", encoding="utf-8")
    ran = rapport_cli("ingest", "--project", tmp_path, options[0], tmp_path / options[1])
    assert ran.exit_code == 2 and wrong in ran.stderr


def test_a_file_that_tells_too_little_is_proposed_all_the_same(
    tmp_path: Path, rapport_cli: Callable[..., object]
) -> None:
    (tmp_path / "log.csv").write_text("user,time,event\nanna,6,click\nben,6,open\nanna,7,open\n", encoding="utf-8")
    ran = rapport_cli("ingest", "--propose", tmp_path / "log.csv", "--rows", "events")
    assert ran.exit_code == 2
    assert "# MISSING: column 'time' counts" in ran.stdout and 'customer_id = "user"' in ran.stdout
    assert rapport_cli("ingest", "--propose", tmp_path / "log.csv", "--rows", "event").exit_code == 2


def test_consents_of_a_source_reach_the_page(tmp_path: Path) -> None:
    columns = {"customer_id": "id", "channel": "ch", "granted": Field(column="ok"), "occurred_at": "at"}
    source = Source(name="prefs", file="p.csv", rows="consents", columns=columns)
    (tmp_path / "p.csv").write_text("id,ch,ok,at\na,email,yes,2024-05-01\n", encoding="utf-8")
    ingest(source, data=tmp_path, history=History(tmp_path / "h"), quarantine=tmp_path / "q", now=NOW)
    (receipt,) = Receipts(tmp_path / "h" / "receipts").of("prefs")
    assert receipt.measured.words == {"channel": ("email",)}
    assert "prefs" in render([Quality.of([receipt], now=NOW)], company="Shop")
