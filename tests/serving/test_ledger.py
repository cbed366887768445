"""The ledger: one transaction for reading, deciding and writing; what was acknowledged stays."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from datetime import timedelta
from importlib.resources import as_file, files

import msgspec
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from experiments.policies import OneToOne, RandomEligible, Static
from features.errors import InputError
from serving import schema
from serving.ask import Ask
from serving.book import Consent
from serving.contact_policy import ContactPolicy, Limit
from serving.decision import decide
from serving.desk import Case, Conflict, Desk
from serving.explanation import differences, recorded, replay
from serving.ledger import Ledger
from serving.reasons import Reason
from serving.rules import RuleBook, Rules
from serving.trial import Trial
from serving.trials import Trials

CALLS = Static(treatment="shoes@email")


def case(desk, customer, moment, *, seed="s", key=None, digest=""):
    ask = Ask(customer_id=customer, moment=moment, seed=seed)
    return Case(ask=ask, row=(2, 0, 0, "CA"), values=None, key=key, digest=digest)


@pytest.fixture
def desk(ledger, shop, agree):
    agree("anna", "ben")
    return Desk(ledger, rules=shop.rules, trials=Trials.only(Trial.of_policy(CALLS, arm="static")))


def test_the_migrations_make_the_tables_that_are_declared(ledger):
    with ledger.reading() as book:
        context = MigrationContext.configure(book.connection)
        assert compare_metadata(context, schema.metadata) == []
    with as_file(files("serving") / "migrations") as folder:
        assert ScriptDirectory(str(folder)).get_current_head() == schema.HEAD


def test_the_decisions_of_one_experiment_are_found_without_reading_all_others(ledger):
    wanted = "SELECT action FROM decisions WHERE experiment = 'spring' AND decided_at < 5 ORDER BY decided_at"
    with ledger.reading() as book:
        (plan,) = book.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {wanted}").all()
    assert "decisions_of_experiment (experiment=? AND decided_at<?)" in plan[-1]


def test_a_ledger_of_the_first_form_is_brought_up_to_date_and_loses_nothing(desk, monday, tmp_path):
    first = tmp_path / "first.db"
    config = Config()
    config.set_main_option("script_location", "serving:migrations")
    engine = create_engine(f"sqlite:///{first}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    (decision,) = desk.decide([case(desk, "anna", monday)])
    with sqlite3.connect(first) as raw:
        raw.execute("ATTACH ? AS other", [str(desk.ledger.path)])
        for table in ("decisions", "slots", "consents"):
            names = ", ".join(row[1] for row in raw.execute(f"PRAGMA main.table_info({table})"))
            raw.execute(f"INSERT INTO {table} SELECT {names} FROM other.{table}")
    raw.close()
    opened = Ledger(first)
    with opened.reading() as book:
        assert differences(book.decisions([decision.decision_id])[decision.decision_id], decision) == {}
        assert book.contacts(["anna"], since=monday - timedelta(days=1))["anna"] == [decision.contact]
        assert book.permissions(["anna"])["anna"] == decision.permission
        assert compare_metadata(MigrationContext.configure(book.connection), schema.metadata) == []
    opened.close()


def test_a_ledger_opens_again_and_refuses_one_from_the_future(ledger):
    Ledger(ledger.path).close()
    with sqlite3.connect(ledger.path) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.close()
    with pytest.raises(InputError, match="newer than this Rapport"):
        Ledger(ledger.path)


def test_many_may_open_a_new_ledger_at_once(tmp_path):
    opened, failed = [], []

    def open_it():
        try:
            opened.append(Ledger(tmp_path / "new.db"))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failed == []
    assert len({each.secret for each in opened}) == 1
    for each in opened:
        each.close()


def test_a_decision_is_kept_with_its_slot_and_can_be_replayed(desk, monday):
    (decision,) = desk.decide([case(desk, "anna", monday)])
    assert decision.action == "shoes@email"
    with desk.ledger.reading() as book:
        assert book.contacts(["anna"], since=monday - timedelta(days=1))["anna"] == [decision.contact]
        kept, rules, policy = recorded(book, decision.decision_id)
        assert differences(kept, decision) == {}
        assert differences(kept, replay(kept, rules=rules, policy=policy)) == {}
        with pytest.raises(InputError, match="no such decision"):
            recorded(book, "d-unknown")


def test_within_one_transaction_the_next_case_sees_the_slot_before(desk, monday):
    answers = desk.decide([case(desk, "anna", monday, seed="1"), case(desk, "anna", monday, seed="2")])
    assert [each.action for each in answers] == ["shoes@email", "nothing"]


def test_an_opt_out_counts_from_its_commit(desk, monday):
    with desk.ledger.writing() as book:
        no = Consent(
            customer_id="anna",
            channel="email",
            granted=False,
            source="customer",
            occurred_at=monday,
            recorded_at=monday,
        )
        assert (book.consent([no]), book.consent([no, no])) == (1, 0)
    (decision,) = desk.decide([case(desk, "anna", monday)])
    assert decision.action == "nothing"
    assert "email:marketing" in decision.permission.refused


def test_the_same_key_gives_the_same_answer_and_another_body_a_conflict(desk, monday):
    first, again, other = desk.decide(
        [
            case(desk, "anna", monday, key="k", digest="1"),
            case(desk, "anna", monday + timedelta(days=9), key="k", digest="1"),
            case(desk, "ben", monday, key="k", digest="2"),
        ]
    )
    assert differences(first, again) == {}
    assert other == Conflict("k")
    later, conflict = desk.decide(
        [
            case(desk, "anna", monday + timedelta(days=30), key="k", digest="1"),
            case(desk, "anna", monday, key="k", digest="2"),
        ]
    )
    assert differences(first, later) == {}
    assert conflict == Conflict("k")
    with desk.ledger.reading() as book:
        assert book.count(schema.decisions) == book.count(schema.slots) == 1


def test_conflicting_requests_at_once_never_overwrite_the_first(desk, monday):
    """Eight threads, 40 keys, two bodies each: one decision a key, and all who got an answer got the same (A3)."""
    answers: list[tuple[str, str, object]] = []

    def ask(thread):
        for number in range(40):
            digest = str((thread + number) % 2)
            (answer,) = desk.decide([case(desk, f"c{digest}-{number}", monday, key=f"k{number}", digest=digest)])
            answers.append((f"k{number}", digest, answer))

    _together(ask, range(8))
    with desk.ledger.reading() as book:
        kept = book.answered([f"k{number}" for number in range(40)])
        assert book.count(schema.decisions) == 40
    for key, digest, answer in answers:
        if isinstance(answer, Conflict):
            assert kept[key][0] != digest
        else:
            assert kept[key] == (digest, answer.decision_id)


def test_limits_hold_under_concurrency_where_check_then_insert_does_not(desk, agree, monday):
    """Promise B3, quick form: 8 threads want to reach 10 customers who may get two marketing contacts a week."""
    limits = ContactPolicy(limits=(Limit(count=2, window_days=7, contact_class="marketing"),))
    rules = Rules(msgspec.structs.replace(desk.rules.book, contact_policy=limits))
    sends = Desk(
        desk.ledger, rules=rules, trials=Trials.only(Trial.of_policy(RandomEligible(nothing_share=0.0), arm="send"))
    )
    safe, unsafe = [f"safe-{number}" for number in range(10)], [f"unsafe-{number}" for number in range(10)]
    agree(*safe, *unsafe)

    def at_the_desk(thread):
        for turn in range(3):
            for customer in safe:
                sends.decide([case(sends, customer, monday + timedelta(hours=turn), seed=f"{thread}-{turn}")])

    _together(at_the_desk, range(8))
    everybody_looked = threading.Barrier(8, timeout=60)

    def check_then_insert(thread):
        for customer in unsafe:
            asked = case(sends, customer, monday, seed=str(thread))
            with sends.ledger.reading() as book:
                known = {"permission": book.permissions([customer])[customer]}
                known["contacts"] = book.contacts([customer], since=monday - rules.horizon)[customer]
            everybody_looked.wait()
            decision = decide(
                asked.ask,
                row=asked.row,
                values=None,
                assignment=sends.trials.standing.assignment(asked.ask),
                rules=rules,
                **known,
            )
            with sends.ledger.writing() as book:
                book.record([decision])

    _together(check_then_insert, range(8))
    assert _most_in_a_week(sends.ledger, safe, monday) == 2
    assert _most_in_a_week(sends.ledger, unsafe, monday) > 2


def _most_in_a_week(ledger, customers, monday):
    with ledger.reading() as book:
        taken = book.contacts(customers, since=monday - timedelta(days=1))
    return max(sum(1 for each in slots if each.contact_class == "marketing") for slots in taken.values())


def test_without_a_ledger_nobody_is_contacted(desk, monday):
    with sqlite3.connect(desk.ledger.path) as raw:
        raw.execute("ALTER TABLE consents RENAME TO lost")
    raw.close()
    (decision,) = desk.decide([case(desk, "anna", monday)])
    assert (decision.action, decision.source, decision.degraded) == ("nothing", "no_contact", True)
    assert Reason(decision.reason) is Reason.LEDGER_UNAVAILABLE
    with sqlite3.connect(desk.ledger.path) as raw:
        raw.execute("ALTER TABLE lost RENAME TO consents")
        assert raw.execute("SELECT count(*) FROM decisions").fetchone() == (0,)
    raw.close()


def test_erasure_removes_facts_and_keeps_the_suppression(desk, monday):
    desk.decide([case(desk, "anna", monday), case(desk, "ben", monday)])
    with desk.ledger.writing() as book:
        book.suppress([book.digest("anna")], at=monday)
        removed = book.remove(["anna"])
        told = {"idempotency": 0, "slots": 1, "consents": 1, "events": 0, "assignments": 0, "decisions": 1}
        assert removed == told
        assert book.erased(["anna", " ANNA ", "ben"]) == {"anna", " ANNA "}
        again = Consent(
            customer_id="anna", channel="all", granted=True, source="customer", occurred_at=monday, recorded_at=monday
        )
        book.consent([again])
    (decision,) = desk.decide([case(desk, "anna", monday + timedelta(days=20))])
    assert decision.action == "nothing"
    assert decision.permission.hold == "erased"
    raw = desk.ledger.path.read_bytes() + desk.ledger.path.with_name("ledger.db-wal").read_bytes()
    assert desk.ledger.secret not in raw


def test_policies_and_rules_are_kept_in_every_version(ledger, shop, monday):
    with ledger.writing() as book:
        first = book.publish("bandit", OneToOne(floor=0.01), at=monday)
        second = book.publish("bandit", OneToOne(floor=0.02), at=monday)
        assert book.publish("bandit", OneToOne(floor=0.02), at=monday) == second
        assert book.policy("bandit") == (second, OneToOne(floor=0.02))
        assert book.policy_of_version(first) == OneToOne(floor=0.01)
        assert book.policy("none") is None
        assert book.count(schema.policies) == 2
        book.keep_rules("f", shop.rules.book)
        assert book.rules("f") == shop.rules.book
    assert RuleBook.from_json(shop.rules.book.to_json()) == shop.rules.book


NURSERY = """
import os, sys
from datetime import UTC, datetime
from experiments.policies import Static
from serving.catalogue import Catalogue, Content, Offer
from serving.ask import Ask
from serving.desk import Case, Desk
from serving.ledger import Ledger
from serving.rules import RuleBook, Rules
from serving.trial import Trial
from serving.trials import Trials

def write(path, seed):
    offer = Offer(offer_id="receipt", title="R", contact_class="service", treatments=(Content(channel="email"),))
    rules = Rules(RuleBook(catalogue=Catalogue(offers=(offer,))))
    trials = Trials.only(Trial.of_policy(Static(treatment="receipt@email"), arm="static"))
    desk = Desk(Ledger(path), rules=rules, trials=trials)
    for number in range(10**9):
        ask = Ask(customer_id=f"c{number}", moment=datetime(2026, 1, 1, tzinfo=UTC), seed=seed)
        (decision,) = desk.decide([Case(ask=ask, row=(), values=None)])
        print(decision.decision_id, flush=True)

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        print(os.getpid(), flush=True)
        write(sys.argv[1], line.strip())
    os.waitpid(child, 0)
    print("killed", flush=True)
"""


@pytest.mark.parametrize("kills", [10, pytest.param(300, marks=pytest.mark.slow)])
def test_what_was_acknowledged_survives_a_kill(ledger, kills):
    """Promise A1, quick form: a writer is killed in the middle of writing, each time after some more decisions.

    Writers are forked from one process, as the imports cost more than the writing. No acknowledged decision lost in n
    kills says that fewer than 3/n of kills lose one.
    """
    acknowledged: list[str] = []
    command = [sys.executable, "-c", NURSERY, str(ledger.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as nursery:
        for run in range(kills):
            nursery.stdin.write(f"run-{run}\n")
            writer = int(nursery.stdout.readline())
            for _ in range(1 + 7 * run % 40):
                acknowledged.append(nursery.stdout.readline().strip())
                assert acknowledged[-1] != "killed", "the writer ended by itself"
            os.kill(writer, signal.SIGKILL)
            acknowledged += iter(lambda: nursery.stdout.readline().strip(), "killed")
        nursery.stdin.close()
    with ledger.reading() as book:
        kept = book.decisions(acknowledged)
        assert len(kept) == len(set(acknowledged)) == len(acknowledged) >= kills
        assert book.connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        # No slot without its decision, no contact without its slot.
        assert book.count(schema.slots) == book.count(schema.decisions)


def _together(work, each_of):
    failures = []

    def run(item):
        try:
            work(item)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(item,)) for item in each_of]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
