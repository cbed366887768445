"""The customer's no: it stands until they take it back, in whatever order the facts arrive (promise B7)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.catalogue import CONTACT_CLASSES
from serving.consent import ConsentFact, Permission, permission

START = datetime(2026, 1, 1, tzinfo=UTC)


def said(day: int, granted: bool, *, channel="all", kind="marketing", source="customer", purpose="contact"):
    return ConsentFact(channel, purpose, kind, granted, source, START + timedelta(days=day))


def verdict(told: Permission, channel: str, kind: str = "marketing") -> tuple[bool, bool]:
    """Whether a channel has a standing yes, and a standing no: by its own name, else by what holds for the rest."""
    own, rest = f"{channel}:{kind}", f"all:{kind}"
    named = own in (*told.granted, *told.refused)
    return (own if named else rest) in told.granted, (own if named else rest) in told.refused


@pytest.mark.parametrize(
    ("facts", "granted", "refused"),
    [
        ((), False, False),
        ((said(0, True),), True, False),
        ((said(0, True, purpose="research"),), False, False),
        ((said(0, False, purpose="research"),), False, True),
        ((said(0, True), said(1, False, channel="email")), False, True),
        ((said(0, False), said(1, True, channel="email")), True, False),
        ((said(0, False), said(1, True, channel="web")), False, True),
        ((said(0, False, channel="email"), said(1, True)), False, True),
        ((said(0, False, channel="email"), said(1, True, channel="email", source="import")), False, True),
        ((said(0, False, channel="email"), said(1, True, channel="email", source="agent")), True, False),
        ((said(1, False, channel="email"), said(1, True, channel="email")), False, True),
        ((said(2, False, kind="all"), said(3, True, channel="email")), True, False),
        ((said(2, False, kind="service"), said(1, True, channel="email")), True, False),
        ((said(1, True), said(2, False, channel="E-mail")), True, False),
        ((said(1, True), said(2, False, channel="EMAIL")), False, True),
        ((said(1, True), said(2, False, channel="kiosk")), True, False),
    ],
)
def test_what_facts_permit_by_email(facts, granted, refused):
    assert verdict(permission(facts), "email") == (granted, refused)


def test_a_no_may_name_a_channel_that_no_offer_has():
    told = permission([said(0, True), said(1, False, channel="kiosk")])
    assert verdict(told, "kiosk") == (False, True)
    assert verdict(told, "app") == (True, False)
    assert verdict(permission([said(1, False)]), "invented-tomorrow") == (False, True)


facts = st.lists(
    st.builds(
        said,
        st.integers(0, 6),
        st.booleans(),
        channel=st.sampled_from(("all", "email", "web", "Web", "kiosk")),
        kind=st.sampled_from(("all", *CONTACT_CLASSES)),
        source=st.sampled_from(("customer", "agent", "import")),
        purpose=st.sampled_from(("contact", "research")),
    ),
    max_size=6,
)


@settings(max_examples=300, deadline=None)
@given(facts=facts, data=st.data())
def test_order_and_repeats_make_no_difference(facts, data):
    delivered = data.draw(
        st.permutations(facts + data.draw(st.lists(st.sampled_from(facts)) if facts else st.just([])))
    )
    assert permission(delivered) == permission(facts)


@settings(max_examples=300, deadline=None)
@given(facts=facts, more=facts)
def test_a_no_falls_only_to_a_later_yes_of_the_customer_that_names_it(facts, more):
    """Told once more: of two sets of facts the larger one refuses less only where such a yes is among the new ones."""
    before, after = permission(facts), permission(facts + more)
    for channel, kind in product(("email", "web", "kiosk", "app"), CONTACT_CLASSES):
        if not verdict(before, channel, kind)[1] or verdict(after, channel, kind)[1]:
            continue
        nos = [each for each in facts if not each.granted and each.covers(channel, kind)]
        assert any(
            each.granted
            and each.source != "import"
            and each.covers(channel, kind)
            and each.occurred_at > no.occurred_at
            for each in more
            for no in nos
        )
    assert not set(after.granted) & set(after.refused)


def test_nothing_is_permitted_by_silence():
    assert permission([]) == permission([said(0, True, purpose="research")])
    assert permission([]).granted == ()
    assert permission([said(0, True, kind="all")]).granted == ("all:marketing", "all:service")


@settings(max_examples=300, deadline=None)
@given(facts=facts)
def test_what_holds_for_the_rest_holds_for_each_channel_of_it(facts):
    """Against the rule written down once more, channel by channel, for channels that were named and some that never."""
    told = permission(facts)
    for channel, kind in product(("email", "web", "kiosk", "app"), CONTACT_CLASSES):
        about = [each for each in facts if each.covers(channel, kind)]
        yes = [each for each in about if each.granted and each.purpose == "contact"]

        def lifted(no, channel=channel, kind=kind, yes=yes):
            return any(
                each.source != "import"
                and each.occurred_at > no.occurred_at
                and (each.channel.lower() == channel or no.channel == "all")
                and (each.contact_class == kind or no.contact_class == "all")
                for each in yes
            )

        refused = not all(each.granted or lifted(each) for each in about)
        assert verdict(told, channel, kind) == (bool(yes) and not refused, refused)
