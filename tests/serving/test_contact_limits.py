"""Limits roll, quiet hours follow the customer's clock, offers that exclude each other stay apart."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest

from experiments.policies import RandomEligible
from features.errors import InputError
from serving.catalogue import Catalogue, Content, Offer, from_toml
from serving.contact_policy import Contact, ContactPolicy, Exclusion, QuietHours
from serving.rules import RuleBook, Rules
from serving.scenarios import Scenarios

NIGHT = QuietHours(start=time(21), end=time(8), channels=("call",), time_zones=("America/New_York", "Asia/Tokyo"))


def test_a_limit_counts_any_window_and_no_calendar(shop, monday):
    """A greedy sender who tries every hour for eight weeks never gets more than two into any seven days."""
    sent: list[Contact] = []
    for hour in range(24 * 56):
        moment = monday + timedelta(hours=hour)
        decision = shop.decide(RandomEligible(nothing_share=0.0), moment=moment, contacts=tuple(sent), seed=str(hour))
        if decision.contact_class == "marketing":
            sent.append(decision.contact)
    times = [each.taken_at for each in sent]
    week = timedelta(days=7)
    assert max(sum(1 for other in times if each <= other < each + week) for each in times) == 2
    # The limit is used up, not merely kept: two a week over eight weeks.
    assert len(times) == 16
    calls = [each.taken_at for each in sent if each.channel == "call"]
    assert all(later - earlier >= timedelta(days=30) for earlier, later in pairwise(calls))


@pytest.mark.parametrize(
    "name", ["Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia", "UTC"]
)
def test_no_minute_around_clock_changes_is_inside_the_quiet_hours(name):
    """Every minute of the days around each clock change of two years, by the wall clock of the zone (promise B5)."""
    zone = ZoneInfo(name)
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    days = [begin + timedelta(days=day) for day in range(731)]
    offsets = [day.astimezone(zone).utcoffset() for day in days]
    changes = [day for day, one, other in zip(days, offsets, offsets[1:], strict=False) if one != other] or days[:2]
    for change in changes:
        for minute in range(-24 * 60, 48 * 60):
            moment = change + timedelta(minutes=minute)
            clock = moment.astimezone(zone)
            inside = clock.hour >= 21 or clock.hour < 8
            assert NIGHT.quiet(moment, name) is inside


@pytest.mark.parametrize("unknown", [None, "", "Mars/Olympus", "Europe", "../etc/passwd", "x" * 300, "a\0b"])
def test_without_a_known_zone_it_must_be_day_in_every_plausible_one(unknown):
    quiet = {hour: NIGHT.quiet(datetime(2026, 7, 1, hour, tzinfo=UTC), unknown) for hour in range(24)}
    # New York is awake from 12 to 1 UTC, Tokyo from 23 to 12: both only from 23 to 1.
    assert [hour for hour, each in quiet.items() if not each] == [0, 23]


def test_quiet_hours_within_one_day():
    siesta = QuietHours(start=time(13), end=time(15), channels=("call",))
    assert [hour for hour in range(24) if siesta.quiet(datetime(2026, 7, 1, hour, tzinfo=UTC))] == [13, 14]


def test_service_messages_may_come_at_night(shop):
    night = datetime(2026, 3, 2, 23, tzinfo=UTC)
    assert "receipt@email" in shop.left(shop.decide(RandomEligible(), moment=night))


def test_a_planned_contact_holds_its_slot(shop, monday):
    planned = (Contact("gone", "call", "marketing", monday + timedelta(days=20)),)
    assert shop.why(shop.decide(RandomEligible(), contacts=planned))["shoes@call"] == "limit_reached"


@pytest.mark.parametrize(
    ("kind", "raw", "said"),
    [
        (Catalogue, {"offers": [{"offer_id": "a b", "title": "A"}]}, "offer_id is not an id"),
        (Catalogue, {"offers": [{"offer_id": "a", "title": "A"}] * 2}, "offer ids repeat"),
        (Catalogue, {"offers": [{"offer_id": "a", "title": "A", "valid_from": datetime(2026, 1, 1)}]}, "no time zone"),
        (Catalogue, {"offers": [{"offer_id": "a", "title": "A", "elegibility": []}]}, "unknown field"),
        (Catalogue, {"offers": [{"offer_id": "a", "title": "A", "discount_cents": -1}]}, "negative"),
        (
            Catalogue,
            {"offers": [{"offer_id": "a", "title": "A", "eligibility": [{"feature": "x"}]}]},
            "exactly one comparison",
        ),
        (
            Catalogue,
            {"offers": [{"offer_id": "a", "title": "A", "treatments": [{"channel": "web"}] * 2}]},
            "two treatments on one channel",
        ),
        (ContactPolicy, {"limits": [{"count": 1, "window_days": 0}]}, "makes no sense"),
        (
            ContactPolicy,
            {"quiet_hours": {"start": time(1), "end": time(2), "channels": [], "time_zones": ["Mars"]}},
            "'Mars'",
        ),
        (Scenarios, {"scenarios": [{"scenario_id": "a", "title": "A", "owner": "Ada"}]}, "lists no treatment"),
    ],
)
def test_mistakes_in_the_files_are_told(kind, raw, said):
    with pytest.raises(InputError) as caught:
        from_toml(raw, kind, where="the file")
    assert said in str(caught.value)
    assert "the file" in caught.value.wrong


def test_an_exclusion_of_an_unknown_offer_is_told(shop):
    policy = ContactPolicy(exclusions=(Exclusion(offer="shoes", other="coat", days=1),))
    book = msgspec.structs.replace(shop.rules.book, contact_policy=policy)
    with pytest.raises(InputError, match="did you mean 'coats'"):
        type(shop.rules)(book)


def test_a_set_of_treatments_keeps_its_order():
    offers = tuple(Offer(offer_id=f"o{n}", title="O", treatments=(Content(channel="web"),)) for n in range(70))
    rules = Rules(RuleBook(catalogue=Catalogue(offers=offers)))
    left = (1 << 69) | (1 << 64) | 1
    assert rules.survivors(left).names == ("nothing", "o0@web", "o64@web", "o69@web")
    assert np.array_equal(rules.survivors(left).index, [0, 1, 65, 70])


@pytest.mark.parametrize("days", [float("nan"), float("inf"), 1e300, 1e12, -5.0])
def test_days_that_mean_nothing_are_refused(days):
    with pytest.raises(InputError, match="make no sense"):
        ContactPolicy(cooldown_days=days)
    with pytest.raises(InputError, match="make no sense"):
        from_toml(
            {"exclusions": [{"offer": "a", "other": "b", "days": days}]}, ContactPolicy, where="contact_policy.toml"
        )
