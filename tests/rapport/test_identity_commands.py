"""``rapport identity``: people see who is behind an account, by what, and mend it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
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
    assert "web-2 one person" not in plain(ran.stdout)
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


GIVEN = ("Anna", "Ben", "Clara", "David", "Eva", "Felix", "Greta", "Hugo")
FAMILY = ("Abendroth", "Birnbaum", "Cornelius", "Dietrich", "Ellerbeck", "Feldmann")


def tell_people(shop: Path, *people: tuple[str, str, str, str], part: str, at: datetime = DAY) -> None:
    """Add ``(account, given, family, born)`` to the history."""
    rows = [
        dict(zip(PROFILE.names, (account, attribute, value, at, at, "crm"), strict=True))
        for account, *values in people
        for attribute, value in zip(("given", "family", "born"), values, strict=True)
    ]
    History(shop / "history").append_profile(pa.Table.from_pylist(rows, schema=PROFILE), part=part)


def test_people_are_linked_by_how_alike_they_are_and_later_only_the_new_are_compared(
    shop: Path, rapport_cli, monkeypatch
) -> None:
    import features.linkage

    people = 'people = {given_name = "given", surname = "family", birth_date = "born"}'
    (shop / "rapport.toml").write_text(SETTINGS.replace("[identity]", f"[identity]\n{people}"), encoding="utf-8")
    names = [(given, family) for family in FAMILY for given in GIVEN]
    known = [
        (f"p{place:02}", given, family, f"19{50 + place}-0{1 + place % 9}-1{place % 7}")
        for place, (given, family) in enumerate(names)
    ]
    slips = [(f"q{account[1:]}", given, family[:-1], born) for account, given, family, born in known[:12]]
    tell_people(shop, *known, *slips, part="known")
    assert rapport_cli("identity", "resolve", "--alike", "--project", shop).exit_code == 0
    assert "q03 one person" in plain(rapport_cli("identity", "show", "p03", "--project", shop).stdout)

    def not_again(*_: object, **__: object) -> None:
        raise AssertionError("all are compared again")

    monkeypatch.setattr(features.linkage, "link", not_again)
    assert rapport_cli("identity", "resolve", "--alike", "--project", shop).stdout.startswith("0 new facts")
    new = (("r30", *known[30][1:]), ("q03", "Otto", "Zimmermann", "1999-12-31"))
    tell_people(shop, *new, part="new", at=DAY + timedelta(days=1))
    later = rapport_cli("identity", "resolve", "--alike", "--project", shop)
    assert later.stdout.startswith("2 new facts"), later.stdout
    assert "r30 one person" in plain(rapport_cli("identity", "show", "p30", "--project", shop).stdout)
    assert "q03" not in plain(rapport_cli("identity", "show", "p03", "--project", shop).stdout)


LOGIN = '[[identity.identifier]]\nkind = "login"\n'


def log_in(shop: Path) -> None:
    """Two records of one e-mail address that logged in under two names: a duplicate in the CRM, or a couple."""
    (shop / "rapport.toml").write_text(SETTINGS + LOGIN, encoding="utf-8")
    rows = [("crm-1", "login", "anna"), ("web-2", "login", "anna.lee")]
    told = [dict(zip(PROFILE.names, (*row, DAY, DAY, "crm"), strict=True)) for row in rows]
    History(shop / "history").append_profile(pa.Table.from_pylist(told, schema=PROFILE), part="logins")


def test_an_overview_counts_persons_and_names_the_links_that_were_refused(shop: Path, rapport_cli, tmp_path) -> None:
    said = tmp_path / "said.json"
    assert rapport_cli("identity", "resolve", "--project", shop).exit_code == 0
    ran = rapport_cli("identity", "--project", shop, "--json", said)
    assert "4 accounts are 3 persons; 1 households" in plain(ran.stdout)
    assert json.loads(said.read_text()) == {
        "accounts": 4, "persons": 3, "households": 1, "refused": {}, "examples": {},
        "links": {"suppress": 0, "count": 1, "personalize": 1, "household": 1},
    }  # fmt: skip
    log_in(shop)
    ran = rapport_cli("identity", "resolve", "--project", shop)
    assert "unique_identifier 1 each holds another login" in plain(ran.stdout)
    rapport_cli("identity", "--project", shop, "--json", said)
    told = json.loads(said.read_text())
    assert (told["persons"], told["refused"]) == (4, {"unique_identifier": 1})
    assert told["examples"] == {"unique_identifier": ["crm-1", "web-2"]}
    rapport_cli("identity", "merge", "crm-1", "web-2", "--by", "Ann", "--project", shop)
    rapport_cli("identity", "--project", shop, "--json", said)
    assert json.loads(said.read_text())["persons"] == 3


def test_an_agent_who_says_the_same_twice_is_told(shop: Path, rapport_cli) -> None:
    for verb, word in (("merge", "Ann merged"), ("split", "Ann split")):
        said = (verb, "web-2", "till-3", "--by", "Ann", "--project", shop)
        assert word not in plain(rapport_cli("identity", *said).stdout)
        assert f"{word} web-2 and till-3 before" in plain(rapport_cli("identity", *said).stdout)


def test_an_erased_account_is_said_to_be_erased(shop: Path, rapport_cli) -> None:
    assert rapport_cli("erase", "crm-9", "--project", shop).exit_code == 0
    ran = rapport_cli("identity", "show", "crm-9", "--project", shop)
    assert ran.exit_code == 2
    assert "account 'crm-9' was erased" in plain(ran.stderr)


def test_groups_that_were_cut_short_are_told_and_made_again(shop: Path, rapport_cli) -> None:
    rapport_cli("identity", "resolve", "--project", shop)
    groups = shop / "history" / "members" / "members.parquet"
    groups.write_bytes(groups.read_bytes()[:200])
    ran = rapport_cli("identity", "show", "crm-1", "--project", shop)
    assert (ran.exit_code, "rapport identity resolve" in plain(ran.stderr)) == (2, True)
    assert rapport_cli("identity", "resolve", "--project", shop).exit_code == 0
    assert "web-2 one person" in plain(rapport_cli("identity", "show", "crm-1", "--project", shop).stdout)
