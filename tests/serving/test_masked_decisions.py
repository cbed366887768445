"""What a customer does not allow to be used never changes a decision, however it came to be known (B10)."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experiments.policies import OneToOne, Static
from features import Feature, FeatureSet, History
from features.facts import Event
from features.identity import Person
from features.privacy.purposes import Purposes
from serving import schema
from serving.ask import Ask
from serving.batch import decide_all
from serving.book import Consent
from serving.catalogue import Catalogue, Content, Offer
from serving.conditions import Condition
from serving.consent import ConsentFact
from serving.customers import RecentCustomers
from serving.desk import Case, Desk
from serving.explanation import differences, recorded, replay
from serving.ledger import Ledger
from serving.masking import Masking
from serving.messages import DecisionRequest
from serving.people import LinkedAccounts
from serving.rules import RuleBook, Rules
from serving.scenarios import Scenario, Scenarios
from serving.service import Asked, Engine, Service
from serving.trial import Trial
from serving.trials import Trials

FEATURES = FeatureSet.of(
    Feature(name="visits", where={"kind": "visit"}, windows=("7d",)),
    Feature(name="carts", where={"kind": "cart"}, windows=("7d",), purpose="advertising"),
    Feature(name="calls", where={"kind": "call"}, windows=("7d",), sensitive=True),
)
BOOK = RuleBook(
    catalogue=Catalogue(
        offers=(
            Offer(offer_id="hello", title="Hello", treatments=(Content(channel="email"), Content(channel="web"))),
            Offer(
                offer_id="cart",
                title="Your cart",
                eligibility=(Condition(feature="carts_7d", at_least=1),),
                treatments=(Content(channel="email"),),
            ),
            Offer(
                offer_id="sorry",
                title="Sorry",
                suitability=(Condition(feature="calls_7d", at_least=1),),
                treatments=(Content(channel="email"),),
            ),
        ),
        static=("hello@web",),
    ),
    scenarios=Scenarios(
        scenarios=(
            Scenario(
                scenario_id="seen",
                title="Seen lately",
                owner="Ada",
                when=(Condition(feature="visits_7d", at_least=2),),
                treatments=("hello@email",),
            ),
        )
    ),
    feature_names=FEATURES.names,
    features=FEATURES.fingerprint,
)
PURPOSES = Purposes(basis={"personalization": "assumed", "advertising": "asked"})


class Trees:
    """Values that hang on every feature."""

    version = "trees"

    def values(self, rows):
        """Cents by the features, a missing one counting as minus one."""
        told = np.array([[-1 if value is None else value for value in row] for row in rows], dtype=float)
        return np.array([0, 1, 2, 3, 4]) * (told @ np.array([7.0, 11.0, 13.0]) + 5)[:, np.newaxis]

    def values_of(self, table):
        """The same of a table."""
        return self.values(list(zip(*(table[name].to_pylist() for name in FEATURES.names), strict=True)))


@pytest.fixture
def masking():
    return Masking(FEATURES, PURPOSES)


@pytest.fixture
def desk(ledger, masking, agree):
    agree("anna", "ben")
    trial = Trial.of_policy(OneToOne(floor=0.05), arm="personal")
    return Desk(ledger, rules=Rules(BOOK), trials=Trials.only(trial), model="trees", masking=masking)


@pytest.fixture
def serve(desk, tmp_path, monday):
    """``serve(events)``: a service whose history holds these events of Anna and Ben."""

    def build(*events: tuple[str, str]) -> Service:
        history = History(tmp_path / f"history-{len(list(tmp_path.iterdir()))}")
        at = monday - timedelta(days=1)
        rows = [Event(f"e{place}", who, kind, at, at)._asdict() for place, (who, kind) in enumerate(events)]
        if rows:
            history.append(pa.Table.from_pylist(rows), part="start")
        return Service(
            engine=Engine(desk=desk, scorer=Trees()),
            customers=RecentCustomers(history),
            features=FEATURES,
            clock=lambda: monday,
        )

    return build


def asked(who: str, seed: str) -> Asked:
    return Asked(request=DecisionRequest(customer_id=who, seed=seed), key=f"{who}-{seed}", digest="")


def fact(who, purpose, granted, at, **more):
    told = {"channel": "all", "contact_class": "all", "source": "customer", "occurred_at": at, "recorded_at": at}
    return Consent(customer_id=who, purpose=purpose, granted=granted, **told | more)


def tell(ledger, *facts):
    with ledger.writing() as book:
        book.consent(facts)


KINDS = {"personalization": "visit", "advertising": "cart", "sensitive": "call"}
WORDS = st.dictionaries(st.sampled_from(("personalization", "advertising")), st.booleans())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    words=WORDS,
    facts=st.lists(st.sampled_from(sorted(KINDS.values())), max_size=5),
    others=st.lists(st.sampled_from(sorted(KINDS.values())), max_size=5),
)
def test_what_is_masked_never_changes_the_record(serve, desk, monday, words, facts, others):
    """Two worlds that differ only in what the customer does not allow to be used: the same record, field by field."""
    masked = {"call"} if "personalization" not in words else set() if words["personalization"] else {"visit", "call"}
    masked |= set() if words.get("advertising") else {"cart"}
    with desk.ledger.writing() as book:
        for table in (schema.decisions, schema.slots, schema.consents):
            book.connection.execute(table.delete())
        book.consent([fact("anna", "contact", True, monday - timedelta(days=9))])
        book.consent([fact("anna", purpose, yes, monday - timedelta(days=3)) for purpose, yes in words.items()])
    kept = [kind for kind in facts if kind not in masked]
    world = [("anna", kind) for kind in facts]
    other = [("anna", kind) for kind in (*kept, *(kind for kind in others if kind in masked))]
    first = serve(*world).decide([asked("anna", "s")])[0]
    with desk.ledger.writing() as book:
        for table in (schema.decisions, schema.slots, schema.idempotency):
            book.connection.execute(table.delete())
    second = serve(*other).decide([asked("anna", "s")])[0]
    with desk.ledger.writing() as book:
        book.connection.execute(schema.idempotency.delete())
    assert differences(first, second) == {}
    assert len(first.survivors) > 1
    assert {FEATURES.names[place] for place, value in enumerate(first.row) if value is None} == {
        f"{kind}s_7d" for kind in masked
    }


def test_a_no_to_personalization_is_no_no_to_contacts(serve, desk, monday):
    """Whoever objects to being profiled is contacted as everybody is: without features."""
    tell(desk.ledger, fact("anna", "personalization", False, monday - timedelta(days=1), channel="email"))
    (decision,) = serve(("anna", "visit"), ("anna", "visit"), ("anna", "call")).decide([asked("anna", "s")])
    assert decision.row == (None, None, None)
    assert decision.permission.refused == ()
    assert {desk.rules.actions[place] for place in decision.survivors[1:]} == {"hello@web"}
    tell(desk.ledger, fact("ben", "newsletter", False, monday - timedelta(days=1), channel="web"))
    (stopped,) = serve(("ben", "visit")).decide([asked("ben", "s")])
    assert stopped.action == "nothing"  # a purpose that no feature has is about being contacted, whatever it is called


def test_the_batch_masks_as_the_service_does(serve, desk, masking, monday, tmp_path):
    tell(desk.ledger, fact("anna", "advertising", True, monday - timedelta(days=2)))
    tell(desk.ledger, fact("ben", "personalization", False, monday - timedelta(days=2)))
    events = [
        ("anna", "cart"),
        ("anna", "visit"),
        ("anna", "visit"),
        ("ben", "visit"),
        ("ben", "cart"),
        ("carl", "call"),
    ]
    service = serve(*events)
    names = ["anna", "ben", "carl"]
    answers = service.decide([asked(each, "s") for each in names])
    history = service.customers._history
    spine = pa.table({"customer_id": names, "as_of": pa.array([monday] * 3, pa.timestamp("us", tz="UTC"))})
    people = LinkedAccounts(history)
    with desk.ledger.reading() as book:
        said = book.said_about(masking.purposes)
    table, masks = masking.masked(FEATURES.offline(history, spine), people=people, said=said)
    assert [[FEATURES.names[place] for place in sorted(each)] for each in masks] == [
        ["calls_7d"],
        ["visits_7d", "carts_7d", "calls_7d"],
        ["carts_7d", "calls_7d"],
    ]
    other = Ledger(tmp_path / "other.db")
    with desk.ledger.reading() as book, other.writing() as copy:
        copy.consent([each for name in names for each in book.consents(name)])
    elsewhere = Desk(other, rules=desk.rules, trials=desk.trials, model="trees", masking=masking)
    values = Trees().values_of(table)
    decided = decide_all(table, desk=elsewhere, at=monday, seed="s", values=values, people=people, masks=masks)
    with other.reading() as book:
        kept = book.decisions(decided["decision_id"].to_pylist())
    for answer in answers:
        assert differences(answer, kept[answer.decision_id]) == {}
    other.close()


@pytest.mark.parametrize("carts", [0, 3])
def test_consent_withdrawn_after_scoring_takes_the_values_away(desk, masking, monday, carts):
    """The desk looks again in its transaction: what it may no longer use is gone, and the static contact stands in."""
    anna = Person.alone("anna")
    tell(desk.ledger, fact("anna", "advertising", True, monday - timedelta(days=2)))
    with desk.ledger.reading() as book:
        masked = masking.of(anna, book.said(["anna"]))
    row = masking.apply((2, carts, 5), masked)
    assert row == (2, carts, None)
    ask = Ask(customer_id="anna", moment=monday, seed="s")
    case = Case(ask=ask, row=row, values=Trees().values([row])[0], masked=masked)
    tell(desk.ledger, fact("anna", "advertising", False, monday - timedelta(days=1)))
    (decision,) = desk.decide([case])
    assert (decision.row, decision.values) == ((2, None, None), None)
    assert (decision.action, decision.source, decision.degraded) == ("hello@web", "static", True)
    with desk.ledger.reading() as book:
        kept, rules, policy = recorded(book, decision.decision_id)
    assert differences(kept, replay(kept, rules=rules, policy=policy)) == {}


def test_a_row_that_nobody_masked_is_masked_by_the_desk(desk, monday):
    ask = Ask(customer_id="anna", moment=monday, seed="s")
    unmasked = Case(ask=ask, row=(2, 3, 5), values=np.zeros(5))
    (decision,) = desk.decide([unmasked])
    assert (decision.row, decision.values) == ((2, None, None), None)


def test_a_no_on_an_account_that_may_be_theirs_masks_and_a_yes_there_does_not(masking, monday):
    said = {"ben": [_said("personalization", False, monday), _said("advertising", True, monday)]}
    weak, strong = (Person("anna", None, own, own, ("anna", "ben")) for own in (("anna",), ("anna", "ben")))
    names = {
        who: {FEATURES.names[place] for place in masking.of(whose, said)} for who, whose in (("w", weak), ("s", strong))
    }
    assert names == {"w": {"visits_7d", "carts_7d", "calls_7d"}, "s": {"visits_7d", "calls_7d"}}


def _said(purpose, granted, at):
    return ConsentFact("all", purpose, "all", granted, "customer", at)


def test_without_what_the_model_may_use_a_static_arm_decides_as_before(serve, desk, monday):
    static = Desk(
        desk.ledger,
        rules=desk.rules,
        trials=Trials.only(Trial.of_policy(Static(treatment="hello@web"), arm="s")),
        masking=desk.masking,
    )
    tell(desk.ledger, fact("anna", "personalization", False, monday - timedelta(days=1)))
    service = serve(("anna", "visit"))
    service.engine = Engine(desk=static, scorer=None)
    (decision,) = service.decide([asked("anna", "s")])
    assert (decision.action, decision.degraded) == ("hello@web", False)
