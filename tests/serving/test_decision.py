"""The decision: its stages one by one, what it does when something can't be read, and what always holds."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.policies import (
    ArmBeliefs,
    Bandit,
    Beta,
    Few,
    Nothing,
    OneToOne,
    RandomEligible,
    Segment,
    Softmax,
    Static,
)
from features.errors import InputError
from serving.ask import Ask
from serving.catalogue import CHANNELS, CONTACT_CLASSES, Catalogue, Content, Offer, from_toml
from serving.consent import Permission
from serving.contact_policy import Contact, ContactPolicy, Limit, QuietHours
from serving.decision import Decision
from serving.explanation import differences, explain, replay
from serving.reasons import Reason, Stage
from serving.rules import RuleBook, Rules

MONDAY = datetime(2026, 3, 2, 12, tzinfo=UTC)
FEATURES = ("purchases_365d", "returns_365d", "cart_1d", "state")
ALL = {
    "shoes@email",
    "shoes@web",
    "shoes@call",
    "coats@email",
    "coats@mail",
    "cart@web",
    "receipt@email",
}


def test_a_buyer_who_agreed_may_get_everything_but_the_cart_reminder(shop):
    decision = shop.decide(RandomEligible())
    assert shop.left(decision) == ALL - {"cart@web"}
    assert shop.why(decision) == {"cart@web": "no_scenario"}
    assert decision.probabilities == pytest.approx((1 / 7,) * 7)


@pytest.mark.parametrize(
    ("changes", "removed"),
    [
        ({"channel": "web"}, {name: "other_channel" for name in ALL if not name.endswith("@web")}),
        ({"placement": "inbox"}, dict.fromkeys(ALL - {"shoes@email"}, "other_placement")),
        ({"permission": Permission(())}, dict.fromkeys(ALL - {"receipt@email"}, "no_consent")),
        ({"permission": Permission((), (), "erased")}, dict.fromkeys(ALL, "suppressed")),
        ({"permission": None}, dict.fromkeys(ALL, "consent_unreadable")),
        (
            {"moment": datetime(2026, 1, 1, 12, tzinfo=UTC)},
            dict.fromkeys(("coats@email", "coats@mail"), "not_yet_valid"),
        ),
        (
            {"moment": datetime(2026, 4, 1, 12, tzinfo=UTC)},
            dict.fromkeys(("coats@email", "coats@mail"), "no_longer_valid"),
        ),
        ({"row": (0, 0, 0, "CA")}, {f"shoes@{channel}": "not_eligible" for channel in ("email", "web", "call")}),
        ({"row": (1, 0, 0, "TX")}, dict.fromkeys(("coats@email", "coats@mail"), "not_applicable")),
        ({"row": (1, 0, 0, None)}, dict.fromkeys(("coats@email", "coats@mail"), "not_applicable")),
        ({"row": (1, 4, 0, "CA")}, {f"shoes@{channel}": "not_suitable" for channel in ("email", "web", "call")}),
        ({"moment": datetime(2026, 3, 2, 20, tzinfo=UTC)}, {"shoes@call": "quiet_hours"}),
        (
            {"contacts": (Contact("coats", "mail", "marketing", MONDAY - timedelta(hours=2)),)},
            {f"shoes@{channel}": "excluded" for channel in ("email", "web", "call")}
            | dict.fromkeys(("coats@email", "coats@mail"), "cooldown"),
        ),
        (
            {"contacts": (Contact("gone", "call", "marketing", MONDAY - timedelta(days=29)),)},
            {"shoes@call": "limit_reached"},
        ),
        (
            {"contacts": (Contact("gone", "mail", "marketing", MONDAY - timedelta(days=1)),) * 2},
            dict.fromkeys(ALL - {"receipt@email", "cart@web"}, "limit_reached"),
        ),
    ],
)
def test_each_stage_removes_what_it_should_and_says_why(shop, changes, removed):
    decision = shop.decide(RandomEligible(), **changes)
    assert shop.why(decision) == {"cart@web": "no_scenario"} | removed
    assert shop.left(decision) == ALL - set(shop.why(decision))


def test_the_firing_scenario_of_highest_priority_is_recorded(shop):
    decision = shop.decide(Static(treatment="cart@web"), row=(1, 0, 1, "CA"))
    assert (decision.action, decision.scenario, decision.fired) == ("cart@web", "abandoned", ("abandoned", "any-cart"))


def test_permission_fails_closed_and_ranking_fails_open(shop):
    closed = shop.decide(Static(treatment="shoes@email"), permission=None)
    assert (closed.action, closed.source, closed.degraded) == ("nothing", "no_contact", True)
    open_ = shop.decide(OneToOne(), values=None)
    assert (open_.action, open_.source, open_.degraded) == ("shoes@email", "static", True)
    assert Reason(open_.reason) is Reason.STATIC_STANDS_IN


def test_the_static_contact_passes_the_same_checks(shop):
    second = shop.decide(OneToOne(), values=None, permission=Permission(("web:marketing",), ("email:marketing",)))
    assert (second.action, second.source) == ("shoes@web", "static")
    none = shop.decide(OneToOne(), values=None, row=(0, 0, 0, "CA"))
    assert (none.action, none.source, Reason(none.reason)) == ("nothing", "static", Reason.STATIC_NOT_LEFT)


def test_arms_that_do_not_rank_are_not_degraded_by_a_missing_model(shop):
    for policy in (
        Nothing(),
        RandomEligible(),
        Static(treatment="coats@email"),
        Bandit(beliefs=ArmBeliefs(prior=Beta())),
    ):
        decision = shop.decide(policy, values=None)
        assert (decision.source, decision.degraded) == ("policy", False)
    assert shop.decide(Nothing(), values=None).action == "nothing"


class _Broken:
    """A policy whose chances are no chances."""

    def __init__(self, *chances: float) -> None:
        self.chances = np.array(chances)

    def probabilities(self, choice: object) -> np.ndarray:
        return self.chances


@pytest.mark.parametrize("values", [np.full(8, np.nan), np.array([0.0] * 7 + [np.inf])])
def test_values_that_are_no_numbers_give_the_static_contact(shop, values):
    assert shop.decide(OneToOne(), values=values).source == "static"


@pytest.mark.parametrize("chances", [(0.5, 0.5), (np.nan,) * 7, (-1.0, 2.0, 0, 0, 0, 0, 0), (0.2,) * 7])
def test_a_policy_that_gives_no_probabilities_gives_way(shop, chances, monkeypatch):
    policy = Static(treatment="coats@email")
    monkeypatch.setattr(Static, "probabilities", _Broken(*chances).probabilities)
    assert shop.decide(policy).source == "static"


def test_features_that_could_not_be_read_make_no_one_eligible(shop):
    decision = shop.decide(OneToOne(), row=None, values=None)
    assert shop.left(decision) == {"receipt@email"}
    assert decision.action == "nothing"


def test_segments_and_clusters_reach_the_policies(shop):
    assert shop.decide(Segment(table={"young": "coats@mail"}), segment="young").action == "coats@mail"
    few = Few(
        names=("purchases_365d",),
        means=(0.0,),
        scales=(1.0,),
        centroids=((0.0,), (2.0,)),
        treatments=("nothing", "shoes@web"),
    )
    assert shop.decide(few).action == "shoes@web"


policies = st.sampled_from(
    [
        Nothing(),
        RandomEligible(),
        RandomEligible(nothing_share=0.5),
        Static(treatment="shoes@email"),
        OneToOne(floor=0.02),
        OneToOne(),
        Softmax(temperature=50.0, floor=0.01),
    ]
)
scopes = st.sets(st.sampled_from([f"{c}:{k}" for c in ("all", *CHANNELS) for k in CONTACT_CLASSES])).map(tuple)
contacts = st.lists(
    st.builds(
        Contact,
        st.sampled_from(["shoes", "coats", "cart", "gone"]),
        st.sampled_from(CHANNELS),
        st.sampled_from(CONTACT_CLASSES),
        st.integers(-40 * 24, 40 * 24).map(lambda hours: MONDAY + timedelta(hours=hours)),
    ),
    max_size=5,
)
rows = (
    st.tuples(st.integers(0, 3), st.integers(0, 6), st.integers(0, 1), st.sampled_from(["CA", "TX", None])) | st.none()
)
worths = st.lists(st.floats(-1e6, 1e6), min_size=8, max_size=8).map(np.array) | st.none()


@settings(max_examples=200, deadline=None)
@given(
    policy=policies,
    granted=scopes,
    refused=scopes,
    readable=st.booleans(),
    taken=contacts,
    row=rows,
    values=worths,
    hour=st.integers(0, 24 * 120),
    seed=st.text(max_size=5),
)
def test_what_always_holds(shop, policy, granted, refused, readable, taken, row, values, hour, seed):
    """Against rules written down once more, by hand and slowly: no candidate that must not be contacted is chosen."""
    moment = datetime(2026, 1, 15, tzinfo=UTC) + timedelta(hours=hour)
    permission = Permission(granted, refused) if readable else None
    decision = shop.decide(
        policy, permission=permission, contacts=tuple(taken), row=row, values=values, moment=moment, seed=seed
    )
    assert sum(decision.probabilities) == pytest.approx(1, abs=1e-9)
    assert decision.probability > 0
    assert (
        decision.probability
        == decision.probabilities[decision.survivors.index(shop.rules.actions.index(decision.action))]
    )
    removed = [place for _, places in decision.removed for place in places]
    assert sorted([*removed, *decision.survivors[1:]]) == list(range(1, len(shop.rules.actions)))
    for name in shop.left(decision):
        assert _may(name, granted, refused, taken, row or (None,) * 4, moment) and readable, name
    policy_again = replay(decision, rules=shop.rules, policy=policy)
    assert differences(decision, policy_again) == {}
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(decision), type=Decision)
    assert differences(stored, replay(stored, rules=shop.rules, policy=policy)) == {}
    told = explain(decision, shop.rules)
    assert {each.action for each in told.removed} | {each.action for each in told.surviving[1:]} == ALL


def _may(name, granted, refused, taken, row, moment):
    offer, _, channel = name.partition("@")
    kind = "service" if offer == "receipt" else "marketing"
    own, rest = f"{channel}:{kind}", f"all:{kind}"
    purchases, returns, cart, state = row

    def near(days, keep=lambda contact: True):
        return sum(1 for each in taken if abs(each.taken_at - moment) < timedelta(days=days) and keep(each))

    no = own in refused or (own not in granted and rest in refused)
    allowed = not no and (kind == "service" or own in granted or rest in granted)
    rules = {
        "shoes": purchases is not None and purchases >= 1 and returns is not None and returns <= 3,
        "coats": state in ("CA", "NY")
        and datetime(2026, 2, 1, tzinfo=UTC) <= moment < datetime(2026, 4, 1, tzinfo=UTC),
        "cart": cart is not None and cart >= 1,
        "receipt": True,
    }[offer]
    marketing = kind == "service" or near(7, lambda each: each.contact_class == "marketing") < 2
    calls = channel != "call" or near(30, lambda each: each.channel == "call") < 1
    cooled = near(3, lambda each: each.offer_id == offer) == 0
    other = {"shoes": "coats", "coats": "shoes"}.get(offer)
    apart = other is None or near(1, lambda each: each.offer_id == other) == 0
    berlin = (moment + timedelta(hours=2 if _summer(moment) else 1)).hour
    awake = channel != "call" or 8 <= berlin < 21
    return allowed and rules and marketing and calls and cooled and apart and awake


def _summer(moment):
    """Summer time of 2026 in Berlin: from the last Sunday of March, one o'clock UTC."""
    return moment >= datetime(2026, 3, 29, 1, tzinfo=UTC)


def test_a_company_names_its_own_channels(shop, monday):
    treatments = tuple(Content(channel=name) for name in ("sms", "push_app", "kiosk-2"))
    catalogue = Catalogue(offers=(Offer(offer_id="hi", title="Hi", treatments=treatments),))
    night = QuietHours(start=time(21), end=time(8), channels=("sms",))
    policy = ContactPolicy(limits=(Limit(count=0, window_days=1, channel="push_app"),), quiet_hours=night)
    own = type(shop)(Rules(RuleBook(catalogue=catalogue, contact_policy=policy, feature_names=FEATURES)))
    agreed = Permission(("all:marketing",), ("kiosk-2:marketing",))
    values = np.zeros(4)
    late = monday.replace(hour=22)
    decision = own.decide(RandomEligible(), permission=agreed, values=values, moment=late)
    assert own.why(decision) == {"hi@push_app": "limit_reached", "hi@kiosk-2": "opted_out", "hi@sms": "quiet_hours"}
    asked = own.decide(RandomEligible(), permission=agreed, values=values, channel="sms")
    assert own.left(asked) == {"hi@sms"}
    assert own.left(own.decide(RandomEligible(), permission=agreed, values=values, channel="fax")) == set()


@pytest.mark.parametrize(
    "policy",
    [
        ContactPolicy(limits=(Limit(count=1, window_days=7, channel="emial"),)),
        ContactPolicy(quiet_hours=QuietHours(start=time(21), end=time(8), channels=("call", "emial"))),
        ContactPolicy(without_consent=("emial",)),
    ],
)
def test_a_contact_policy_for_a_channel_without_offers_is_told(shop, policy):
    """A limit on a misspelt channel would hold back nothing."""
    with pytest.raises(InputError, match=r"contact policy: unknown channel 'emial'.*did you mean 'email'"):
        Rules(msgspec.structs.replace(shop.rules.book, contact_policy=policy))


def test_the_seed_decides_and_nothing_else(shop):
    drawn = [shop.decide(RandomEligible(), seed=f"s{number}").action for number in range(700)]
    assert [shop.decide(RandomEligible(), seed=f"s{number}").action for number in range(700)] == drawn
    # 7 actions with 1/7 each: 100 expected, standard deviation 9.3; five of them either way.
    assert all(abs(drawn.count(name) - 100) < 47 for name in {*drawn})
    assert len({*drawn}) == 7


def test_a_decision_id_stands_for_customer_moment_place_and_seed():
    ask = Ask(customer_id="anna", moment=MONDAY, seed="s")
    others = [
        Ask(customer_id="ben", moment=MONDAY, seed="s"),
        Ask(customer_id="anna", moment=MONDAY + timedelta(microseconds=1), seed="s"),
        Ask(customer_id="anna", moment=MONDAY, seed="t"),
        Ask(customer_id="anna", moment=MONDAY, seed="s", channel="web"),
        Ask(customer_id="anna", moment=MONDAY, seed="s", placement="web"),
    ]
    assert len({ask.decision_id, *(each.decision_id for each in others)}) == 6
    assert ask.decision_id == Ask(customer_id="anna", moment=MONDAY, seed="s", household_id="h").decision_id


def test_every_reason_has_one_code_one_sentence_and_a_stage():
    assert len({reason.code for reason in Reason}) == len({reason.sentence for reason in Reason}) == len(Reason)
    assert all(isinstance(reason.stage, Stage) and reason.sentence.endswith(".") for reason in Reason)


def test_rules_that_name_what_is_not_there_are_refused(shop):
    with pytest.raises(InputError, match=r"unknown treatment 'shoes@mial'.*did you mean 'shoes@"):
        raw = {
            "static": ["shoes@mial"],
            "offers": [{"offer_id": "shoes", "title": "S", "treatments": [{"channel": "mail"}]}],
        }
        from_toml(raw, Catalogue, where="offers.toml")
    with pytest.raises(InputError, match=r"offers.toml: the channel of a treatment.*'e mail'.*use letters"):
        raw = {"offers": [{"offer_id": "shoes", "title": "S", "treatments": [{"channel": "e mail"}]}]}
        from_toml(raw, Catalogue, where="offers.toml")
    book = msgspec.structs.replace(shop.rules.book, feature_names=("purchases_30d", "returns_365d", "cart_1d", "state"))
    with pytest.raises(InputError, match="did you mean 'purchases_30d'"):
        type(shop.rules)(book)
