"""An erasure in the ledger: kept until its end, and others keep what is theirs without the name of who is gone."""

from __future__ import annotations

import msgspec
import pytest

from experiments.policies import Static
from features.identity import Person
from features.privacy.traces import Traces
from serving import schema
from serving.ask import Ask
from serving.desk import Case, Desk
from serving.erasures import begin, finish, queue_erasure, remove, requested, under_way, without
from serving.people import Linked
from serving.trial import Trial
from serving.trials import Trials


@pytest.fixture
def desk(ledger, shop, agree):
    agree("anna", "ben")
    return Desk(
        ledger, rules=shop.rules, trials=Trials.only(Trial.of_policy(Static(treatment="shoes@email"), arm="static"))
    )


def test_an_erasure_is_known_until_it_is_finished(ledger, monday):
    before = Traces(accounts=("anna", "web-1"), addresses=(("email", "anna@web.example"),), texts=("Anna Lee",))
    with ledger.writing() as book:
        assert begin(book, {"anna": before}, at=monday) == {"anna": before}
    with ledger.writing() as book:
        # What is gone from the history is still known from the first time.
        assert begin(book, {"anna": Traces(accounts=("anna",))}, at=monday)["anna"] == before
        assert under_way(book) == {"anna": before}
        assert requested(book, ["anna"]) == {"anna": monday}
        assert book.erased(["anna", "WEB-1", "ben"]) == {"anna", "WEB-1"}
        assert book.erased_people().among(["Anna+x@web.example"], kind="email") == {"Anna+x@web.example"}
        finish(book, ["anna"])
        assert under_way(book) == {}
        assert book.suppressed_since(book.digest("anna")) == monday


def test_what_the_service_was_asked_waits_for_the_rest(desk, monday):
    ask = Ask(customer_id="anna", moment=monday, seed="s")
    desk.decide([Case(ask=ask, row=(2, 0, 0, "CA"), values=None)])
    with desk.ledger.writing() as book:
        assert queue_erasure(book, "anna", at=monday)["decisions"] == 1
        assert under_way(book) == {"anna": Traces(accounts=("anna",))}
        assert queue_erasure(book, "anna", at=monday)["decisions"] == 0


def test_a_household_called_by_who_is_gone_keeps_its_arm_and_its_decisions(desk, monday):
    ask = Ask(customer_id="ben", moment=monday, seed="s", household_id="anna", person_id="anna")
    case = Case(ask=ask, row=(2, 0, 0, "CA"), values=None)
    (decision,) = desk.decide([case])
    with desk.ledger.writing() as book:
        book.keep_arms("trial", [("anna", "static", monday)])
        gone = Traces(accounts=("anna",), related=("ben",))
        home = Person("ben", "carl", ("ben",), ("ben",), ("ben",))
        removed = remove(book, gone, others={"ben": home})
        assert (removed["names in records of others"], removed["decisions"], removed["assignments"]) == (1, 0, 1)
        assert book.arms("trial", ["anna", "ben", "carl"]) == {"carl": "static"}
        (kept,) = book.decisions([decision.decision_id]).values()
        (row,) = book.connection.execute(schema.decisions.select()).mappings()
    assert (kept.ask.household_id, kept.ask.person_id, row["household_id"]) == ("carl", "ben", "carl")
    assert msgspec.structs.replace(kept, ask=decision.ask) == decision
    assert remove_again(desk, gone, home)["names in records of others"] == 0


def remove_again(desk, gone, home):
    with desk.ledger.writing() as book:
        return remove(book, gone, others={"ben": home})


def test_what_others_took_from_an_account_loses_its_name_alone(desk, monday):
    ask = Ask(customer_id="ben", moment=monday, seed="s")
    case = Case(ask=ask, row=(2, 0, 0, "CA"), values=None)
    (decision,) = desk.decide([case])
    linked = Linked(counted=("anna", "carl"), refused=(("email:marketing", ("anna",)),))
    told = msgspec.structs.replace(decision, linked=linked)
    left = without(told, ["anna"], person=Person.alone("ben"))
    assert left.linked == Linked(counted=("carl",), refused=(("email:marketing", ()),))
    assert without(decision, ["anna"], person=Person.alone("ben")) == decision


def test_after_a_checkpoint_no_page_names_who_was_erased(desk, monday):
    ask = Ask(customer_id="anna", moment=monday, seed="s")
    desk.decide([Case(ask=ask, row=(2, 0, 0, "CA"), values=None)])
    with desk.ledger.writing() as book:
        book.remove(["anna"])
    log = desk.ledger.path.with_name("ledger.db-wal")
    assert b"anna" in log.read_bytes()
    assert desk.ledger.checkpoint()
    assert b"anna" not in desk.ledger.path.read_bytes() + log.read_bytes()
    assert b"ben" in desk.ledger.path.read_bytes()
