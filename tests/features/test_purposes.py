"""What may be used: the customer's word in memory and in the history, and masks that let nothing through (B10)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features import Feature, FeatureSet, History, InputError
from features.facts import CONSENTS, MEMBERS
from features.privacy.purposes import PurposeMask, Purposes, Said, masked, standing

START = datetime(2026, 1, 1, tzinfo=UTC)
FEATURES = FeatureSet.of(
    Feature(name="visits"),
    Feature(name="tests", sensitive=True),
    Feature(name="age", aggregate="latest", of="age", purpose="profile"),
    Feature(name="debts", purpose="credit"),
)
PURPOSES = Purposes(basis={"personalization": "assumed", "profile": "assumed"})
VALUES = {"visits": 3, "tests": 2, "age": "41", "debts": 7}


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def said(granted: bool, number: float, *, purpose: str = "personalization", **change: object) -> Said:
    return Said(**{"purpose": purpose, "granted": granted, "said_by": "customer", "occurred_at": day(number), **change})


def names(mask: frozenset[int]) -> set[str]:
    return {FEATURES.names[place] for place in mask}


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ([], None),
        ([said(True, 1)], True),
        ([said(False, 1)], False),
        ([said(False, 1), said(True, 2)], True),
        ([said(True, 2), said(False, 2)], False),
        ([said(False, 1), said(True, 2, said_by="import")], False),
        ([said(False, 1), said(True, 2, said_by="agent")], True),
        ([said(True, 1, said_by="import")], True),
        ([said(False, 1, channel="email"), said(True, 2)], False),
        ([said(False, 1, channel="email"), said(True, 2, channel="Email")], None),
        ([said(True, 1, channel="email")], None),
        ([said(True, 1, contact_class="marketing")], True),
        ([said(True, 1, contact_class="service")], None),
        ([said(False, 1), said(True, 2, contact_class="marketing")], False),
        ([said(False, 1, contact_class="service"), said(True, 2, contact_class="service")], None),
        ([said(True, 1, own=False, account_id="b")], None),
        ([said(False, 1, own=False, account_id="b")], False),
        ([said(False, 1, own=False, account_id="b"), said(True, 2, own=False, account_id="c")], False),
        ([said(False, 1, own=False, account_id="b"), said(True, 2, own=False, account_id="b")], None),
        ([said(False, 1, own=False, account_id="b"), said(True, 2)], True),
    ],
)
def test_a_no_stands_until_the_customers_own_later_yes(facts: list[Said], word: bool | None) -> None:
    assert standing(facts).get("personalization") is word
    assert standing(reversed(facts)).get("personalization") is word


def test_what_is_sensitive_or_unnamed_is_asked_for() -> None:
    mask = PurposeMask(FEATURES, PURPOSES)
    assert names(mask.of([])) == {"tests", "debts"}
    assert names(mask.of([said(True, 1)])) == {"debts"}
    assert names(mask.of([said(False, 1)])) == {"visits", "tests", "debts"}
    assert names(mask.of([said(False, 1, purpose="contact")])) == {"tests", "debts"}
    assert mask.apply(tuple(VALUES.values()), mask.of([said(False, 1)])) == (None, None, "41", None)


@pytest.mark.parametrize(
    ("table", "wrong"),
    [
        ({"profile": "presumed"}, "neither assumed nor asked for"),
        ({"profile": ["asked"]}, "neither assumed nor asked for"),
        ({"contact": "asked"}, "a name that it can't have"),
        ({"P R": "asked"}, "a name that it can't have"),
    ],
)
def test_wrong_purposes_are_told(table: dict[str, object], wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        Purposes.from_config(table)


def test_a_purpose_that_nobody_named_is_told() -> None:
    with pytest.raises(InputError, match="did you mean 'profile'"):
        PURPOSES.require(FeatureSet.of(Feature(name="age", purpose="profil")))
    with pytest.raises(InputError, match='credit = "asked"'):
        PURPOSES.require(FEATURES)


def test_a_project_may_ask_for_personalization_too() -> None:
    assert Purposes.from_config({}).basis == {"personalization": "assumed"}
    assert Purposes.from_config({"personalization": "asked"}).basis == {"personalization": "asked"}


accounts = st.sampled_from(["anna", "anna-2", "weak", "ben"])
facts = st.builds(
    lambda customer, purpose, granted, by, channel, kind, occurred, late: {
        "customer_id": customer,
        "channel": channel,
        "purpose": purpose,
        "contact_class": kind,
        "granted": granted,
        "said_by": by,
        "occurred_at": day(occurred),
        "recorded_at": day(occurred + late),
    },
    accounts,
    st.sampled_from(["personalization", "profile", "credit", "contact"]),
    st.booleans(),
    st.sampled_from(["customer", "agent", "import"]),
    st.sampled_from(["all", "all", "email", "ALL"]),
    st.sampled_from(["all", "all", "marketing", "service"]),
    st.integers(0, 6),
    st.sampled_from([0, 0, 2]),
)

#: anna and anna-2 are one person from day 2 on, weak is thought the same as anna on days 1 to 4.
MEMBER_ROWS = [
    ("personalize", "anna", "anna", day(2), None),
    ("personalize", "anna-2", "anna", day(2), None),
    ("suppress", "anna", "anna", day(1), day(4)),
    ("suppress", "weak", "anna", day(1), day(4)),
    ("suppress", "anna", "anna", day(4), None),
    ("suppress", "anna-2", "anna", day(4), None),
]


def linked(customer: str, moment: datetime) -> dict[str, bool]:
    """The accounts of a customer at a moment, and whether they are their own, by hand."""
    found = {customer: True}
    for strength in ("suppress", "personalize"):
        known = [
            row for row in MEMBER_ROWS if row[0] == strength and row[3] < moment and (not row[4] or moment <= row[4])
        ]
        if customer in {row[1] for row in known}:
            for row in known:
                found[row[1]] = found.get(row[1], False) or strength == "personalize"
    return found


def history_with(folder: Path, rows: list[dict[str, object]]) -> History:
    history = History(folder)
    history.append_consents(pa.Table.from_pylist(rows, schema=CONSENTS), part="all")
    (folder / "members").mkdir()
    members = [dict(zip(MEMBERS.names, row, strict=True)) for row in MEMBER_ROWS]
    pq.write_table(pa.Table.from_pylist(members, schema=MEMBERS), folder / "members" / "all.parquet")
    return history


def told(rows: list[dict[str, object]], customer: str, moment: datetime) -> list[Said]:
    own = linked(customer, moment)
    return [
        Said(
            purpose=row["purpose"],
            granted=row["granted"],
            said_by=row["said_by"],
            occurred_at=row["occurred_at"],
            channel=row["channel"],
            contact_class=row["contact_class"],
            account_id=row["customer_id"],
            own=own[row["customer_id"]],
        )
        for row in rows
        if row["customer_id"] in own and row["occurred_at"] < moment and row["recorded_at"] < moment
    ]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(facts, max_size=12),
    spine=st.lists(st.tuples(accounts, st.integers(0, 8)), min_size=1, max_size=6),
    used=st.none() | st.integers(0, 9),
)
def test_many_rows_are_masked_as_each_by_itself(
    rows: list[dict[str, object]], spine: list[tuple[str, int]], used: int | None
) -> None:
    table = pa.table(
        {
            "customer_id": [customer for customer, _ in spine],
            "as_of": pa.array([day(number) for _, number in spine], pa.timestamp("us", tz="UTC")),
            **{name: [value] * len(spine) for name, value in VALUES.items()},
        }
    )
    used_at = None if used is None else day(used)
    with TemporaryDirectory() as folder:
        history = history_with(Path(folder), rows)
        kept = history.consents().to_pylist()  # a repeat of the same word is one fact
        found = masked(table, FEATURES, history, purposes=PURPOSES, used_at=used_at)
    mask = PurposeMask(FEATURES, PURPOSES)
    expected = []
    for customer, number in spine:
        hidden = mask.of(told(kept, customer, day(number)))
        if used_at is not None:
            hidden |= mask.of(told(kept, customer, used_at))
        expected.append(mask.apply(tuple(VALUES.values()), hidden))
    assert [tuple(row.values()) for row in found.select(FEATURES.names).to_pylist()] == expected
    assert found.schema.equals(table.schema)


@settings(max_examples=50, deadline=None)
@given(
    words=st.lists(
        st.builds(
            said, st.booleans(), st.integers(0, 5), purpose=st.sampled_from(["personalization", "profile", "credit"])
        )
    ),
    other=st.integers(),
)
def test_no_masked_value_is_seen(words: list[Said], other: int) -> None:
    """B10: changing any value whose purpose is not granted changes nothing of what is left."""
    mask = PurposeMask(FEATURES, PURPOSES)
    hidden = mask.of(words)
    row = tuple(VALUES.values())
    changed = tuple(other if place in hidden else value for place, value in enumerate(row))
    assert mask.apply(row, hidden) == mask.apply(changed, hidden)
    allowed = standing(words)
    for place, column in enumerate(FEATURES.columns):
        if allowed.get(column.feature.purpose) is False:
            assert place in hidden
