"""A weak link between accounts is enough to stop, a medium one to count, only a strong one to use (B1, B3, B7)."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.policies import OneToOne, RandomEligible, Static
from features import History
from features.errors import InputError
from features.facts import MEMBERS, STRENGTHS
from features.identity import Identifier, IdentityRules, People, Person, resolve, split
from serving import schema
from serving.ask import Ask
from serving.batch import decide_all
from serving.book import Consent
from serving.consent import EVERY, ConsentFact, Permission, permission
from serving.contact_policy import Contact, ContactPolicy, Limit
from serving.decision import Decision
from serving.desk import Case, Desk
from serving.explanation import differences, explain, recorded, replay
from serving.inbox import take_events
from serving.messages import Event
from serving.people import Linked, LinkedAccounts, agreed, linked
from serving.reasons import Reason
from serving.rules import Rules
from serving.sieve import objection
from serving.trial import Trial
from serving.trials import Trials

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
WEAK = {"suppress": ("anna", "ben")}
MEDIUM = WEAK | {"count": ("anna", "ben")}
STRONG = MEDIUM | {"personalize": ("anna", "ben")}


def link(history: History, *people: dict[str, tuple[str, ...]], part: str = "links") -> None:
    """Make ``people`` all that is known of who belongs together: of each, the accounts by strength."""
    rows = [
        {"strength": strength, "account_id": each, "customer_id": min(accounts), "since": SINCE, "until": None}
        for person in people
        for strength, accounts in person.items()
        for each in accounts
    ]
    folder = history.folder / "members"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.parquet"):
        old.unlink()
    pq.write_table(pa.Table.from_pylist(rows, schema=MEMBERS), folder / f"{part}.parquet")


def person(**strengths: tuple[str, ...]) -> Person:
    return Person("anna", None, *(strengths.get(name, ("anna",)) for name in ("own", "counted", "suppressing")))


def said(who: str, granted: bool, at: datetime, *, channel: str = "all", **more: str) -> Consent:
    return Consent(
        customer_id=who,
        channel=channel,
        granted=granted,
        source=more.pop("source", "customer"),
        occurred_at=at,
        recorded_at=at,
        **more,
    )


def tell(ledger, *facts: Consent) -> None:
    with ledger.writing() as book:
        book.consent(facts)


# ---- who is behind an account


def test_the_persons_at_hand_are_those_of_the_history(tmp_path):
    """An independent reading of the same memberships, by SQL, gives the same persons."""
    rng = np.random.default_rng(3)
    names = [f"a{number:03}" for number in range(300)]
    history, groups = History(tmp_path), []
    for strength in STRENGTHS:
        drawn = rng.permutation(names)[: rng.integers(100, 300)]
        cuts = np.sort(rng.choice(np.arange(1, len(drawn)), len(drawn) // 3, replace=False))
        groups += [{strength: tuple(part.tolist())} for part in np.split(drawn, cuts) if len(part) > 1]
    link(history, *groups)
    at_hand = LinkedAccounts(history)
    asked = [*names, "stranger"]
    assert at_hand.persons(asked) == People(history).persons(asked)
    households = {
        each: set(group["household"]) for group in groups if "household" in group for each in group["household"]
    }
    for each in at_hand.persons(asked).values():
        together = set().union(*(households.get(account, ()) for account in each.own)) - set(each.own)
        assert set(at_hand.housemates(each)) == together


def test_links_that_come_are_noticed_and_those_that_went_are_gone(tmp_path):
    history = History(tmp_path)
    people = LinkedAccounts(history)
    assert people.persons(["anna"])["anna"] == Person.alone("anna")
    link(history, STRONG, part="first")
    assert people.persons(["ben"])["ben"].customer_id == "anna"
    link(history, WEAK, part="second")
    assert people.persons(["ben"])["ben"] == Person("ben", None, ("ben",), ("ben",), ("anna", "ben"))
    (history.folder / "members" / "second.parquet").write_bytes(b"PAR1 but no more")
    (history.folder / "members" / "third.parquet").touch()
    with pytest.raises(InputError):
        people.persons(["anna"])


# ---- what they said together

CHANNELS = ("email", "web", "Mail")
FACTS = st.lists(
    st.builds(
        ConsentFact,
        channel=st.sampled_from((*CHANNELS, EVERY)),
        purpose=st.just("contact"),
        contact_class=st.sampled_from(("marketing", "service", EVERY)),
        granted=st.booleans(),
        source=st.sampled_from(("customer", "agent", "import")),
        occurred_at=st.integers(0, 4).map(lambda day: SINCE + timedelta(days=day)),
    ),
    max_size=4,
)
ACCOUNTS = ("anna", "ben", "carl", "dora")


@st.composite
def linked_people(draw: st.DrawFn) -> tuple[Person, dict[str, Permission]]:
    """Anna with up to three others, each linked more or less surely, and what each said."""
    strong = draw(st.integers(1, 4))
    weak = draw(st.integers(strong, 4))
    permissions = {
        each: permission(draw(FACTS), hold=draw(st.sampled_from((None, None, None, "erased")))) for each in ACCOUNTS
    }
    return person(own=ACCOUNTS[:strong], counted=ACCOUNTS[:strong], suppressing=ACCOUNTS[:weak]), permissions


@settings(max_examples=150, deadline=None)
@given(linked_people())
def test_together_they_permit_what_one_own_account_does_and_none_forbids(shop, case):
    """Asked account by account: the same answer, for channels that somebody named and for those that nobody did.

    Where an account said no to all but one channel, even that one needs an own account's yes: stricter, never less.
    """
    whose, permissions = case
    together = agreed("anna", whose, permissions)
    no = {Reason.SUPPRESSED, Reason.OPTED_OUT}

    def objections(contact: Contact) -> dict[str, Reason | None]:
        return {each: objection(permissions[each], contact, rules=shop.rules) for each in whose.suppressing}

    for channel in ("email", "web", "mail", "call"):
        for kind in ("marketing", "service"):
            contact = Contact("shoes", channel, kind, SINCE)
            alone = objections(contact)
            expected = not no & set(alone.values()) and any(alone[each] is None for each in whose.own)
            may = objection(together, contact, rules=shop.rules) is None
            assert expected or not may
            assert may or not expected or no & set(objections(contact._replace(channel="unnamed")).values())


@settings(max_examples=100, deadline=None)
@given(linked_people())
def test_a_further_weak_link_never_opens_anything(shop, case):
    whose, permissions = case
    more = whose._replace(suppressing=ACCOUNTS)
    for channel in ("email", "web", "mail", "call"):
        contact = Contact("shoes", channel, "marketing", SINCE)
        if objection(agreed("anna", whose, permissions), contact, rules=shop.rules) is not None:
            assert objection(agreed("anna", more, permissions), contact, rules=shop.rules) is not None


def test_a_no_to_everything_on_a_linked_account_reaches_the_channel_that_was_agreed_to():
    yes, no = Permission(granted=("email:marketing",)), Permission(refused=("all:marketing",))
    together = agreed("anna", person(suppressing=("anna", "ben")), {"anna": yes, "ben": no})
    assert together == Permission((), ("all:marketing", "email:marketing"))


def test_the_record_forgets_an_account_that_was_erased():
    no = {"anna": Permission(), "ben": Permission(refused=("email:service",), hold="erased")}
    found = linked("anna", person(own=("anna", "ben"), counted=("anna", "ben"), suppressing=("anna", "ben")), no)
    assert found == Linked(("ben",), ("ben",), (("hold", ("ben",)), ("email:service", ("ben",))))
    assert found.without("ben") == Linked((), (), (("hold", ()), ("email:service", ())))


# ---- a no on one account stops the others, on every path


@pytest.fixture
def opted_out(web, monday) -> Callable[[], None]:
    """Ben, weakly linked to Anna, says no to everything; both agreed and visited before."""

    def no() -> None:
        tell(web.site.ledger, said("ben", False, monday))

    return no


@pytest.mark.parametrize("strengths", [WEAK, MEDIUM, STRONG])
def test_a_no_on_a_linked_account_stops_a_request(web, opted_out, strengths):
    opted_out()
    assert web.decide("anna", "k0", channel="email").json()["action"] == "hello@email"
    link(web.history, strengths)
    web.clock[0] += timedelta(days=2)
    told = web.decide("anna", "k1").json()
    assert (told["action"], told["code"]) == ("nothing", "nothing_left")
    why = web.call("GET", f"/v1/decisions/{told['decision_id']}").json()["removed"]
    assert {each["code"] for each in why} == {"opted_out"}
    assert {each["detail"] for each in why} == {
        "It was another account that may be the same person (ben) that said so."
    }


def test_a_split_leaves_the_no_on_the_account_that_said_it(web, opted_out):
    link(web.history, STRONG)
    opted_out()
    assert web.decide("anna", "k1").json()["action"] == "nothing"
    link(web.history, part="split")
    assert web.decide("anna", "k2").json()["action"] == "hello@email"
    assert web.decide("ben", "k3").json()["action"] == "nothing"


def test_a_yes_on_another_account_lifts_no_no(web, opted_out, monday):
    """Merging keeps the no whichever account spoke last; only the account that said it takes it back."""
    link(web.history, STRONG)
    opted_out()
    tell(web.site.ledger, said("anna", True, monday + timedelta(minutes=1)))
    web.clock[0] = monday + timedelta(minutes=2)
    assert {web.decide(who, f"k-{who}").json()["action"] for who in ("anna", "ben")} == {"nothing"}
    tell(web.site.ledger, said("ben", True, monday + timedelta(minutes=1)))
    assert web.decide("anna", "k1").json()["action"] == "hello@email"


def test_a_recorded_contact_is_not_handed_out_again_after_a_linked_account_said_no(web, opted_out):
    link(web.history, WEAK)
    first = web.decide("anna", "k1").json()
    assert first["action"] == "hello@email"
    opted_out()
    again = web.decide("anna", "k1").json()
    assert (again["decision_id"], again["action"], again["code"]) == (first["decision_id"], "nothing", "withdrawn")
    link(web.history, part="split")
    assert web.decide("anna", "k1").json() == first


@pytest.mark.parametrize("policy", [Static(treatment="other@mail"), RandomEligible(nothing_share=0), OneToOne()])
def test_a_no_stops_every_arm_and_what_stands_in_for_a_model(web, opted_out, policy, monday):
    link(web.history, WEAK)
    engine = web.site.service.engine
    rules, ledger = engine.desk.rules, web.site.ledger
    desk = Desk(ledger, rules=rules, trials=Trials.only(Trial.of_policy(policy, arm="a")))
    people = LinkedAccounts(web.history)

    def batch(seed):
        table = pa.table({"customer_id": ["anna"], "visits_7d": [1]})
        return decide_all(table, desk=desk, at=monday, seed=seed, values=None, people=people).to_pylist()[0]

    assert batch("before")["action"] != "nothing"
    opted_out()
    assert batch("before")["reason"] == "withdrawn"
    assert batch("after")["reason"] == "nothing_left"


def test_a_suppressed_account_stops_those_that_may_be_the_same_person(web, monday):
    link(web.history, WEAK)
    web.call("DELETE", "/v1/customers/ben")
    told = web.decide("anna", "k1").json()
    why = web.call("GET", f"/v1/decisions/{told['decision_id']}").json()["removed"]
    assert {(each["code"], each["detail"]) for each in why} == {
        ("suppressed", "erased; it is another account that may be the same person (ben)")
    }


def test_a_weak_link_grants_nothing_and_a_sure_one_does(web, monday):
    tell(web.site.ledger, said("eve", True, monday))
    visit = Event(event_id="v-dora", customer_id="dora", kind="visit", occurred_at=monday - timedelta(hours=3))
    with web.site.ledger.writing() as book:
        take_events(book, [visit], at=monday - timedelta(hours=2))
    for strengths, expected in ((WEAK, "nothing"), (MEDIUM, "nothing"), (STRONG, "hello@email")):
        link(web.history, dict.fromkeys(strengths, ("dora", "eve")))
        assert web.decide("dora", f"k{len(strengths)}").json()["action"] == expected


def test_without_links_that_can_be_read_nobody_is_contacted_and_nothing_is_recorded(web):
    link(web.history, STRONG)
    part = web.history.folder / "members" / "links.parquet"
    whole = part.read_bytes()
    part.write_bytes(whole[:40])
    (web.history.folder / "members" / "noticed.parquet").write_bytes(whole[:40])
    told = web.decide("anna", "k1").json()
    assert (told["action"], told["code"], told["source"]) == ("nothing", "people_unreadable", "no_contact")
    assert (told["recorded"], told["degraded"]) == (False, True)
    with web.site.ledger.reading() as book:
        assert [book.count(table) for table in (schema.decisions, schema.assignments, schema.idempotency)] == [0, 0, 0]
    part.write_bytes(whole)
    (web.history.folder / "members" / "noticed.parquet").unlink()
    assert web.decide("anna", "k1").json()["action"] == "hello@email"


# ---- contacts count over all accounts


@pytest.mark.parametrize(("strengths", "second"), [({}, "hello@email"), (WEAK, "hello@email"), (MEDIUM, "nothing")])
def test_contacts_count_over_accounts_that_likely_are_one_person(web, strengths, second):
    link(web.history, strengths)
    assert web.decide("anna", "k1").json()["action"] == "hello@email"
    told = web.decide("ben", "k2").json()
    assert told["action"] == second
    if second == "nothing":
        why = web.call("GET", f"/v1/decisions/{told['decision_id']}").json()
        assert {each["detail"].rpartition("; ")[2] for each in why["removed"]} == {"contacts of anna count too"}
        assert (why["contacts_of"], why["behaviour_of"]) == (["anna"], [])


def test_two_requests_at_once_for_two_accounts_take_one_slot(web):
    link(web.history, MEDIUM)
    bodies = [{"customer_id": who, "idempotency_key": f"k-{who}"} for who in ("anna", "ben")]
    actions = [each.json()["action"] for each in web.together("/v1/decisions", bodies)]
    assert sorted(actions) == ["hello@email", "nothing"]


def case(desk, who, at, seed, whose=None) -> Case:
    ask = Ask(customer_id=who, moment=at, seed=seed)
    return Case(ask=ask, row=(2, 0, 0, "CA"), values=None, person=whose)


@pytest.mark.parametrize("aware", [True, False])
def test_four_threads_at_two_accounts_of_a_person_never_pass_the_limit(ledger, shop, agree, monday, aware):
    """Two marketing contacts a week are allowed. Counted by account, as is common, people get up to four."""
    limits = ContactPolicy(limits=(Limit(count=2, window_days=7, contact_class="marketing"),))
    rules = Rules(msgspec.structs.replace(shop.rules.book, contact_policy=limits))
    pairs = [(f"a{number}", f"b{number}") for number in range(12)]
    agree(*(each for pair in pairs for each in pair))
    desk = Desk(ledger, rules=rules, trials=Trials.only(Trial.of_policy(RandomEligible(nothing_share=0), arm="r")))
    start = threading.Barrier(4, timeout=60)

    def work(number: int) -> None:
        start.wait()
        for turn in range(3):
            for pair in pairs:
                who = pair[(number + turn) % 2]
                whose = Person(pair[0], None, (who,), pair, pair) if aware else None
                desk.decide([case(desk, who, monday + timedelta(hours=turn), f"{number}-{turn}", whose)])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with ledger.reading() as book:
        taken = book.contacts([each for pair in pairs for each in pair], since=monday - timedelta(days=1))
    slots = Counter(
        pair[0] for pair in pairs for each in pair for slot in taken[each] if slot.contact_class == "marketing"
    )
    assert (max(slots.values()) <= 2) == aware


def test_rows_of_one_chunk_see_each_other_s_slots(ledger, shop, agree, monday, tmp_path):
    agree("anna", "ben")
    history = History(tmp_path / "history")
    link(history, MEDIUM)
    desk = Desk(
        ledger, rules=shop.rules, trials=Trials.only(Trial.of_policy(Static(treatment="shoes@web"), arm="static"))
    )
    columns = {"purchases_365d": [2, 2], "returns_365d": [0, 0], "cart_1d": [0, 0], "state": ["CA", "CA"]}
    table = pa.table({"customer_id": ["anna", "ben"], **columns})
    decided = decide_all(table, desk=desk, at=monday, seed="s", values=None, people=LinkedAccounts(history))
    # The same offer again is too soon for the same person.
    assert decided["action"].to_pylist() == ["shoes@web", "nothing"]


# ---- features and arms by sure links


@pytest.mark.parametrize(("strengths", "action"), [(MEDIUM, "nothing"), (STRONG, "hello@email")])
def test_only_a_sure_link_shares_behaviour(web, agree, strengths, action, monday):
    """Carl never visited; the visit of the other account, in the history or just now, counts only when it is his."""
    agree("dora")
    link(web.history, dict.fromkeys(strengths, ("anna", "carl")), dict.fromkeys(strengths, ("dora", "eve")))
    assert web.decide("carl", "k1").json()["action"] == action
    visit = Event(event_id="v-eve", customer_id="eve", kind="visit", occurred_at=monday - timedelta(hours=3))
    with web.site.ledger.writing() as book:
        take_events(book, [visit], at=monday - timedelta(hours=2))
    assert web.decide("dora", "k2").json()["action"] == action


@pytest.fixture
def halves(ledger, shop, agree):
    """``arm(account, person, day)``: the arm of a decision under two equal arms."""
    agree(*(f"{letter}{number}" for letter in "ab" for number in range(20)))
    arms = {name: Static(treatment="shoes@web") for name in ("one", "two")}
    of = Trial.of_policy(arms["one"], arm="one")
    trial = Trial(
        key="halves",
        shares={"one": 0.5, "two": 0.5},
        assignments={
            name: of.assignments["one"].__class__(experiment="halves", arm=name, policy=policy, version=name)
            for name, policy in arms.items()
        },
    )
    desk = Desk(ledger, rules=shop.rules, trials=Trials.only(trial))

    def arm(who: str, whose: Person | None, at: datetime) -> str:
        ask = Ask(customer_id=who, moment=at, seed="s", person_id=whose.customer_id if whose else None)
        asked = Case(ask=ask, row=(2, 0, 0, "CA"), values=None, person=whose)
        return desk.decide([asked])[0].arm

    return arm


def test_the_accounts_of_a_person_are_one_unit_before_and_after(halves, monday):
    """Linked from the start: the same arm. Linked later: the arm that the known account had. Parted: it stays."""
    for number in range(20):
        pair = (f"a{number}", f"b{number}")
        whose = Person(pair[0], None, pair, pair, pair)
        known = halves(pair[1], None, monday) if number < 10 else halves(pair[1], whose, monday)
        later = {halves(each, whose, monday + timedelta(days=1)) for each in pair}
        parted = {halves(each, None, monday + timedelta(days=2)) for each in pair}
        assert later == parted == {known}


def test_two_arms_that_met_in_one_person_go_back_where_they_were(halves, monday):
    for number in range(20):
        pair = (f"a{number}", f"b{number}")
        whose = Person(pair[0], None, pair, pair, pair)
        before = [halves(each, None, monday) for each in pair]
        assert {halves(each, whose, monday + timedelta(days=1)) for each in pair} == {before[0]}
        assert [halves(each, None, monday + timedelta(days=2)) for each in pair] == before


# ---- the record


def test_a_decision_replays_bit_for_bit_after_its_links_are_gone(web, opted_out, monday):
    link(web.history, STRONG | {"household": ("anna", "ben", "carl")})
    web.decide("anna", "k0")
    opted_out()
    first = web.decide("ben", "k1").json()
    link(web.history, part="split")
    with web.site.ledger.reading() as book:
        decision, rules, policy = recorded(book, first["decision_id"])
    assert differences(decision, replay(decision, rules=rules, policy=policy)) == {}
    assert (decision.ask.customer_id, decision.ask.person_id, decision.ask.household_id) == ("ben", "anna", "anna")
    assert decision.linked == Linked(("anna",), ("anna",), ())
    assert [each.taken_at for each in decision.contacts] == [monday]
    told = explain(decision, rules)
    assert (told.person_id, told.behaviour_of, told.contacts_of) == ("anna", ("anna",), ("anna",))


def test_an_account_without_links_is_recorded_as_before(web):
    link(web.history, {"suppress": ("x", "y")})
    first = web.decide("anna", "k1").json()
    with web.site.ledger.reading() as book:
        decision = book.decisions([first["decision_id"]])[first["decision_id"]]
    assert (decision.linked, decision.ask.person_id) == (None, None)


def test_links_of_the_identity_room_stop_open_and_part_as_they_come(web, monday):
    """From addresses to decisions: weak by a shared device, one person by e-mail, parted again by an agent."""
    rules = IdentityRules(identifier=(Identifier(kind="email"), Identifier(kind="device", strength="suppress")))
    tell(web.site.ledger, said("ben", False, monday))

    def decide(seed: str) -> str:
        return web.decide("anna", seed).json()["action"]

    def share(kind: str, value: str) -> None:
        told = {"attribute": kind, "value": value, "occurred_at": monday, "recorded_at": monday}
        rows = [{"customer_id": who, **told} for who in ("anna", "ben")]
        web.history.append_profile(pa.Table.from_pylist(rows), part=kind)
        resolve(web.history, rules)

    assert decide("alone") == "hello@email"
    web.clock[0] = monday + timedelta(days=2)
    share("device", "0f3c-77")
    assert decide("device") == "nothing"
    share("email", "anna@shop.example")
    assert decide("email") == "nothing"
    assert web.history.accounts("anna") == ("anna", "ben")
    assert split(web.history, "anna", "ben", by="ada", rules=rules)
    assert decide("parted") == "hello@email"  # an agent knows that they are two
    assert web.decide("ben", "k").json()["action"] == "nothing"
    assert web.site.service.customers.persons(["anna"])["anna"].own == ("anna",)


def test_a_record_from_before_there_were_links_is_read_as_one_without(web):
    """A record is an array that only grows at its end, and so is the ask within it."""
    first = web.decide("anna", "k1").json()
    with web.site.ledger.reading() as book:
        decision = book.decisions([first["decision_id"]])[first["decision_id"]]
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(decision))
    place = Decision.__struct_fields__.index("ask")
    old = [*fields[:place], fields[place][:-1], *fields[place + 1 : -1]]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(old), type=Decision) == decision
