"""Training over persons: an answer by any account of the person, and nothing that the customer did not allow (B10)."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features import Feature, FeatureSet, History
from features.errors import InputError
from features.facts import CONSENTS, EVENTS, MEMBERS
from features.privacy.purposes import Purposes
from training.dataset import Goal, contacts, interactions, spine_of, training_set
from training.worth import worth_of_offers

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=100)
FEATURES = FeatureSet.of(
    Feature(name="visits", where={"kind": "visit"}, windows=("30d",)),
    Feature(name="tests", where={"kind": "test"}, windows=("30d",), sensitive=True),
    Feature(name="age", aggregate="latest", of="age", purpose="profile"),
)


def day(number):
    return START + timedelta(days=number)


def event(event_id, customer, kind, number, **more):
    return {
        "event_id": event_id,
        "customer_id": customer,
        "kind": kind,
        "occurred_at": day(number),
        "recorded_at": day(number),
        **more,
    }


def sent(event_id, customer, number):
    return event(event_id, customer, "contact", number, item="shoes", channel="email")


def members(*rows):
    return pa.Table.from_pylist([dict(zip(MEMBERS.names, row, strict=True)) for row in rows], schema=MEMBERS)


#: mail-1 and card-1 are found to be one person on day 50; mail-2 and card-2 were thought to be one until day 60.
LINKED = members(
    *(("personalize", account, "card-1", day(50), None) for account in ("mail-1", "card-1")),
    *(("personalize", account, "card-2", day(1), day(60)) for account in ("mail-2", "card-2")),
    *(("household", account, "card-1", day(1), None) for account in ("card-1", "card-3", "mail-3")),
)
ROWS = [
    sent("c1", "mail-1", 10),
    event("p1", "card-1", "purchase", 11),
    sent("c2", "mail-2", 10),
    event("p2", "card-2", "purchase", 11),
    sent("c3", "mail-3", 10),
    event("p3", "card-3", "purchase", 11),
]


def labels(rows, *, until=NOW, linked=LINKED, goal=None):
    table = pa.Table.from_pylist(rows, schema=EVENTS)
    spine, _ = contacts(table, goal=goal or Goal(), until=until, members=linked)
    rows = spine.select(["customer_id", "person", "treatment", "label"]).to_pylist()
    return sorted(tuple(row.values()) for row in rows)


def test_a_purchase_with_the_card_answers_a_contact_by_mail_once_both_are_known_to_be_one():
    assert labels(ROWS) == [
        ("mail-1", "card-1", "shoes@email", True),
        ("mail-2", "mail-2", "shoes@email", False),
        ("mail-3", "mail-3", "shoes@email", False),
    ]
    assert labels(ROWS, until=day(40)) == [
        ("mail-1", "mail-1", "shoes@email", False),
        ("mail-2", "card-2", "shoes@email", True),
        ("mail-3", "mail-3", "shoes@email", False),
    ]


@pytest.mark.parametrize("linked", [None, MEMBERS.empty_table(), members(("suppress", "mail-1", "x", day(1), None))])
def test_without_strong_links_everybody_is_their_account(linked):
    assert [(account, label) for account, person, _, label in labels(ROWS, linked=linked) if account == person] == [
        ("mail-1", False),
        ("mail-2", False),
        ("mail-3", False),
    ]


def test_nobody_is_left_out_of_a_wave_who_got_it_by_another_account():
    rows = [
        sent("c1", "mail-1", 10),
        sent("c2", "dora", 10),
        event("v1", "card-1", "visit", 2),
        event("v2", "card-2", "visit", 2),
        event("v3", "mail-2", "visit", 3),
    ]
    found = labels(rows, goal=Goal(wave_size=2))
    assert [row for row in found if row[2] == "nothing"] == [
        ("card-2", "card-2", "nothing", False),
        ("mail-2", "mail-2", "nothing", False),
    ]
    # As long as card-2 and mail-2 were thought to be one, they were one who got nothing.
    found = labels(rows, goal=Goal(wave_size=2), until=day(40))
    assert [row for row in found if row[1] == "card-2"] == [("card-2", "card-2", "nothing", False)]


def history_of(folder, rows, *, linked=None, consents=()):
    history = History(folder)
    history.append(pa.Table.from_pylist(rows, schema=EVENTS), "all")
    fact = {"customer_id": "mail-1", "attribute": "age", "value": "44", "occurred_at": day(1), "recorded_at": day(1)}
    history.append_profile(pa.Table.from_pylist([fact]), "all")
    if linked is not None:
        (folder / "members").mkdir()
        pq.write_table(linked, folder / "members" / "all.parquet")
    history.append_consents(pa.Table.from_pylist(list(consents), schema=CONSENTS), "all")
    return history


def word(granted, number, *, customer="mail-1", purpose="personalization"):
    return {
        "customer_id": customer,
        "channel": "all",
        "purpose": purpose,
        "contact_class": "all",
        "granted": granted,
        "said_by": "customer",
        "occurred_at": day(number),
        "recorded_at": day(number),
    }


VISITS = [event("v1", "mail-1", "visit", 5), event("t1", "mail-1", "test", 6)]


@pytest.mark.parametrize(
    ("consents", "used_at", "expected"),
    [
        ([], None, (1, None, "44")),
        ([word(False, 5)], None, (None, None, "44")),
        ([word(False, 5), word(True, 6)], None, (1, 1, "44")),
        ([word(True, 20)], None, (1, None, "44")),  # a yes after the contact does not allow what was gathered before
        ([word(False, 20)], None, (None, None, "44")),  # a no stops further use
        ([word(False, 120)], None, (1, None, "44")),
        ([word(False, 120)], day(130), (None, None, "44")),
        ([word(False, 20), word(True, 30)], None, (1, None, "44")),
        ([word(False, 5, purpose="profile")], None, (1, None, None)),
        ([word(False, 5, customer="card-1")], None, (None, None, "44")),
    ],
)
def test_what_was_not_allowed_is_missing_in_a_row(tmp_path, consents, used_at, expected):
    linked = members(*(("suppress", each, "card-1", day(1), None) for each in ("mail-1", "card-1")))
    history = history_of(tmp_path, [ROWS[0], *VISITS], linked=linked, consents=consents)
    purposes = Purposes(basis={"personalization": "assumed", "profile": "assumed"})
    found = training_set(history, FEATURES, goal=Goal(), until=NOW, purposes=purposes, used_at=used_at)
    row = found.frame[list(FEATURES.names)].astype(object).where(found.frame[list(FEATURES.names)].notna(), None)
    assert tuple(row.iloc[0]) == expected


def frame_of(folder, rows, *, refused, age="44"):
    """The training rows of a history in which one purpose was refused, and an age that was told later."""
    history = history_of(folder, [ROWS[0], *rows], consents=[word(False, 5, purpose=refused)])
    fact = {"customer_id": "mail-1", "attribute": "age", "value": age, "occurred_at": day(2), "recorded_at": day(2)}
    history.append_profile(pa.Table.from_pylist([fact]), "later")
    purposes = Purposes(basis={"personalization": "assumed", "profile": "assumed"})
    return training_set(history, FEATURES, goal=Goal(), until=NOW, purposes=purposes).frame


@pytest.fixture(scope="module")
def without_behaviour(tmp_path_factory):
    return frame_of(tmp_path_factory.mktemp("history"), VISITS, refused="personalization")


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(other=st.lists(st.tuples(st.sampled_from(["visit", "test"]), st.integers(-15, 9)), max_size=6))
def test_behaviour_that_is_not_allowed_never_changes_a_training_row(tmp_path_factory, without_behaviour, other):
    """B10 in training: the facts behind masked features are changed at random, the frame stays the same."""
    rows = [event(f"o{place}", "mail-1", kind, number) for place, (kind, number) in enumerate(other)]
    found = frame_of(tmp_path_factory.mktemp("history"), rows, refused="personalization")
    assert found.equals(without_behaviour)


def test_an_age_that_is_not_allowed_never_changes_a_training_row(tmp_path):
    frames = [frame_of(tmp_path / age, VISITS, refused="profile", age=age) for age in ("44", "17")]
    assert frames[0].equals(frames[1])
    assert frames[0]["age"].isna().all()


def test_the_spine_of_a_history_knows_its_persons(tmp_path):
    history = history_of(tmp_path, ROWS, linked=LINKED)
    spine, _ = spine_of(history, goal=Goal(), until=NOW)
    assert spine.sort_by("customer_id")["label"].to_pylist() == [True, False, False]
    found = training_set(history, FEATURES, goal=Goal(), until=NOW)
    assert sorted(found.customers) == ["card-1", "mail-2", "mail-3"]


def test_what_an_account_takes_its_person_took(tmp_path):
    history = History(tmp_path)
    rows = [
        event(f"p{place}", who, "purchase", 10 + place, item="hat") for place, who in enumerate(("mail-1", "card-3"))
    ]
    history.append(pa.Table.from_pylist(rows, schema=EVENTS), "all")
    (tmp_path / "members").mkdir()
    pq.write_table(LINKED, tmp_path / "members" / "all.parquet")
    assert interactions(history, kinds=("purchase",))["customer_id"].tolist() == ["card-1", "card-3"]
    assert interactions(history, kinds=("purchase",), until=day(40))["customer_id"].tolist() == ["mail-1", "card-3"]


def test_what_those_took_who_refused_teaches_no_recommender(tmp_path):
    history = History(tmp_path)
    rows = [
        event(f"p{place}", who, "purchase", 10 + place, item="hat")
        for place, who in enumerate(("mail-1", "card-1", "ben", "cleo"))
    ]
    history.append(pa.Table.from_pylist(rows, schema=EVENTS), "all")
    (tmp_path / "members").mkdir()
    pq.write_table(LINKED, tmp_path / "members" / "all.parquet")
    word = {"channel": "all", "purpose": "personalization", "contact_class": "all", "said_by": "customer"}
    for who, granted in (("ben", False), ("cleo", True)):
        said = word | {"customer_id": who, "granted": granted, "occurred_at": day(20), "recorded_at": day(20)}
        history.append_consents(pa.Table.from_pylist([said], schema=CONSENTS), "said")

    def who_teaches(**options):
        return sorted(set(interactions(history, kinds=("purchase",), **options)["customer_id"]))

    assert who_teaches() == ["card-1", "cleo"]
    assert who_teaches(until=day(19)) == ["ben", "card-1", "cleo", "mail-1"]
    asked = Purposes(basis={"personalization": "asked"})
    assert who_teaches(purposes=asked) == ["cleo"]
    with pytest.raises(InputError, match="nobody lets"):
        interactions(history, kinds=("purchase",), until=day(19), purposes=asked)


def test_an_offer_is_worth_what_any_account_of_the_person_spends():
    rows = [
        sent("c1", "mail-1", 10),
        event("p1", "card-1", "purchase", 11) | {"amount": 700},
        event("n1", "dora", "no_contact", 10),
    ]
    table = pa.Table.from_pylist(rows, schema=EVENTS)
    for until, spend in ((NOW, 700), (day(40), 0)):
        known = {"goal": Goal(), "members": LINKED, "until": until}
        spine, _ = contacts(table, **known)
        assert [each.spend for each in worth_of_offers(table, spine, **known)] == [spend]
