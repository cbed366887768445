"""``rapport serve``, ``score``, ``explain`` and ``replay`` as a person meets them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rapport.init import create_project
from rapport.project import load_project
from serving.book import Consent
from serving.inbox import events_of, take_events
from serving.ledger import Ledger
from serving.messages import Event
from training.models import ResponseModel

NOON = datetime(2027, 2, 1, 12, tzinfo=UTC)


@pytest.fixture
def project(tmp_path):
    """A new project with 60 customers, of whom 50 agreed to marketing, and a response model."""
    root = tmp_path / "shop"
    create_project(root, name="Shop")
    found = load_project(root)
    rng = np.random.default_rng(2)
    before = NOON - timedelta(days=30)
    count = 600
    events = {
        "event_id": [f"e{number}" for number in range(count)],
        "customer_id": [f"c{number % 60}" for number in range(count)],
        "kind": rng.choice(["visit", "purchase"], count),
        "occurred_at": [before - timedelta(hours=int(hour)) for hour in rng.integers(1, 5000, count)],
        "recorded_at": [before] * count,
        "amount": [1000] * count,
    }
    found.history.append(pa.table(events), part="start")
    yes = {"channel": "all", "granted": True, "source": "import", "occurred_at": before, "recorded_at": before}
    ledger = Ledger(found.ledger)
    with ledger.writing() as book:
        book.consent([Consent(customer_id=f"c{number}", **yes) for number in range(50)])
    ledger.close()
    return found


def train(project):
    spine = pa.table({"customer_id": [f"c{n % 60}" for n in range(600)], "as_of": [NOON - timedelta(days=40)] * 600})
    frame = project.features.offline(project.history, spine).drop_columns(["customer_id", "as_of"]).to_pandas()
    rng = np.random.default_rng(1)
    frame["treatment"] = rng.choice(project.catalogue.actions, 600)
    bought = rng.random(600) < 0.1 + 0.2 * (frame["treatment"] == "coats-new@email")
    model = ResponseModel(rounds=20, min_data_in_leaf=20).fit(frame, bought)
    return model.save(project.models / "response", features=project.features), frame


def test_scoring_explaining_and_replaying(project, rapport_cli, tmp_path):
    out, told = tmp_path / "decisions.parquet", tmp_path / "told.json"
    ran = rapport_cli("score", "--project", project.root, "--at", NOON.isoformat(), "--out", out, "--json", told)
    assert ran.exit_code == 0, ran.stderr
    assert "No model serves: none was trained yet." in ran.stdout
    train(project)
    again = ("score", "--project", project.root, "--at", (NOON + timedelta(days=30)).isoformat(), "--out", out)
    ran = rapport_cli(*again, "--json", told, "--experiment", "always-on")
    assert ran.exit_code == 0, ran.stderr
    table = pq.read_table(out).to_pandas()
    summary = json.loads(told.read_text())
    assert summary["decisions"] == len(table) == 60
    assert sum(each["n"] for each in summary["reasons"]) == sum(each["n"] for each in summary["actions"]) == 60
    assert not table["degraded"].any()
    chosen = table[(table["arm"] == "one_to_one") & table["offer_id"].notna()]["decision_id"].iloc[0]
    ran = rapport_cli("explain", chosen, "--project", project.root, "--json", told)
    assert "The policy chose the treatment." in ran.stdout
    assert json.loads(told.read_text())["decision_id"] == chosen
    ran = rapport_cli("replay", chosen, "--project", project.root, "--json", told)
    assert (ran.exit_code, json.loads(told.read_text())["equal"]) == (0, True)
    for decision_id in table["decision_id"][:8]:
        assert rapport_cli("replay", decision_id, "--project", project.root).exit_code == 0
    assert rapport_cli("replay", "d-none", "--project", project.root).exit_code == 2
    assert rapport_cli("explain", "d-none", "--project", project.root).exit_code == 2


def test_ingest_takes_in_what_was_sent_to_the_service(project, rapport_cli, tmp_path):
    """Once, however often it runs; features of the history are then those that the service saw."""
    sent = [
        Event(event_id=f"s{number}", customer_id="new", kind="purchase", occurred_at=NOON, amount=100 * number)
        for number in range(5)
    ]
    ledger = Ledger(project.ledger)
    with ledger.writing() as book:
        take_events(book, sent, at=NOON)
    told = tmp_path / "told.json"
    for new in (5, 0):
        ran = rapport_cli("ingest", "--project", project.root, "--json", told)
        assert ran.exit_code == 0, ran.stderr
        (inbox,) = json.loads(told.read_text())["files"]
        assert (inbox["source"], inbox["read"], inbox["accepted"], inbox["new"]) == ("inbox", 5, 5, new)
    assert "inbox: ledger.db" in ran.stdout
    with ledger.writing() as book:
        take_events(book, [*sent, Event(event_id="s9", customer_id="new", kind="visit", occurred_at=NOON)], at=NOON)
        inbox = events_of(book, ["new"])["new"]
    rapport_cli("ingest", "--project", project.root)
    facts = project.history.customer("new")
    assert sorted(facts.events) == sorted(inbox)
    assert sum(event.amount or 0 for event in facts.events) == 1000
    ledger.close()


def test_an_opt_out_in_a_file_is_heard_and_an_opt_in_of_a_file_does_not_lift_it(project, rapport_cli):
    """Every customer who agreed, but c1, who unsubscribed in the e-mail tool, may be contacted by e-mail."""
    day = datetime(2026, 3, 2, tzinfo=UTC)
    said = [("o1", "c1", "opt_out", "email", day), ("o2", "c1", "opt_in", None, day + timedelta(days=1))]
    columns = ("event_id", "customer_id", "kind", "channel", "occurred_at")
    rows = [dict(zip(columns, each, strict=True)) | {"recorded_at": day + timedelta(days=2)} for each in said]
    project.history.append(pa.Table.from_pylist(rows), part="email-tool")
    for _ in range(2):
        ran = rapport_cli("ingest", "--project", project.root)
        assert ran.exit_code == 0, ran.stderr
    assert "opt-outs and opt-ins: ledger.db" in ran.stdout
    ledger = Ledger(project.ledger)
    with ledger.reading() as book:
        assert book.permissions(["c1"])["c1"].refused == ("email:marketing",)
        assert book.permissions(["c2"])["c2"].refused == ()
        assert len(book.consents("c1")) == 3
    ledger.close()


def test_a_record_that_was_changed_does_not_replay(project, rapport_cli, tmp_path):
    import msgspec
    from sqlalchemy import update

    from serving import schema

    rapport_cli("score", "--project", project.root, "--at", NOON.isoformat(), "--out", tmp_path / "d.csv")
    ledger = Ledger(project.ledger)
    with ledger.writing() as book:
        decision = next(each for each in book.latest(60) if len(each.survivors) > 1)
        other = msgspec.structs.replace(decision, action="shoes-10@web", probability=0.5)
        record = msgspec.msgpack.encode(other)
        table = schema.decisions
        book.connection.execute(update(table).where(table.c.decision_id == decision.decision_id).values(record=record))
    ledger.close()
    ran = rapport_cli("replay", decision.decision_id, "--project", project.root)
    assert ran.exit_code == 1
    assert "probability" in ran.stdout


def test_plain_scores_of_a_table(project, rapport_cli, tmp_path):
    folder, frame = train(project)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    ran = rapport_cli("score", "--model", folder, "--data", tmp_path / "rows.csv", "--out", tmp_path / "scores.csv")
    assert ran.exit_code == 0, ran.stderr
    scores = pd.read_csv(tmp_path / "scores.csv")["probability"]
    expected = ResponseModel.load(folder).predict_proba(frame)[:, 1]
    assert np.allclose(scores, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("score", "--out", "o.csv", "--project", "nowhere"), "there is no project"),
        (("score", "--out", "o.csv", "--model", "m"), "--model and --data go together"),
        (("serve", "--project", "nowhere"), "there is no project"),
        (("replay", "d-1", "--project", "nowhere"), "there is no project"),
        (("explain", "d-1", "--project", "nowhere"), "there is no project"),
    ],
)
def test_bad_input_ends_with_three_parts(rapport_cli, arguments, said):
    ran = rapport_cli(*arguments)
    assert ran.exit_code == 2
    assert said in ran.stderr
    assert "do " in ran.stderr


def test_scoring_refuses_what_it_can_not_use(project, rapport_cli, tmp_path):
    base = ("score", "--project", project.root, "--out", tmp_path / "o.csv")
    assert "--at is not a time" in rapport_cli(*base, "--at", "tomorrow").stderr
    known = rapport_cli(*base, "--at", NOON.isoformat(), "--experiment", "alwais-on").stderr
    assert "unknown experiment" in known
    assert "always-on" in known
    (tmp_path / "who.csv").write_text("name\nanna\n")
    assert "unknown column 'customer_id'" in rapport_cli(*base, "--customers", tmp_path / "who.csv").stderr
    assert "no customer at that moment" in rapport_cli(*base, "--at", "1999-01-01T00:00:00Z").stderr


def test_others_may_not_reach_a_service_without_a_key(project, rapport_cli):
    ran = rapport_cli("serve", "--project", project.root, "--host", "0.0.0.0")
    assert (ran.exit_code, "needs a key" in ran.stderr) == (2, True)
    assert "unknown scope" in rapport_cli("serve", "--project", project.root, "--new-key", "write").stderr
    key = rapport_cli("serve", "--project", project.root, "--new-key", "read, decide").stdout.split()[-1]
    assert key.startswith("rk.")
    ran = rapport_cli("serve", "--project", project.root, "--revoke-key", key.split(".")[1])
    assert ran.exit_code == 0
    assert rapport_cli("serve", "--project", project.root, "--host", "0.0.0.0").exit_code == 2


def test_a_real_server_answers_on_the_loopback(project, rapport_cli):
    """The one test over a real socket: uvicorn with uvloop and httptools, 40 requests at once, then an orderly end."""
    key = rapport_cli("serve", "--project", project.root, "--new-key", "decide,read").stdout.split()[-1]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = "from rapport.cli import main; main()"
    command = [sys.executable, "-c", start, "serve", "--project", str(project.root), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as server:
        try:
            base = f"http://127.0.0.1:{port}"
            _until_ready(base, server)
            headers = {"Authorization": f"Bearer {key}"}
            with httpx.Client(base_url=base, headers=headers) as client:
                for number in range(40):
                    asked = {"customer_id": f"c{number}", "idempotency_key": f"k{number}", "channel": "web"}
                    answer = client.post("/v1/decisions", json=asked)
                    assert answer.status_code == 200
                    assert answer.json()["recorded"] is True
                assert client.get("/console").status_code == 200
            assert httpx.get(f"{base}/console").status_code == 401
        finally:
            os.kill(server.pid, signal.SIGINT)
        assert b"Traceback" not in server.stderr.read()
    ledger = Ledger(project.ledger)
    with ledger.reading() as book:
        assert len(book.latest(100)) == 40
    ledger.close()


def _until_ready(base, server):
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        assert server.poll() is None, server.stderr.read()
        try:
            if httpx.get(f"{base}/ready", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            server.poll()
    raise AssertionError("the server did not start")


def test_ids_of_a_table_of_customers_stay_as_they_are(project, rapport_cli, tmp_path):
    """An id that looks like a number meets the opt-out of exactly that id, blanks around it or not."""
    ids = ["123456789012345678901234567890", "1.0", "1e3", "00042"]
    before = NOON - timedelta(days=1)
    ledger = Ledger(project.ledger)
    with ledger.writing() as book:
        no = {"channel": "all", "granted": False, "source": "customer", "occurred_at": before, "recorded_at": before}
        book.consent([Consent(customer_id=each, contact_class="all", **no) for each in ids])
    ledger.close()
    who, out = tmp_path / "who.csv", tmp_path / "o.csv"
    base = ("score", "--project", project.root, "--at", NOON.isoformat(), "--out", out, "--customers", who)
    who.write_text("customer_id,segment\n" + "".join(f'" {each}\t",3\n' for each in ids))
    ran = rapport_cli(*base)
    assert ran.exit_code == 0, ran.stderr
    decided = pd.read_csv(out, dtype=str)
    assert decided["customer_id"].tolist() == ids
    assert set(decided["action"]) == {"nothing"}
    who.write_text("customer_id\nc1\nanna smith\n" + "a" * 129 + "\n-x\n")
    ran = rapport_cli(*base)
    assert ran.exit_code == 2
    assert "'anna smith'" in ran.stderr
    assert "'-x'" in ran.stderr
    pq.write_table(pa.table({"customer_id": [1.0, 2.0]}), tmp_path / "who.parquet")
    ran = rapport_cli(*base[:-1], tmp_path / "who.parquet")
    assert (ran.exit_code, "the column customer_id is no id" in ran.stderr) == (2, True)


def test_a_batch_run_again_releases_no_contact_to_whom_opted_out_since(project, rapport_cli, tmp_path):
    """The file of the second run leaves them out, and the record of the first still replays."""
    out = tmp_path / "o.csv"
    base = ("score", "--project", project.root, "--at", NOON.isoformat(), "--out", out)
    assert rapport_cli(*base).exit_code == 0
    first = pd.read_csv(out).set_index("customer_id")
    gone = first.index[first["action"] != "nothing"][0]
    later = NOON + timedelta(hours=1)
    no = {"channel": "all", "granted": False, "source": "customer", "occurred_at": later, "recorded_at": later}
    ledger = Ledger(project.ledger)
    with ledger.writing() as book:
        book.consent([Consent(customer_id=gone, **no)])
    ledger.close()
    assert rapport_cli(*base).exit_code == 0
    second = pd.read_csv(out).set_index("customer_id")
    told = second.loc[gone]
    assert (told["action"], told["reason"], told["contact_cost"]) == ("nothing", "withdrawn", 0)
    assert told["decision_id"] == first.loc[gone, "decision_id"]
    assert pd.isna(told["channel"])
    pd.testing.assert_frame_equal(second.drop(gone), first.drop(gone))
    assert rapport_cli("replay", told["decision_id"], "--project", project.root).exit_code == 0
    assert first.loc[gone, "action"] in rapport_cli("explain", told["decision_id"], "--project", project.root).stdout


def test_nothing_is_decided_when_the_table_could_not_be_written(project, rapport_cli, tmp_path):
    """Neither a decision nor a slot is recorded, nor is anything left of the trial."""
    held = tmp_path / "held.csv"
    held.write_text("what was here\n")
    (tmp_path / "folder.csv").mkdir()
    bad = ("o.xlsx", "folder.csv", f"{'a' * 300}.csv", "held.csv/o.csv")
    for name in bad:
        ran = rapport_cli("score", "--project", project.root, "--at", NOON.isoformat(), "--out", tmp_path / name)
        assert (ran.exit_code, "do " in ran.stderr) == (2, True), name
    assert not project.ledger.exists() or _decided(project) == 0
    assert sorted(each.name for each in tmp_path.iterdir()) == ["folder.csv", "held.csv", "shop"]
    assert held.read_text() == "what was here\n"
    ran = rapport_cli("score", "--project", project.root, "--at", NOON.isoformat(), "--out", held)
    assert ran.exit_code == 0, ran.stderr
    assert len(pd.read_csv(held)) == _decided(project) == 60
    assert sorted(each.name for each in tmp_path.iterdir()) == ["folder.csv", "held.csv", "shop"]


def _decided(project):
    ledger = Ledger(project.ledger)
    with ledger.reading() as book:
        count = len(book.latest(100))
    ledger.close()
    return count


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0001-06-01T00:00:00Z"])
def test_a_batch_at_the_edge_of_the_calendar_is_refused(project, rapport_cli, tmp_path, text):
    ran = rapport_cli("score", "--project", project.root, "--at", text, "--out", tmp_path / "o.csv")
    assert (ran.exit_code, "--at is no time" in ran.stderr) == (2, True)


@pytest.mark.parametrize("damage", ["junk", "truncated", "folder", "no key"])
def test_a_damaged_ledger_is_told_in_three_parts(project, rapport_cli, tmp_path, damage):
    for beside in project.ledger.parent.glob("ledger.db-*"):
        beside.unlink()
    whole = project.ledger.read_bytes()
    match damage:
        case "junk":
            project.ledger.write_bytes(b"no database " * 1000)
        case "truncated":
            project.ledger.write_bytes(whole[: len(whole) // 2])
        case "folder":
            project.ledger.unlink()
            project.ledger.mkdir()
        case _:
            key = project.ledger.with_name("ledger.db.key")
            key.unlink()
            key.mkdir()
    root = project.root
    for arguments in (
        ("explain", "d-1", "--project", root),
        ("replay", "d-1", "--project", root),
        ("score", "--project", root, "--at", NOON.isoformat(), "--out", tmp_path / "o.csv"),
        ("serve", "--project", root, "--new-key", "read"),
    ):
        ran = rapport_cli(*arguments)
        assert ran.exit_code == 2, (arguments, ran.stderr)
        assert "the ledger ledger.db can't be opened" in ran.stderr
        assert "backup" in ran.stderr
    ran = rapport_cli("ingest", "--project", root)
    assert (ran.exit_code, "do " in ran.stderr) == (2, True)


def test_an_unknown_key_is_not_called_revoked(project, rapport_cli):
    assert "no key to revoke" in rapport_cli("serve", "--project", project.root, "--revoke-key", "nope").stderr
    key = rapport_cli("serve", "--project", project.root, "--new-key", "read").stdout.split()[-1].split(".")[1]
    ran = rapport_cli("serve", "--project", project.root, "--revoke-key", key[:-1])
    assert (ran.exit_code, f"did you mean '{key}'?" in ran.stderr) == (2, True)
    assert "no longer valid" not in ran.stdout
    assert rapport_cli("serve", "--project", project.root, "--revoke-key", "nope").exit_code == 2


def test_a_taken_port_is_told_before_anything_is_announced(project, rapport_cli):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = rapport_cli("serve", "--project", project.root, "--port", port)
    assert (ran.exit_code, "--port" in ran.stderr) == (2, True)
    assert "serves on" not in ran.stdout
