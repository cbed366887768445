"""An erased person is known again however their address is written, and nobody else is taken for them (promise B6)."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.privacy.suppression import (
    Erased,
    Kind,
    Kinds,
    asked_forms,
    digest,
    kept_digests,
    kept_forms,
    kind_of,
    normal_email,
)

KEY = b"a key that lies outside of the database"


@pytest.mark.parametrize(
    ("kind", "one", "other", "same"),
    [
        ("email", "anna.lee@web.example", " Anna.LEE+shop@Web.Example ", True),
        ("email", "anna.lee@web.example", '"Lee, Anna" <anna.lee@web.example>', True),
        ("email", "anna.lee@web.example", "mailto:anna.lee@web.example", True),
        ("email", "anna.lee@web.example", "anna.lee\u200b@web.example", True),
        ("email", "anna.lee@web.example", "annalee@web.example", False),
        ("email", "anna.lee@gmail.com", "annalee+x@googlemail.com", True),
        ("email", "anna@münchen.example", "ANNA@xn--mnchen-3ya.example", True),
        ("email", "anna@web.example", "ann@web.example", False),
        ("phone", "+49 170 1234567", "0170/123-4567", True),
        ("phone", "0170 1234567", "0049 (0)170 1234567", True),
        ("phone", "+49 170 1234567", "491701234567", True),
        ("phone", "+49 170 1234567", "170 1234567", True),
        ("phone", "+49 170 1234567", "+41 170 1234567", False),
        ("phone", "+49 170 1234567", "0170 1234568", False),
        ("phone", "(212) 555-0100", "+1 212 555 0100", True),
        ("phone", "+1 212 555 0100", "1-212-555-0100 ext. 5", True),
        ("phone", "+7 912 345-67-89", "8 (912) 345 67 89", True),
        ("phone", "+39 06 1234567", "06 1234567", True),
        ("account", "Crm-0042", " crm-0042 ", True),
        ("account", "0042", "42", False),
        ("card", "AB 1234", "ab 1234", True),
        ("card", "4711-2233", "47112233", True),
        ("login", "Anni", " anni", True),
    ],
)
def test_two_spellings_of_an_address(kind: Kind, one: str, other: str, same: bool) -> None:
    for kept, asked in ((one, other), (other, one)):
        erased = Erased(KEY, kept_digests(kind, kept, secret=KEY))
        assert (erased.among([asked], kind=kind) == {asked}) is same


@pytest.mark.parametrize("text", ["", "n/a", "anna", "anna@", "@web.example", "123", "yes", "1e9", "a@b", "gold"])
def test_what_is_no_address_suppresses_nobody(text: str) -> None:
    assert {form for kind in ("email", "phone", "card") for form in kept_forms(kind, text)} == set()


@pytest.mark.parametrize(
    ("attribute", "kind"),
    [("E-Mail", "email"), ("work_email", "email"), ("mobile", "phone"), ("Tel", "phone"), ("loyalty_card_no", "card")]
    + [(name, None) for name in ("name", "age_group", "hotel", "postcard_sent", "card_type", "cancelled")],
)
def test_the_kind_of_an_attribute(attribute: str, kind: str | None) -> None:
    assert kind_of(attribute) == kind


@given(st.text(max_size=60))
def test_no_text_breaks_it_and_what_is_kept_is_found(text: str) -> None:
    for kind in ("account", "email", "phone", "card"):
        kept = kept_forms(kind, text)
        assert not kept or asked_forms(kind, text) & kept
    found = normal_email(text)
    assert found is None or normal_email(found) == found


def test_nobody_is_known_by_another_key() -> None:
    erased = Erased(b"another key", kept_digests("email", "anna@web.example", secret=KEY))
    assert erased.among(["anna@web.example"], kind="email") == set()
    assert digest("email\x1fanna@web.example", secret=KEY) != hashlib.sha256(b"email\x1fanna@web.example").hexdigest()


def test_a_card_in_the_name_of_an_account_and_a_declared_address_are_known() -> None:
    kept = kept_digests("card", "47112233", secret=KEY) | kept_digests("email", "anna@web.example", secret=KEY)
    held: list[str] = []
    kinds = Kinds(attributes={"kontakt": ("email",)}, namespaces={"till": "card"})
    erased = Erased(KEY, kept, kinds=kinds, recognizing=held.extend)
    assert erased.among(["till:47112233", "till:1", "Anna@Web.example", "ben", "4711-2233"]) == {
        "till:47112233",
        "Anna@Web.example",
    }
    assert erased.recognize([("web-1", "kontakt", "anna+1@web.example"), ("web-2", "note", "anna@web.example")]) == {
        "web-1"
    }
    assert sorted(held) == sorted(erased.recognized) == ["Anna@Web.example", "till:47112233", "web-1"]
    assert Erased(KEY, kept).among(["till:47112233"]) == set()


@pytest.mark.parametrize("people", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_erased_people_who_are_imported_again_are_all_recognized(people: int) -> None:
    """Each by one address alone, under a new account, written in another way; a plain hash of the text misses most."""
    chance = random.Random(6)
    emails = [f"first.last{number}@{chance.choice(('gmail.com', 'web.example'))}" for number in range(people)]
    phones = [f"+{chance.choice(('49', '1', '358'))} {2_000_000_000 + 7 * number}" for number in range(people)]
    kept = [("email", each) for each in emails] + [("phone", each) for each in phones]
    erased = Erased(KEY, {each for kind, text in kept for each in kept_digests(kind, text, secret=KEY)})
    again = [
        (f"new-{number}", *(("mail", _email(email, chance)) if number % 2 else ("phone", _phone(phone, chance))))
        for number, (email, phone) in enumerate(zip(emails, phones, strict=True))
    ]
    strangers = [(f"other-{number}", "mail", f"someone{number}@gmail.com") for number in range(people)]
    strangers += [(f"else-{number}", "phone", f"+44 {3_000_000_000 + number}") for number in range(people)]
    assert erased.recognize(again + strangers) == {account for account, _, _ in again}
    assert erased.among(account for account, _, _ in again) == erased.recognized
    plain = {hashlib.sha256(text.encode()).digest() for _, text in kept}
    naive = sum(hashlib.sha256(text.encode()).digest() in plain for _, _, text in again)
    assert naive < 0.2 * people


def _email(address: str, chance: random.Random) -> str:
    name, _, domain = address.partition("@")
    if domain == "gmail.com":
        name, domain = name.replace(".", chance.choice(("", "."))), chance.choice(("gmail.com", "GoogleMail.com"))
    tagged = f"{name}{chance.choice(('+news', '+a.b', ''))}@{domain}"
    return chance.choice((str.upper, str.title, " {} ".format, "<{}>".format, "mailto:{}".format))(tagged)


def _phone(number: str, chance: random.Random) -> str:
    country, _, national = number[1:].partition(" ")
    pairs = " ".join(national[place : place + 3] for place in range(0, len(national), 3))
    return chance.choice(
        (
            f"00{country} {pairs}",
            f"+{country} (0) {pairs}",
            f"0{national}",
            f"+{country}-{national}",
            f"{country}{national}",
        )
    )
