"""Features of a household need the word of all who live there, computed for many rows or served for one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features import EVENTS, Feature, FeatureSet, History
from features.facts import CONSENTS, MEMBERS
from features.privacy.purposes import Purposes, Said, masked, standing
from serving.consent import ConsentFact
from serving.masking import Masking
from serving.people import LinkedAccounts

START = datetime(2024, 5, 1, tzinfo=UTC)
NOW = START + timedelta(days=9)
HOME = Feature(name="home", where={"kind": "purchase"}, windows=("30d",), scope="household")
FEATURES = FeatureSet.of(
    Feature(name="bought", where={"kind": "purchase"}, windows=("30d",)),
    HOME,
    Feature(name="home_debts", where={"kind": "dunning"}, scope="household", purpose="credit"),
)
PURPOSES = Purposes(basis={"personalization": "assumed", "credit": "asked"})
ACCOUNTS = ("anna", "anna-2", "ben", "cleo", "maybe-ben")
GROUPS = {
    "household": ("anna", "anna-2", "ben"),
    "personalize": ("anna", "anna-2"),
    "suppress": ("anna", "anna-2"),
}
MEMBER_ROWS = [(strength, each, "anna", START, None) for strength, group in GROUPS.items() for each in group]
MEMBER_ROWS += [("suppress", each, "ben", START, None) for each in ("ben", "maybe-ben")]
#: Whose word counts for the person of an account, and for everybody who is counted in the household.
PERSON = {"anna": {"anna", "anna-2"}, "anna-2": {"anna", "anna-2"}, "ben": {"ben", "maybe-ben"}, "cleo": {"cleo"}}
LIVES = {"anna": ("anna", "ben"), "anna-2": ("anna", "ben"), "ben": ("anna", "anna-2", "ben"), "cleo": ("cleo",)}


def lived(folder: Path, words: list[tuple[str, str, bool, int]]) -> History:
    history = History(folder)
    bought = [
        {"event_id": each, "customer_id": each, "kind": "purchase", "occurred_at": START, "recorded_at": START}
        for each in ACCOUNTS
    ]
    history.append(pa.Table.from_pylist(bought, schema=EVENTS), part="till")
    history.append_consents(pa.Table.from_pylist([told(*each) for each in words], schema=CONSENTS), part="said")
    (folder / "members").mkdir()
    rows = [dict(zip(MEMBERS.names, row, strict=True)) for row in MEMBER_ROWS]
    pq.write_table(pa.Table.from_pylist(rows, schema=MEMBERS), folder / "members" / "all.parquet")
    return history


def told(customer: str, purpose: str, granted: bool, number: int) -> dict[str, object]:
    moment = START + timedelta(days=number)
    word = {"channel": "all", "contact_class": "all", "said_by": "customer", "wording": ""}
    return word | {
        "customer_id": customer,
        "purpose": purpose,
        "granted": granted,
        "occurred_at": moment,
        "recorded_at": moment,
    }


def refuses(words: list[tuple[str, str, bool, int]], customer: str, purpose: str, *, assumed: bool) -> bool:
    """Whether what is known of a person may not be used, from all that was said on an account that may be theirs."""
    said = [
        Said(purpose, granted, "customer", START + timedelta(days=number), account_id=who, own=who != "maybe-ben")
        for who, what, granted, number in words
        if who in PERSON[customer] and what == purpose
    ]
    return not standing(said).get(purpose, assumed)


words_said = st.lists(
    st.tuples(
        st.sampled_from(ACCOUNTS), st.sampled_from(["personalization", "credit"]), st.booleans(), st.integers(1, 5)
    ),
    max_size=8,
    unique_by=lambda each: (each[0], each[1], each[3]),
)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(words=words_said)
def test_who_refuses_is_counted_for_nobody(words: list[tuple[str, str, bool, int]]) -> None:
    spine = pa.table({"customer_id": list(PERSON), "as_of": pa.array([NOW] * len(PERSON))})
    with TemporaryDirectory() as folder:
        history = lived(Path(folder), words)
        computed = FEATURES.offline(history, spine)
        offline = masked(computed, FEATURES, history, purposes=PURPOSES)
        facts: dict[str, list[ConsentFact]] = {}
        for row in history.consents().to_pylist():
            fact = ConsentFact("all", row["purpose"], "all", row["granted"], "customer", row["occurred_at"])
            facts.setdefault(row["customer_id"], []).append(fact)
        people = LinkedAccounts(history)
        served, _ = Masking(FEATURES, PURPOSES).masked(computed, people=people, said=facts)
    expected = [
        {
            "bought_30d": None
            if refuses(words, who, "personalization", assumed=True)
            else len(PERSON[who] - {"maybe-ben"}),
            "home_30d": None
            if any(refuses(words, each, "personalization", assumed=True) for each in LIVES[who])
            else {"cleo": 1}.get(who, 3),
            "home_debts": None if any(refuses(words, each, "credit", assumed=False) for each in LIVES[who]) else 0,
        }
        for who in PERSON
    ]
    assert offline.select(FEATURES.names).to_pylist() == expected
    assert served.select(FEATURES.names).to_pylist() == expected


def test_a_no_hides_purchases_of_the_day_they_were_counted_and_of_the_day_they_are_used(tmp_path: Path) -> None:
    history = lived(tmp_path, [("ben", "personalization", False, 5)])
    before = START + timedelta(days=3)
    spine = pa.table({"customer_id": ["anna", "anna"], "as_of": pa.array([before, NOW])})
    computed = FEATURES.offline(history, spine)
    as_known = masked(computed, FEATURES, history, purposes=PURPOSES)
    assert as_known["home_30d"].to_pylist() == [3, None]
    used = masked(computed, FEATURES, history, purposes=PURPOSES, used_at=NOW)
    assert used["home_30d"].to_pylist() == [None, None]
    assert used["bought_30d"].to_pylist() == [2, 2]
