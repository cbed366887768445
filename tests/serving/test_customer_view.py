"""What is told of a customer is what a decision for them would go by: the permission of the person."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa

from features.facts import LINKS
from features.identity import IdentityRules, believe, resolve

RULES = IdentityRules()


def link(web, *pairs: tuple[str, str, float]) -> None:
    columns = zip(*pairs, strict=True)
    table = pa.table(dict(zip(("account_id", "other_id", "probability"), map(list, columns), strict=True)))
    believe(web.history, table, rules=RULES, everything=True)


def say(web, customer: str, at, *, granted: bool, channel: str = "email", **more: str) -> None:
    fact = {"customer_id": customer, "channel": channel, "granted": granted, "source": "customer"}
    web.call("POST", "/v1/consents", {"consents": [fact | {"occurred_at": at.isoformat()} | more]})


def test_a_no_of_a_linked_account_is_told_with_who_said_it(web, monday) -> None:
    link(web, ("anna", "ben", 0.99), ("anna", "carl", 0.6))
    say(web, "carl", monday, granted=False)
    told = web.call("GET", "/v1/customers/anna").json()
    assert (told["customer_id"], told["person_id"]) == ("anna", "anna")
    assert "email:marketing" in told["permission"]["refused"]
    assert [(each["account_id"], each["linked_for"]) for each in told["linked"]] == [
        ("ben", "one person"),
        ("carl", "a no"),
    ]
    assert told["linked"][0]["refused"] == []
    assert "email:marketing" in told["linked"][1]["refused"]
    assert web.decide("anna", "k1", channel="email").json()["action"] == "nothing"
    link(web, ("anna", "ben", 0.99))
    parted = web.call("GET", "/v1/customers/anna").json()
    assert [each["account_id"] for each in parted["linked"]] == ["ben"]
    assert "all:marketing" in parted["permission"]["granted"]
    web.clock[0] = monday + timedelta(seconds=1)
    assert web.decide("anna", "k2", channel="email").json()["action"] == "hello@email"


def test_an_account_of_its_own_is_told_as_before(web) -> None:
    told = web.call("GET", "/v1/customers/ben").json()
    assert (told["person_id"], told["household_id"], told["linked"]) == ("ben", None, [])
    assert "all:marketing" in told["permission"]["granted"]


def test_a_no_for_a_household_is_a_no_of_each_who_lives_there(web, monday) -> None:
    day = monday - timedelta(days=30)
    home = ("anna", "ben", "household", "household", 1.0, day, day, "crm")
    web.history.append_links(pa.Table.from_pylist([dict(zip(LINKS.names, home, strict=True))], schema=LINKS), "home")
    resolve(web.history, RULES)
    told = web.call("GET", "/v1/customers/anna").json()
    assert (told["household_id"], told["housemates"], told["linked"]) == ("anna", ["ben"], [])
    say(web, "anna", monday, granted=False, channel="all")
    assert "all:marketing" in web.call("GET", "/v1/customers/ben").json()["permission"]["granted"]  # two people
    for each in told["housemates"]:
        say(web, each, monday, granted=False, channel="all", source="agent")
    assert "all:marketing" in web.call("GET", "/v1/customers/ben").json()["permission"]["refused"]


def test_links_that_cannot_be_read_are_told_and_nobody_is_shown_as_alone(web) -> None:
    link(web, ("anna", "ben", 0.99))
    for part in web.history.parts("members"):
        part.write_bytes(b"cut short")
    answer = web.call("GET", "/v1/customers/anna")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "links_unreadable"
