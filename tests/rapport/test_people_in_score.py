"""``rapport score`` decides for people: once for each, whichever account is named, and with what they allow."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rapport.init import create_project
from rapport.people.base import allowed, customer_base
from rapport.project import Project, load_project
from serving.book import Consent
from serving.ledger import Ledger
from serving.people import LinkedAccounts

NOON = datetime(2027, 2, 1, 12, tzinfo=UTC)
BEFORE = NOON - timedelta(days=3)


@pytest.fixture
def shop(tmp_path: Path, link: Callable[..., None]) -> Project:
    """Ten customers who agreed and visited; c1 and c2 are surely one person, c3 maybe c4, c5 lives with c6."""
    create_project(tmp_path / "shop", name="Shop")
    found = load_project(tmp_path / "shop")
    times = {"occurred_at": BEFORE, "recorded_at": BEFORE}
    rows = [
        {"event_id": f"{kind}{number}", "customer_id": f"c{number}", "kind": kind, "amount": 1000} | times
        for number in range(10)
        for kind in ("visit", "purchase")
    ]
    found.history.append(pa.Table.from_pylist(rows), part="start")
    groups = {
        "suppress": [("c1", "c2"), ("c3", "c4")],
        "count": [("c1", "c2")],
        "personalize": [("c1", "c2")],
        "household": [("c5", "c6")],
    }
    members = [
        {"strength": strength, "account_id": each, "customer_id": pair[1], "since": BEFORE}
        for strength, pairs in groups.items()
        for pair in pairs
        for each in pair
    ]
    link(found.history, members)
    ledger = Ledger(found.ledger)
    said = {"channel": "all", "source": "customer", "occurred_at": BEFORE, "recorded_at": BEFORE}
    with ledger.writing() as book:
        book.consent([Consent(customer_id=f"c{number}", granted=True, **said) for number in range(10)])
        book.consent([Consent(customer_id="c4", granted=False, **said | {"contact_class": "all"})])
        personal = said | {"purpose": "personalization", "contact_class": "all"}
        book.consent([Consent(customer_id="c1", granted=False, **personal)])
    ledger.close()
    return found


def score(cli: Callable[..., Any], shop: Project, out: Path, *more: object) -> Any:
    ran = cli(
        "score", "--project", shop.root, "--at", NOON.isoformat(), "--out", out, "--experiment", "always-on", *more
    )
    assert ran.exit_code == 0, ran.stderr
    return ran


def test_everybody_is_decided_on_once(shop: Project, rapport_cli: Callable[..., Any], tmp_path: Path) -> None:
    out, told = tmp_path / "out.parquet", tmp_path / "told.json"
    ran = score(rapport_cli, shop, out, "--json", told)
    assert "1 further account belongs to these customers" in " ".join(ran.stdout.split())
    rows = {each["customer_id"]: each for each in pq.read_table(out).to_pylist()}
    assert sorted(rows) == [f"c{number}" for number in range(10) if number != 1]  # c2 names the person
    assert json.loads(told.read_text())["decisions"] == 9
    assert (rows["c3"]["reason"], rows["c4"]["reason"]) == ("nothing_left", "nothing_left")
    assert (rows["c5"]["household_id"], rows["c6"]["household_id"]) == ("c6", "c6")
    ran = rapport_cli("explain", rows["c3"]["decision_id"], "--project", shop.root)
    assert "It was another account that may be the same person (c4) that said so." in " ".join(ran.stdout.split())
    ran = rapport_cli("explain", rows["c2"]["decision_id"], "--project", shop.root)
    assert "The account belongs to person c2; also counted: behaviour of c1 and contacts of c1." in " ".join(
        ran.stdout.split()
    )
    assert rapport_cli("replay", rows["c2"]["decision_id"], "--project", shop.root).exit_code == 0


def test_of_a_table_the_account_that_names_the_person_counts_else_the_first(
    shop: Project, rapport_cli: Callable[..., Any], tmp_path: Path
) -> None:
    for names, expected in ((["c1", "c9", "c2"], ["c9", "c2"]), (["c9", "c1"], ["c9", "c1"])):
        table = tmp_path / "names.csv"
        table.write_text("\n".join(["customer_id", *names]))
        spine, aside = customer_base(shop, table, at=NOON)
        assert spine["customer_id"].to_pylist() == expected
        assert aside == len(names) - len(expected)


def test_what_was_said_on_one_account_masks_the_person(shop: Project) -> None:
    spine, _ = customer_base(shop, None, at=NOON)
    people = LinkedAccounts(shop.history)
    table, masks = allowed(shop, shop.features.offline(shop.history, spine), people=people)
    empty = {
        who: all(row[name] is None for name in shop.features.names)
        for who, row in zip(table["customer_id"].to_pylist(), table.to_pylist(), strict=True)
    }
    assert {who for who, masked in empty.items() if masked} == {"c2"}
    assert len(masks) == table.num_rows == 9


def test_links_that_can_not_be_read_stop_a_batch(
    shop: Project, rapport_cli: Callable[..., Any], tmp_path: Path
) -> None:
    part = shop.history.folder / "members" / "m.parquet"
    part.write_bytes(part.read_bytes()[:100])
    ran = rapport_cli("score", "--project", shop.root, "--at", NOON.isoformat(), "--out", tmp_path / "out.parquet")
    assert ran.exit_code == 2
    assert "can't be read" in ran.stderr
    assert not (tmp_path / "out.parquet").exists()
