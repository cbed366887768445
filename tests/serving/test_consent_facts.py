"""The customer's no: it stands until they take it back, in whatever order the facts arrive (promise B7)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.catalogue import CHANNELS, CONTACT_CLASSES
from serving.consent import ConsentFact, permission

START = datetime(2026, 1, 1, tzinfo=UTC)


def said(day: int, granted: bool, *, channel="all", kind="marketing", source="customer", purpose="contact"):
    return ConsentFact(channel, purpose, kind, granted, source, START + timedelta(days=day))


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
    ],
)
def test_what_facts_permit_by_email(facts, granted, refused):
    found = permission(facts)
    assert ("email:marketing" in found.granted, "email:marketing" in found.refused) == (granted, refused)


facts = st.lists(
    st.builds(
        said,
        st.integers(0, 6),
        st.booleans(),
        channel=st.sampled_from(("all", "email", "web")),
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
    for scope in set(before.refused) - set(after.refused):
        channel, kind = scope.split(":")
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
    every = permission([said(0, True, kind="all")]).granted
    assert len(every) == len(CHANNELS) * len(CONTACT_CLASSES)
