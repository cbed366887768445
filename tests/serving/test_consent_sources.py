"""A no is heard from wherever it comes: replies, files and the service; and what was said is known to training too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from features import History
from features.facts import CONSENTS
from serving import schema
from serving.book import Consent
from serving.inbox import hear, keep_consents

DAY = datetime(2026, 3, 1, tzinfo=UTC)
CHANNELS = {"email", "web", "mail"}


def reply(web, text: str | None, *, channel: str | None = "sms", number: int = 1) -> dict:
    event = {"event_id": f"r{number}", "customer_id": "anna", "kind": "reply", "occurred_at": web.clock[0].isoformat()}
    return event | {name: value for name, value in (("text", text), ("channel", channel)) if value is not None}


def refused(web) -> tuple[str, ...]:
    return tuple(web.call("GET", "/v1/customers/anna").json()["permission"]["refused"])


@pytest.mark.parametrize(
    ("text", "channel", "expected"),
    [
        ("STOP", "sms", ("sms:marketing",)),
        ("Stopp bitte!", "email", ("email:marketing",)),
        ("unsubscribe", None, ("all:marketing",)),
        ("When do you open?", "sms", ()),
        ("START", "sms", ()),
        (None, "sms", ()),
    ],
)
def test_a_reply_that_says_stop_is_a_no_to_its_channel(web, ledger, text, channel, expected):
    for _ in range(2):
        answer = web.call("POST", "/v1/events", {"events": [reply(web, text, channel=channel)]})
        assert answer.status_code == 200
    assert refused(web) == expected
    with ledger.reading() as book:
        kept = book.connection.execute(schema.events.select()).mappings().all()
    assert [row["kind"] for row in kept] == ["reply"]
    assert text is None or all(text != value for value in kept[0].values())
    assert text is None or text.encode() not in ledger.path.read_bytes()


def test_a_start_takes_back_the_stop_of_its_channel_and_without_a_channel_nothing(web):
    web.call("POST", "/v1/events", {"events": [reply(web, "STOP")]})
    web.clock[0] += timedelta(hours=1)
    web.call("POST", "/v1/events", {"events": [reply(web, "START", channel=None, number=2)]})
    assert refused(web) == ("sms:marketing",)
    web.call("POST", "/v1/events", {"events": [reply(web, "START", number=3)]})
    assert refused(web) == ()


def test_the_text_of_another_event_says_nothing(web):
    visit = reply(web, "STOP") | {"kind": "visit"}
    assert web.call("POST", "/v1/events", {"events": [visit]}).json()["accepted"] == 1
    assert refused(web) == ()


def told(customer: str, **changes: object) -> dict[str, object]:
    fact = {"channel": "email", "purpose": "contact", "contact_class": "marketing", "granted": False}
    fact |= {"said_by": "import", "wording": "no e-mail, please", "source": "crm"}
    return {"customer_id": customer, "occurred_at": DAY, "recorded_at": DAY} | fact | changes


def heard(ledger, history: History, *facts: dict[str, object]) -> dict[str, tuple[str, ...]]:
    """What each customer refuses after the facts of a file were heard, twice."""
    history.append_consents(pa.Table.from_pylist(list(facts), schema=CONSENTS), part="file")
    with ledger.writing() as book:
        first = hear(book, history, channels=CHANNELS, at=DAY + timedelta(days=1))
        assert hear(book, history, channels=CHANNELS, at=DAY + timedelta(days=2)) == (first[0], 0)
        names = [str(each["customer_id"]) for each in facts]
        return {name: each.refused for name, each in book.permissions(names).items()}


def test_what_a_file_of_consents_says_holds(ledger, tmp_path: Path):
    history = History(tmp_path / "history")
    says = heard(
        ledger,
        history,
        told("plain"),
        told("everything", channel="all", contact_class="all"),
        told("unknown", channel="newsletter"),
        told("class", contact_class="letters"),
        told("yes", granted=True),
        told("yes-to-letters", granted=True, contact_class="letters"),
    )
    assert says["plain"] == ("email:marketing",)
    assert says["everything"] == ("all:marketing", "all:service")
    assert says["unknown"] == ("all:marketing",)
    assert says["class"] == ("email:marketing", "email:service")
    with ledger.reading() as book:
        assert book.permissions(["yes", "yes-to-letters"])["yes"].granted == ("email:marketing",)
        assert book.consents("yes-to-letters") == []
        (fact,) = book.consents("plain")
    assert (fact.wording, fact.source, fact.occurred_at) == ("no e-mail, please", "import", DAY)


def test_a_file_lifts_a_no_only_where_it_says_that_the_customer_spoke(ledger, tmp_path: Path):
    later = {"occurred_at": DAY + timedelta(hours=1), "recorded_at": DAY + timedelta(hours=1), "granted": True}
    says = heard(
        ledger,
        History(tmp_path / "history"),
        told("a"),
        told("a", **later),
        told("b"),
        told("b", **later, said_by="customer"),
    )
    assert says == {"a": ("email:marketing",), "b": ()}


def test_what_was_said_to_the_service_of_other_purposes_is_known_to_the_history(ledger, tmp_path: Path):
    history = History(tmp_path / "history")
    said = {"granted": False, "source": "customer", "occurred_at": DAY, "recorded_at": DAY}
    with ledger.writing() as book:
        book.consent(
            [
                Consent(customer_id="anna", channel="kiosk", purpose="personalization", wording="not that", **said),
                Consent(customer_id="anna", channel="email", **said),
            ]
        )
        assert keep_consents(book, history) == (1, 1)
        assert keep_consents(book, history) == (1, 0)
        # What the ledger told is no news to it, and the kiosk stays the kiosk.
        assert hear(book, history, channels=CHANNELS, at=DAY) == (0, 0)
        assert book.count(schema.consents) == 2
    (row,) = history.consents().to_pylist()
    assert (row["customer_id"], row["channel"], row["purpose"]) == ("anna", "kiosk", "personalization")
    assert (row["granted"], row["said_by"], row["wording"], row["source"]) == (False, "customer", "not that", "ledger")
    assert (row["occurred_at"], row["recorded_at"]) == (DAY, DAY)
