"""The health check for contacts after a no: every place where a no may stand, and what lifts it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from features.facts import CONSENTS, OPT_OUTS
from rapport.init import create_project
from rapport.project import Project, load_project
from rapport.trials.objections import AfterNo, contacts_after_opt_out
from serving.book import Consent
from serving.inbox import hear
from serving.ledger import Ledger

START = datetime(2026, 3, 2, tzinfo=UTC)


def day(number: float) -> datetime:
    return START + timedelta(days=number)


@pytest.fixture
def shop(tmp_path: Path) -> Project:
    create_project(tmp_path / "shop", name="Shop")
    return load_project(tmp_path / "shop")


#: One contact by mail on day 10, and a decision of nothing, of which none can come after a no.
DECISIONS = pa.table(
    {
        "decision_id": ["contact", "nothing"],
        "customer_id": ["anna", "anna"],
        "action": ["coats-new@mail", "nothing"],
        "channel": ["mail", None],
        "decided_at": pa.array([day(10), day(10)]),
    }
)


def say(
    project: Project, granted: bool, at: float, *, who: str = "anna", recorded: float | None = None, **more: str
) -> None:
    told = {"channel": "all", "purpose": "contact", "contact_class": "all", "said_by": "customer", **more}
    held = day(at if recorded is None else recorded)
    row = {"customer_id": who, "granted": granted, "occurred_at": day(at), "recorded_at": held, **told}
    project.history.append_consents(pa.Table.from_pylist([row], schema=CONSENTS), part=f"said-{at}")


@pytest.mark.parametrize(
    ("word", "counted"),
    [
        ({}, 1),
        ({"channel": "mail", "contact_class": "marketing"}, 1),
        ({"channel": "pigeon"}, 1),  # a channel that no offer has: it may be another's word for this one
        ({"channel": "email"}, 0),
        ({"contact_class": "service"}, 0),
        ({"purpose": "personalization"}, 0),
    ],
)
def test_a_no_of_a_source_counts_for_its_channel_class_and_purpose(
    shop: Project, word: dict[str, str], counted: int
) -> None:
    say(shop, False, 3, **word)
    assert len(contacts_after_opt_out(shop, DECISIONS).known) == counted


@pytest.mark.parametrize(
    ("yes_on", "said_by", "counted"), [(5, "customer", 0), (5, "agent", 0), (5, "import", 1), (2, "customer", 1)]
)
def test_a_later_yes_of_the_customer_lifts_it(shop: Project, yes_on: float, said_by: str, counted: int) -> None:
    say(shop, False, 3)
    say(shop, True, yes_on, said_by=said_by)
    assert len(contacts_after_opt_out(shop, DECISIONS).known) == counted


def test_a_no_after_the_contact_does_not_count_and_one_to_the_service_does(shop: Project) -> None:
    say(shop, False, 11)
    assert len(contacts_after_opt_out(shop, DECISIONS).known) == 0
    ledger = Ledger(shop.ledger)
    told = {"customer_id": "anna", "channel": "mail", "source": "customer"}
    with ledger.writing() as book:
        book.consent([Consent(**told, granted=False, occurred_at=day(4), recorded_at=day(4))])
    assert len(contacts_after_opt_out(shop, DECISIONS).known) == 1
    with ledger.writing() as book:
        book.consent([Consent(**told, granted=True, occurred_at=day(5), recorded_at=day(5))])
    ledger.close()
    assert len(contacts_after_opt_out(shop, DECISIONS).known) == 0


@pytest.mark.parametrize(
    ("recorded", "heard", "known"), [(3, 4, True), (3, None, True), (3, 12, False), (11, 12, False), (11, None, False)]
)
def test_a_no_is_a_breach_where_the_ledger_had_heard_it_and_late_where_it_came_after(
    shop: Project, recorded: float, heard: float | None, known: bool
) -> None:
    """A file's row without a delay claims to have been known when it was said: when it was loaded tells otherwise."""
    say(shop, False, 3, recorded=recorded)
    if heard is not None:
        with closing(Ledger(shop.ledger)) as ledger, ledger.writing() as book:
            hear(book, shop.history, channels={"mail"}, at=day(heard))
    late = AfterNo(known=("contact",)) if known else AfterNo(later=("contact",))
    assert contacts_after_opt_out(shop, DECISIONS) == late
    assert contacts_after_opt_out(shop, DECISIONS, as_of=day(11)) == (late if recorded < 11 else AfterNo())


def test_a_later_file_with_another_no_leaves_the_breach_one(shop: Project) -> None:
    say(shop, False, 3, channel="mail")
    with closing(Ledger(shop.ledger)) as ledger, ledger.writing() as book:
        hear(book, shop.history, channels={"mail"}, at=day(4))
    say(shop, False, 5)
    with closing(Ledger(shop.ledger)) as ledger, ledger.writing() as book:
        hear(book, shop.history, channels={"mail"}, at=day(12))
    assert contacts_after_opt_out(shop, DECISIONS) == AfterNo(known=("contact",))


def test_the_no_of_a_refused_row_counts(shop: Project) -> None:
    row = {"customer_id": "anna", "channel": None, "occurred_at": None, "recorded_at": day(9), "origin": "f"}
    shop.history.append_opt_outs(pa.Table.from_pylist([row], schema=OPT_OUTS), part="f")
    assert len(contacts_after_opt_out(shop, DECISIONS).known) == 1


@pytest.mark.parametrize(
    ("since", "until", "counted"), [(2, None, 1), (2, 12, 1), (2, 8, 0), (10, None, 0), (12, None, 0)]
)
def test_a_no_reaches_the_accounts_that_were_linked_when_it_was_decided(
    shop: Project, link: Callable[..., None], since: float, until: float | None, counted: int
) -> None:
    say(shop, False, 3, who="web-1")
    rows = [
        {
            "strength": "suppress",
            "account_id": each,
            "customer_id": "anna",
            "since": day(since),
            "until": None if until is None else day(until),
        }
        for each in ("anna", "web-1")
    ]
    link(shop.history, rows)
    assert len(contacts_after_opt_out(shop, DECISIONS).known) == counted
