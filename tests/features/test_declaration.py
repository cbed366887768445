"""Declared features: names, fingerprints, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from features import CustomerFacts, Event, Feature, FeatureSet, InputError, standard_features
from features.feature import micros_of

VISITS = Feature(name="visits", where={"kind": "visit"}, windows=("30d", "7d"))


def test_columns_are_named_by_window_shortest_first() -> None:
    assert FeatureSet.of(VISITS).names == ("visits_7d", "visits_30d")
    assert micros_of("90m") == 90 * 60 * 1_000_000


def test_the_fingerprint_is_of_what_determines_the_values() -> None:
    def fingerprint(**change: object) -> str:
        return FeatureSet.of(
            Feature(**{"name": "v", "where": {"kind": "visit"}, "windows": ("7d",), **change})
        ).fingerprint

    assert fingerprint() == fingerprint(meaning="visits", unit="times", where={"kind": ("visit",)})
    others = [
        {"name": "w"},
        {"where": {"kind": "cart"}},
        {"where": {}},
        {"windows": ("8d",)},
        {"aggregate": "distinct", "of": "item"},
        {"scope": "household"},
    ]
    assert len({fingerprint(), *(fingerprint(**each) for each in others)}) == 7
    assert len(fingerprint()) == 64
    # Published: a bundle trained yesterday must load tomorrow.
    assert fingerprint() == "31e5d49b66cdd3da87b38ff9d70ee86c0648b6c5bf7473949be92b47690639fe"


def test_selected_columns_keep_their_values() -> None:
    now = datetime(2024, 5, 1, tzinfo=UTC)
    moment = now - timedelta(days=10)
    facts = CustomerFacts(customer_id="a", events=(Event("e", "a", "visit", moment, moment),))
    chosen = FeatureSet.of(VISITS).select(["visits_30d"])
    assert chosen.online(facts, now) == {"visits_30d": 1}
    assert chosen.online(facts, now.replace(tzinfo=None)) == {"visits_30d": 1}


def test_standard_features_have_a_size_and_a_meaning() -> None:
    features = standard_features(
        channels=("web", "email", "mail", "call", "store"), categories=("shoes", "Home & Garden")
    )
    assert 80 <= len(features.names) <= 100  # every column is computed for every row: their number is a cost
    assert {"purchases_30d", "spend_90d", "interest_home_garden_30d", "contacts_email_30d", "tenure"} <= set(
        features.names
    )
    assert all(each.feature.meaning and (each.unit or each.type == pa.string()) for each in features.columns)


def test_a_company_says_more_of_itself_and_chooses_groups() -> None:
    names = standard_features(
        brands=("Acme",),
        offers=("shoes-10",),
        reasons=("Complaint",),
        groups=("affinities", "reactions", "service", "household"),
    ).names
    assert {"purchases_brand_acme_365d", "redeemed_shoes_10_365d", "calls_complaint_90d"} <= set(names)
    assert {"household_spend_365d", "household_size"} <= set(names) and "visits_7d" not in names
    assert "household_spend_365d" not in standard_features().names
    with pytest.raises(InputError, match="did you mean 'recency'"):
        standard_features(groups=("recent",))


def test_parts_of_the_day_follow_the_companys_clock() -> None:
    def hours(ahead: int) -> set[str]:
        features = {each.feature.name: each.feature for each in standard_features(hours_from_utc=ahead).columns}
        return set(features["active_morning"].filters["hour"])

    assert hours(0) == {"6", "7", "8", "9", "10", "11"}
    assert hours(1) == {"5", "6", "7", "8", "9", "10"}  # six o'clock in Berlin is five o'clock UTC
    assert hours(-8) == {"14", "15", "16", "17", "18", "19"}


@pytest.mark.parametrize(
    ("declared", "wrong"),
    [
        ({"name": "Visits"}, "must be lower case"),
        ({"name": "v", "windows": ["7 days"]}, "a window must be"),
        ({"name": "v", "where": {"chanel": "web"}}, "did you mean 'channel'"),
        ({"name": "v", "aggregate": "sum", "of": "item"}, "can't be a sum"),
        ({"name": "v", "aggregate": "sum"}, "can't be a sum"),
        ({"name": "v", "of": "amount"}, "can't be a count"),
        ({"name": "v", "aggregate": "latest", "of": "age", "windows": ["7d"]}, "latest value of a profile attribute"),
        (
            {"name": "v", "aggregate": "latest", "of": "age", "scope": "household"},
            "latest value of a profile attribute",
        ),
        ({"name": "v", "aggregate": "most_common", "of": "channel"}, "among which values"),
        ({"name": "v", "where": {"hour": ["24"]}}, "an hour that is none"),
        ({"name": "v", "where": {"kind": []}}, "counts no event"),
        ({"name": "v", "scope": "street"}, "declared wrongly"),
        ({"name": "v", "aggregate": "distnct"}, "did you mean 'distinct'"),
        ({"name": "v", "where": "visit"}, "declared wrongly"),
        ({"name": "v", "colour": "red"}, "unknown key"),
    ],
)
def test_a_wrong_declaration_is_told(declared: dict[str, object], wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        FeatureSet.from_config([declared])


def test_one_window_needs_no_list() -> None:
    assert FeatureSet.from_config([{"name": "v", "windows": "7d"}]).names == ("v_7d",)


def test_two_features_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="same name"):
        FeatureSet.of(VISITS) + FeatureSet.of(VISITS)
    with pytest.raises(InputError, match="same name"):
        FeatureSet.of(VISITS, Feature(name="visits", where={"kind": "cart"}, windows=("1d",)))
    with pytest.raises(InputError, match="did you mean 'visits_7d'"):
        FeatureSet.of(VISITS).select(["visits_8d"])
