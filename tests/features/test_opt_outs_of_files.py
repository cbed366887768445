"""A no in a file is heard whatever else is wrong with its row, its file or its word for the channel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from serving.consent import Permission
from serving.ledger import Ledger

PROJECT = """
[project]
name = "Shop"
[[source]]
name = "crm"
file = "crm-*.csv"
rows = "events"
[source.columns]
event_id = "id"
customer_id = "customer"
kind = "kind"
occurred_at = "time"
channel = "channel"
amount = {column = "amount", unit = "cents"}
"""
OFFERS = """
[[offers]]
offer_id = "shoes"
title = "Shoes"
[[offers.treatments]]
channel = "email"
cost_cents = 1
[[offers.treatments]]
channel = "web"
cost_cents = 0
"""
HEADER = "id,customer,kind,time,channel,amount"
NO, YES = "2024-01-05T00:00:00Z", "2024-01-02T00:00:00Z"
VISITS = [f"v{number},c{number},visit,{NO},," for number in range(60)]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "rapport.toml").write_text(PROJECT, encoding="utf-8")
    (tmp_path / "offers.toml").write_text(OFFERS, encoding="utf-8")
    return tmp_path


def write(shop: Path, *rows: str, name: str = "crm-1.csv") -> None:
    (shop / name).write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")


def permission(shop: Path, customer: str = "anna") -> Permission:
    ledger = Ledger(shop / "ledger.db")
    with ledger.reading() as book:
        found = book.permissions([customer])[customer]
    ledger.close()
    return found


def consents(shop: Path, customer: str = "anna") -> int:
    ledger = Ledger(shop / "ledger.db")
    with ledger.reading() as book:
        found = len(book.consents(customer))
    ledger.close()
    return found


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f"no,anna,opt_out,{NO},,abc", "unreadable_amount"),
        ("no,anna,opt_out,2135-01-01T00:00:00Z,,", "future_time"),
        (f"v1,anna,opt_out,{NO},,", "conflicting_event_id"),
        ("no,anna,opt_out,hello,,", "unreadable_occurred_at"),
        ("no,anna,opt_out,,,", "missing_occurred_at"),
        ("no,anna,opt_out,1024-01-05T00:00:00Z,,", "implausible_time"),
        (f",anna,opt_out,{NO},,", "missing_event_id"),
    ],
)
def test_a_no_in_a_bad_row_is_heard_once(shop: Path, rapport_cli: Callable[..., object], row: str, reason: str) -> None:
    write(shop, f"yes,anna,opt_in,{YES},,", *VISITS, row)
    ran = rapport_cli("ingest", "--project", shop)
    assert ran.exit_code == 0 and reason in ran.stdout
    assert (permission(shop).granted, permission(shop).refused[0]) == ((), "all:marketing")
    assert consents(shop) == 2
    assert rapport_cli("ingest", "--project", shop).exit_code == 0
    assert consents(shop) == 2


def test_the_noes_of_a_refused_file_are_heard_once(shop: Path, rapport_cli: Callable[..., object]) -> None:
    write(shop, f"yes,anna,opt_in,{YES},,", *VISITS)
    bad = [f"b{number},c{number},visit,hello,," for number in range(20)]
    write(shop, f"no,anna,opt_out,{NO},email,", "late,bert,opt_out,hello,,", *bad, name="crm-2.csv")
    for _ in range(2):
        ran = rapport_cli("ingest", "--project", shop)
        assert ran.exit_code == 2 and "more than 5% bad rows" in ran.stderr
        assert permission(shop).refused == ("email:marketing",)
        assert "all:marketing" in permission(shop, "bert").refused
        assert (consents(shop), consents(shop, "bert")) == (2, 1)
    assert rapport_cli("ingest", "--project", shop, "--accept-bad").exit_code == 0
    assert (consents(shop), consents(shop, "bert")) == (2, 1)


@pytest.mark.parametrize(
    ("channel", "refused"),
    [
        ("email", "email:marketing"),
        (" EMail ", "email:marketing"),
        ("", "all:marketing"),
        ("E-Mail", "all:marketing"),
        ("newsletter", "all:marketing"),
        ("Alle Kanäle", "all:marketing"),
    ],
)
def test_a_no_to_a_channel_that_no_offer_has_stops_all(
    shop: Path, rapport_cli: Callable[..., object], channel: str, refused: str
) -> None:
    write(shop, f"yes,anna,opt_in,{YES},,", f"no,anna,opt_out,{NO},{channel},", *VISITS)
    assert rapport_cli("ingest", "--project", shop).exit_code == 0
    assert permission(shop).refused == (refused,)


def test_a_no_does_not_wait_for_the_offers_to_be_mended(shop: Path, rapport_cli: Callable[..., object]) -> None:
    write(shop, f"no,anna,opt_out,{NO},email,", *VISITS)
    (shop / "offers.toml").write_text("[[offers", encoding="utf-8")
    ran = rapport_cli("ingest", "--project", shop)
    assert ran.exit_code == 2 and "offers.toml" in ran.stderr
    assert permission(shop).refused == ("email:marketing",)


def test_a_no_does_not_wait_for_another_file_to_be_mended(shop: Path, rapport_cli: Callable[..., object]) -> None:
    (shop / "crm-0.csv").write_bytes(b"")
    write(shop, f"no,anna,opt_out,{NO},email,", *VISITS)
    ran = rapport_cli("ingest", "--project", shop)
    assert ran.exit_code == 2 and "crm-0.csv is empty" in ran.stderr
    assert permission(shop).refused == ("email:marketing",)


def test_a_customer_who_cannot_be_read_said_nothing(shop: Path, rapport_cli: Callable[..., object]) -> None:
    write(shop, f"no,,opt_out,{NO},,", f"no2,an na,opt_out,{NO},,", *VISITS)
    assert rapport_cli("ingest", "--project", shop).exit_code == 0
    assert not list((shop / "history").glob("opt_outs/*"))
