"""The facts of a person of several accounts are joined once, and never older than those of each account."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from features import EVENTS, Event, History
from features.identity import Person
from serving.customers import JoinedFacts, RecentCustomers

START = datetime(2026, 1, 1, tzinfo=UTC)
NOBODY = {"anna": (), "web": (), "ben": ()}
ANNA = Person("anna", None, ("anna", "web"), ("anna", "web"), ("anna", "web"))


def visit(number: int, customer_id: str) -> Event:
    moment = START + timedelta(hours=number)
    return Event(f"e{number}", customer_id, "visit", moment, moment)


def tell(history: History, *events: Event) -> None:
    rows = [each._asdict() for each in events]
    history.append(pa.Table.from_pylist(rows, schema=EVENTS), part="told")


def seen(facts) -> list[str]:
    return sorted(each.event_id for each in facts.events)


def test_a_person_of_several_accounts_is_joined_once_until_the_history_grows(tmp_path: Path) -> None:
    history, joined = History(tmp_path), JoinedFacts()
    customers = RecentCustomers(history)
    tell(history, visit(1, "anna"), visit(2, "web"))
    first = joined.of(ANNA, customers.customers(["anna", "web"]), NOBODY)
    assert seen(first) == ["e1", "e2"]
    assert joined.of(ANNA, customers.customers(["anna", "web"]), NOBODY) is first
    tell(history, visit(3, "web"))
    assert seen(joined.of(ANNA, customers.customers(["anna", "web"]), NOBODY)) == ["e1", "e2", "e3"]


def test_what_lies_in_the_inbox_is_seen_at_once_and_forgotten_with_it(tmp_path: Path) -> None:
    history, joined = History(tmp_path), JoinedFacts()
    tell(history, visit(1, "anna"), visit(2, "web"))
    known = RecentCustomers(history).customers(["anna", "web"])
    joined.of(ANNA, known, NOBODY)
    assert seen(joined.of(ANNA, known, NOBODY | {"web": (visit(4, "web"),)})) == ["e1", "e2", "e4"]
    assert seen(joined.of(ANNA, known, NOBODY | {"web": (visit(2, "web"),)})) == ["e1", "e2"]
    assert seen(joined.of(ANNA, known, NOBODY)) == ["e1", "e2"]


def test_another_split_of_the_same_accounts_is_another_person(tmp_path: Path) -> None:
    history, joined = History(tmp_path), JoinedFacts(most=1)
    tell(history, visit(1, "anna"), visit(2, "web"), visit(3, "ben"))
    known = RecentCustomers(history).customers(["anna", "web", "ben"])
    alone = Person.alone("anna")
    assert seen(joined.of(ANNA, known, NOBODY)) == ["e1", "e2"]
    assert seen(joined.of(alone, known, NOBODY)) == ["e1"]
    home = joined.of(alone, known, NOBODY, others=("ben",))
    assert (seen(home), [each.event_id for each in home.household]) == (["e1"], ["e3"])
    assert seen(joined.of(ANNA, known, NOBODY)) == ["e1", "e2"]
