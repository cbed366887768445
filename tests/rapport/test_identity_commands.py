"""``rapport identity``: people see who is behind an account, by what, and mend it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from features import History
from features.facts import PROFILE

SETTINGS = """
[project]
name = "Shop"

[identity]
country = "49"
household = ["address", "family_name"]

[[identity.identifier]]
kind = "email"

[[identity.identifier]]
kind = "phone"
"""
DAY = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "rapport.toml").write_text(SETTINGS, encoding="utf-8")
    told = [
        ("crm-1", "email", "anna@shop.example"),
        ("web-2", "email", "Anna@shop.example"),
        ("crm-1", "phone", "0170 1234567"),
        ("till-3", "phone", "+49 170 1234567"),
        ("crm-1", "address", "Seestr. 5"),
        ("crm-1", "family_name", "Lee"),
        ("crm-9", "address", "Seestraße 5"),
        ("crm-9", "family_name", "LEE"),
    ]
    rows = [dict(zip(PROFILE.names, (*row, DAY, DAY, "crm"), strict=True)) for row in told]
    History(tmp_path / "history").append_profile(pa.Table.from_pylist(rows, schema=PROFILE), part="told")
    return tmp_path


def plain(text: str) -> str:
    return " ".join(text.split())


def test_accounts_are_linked_shown_merged_and_split(shop: Path, rapport_cli, tmp_path: Path) -> None:
    found = tmp_path / "found.json"
    ran = rapport_cli("identity", "resolve", "--project", shop, "--json", found)
    assert ran.exit_code == 0
    assert json.loads(found.read_text()) == {"links": 3, "accounts": 4}
    assert rapport_cli("identity", "resolve", "--project", shop).stdout.startswith("0 new facts")

    ran = rapport_cli("identity", "show", "web-2", "--project", shop, "--json", found)
    assert "web-2 is customer crm-1" in plain(ran.stdout)
    assert "till-3 contacts count together" in plain(ran.stdout)
    assert "household crm-1" in plain(ran.stdout)
    assert json.loads(found.read_text())["own"] == ["crm-1", "web-2"]

    ran = rapport_cli("identity", "links", "crm-1", "--project", shop, "--json", found)
    assert "crm-1 - web-2 email 0.97 one person 2024-05-01 12:00 identity" in plain(ran.stdout)
    assert "crm-1 - crm-9 household 1.00 household" in plain(ran.stdout)
    assert [each["because"] for each in json.loads(found.read_text())["links"]] == ["phone", "email", "household"]

    ran = rapport_cli("identity", "merge", "till-3", "web-2", "--by", "Ann, service", "--project", shop)
    assert "till-3 one person" in plain(ran.stdout)
    assert "Ann, service" in rapport_cli("identity", "links", "crm-1", "--project", shop).stdout
    ran = rapport_cli("identity", "split", "till-3", "web-2", "--by", "Ann, service", "--project", shop)
    assert "crm-1 contacts count together" in plain(ran.stdout)
    assert "still the same person" not in plain(ran.stdout)


def test_a_split_says_what_still_joins_the_two(shop: Path, rapport_cli) -> None:
    rapport_cli("identity", "merge", "crm-1", "web-2", "--by", "Ann", "--project", shop)
    ran = rapport_cli("identity", "split", "crm-1", "web-2", "--by", "Ann", "--project", shop)
    assert "split once more to keep them apart" in plain(ran.stdout)
    ran = rapport_cli("identity", "split", "crm-1", "web-2", "--by", "Ann", "--project", shop)
    assert "web-2" not in plain(ran.stdout)
    ran = rapport_cli("identity", "merge", "web-2", "till-3", "--by", "Ann", "--project", shop)
    assert "till-3 one person" in plain(ran.stdout)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "nobody"), "account 'nobody' is not known"),
        (("merge", "crm-1", "nobody", "--by", "Ann"), "account 'nobody' is not known"),
        (("merge", "crm-1", "crm-1", "--by", "Ann"), "two accounts are needed"),
        (("split", "crm-1", "web-2", "--by", " "), "somebody must say so"),
        (("resolve", "--alike"), "nothing says what people are compared by"),
    ],
)
def test_what_is_wrong_is_told(shop: Path, rapport_cli, arguments, said: str) -> None:
    ran = rapport_cli("identity", *arguments, "--project", shop)
    assert ran.exit_code == 2
    assert said in plain(ran.stderr)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('[[identity.identifier]]\nkind = "badge"\n', "identifier 'badge' needs a strength"),
        ('[[identity.identifier]]\nkind = "card"\nstrength = "personalise"\n', "did you mean 'personalize'"),
        ('[[identity.identifier]]\nkind = "email"\n', "an identifier is declared twice"),
        ('[[identity.identifier]]\nkind = "card"\nlimits = 3\n', "did you mean 'limit'"),
        ('[[identity.identifier]]\nkind = "card"\nlimit = 1\n', "limit is a number of accounts"),
        ('[[identity.identifier]]\nkind = "agent"\nstrength = "count"\n', "a name of its own"),
    ],
)
def test_wrong_settings_are_told(shop: Path, rapport_cli, line: str, said: str) -> None:
    (shop / "rapport.toml").write_text(SETTINGS + line, encoding="utf-8")
    ran = rapport_cli("identity", "resolve", "--project", shop)
    assert ran.exit_code == 2
    assert said in plain(ran.stderr)


@pytest.mark.parametrize(
    ("settings", "said"),
    [("count = 0.4", "must rise"), ('country = "+49"', "calling code"), ("crowd = 1", "numbers of accounts")],
)
def test_wrong_thresholds_are_told(shop: Path, rapport_cli, settings: str, said: str) -> None:
    (shop / "rapport.toml").write_text(f'[project]\nname = "Shop"\n[identity]\n{settings}\n', encoding="utf-8")
    ran = rapport_cli("identity", "resolve", "--project", shop)
    assert (ran.exit_code, said in plain(ran.stderr)) == (2, True)


def test_people_are_linked_by_how_alike_they_are(shop: Path, rapport_cli, monkeypatch) -> None:
    import features.linkage

    def alike(tables, *, id_column: str):
        (people,) = tables
        assert people.to_pylist()[0] == {id_column: "crm-1", "surname": "Lee", "street": "Seestr. 5"}
        pairs = {"id_l": ["crm-1", "crm-1"], "id_r": ["crm-9", "x"], "probability": [0.97, 0.1]}
        return type("Found", (), {"pairs": pa.table(pairs)})

    monkeypatch.setattr(features.linkage, "link", alike)
    people = 'people = {surname = "family_name", street = "address"}'
    settings = SETTINGS.replace("[identity]", f"[identity]\n{people}")
    (shop / "rapport.toml").write_text(settings, encoding="utf-8")
    assert rapport_cli("identity", "resolve", "--alike", "--project", shop).stdout.startswith("4 new facts")
    assert "crm-9 one person" in plain(rapport_cli("identity", "show", "crm-1", "--project", shop).stdout)
    assert rapport_cli("identity", "resolve", "--alike", "--project", shop).stdout.startswith("0 new facts")
