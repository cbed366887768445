"""The service over HTTP: who may ask, what comes back, and what happens to what is wrong."""

from __future__ import annotations

import base64
import json
import sqlite3
import time
from datetime import timedelta

import pytest
from starlette.routing import Route as StarletteRoute

from serving import schema, service
from serving.app import ROUTES, create_app
from serving.inbox import events_of, events_since
from serving.keys import Unsubscription, make_key, revoke_key, sign
from serving.messages import DecisionAnswer

OPEN = {"GET /health", "GET /ready", "GET /unsubscribe/{token}", "POST /unsubscribe/{token}"}


def three_parts(answer, status, code):
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == code
    assert set(error) == {"code", "wrong", "got", "do"}
    assert "Traceback" not in answer.text
    return error


def event(number=1, *, customer="carl", kind="visit", at, **more):
    return {"event_id": f"n{number}", "customer_id": customer, "kind": kind, "occurred_at": at.isoformat(), **more}


def test_a_decision_is_told_and_can_be_looked_up(web, monday):
    answer = web.decide("anna", "k1")
    assert answer.status_code == 200
    told = answer.json()
    assert set(told) == set(DecisionAnswer.__struct_fields__)
    assert (told["action"], told["text"], told["source"]) == ("hello@email", "Hi & welcome", "policy")
    assert (told["probability"], told["contact_cost"], told["degraded"]) == (1.0, 2, False)
    found = web.call("GET", f"/v1/decisions/{told['decision_id']}").json()
    assert found["code"] == "chosen"
    assert found["features"] == {"visits_7d": 1}
    assert {each["action"]: each["value_cents"] for each in found["surviving"]} == {
        "nothing": 0.0,
        "hello@email": 100.0,
        "hello@web": -1.0,
        "other@mail": -1.0,
    }


def test_the_session_changes_the_decision(web, monday):
    assert web.decide("carl", "k1").json()["code"] == "nothing_left"
    taken = web.call("POST", "/v1/events", {"events": [event(at=monday - timedelta(minutes=1))]}).json()
    assert taken == {"accepted": 1, "repeated": 0, "refused": []}
    web.clock[0] = monday + timedelta(seconds=1)
    assert web.decide("carl", "k2").json()["action"] == "hello@email"


def test_a_retry_uses_no_second_slot_and_another_body_is_a_conflict(web, ledger, monday):
    first = web.decide("anna", "k1").json()
    web.clock[0] = monday + timedelta(minutes=3)
    assert web.decide("anna", "k1").json() == first
    three_parts(web.decide("anna", "k1", channel="web"), 409, "idempotency_conflict")
    three_parts(web.decide("ben", "k1"), 409, "idempotency_conflict")
    with ledger.reading() as book:
        assert book.count(schema.slots) == 1
    header = {"Idempotency-Key": "k9"}
    by_header = web.call("POST", "/v1/decisions", {"customer_id": "ben"}, **header)
    assert by_header.json()["action"] == "hello@email"


def test_a_retry_after_an_opt_out_gives_nothing_and_leaves_the_record(web, ledger, monday):
    first = web.decide("anna", "k1").json()
    assert first["action"] == "hello@email"
    no = {"customer_id": "anna", "channel": "email", "granted": False, "source": "customer"}
    web.call("POST", "/v1/consents", {"consents": [no | {"occurred_at": monday.isoformat()}]})
    again = web.decide("anna", "k1").json()
    told = ("decision_id", "action", "offer_id", "channel", "unsubscribe", "contact_cost", "code")
    expected = [first["decision_id"], "nothing", None, None, None, 0, "withdrawn"]
    assert [again[name] for name in told] == expected
    assert web.call("GET", f"/v1/decisions/{first['decision_id']}").json()["action"] == "hello@email"
    with ledger.reading() as book:
        assert book.count(schema.slots) == 1
    web.clock[0] = monday + timedelta(seconds=1)
    yes = no | {"granted": True, "occurred_at": web.clock[0].isoformat()}
    web.call("POST", "/v1/consents", {"consents": [yes]})
    assert web.decide("anna", "k1").json() == first


def test_limits_and_opt_outs_hold_from_one_request_to_the_next(web, monday):
    assert web.decide("anna", "k1").json()["action"] == "hello@email"
    assert web.decide("anna", "k2").json()["action"] == "nothing"
    no = {"customer_id": "ben", "channel": "email", "granted": False, "source": "customer"}
    body = {"consents": [no | {"occurred_at": monday.isoformat(), "wording": "please stop"}]}
    assert web.call("POST", "/v1/consents", body).json()["accepted"] == 1
    assert web.call("POST", "/v1/consents", body).json()["repeated"] == 1
    assert web.decide("ben", "k3", channel="email").json()["code"] == "nothing_left"
    assert web.call("GET", "/v1/customers/ben").json()["permission"]["refused"] == ["email:marketing"]


def test_an_opt_out_among_the_events_is_a_no_even_from_the_future(web, monday):
    late = event(1, customer="ben", kind="opt_out", at=monday + timedelta(days=3))
    taken = web.call("POST", "/v1/events", {"events": [late]}).json()
    assert [each["code"] for each in taken["refused"]] == ["from_the_future"]
    assert web.decide("ben", "k1").json()["action"] == "nothing"
    # And the customer can take it back: the no counts from its arrival, not from a day that has not come.
    yes = event(2, customer="ben", kind="opt_in", at=monday + timedelta(minutes=1))
    web.clock[0] = monday + timedelta(minutes=2)
    web.call("POST", "/v1/events", {"events": [yes]})
    assert web.decide("ben", "k2").json()["action"] == "hello@email"


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_no_at_the_edge_of_the_calendar_is_heard_with_all_that_came_with_it(web, monday, text):
    rows = [event(1, at=monday), event(2, customer="anna", kind="opt_out", at=monday) | {"occurred_at": text}]
    taken = web.call("POST", "/v1/events", {"events": rows})
    assert (taken.status_code, taken.json()["accepted"]) == (200, 2 if text.startswith("0") else 1)
    assert web.decide("anna", "k1").json()["code"] == "nothing_left"
    no = {"customer_id": "ben", "channel": "email", "granted": False, "source": "customer", "occurred_at": text}
    assert web.call("POST", "/v1/consents", {"consents": [no]}).json()["accepted"] == 1
    assert web.decide("ben", "k2", channel="email").json()["code"] == "nothing_left"
    outcome = {"event_id": "o1", "decision_id": web.decide("carl", "k3").json()["decision_id"], "kind": "purchase"}
    assert web.call("POST", "/v1/outcomes", {"outcomes": [outcome | {"occurred_at": text}]}).status_code == 200


def test_a_no_for_a_channel_that_no_offer_uses_is_taken(web, monday):
    no = {"granted": False, "source": "customer", "occurred_at": monday.isoformat()}
    body = {"consents": [no | {"customer_id": "ben", "channel": name} for name in ("kiosk", "all")]}
    assert web.call("POST", "/v1/consents", body).json()["accepted"] == 2
    late = event(1, customer="anna", kind="opt_out", at=monday, channel="all")
    assert web.call("POST", "/v1/events", {"events": [late]}).json()["accepted"] == 1
    assert web.decide("ben", "k1").json()["code"] == web.decide("anna", "k2").json()["code"] == "nothing_left"
    told = web.call("GET", "/v1/customers/ben").json()["permission"]
    assert told["refused"] == ["all:marketing", "kiosk:marketing"]


def test_outcomes_belong_to_decisions(web, ledger, monday):
    decision = web.decide("anna", "k1").json()["decision_id"]
    rows = [
        {
            "event_id": f"o{number}",
            "decision_id": name,
            "kind": "purchase",
            "occurred_at": monday.isoformat(),
            "amount": 990,
        }
        for number, name in enumerate((decision, "d-none"))
    ]
    taken = web.call("POST", "/v1/outcomes", {"outcomes": rows + rows[:1]}).json()
    assert (taken["accepted"], taken["repeated"]) == (1, 1)
    assert [each["code"] for each in taken["refused"]] == ["unknown_decision"]
    from serving.inbox import events_since

    with ledger.reading() as book:
        kept = events_since(book).to_pylist()
    assert [(each["customer_id"], each["amount"], each["kind"]) for each in kept] == [("anna", 990, "purchase")]


def test_an_event_may_name_a_brand(web, ledger, monday):
    sent = event(at=monday - timedelta(minutes=1)) | {"brand": "Acme"}
    assert web.call("POST", "/v1/events", {"events": [sent]}).json()["accepted"] == 1
    with ledger.reading() as book:
        (held,) = events_of(book, [sent["customer_id"]])[sent["customer_id"]]
        assert held.brand == "Acme"
        assert events_since(book)["brand"].to_pylist() == ["Acme"]


def test_every_event_is_counted_once_however_often_it_is_sent(web, ledger, monday):
    """Promise A2, quick form: 400 events, sent in overlapping batches, twice over."""
    rows = [event(number, at=monday - timedelta(minutes=number)) for number in range(400)]
    for start in [*range(0, 400, 50), *range(350, -1, -50)]:
        taken = web.call("POST", "/v1/events", {"events": rows[start : start + 75]}).json()
        assert taken["accepted"] + taken["repeated"] == len(rows[start : start + 75])
    with ledger.reading() as book:
        assert book.count(schema.events) == 400


def test_without_a_model_the_static_contact_stands_in(web):
    web.site.service.engine = type(web.site.service.engine)(desk=web.site.service.engine.desk, scorer=None)
    told = web.decide("anna", "k1").json()
    assert (told["action"], told["source"], told["degraded"]) == ("other@mail", "static", True)


def test_without_a_ledger_the_answer_is_nothing_and_no_error(web, ledger, monkeypatch):
    from sqlalchemy.exc import OperationalError

    def broken(*_, **__):
        raise OperationalError("select", {}, Exception("disk I/O error"))

    web.decide("anna", "k0")
    monkeypatch.setattr(type(ledger), "writing", broken)
    monkeypatch.setattr(type(ledger), "reading", broken)
    web.site.ring_read_at = float("-inf")
    told = web.decide("ben", "k1").json()
    assert (told["action"], told["source"], told["recorded"]) == ("nothing", "no_contact", False)
    assert web.client.get("/ready").status_code == 503
    refused = web.call("GET", "/v1/customers/anna")
    three_parts(refused, 503, "ledger_unavailable")
    assert refused.headers["retry-after"] == "1"


@pytest.fixture
def held(ledger):
    """Another process writes, and does not end."""
    other = sqlite3.connect(ledger.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield other
    other.close()


def test_a_ledger_that_others_hold_is_answered_at_once(web, ledger, held):
    """Promises B2 and C1: nobody is contacted, nobody waits, and all is well once the lock is gone."""
    begun = time.monotonic()
    answers = [web.decide("anna", f"k{number}") for number in range(10)]
    bodies = [{"customer_id": "ben", "idempotency_key": f"b{number}"} for number in range(300)]
    answers += web.together("/v1/decisions", bodies)
    # A group waits 15 ms: 12 groups here. A busy machine may be a hundred times slower; one 30 s wait is not this.
    assert time.monotonic() - begun < 30
    assert {answer.status_code for answer in answers} == {200}
    assert {(told["code"], told["recorded"]) for told in (each.json() for each in answers)} == {
        ("ledger_unavailable", False)
    }
    assert web.client.get("/health").status_code == 200
    held.execute("ROLLBACK")
    assert web.decide("anna", "k0").json()["action"] == "hello@email"
    with ledger.reading() as book:
        assert book.count(schema.decisions) == 1


def test_a_no_waits_for_the_ledger_and_is_told_when_it_was_in_vain(web, held, monday, monkeypatch):
    from serving import web as site
    from serving.ledger import is_busy

    no = {"customer_id": "ben", "channel": "all", "granted": False, "source": "customer"}
    body = {"consents": [no | {"occurred_at": monday.isoformat()}]}
    monkeypatch.setattr(site, "_PATIENCE", 0.0)
    refused = web.call("POST", "/v1/consents", body)
    three_parts(refused, 503, "ledger_unavailable")
    assert refused.headers["retry-after"] == "1"
    monkeypatch.setattr(site, "_PATIENCE", 60.0)
    monkeypatch.setattr(site, "is_busy", lambda error: held.execute("ROLLBACK") and is_busy(error))
    assert web.call("POST", "/v1/consents", body).json()["accepted"] == 1
    assert web.decide("ben", "k1").json()["code"] == "nothing_left"


def test_a_bad_model_never_replaces_a_good_one(web):
    web.liked[0] = "broken"
    three_parts(web.call("POST", "/v1/reload"), 400, "bad_request")
    assert web.decide("anna", "k1").json()["action"] == "hello@email"
    web.liked[0] = "other@mail"
    assert web.call("POST", "/v1/reload").json() == {"model": "likes other@mail"}
    assert web.decide("ben", "k2").json()["action"] == "other@mail"


def test_erasing_leaves_a_suppression_that_later_facts_do_not_lift(web, monday):
    web.decide("anna", "k1")
    erased = web.call("DELETE", "/v1/customers/anna").json()
    assert erased["suppressed"] is True
    assert erased["removed"]["decisions"] == 1
    taken = web.call("POST", "/v1/events", {"events": [event(customer="anna", at=monday)]}).json()
    assert (taken["accepted"], [each["code"] for each in taken["refused"]]) == (0, ["erased"])
    web.clock[0] = monday + timedelta(days=5)
    assert web.decide("anna", "k2").json()["action"] == "nothing"
    assert web.call("GET", "/v1/customers/anna").json()["permission"]["hold"] == "erased"
    three_parts(web.call("GET", "/v1/customers/nobody"), 404, "unknown_customer")


def test_unsubscribing_takes_a_post_and_looking_changes_nothing(web, ledger):
    link = web.decide("anna", "k1").json()["unsubscribe"]
    with ledger.reading() as book:
        before = book.count(schema.consents)
    page = web.client.get(link)
    assert page.status_code == 200
    assert "<form" in page.text
    assert "anna" not in page.text
    with ledger.reading() as book:
        assert book.count(schema.consents) == before
    assert web.client.post(link).json()["accepted"] == 1
    with ledger.reading() as book:
        assert "email:marketing" in book.permissions(["anna"])["anna"].refused
    forged = sign(Unsubscription("ben", "email"), secret=b"guess")
    three_parts(web.client.post(f"/unsubscribe/{forged}"), 404, "unknown_token")
    assert web.client.get(f"/unsubscribe/{forged}").status_code == 200
    three_parts(web.client.post("/unsubscribe/%ff%00"), 404, "unknown_token")


def test_every_route_has_a_scope_and_is_closed_without_a_key(web):
    """A route that is added without a scope, or beside the table, fails here (promise D3)."""
    served = {f"{method} {route.path}" for route in create_app(web.site).routes for method in route.methods - {"HEAD"}}
    assert all(isinstance(route, StarletteRoute) for route in create_app(web.site).routes)
    assert served == {f"{route.method} {route.path}" for route in ROUTES}
    assert {f"{route.method} {route.path}" for route in ROUTES if route.scope == "open"} == OPEN
    for route in ROUTES:
        path = route.path.replace("{decision_id}", "d-1").replace("{customer_id}", "anna").replace("{token}", "x")
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            answer = web.client.request(method, path)
            if f"{method} {route.path}" not in OPEN:
                assert answer.status_code == 401, f"{method} {path}"
    assert web.client.get("/nowhere").status_code == 401
    three_parts(web.call("GET", "/nowhere"), 404, "no_such_route")
    three_parts(web.call("PUT", "/v1/decisions"), 405, "method_not_allowed")


def test_each_key_opens_its_own_scope_only(web):
    for route in ROUTES:
        path = route.path.replace("{decision_id}", "d-1").replace("{customer_id}", "nobody")
        for scope in ("decide", "ingest", "read", "admin"):
            if route.scope not in ("open", scope):
                three_parts(web.call(route.method, path, {}, key=scope), 403, "scope_missing")


def test_keys_rotate_and_are_kept_as_hashes_only(web, ledger, monday):
    with ledger.writing() as book:
        new = make_key(book, scopes=["decide"], label="new", at=monday)
    web.keys["new"] = new
    web.site.ring_read_at = float("-inf")
    asked = {"customer_id": "anna", "idempotency_key": "a"}
    assert web.call("POST", "/v1/decisions", asked, key="new").status_code == 200
    assert web.decide("anna", "b").status_code == 200
    with ledger.writing() as book:
        revoke_key(book, new.split(".")[1], at=monday)
    web.site.ring_read_at = float("-inf")
    three_parts(web.call("POST", "/v1/decisions", asked, key="new"), 401, "no_valid_key")
    raw = ledger.path.read_bytes() + ledger.path.with_name(ledger.path.name + "-wal").read_bytes()
    assert not any(key.rpartition(".")[2].encode() in raw for key in web.keys.values())


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Bearer rk..", "Basic !!!", "Basic " + base64.b64encode(b"x:\xff").decode(), "x"],
)
def test_what_is_no_key_is_refused(web, header):
    three_parts(web.client.get("/v1/customers/anna", headers={"Authorization": header}), 401, "no_valid_key")


def test_a_browser_may_look_with_the_key_as_password_and_do_nothing_else(web):
    basic = {"Authorization": "Basic " + base64.b64encode(f"me:{web.keys['all']}".encode()).decode()}
    assert web.client.get("/console", headers=basic).status_code == 200
    assert web.client.get("/console").headers["www-authenticate"].startswith("Basic")
    three_parts(web.client.post("/v1/reload", headers=basic), 401, "no_valid_key")


BAD = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'{"customer_id": "anna", "idempotency_key": NaN}',
    b'{"customer_id": 1e999, "idempotency_key": "k"}',
    b'{"customer_id": "anna", "idempotency_key": "k", "channel": "e mail"}',
    b'{"customer_id": "anna", "idempotency_key": "k", "channel": "all"}',
    b'{"customer_id": "anna", "idempotency_key": "k", "channel": "email\\n"}',
    b'{"customer_id": "anna", "idempotency_key": "k", "customer": "x"}',
    b'{"customer_id": "../../etc/passwd", "idempotency_key": "k"}',
    b'{"customer_id": "anna\\u0000", "idempotency_key": "k"}',
    b'{"customer_id": "anna\\n", "idempotency_key": "k"}',
    b'{"customer_id": "\\ud800", "idempotency_key": "k"}',
    b'{"customer_id": "anna", "idempotency_key": ""}',
    b'{"customer_id": "' + b"a" * 129 + b'", "idempotency_key": "k"}',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    '{"customer_id": "anna", "idempotency_key": "k", "segment": "\u2028\xff'.encode("latin-1", "replace"),
    b"\xff\xfe",
]


@pytest.mark.parametrize("path", ["/v1/decisions", "/v1/events", "/v1/outcomes", "/v1/consents"])
def test_what_is_no_request_is_told_in_three_parts(web, path):
    headers = {"Authorization": f"Bearer {web.keys['all']}", "Content-Type": "application/json"}
    for body in BAD:
        three_parts(web.client.post(path, content=body, headers=headers), 400, "bad_request")


BAD_ROWS = [
    {"amount": 2**53 + 1},
    {"amount": 10**400},
    {"amount": 1.5},
    {"amount": "1"},
    {"occurred_at": "2026-03-02T12:00:00"},
    {"occurred_at": "yesterday"},
    {"occurred_at": 0},
    {"event_id": "a b"},
    {"kind": ""},
    {"channel": "e mail"},
    {"channel": "x" * 65},
    {"item": "x" * 257},
]


def test_events_that_are_not_as_they_should_be_are_refused(web, monday):
    for row in BAD_ROWS:
        three_parts(web.call("POST", "/v1/events", {"events": [event(at=monday) | row]}), 400, "bad_request")


def test_a_body_is_counted_while_it_arrives(web):
    headers = {"Authorization": f"Bearer {web.keys['all']}", "Content-Type": "application/json"}

    async def chunks():
        for _ in range(40):
            yield b" " * (1 << 16)

    three_parts(web.client.post("/v1/events", content=chunks(), headers=headers), 413, "too_large")
    lying = headers | {"Content-Length": "10"}
    three_parts(web.client.post("/v1/events", content=b" " * (2 << 20), headers=lying), 413, "too_large")
    three_parts(web.call("POST", "/v1/events", {"events": [{}] * 1001}), 400, "bad_request")
    plain = {"Authorization": headers["Authorization"], "Content-Type": "text/plain"}
    three_parts(web.client.post("/v1/events", content=b"{}", headers=plain), 415, "not_json")


@pytest.mark.parametrize(
    "name", ["..%2f..%2fetc%2fpasswd", "%2e%2e", "a%00b", "a%20b", "a%0ab", "-x", "x" * 200, "a;b", "%ff"]
)
def test_ids_in_paths_are_ids_or_nothing(web, name):
    for path in ("/v1/decisions/", "/v1/customers/", "/console/decisions/"):
        answer = web.call("GET", path + name)
        assert answer.status_code in (400, 404), path + name
        assert set(answer.json()["error"]) == {"code", "wrong", "got", "do"}


def test_the_console_escapes_what_it_shows(web, ledger, monday):
    web.decide("anna", "k1")
    page = web.call("GET", "/console").text
    assert "hello@email" in page
    assert "1 decisions" in page.replace("\n", " ")
    decision = web.decide("anna", "k1").json()["decision_id"]
    inside = web.call("GET", f"/console/decisions/{decision}").text
    assert "visits_7d" in inside
    from serving.console import page as render

    evil = "<script>alert(1)</script>"
    shown = render("docs.html", title=evil, routes=()).body.decode()
    assert evil not in shown
    assert "&lt;script&gt;" in shown
    for text in (page, inside, shown):
        assert "<script" not in text
    assert "default-src 'none'" in web.call("GET", "/console").headers["content-security-policy"]


def test_the_description_holds_every_route_and_metrics_no_customer(web):
    web.decide("anna", "k1")
    described = web.call("GET", "/openapi.json").json()
    named = {f"{method.upper()} {path}" for path, methods in described["paths"].items() for method in methods}
    assert named == {f"{route.method} {route.path}" for route in ROUTES}
    references = set(json.dumps(described).split('"#/components/schemas/')[1:])
    assert {each.split('"')[0] for each in references} <= set(described["components"]["schemas"])
    assert "POST /v1/decisions" in web.call("GET", "/docs").text
    metrics = web.call("GET", "/metrics").text
    assert 'rapport_decisions_total{reason="chosen",source="policy"} 1.0' in metrics
    assert "anna" not in metrics


def test_requests_at_once_share_transactions_and_keep_the_limit(web, ledger, monkeypatch):
    """60 requests for one customer who may get one contact a day: one contact, in far fewer transactions."""
    opened = []
    writing = type(ledger).writing
    monkeypatch.setattr(type(ledger), "writing", lambda self, **how: opened.append(1) or writing(self, **how))
    bodies = [{"customer_id": "anna", "idempotency_key": f"k{number}"} for number in range(60)]
    answers = web.together("/v1/decisions", bodies)
    assert [answer.status_code for answer in answers] == [200] * 60
    assert sorted(answer.json()["action"] for answer in answers) == ["hello@email"] + ["nothing"] * 59
    assert len(opened) <= 10


def test_too_many_waiting_requests_are_sent_away(web, monkeypatch):
    monkeypatch.setattr(service, "_MOST_WAITING", 20)
    bodies = [{"customer_id": "anna", "idempotency_key": f"k{number}"} for number in range(200)]
    answers = web.together("/v1/decisions", bodies)
    codes = [answer.status_code for answer in answers]
    assert set(codes) == {200, 503}
    away = answers[codes.index(503)]
    three_parts(away, 503, "overloaded")
    assert away.headers["retry-after"] == "1"


def test_head_asks_for_a_key_too(web):
    assert web.client.request("HEAD", "/v1/customers/anna").status_code == 401
    assert web.client.request("HEAD", "/health").status_code == 200
