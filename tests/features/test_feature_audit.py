"""The audits pass on what is right, and see what is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from features import EVENTS, PROFILE, Feature, FeatureSet, History, InputError, standard_features
from features.audit import leakage, parity
from features.facts import MEMBERS
from features.library import GROUPS
from features.samples import customers_of, facts_of, moments_of

TIMES = ("occurred_at", "recorded_at")

FEATURES = standard_features(channels=("web", "email"), categories=("shoes",), groups=GROUPS) + FeatureSet.of(
    Feature(name="age", aggregate="latest", of="age", integer=True)
)


@pytest.fixture
def history(tmp_path: Path) -> History:
    rng = np.random.default_rng(11)
    count = 3_000
    occurred = rng.integers(0, 200 * 86_400, count) * 1_000_000
    recorded = occurred + rng.choice([0, 3_600, 3 * 86_400], count) * 1_000_000
    times = {
        "occurred_at": pa.array(occurred, pa.timestamp("us", tz="UTC")),
        "recorded_at": pa.array(recorded, pa.timestamp("us", tz="UTC")),
    }
    customers = [f"c{number}" for number in rng.integers(0, 50, count)]
    kinds = rng.choice(["visit", "cart", "purchase", "contact", "open", "click"], count)
    table = {"event_id": [f"e{place}" for place in range(count)], "customer_id": customers, "kind": kinds, **times}
    table |= {"channel": rng.choice(["web", "email"], count), "category": rng.choice(["shoes", "toys"], count)}
    history = History(tmp_path)
    history.append(pa.table({**table, "amount": rng.integers(0, 9_999, count)}), part="all")
    ages = rng.integers(20, 80, count).astype(str)
    history.append_profile(
        pa.table({"customer_id": customers, "attribute": ["age"] * count, "value": ages, **times}), part="all"
    )
    (tmp_path / "members").mkdir()
    pq.write_table(pa.Table.from_pylist(members(), schema=MEMBERS), tmp_path / "members" / "all.parquet")
    return history


def members() -> list[dict[str, object]]:
    """Every fifth customer is one person with the next from day 80 on; ten live together until day 120."""
    rows = [
        ("personalize", f"c{each + more}", f"c{each}", day(80), None) for each in range(0, 50, 5) for more in (0, 1)
    ]
    rows += [("household", f"c{each}", "c0", day(1), day(120)) for each in range(10)]
    return [dict(zip(MEMBERS.names, row, strict=True)) for row in rows]


def day(number: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=number)


@pytest.fixture
def spine(history: History) -> pa.Table:
    # Moments at which something happened: where a leak at the boundary shows.
    facts = history.events().sort_by("event_id").slice(0, 300)
    return pa.table({"customer_id": facts["customer_id"], "as_of": facts["occurred_at"]})


def test_our_features_pass_both_audits(history: History, spine: pa.Table) -> None:
    rng = np.random.default_rng(1)
    for audit in (parity, leakage):
        found = audit(FEATURES, history, spine, rng=rng, rows=60)
        assert (found.rows, found.values, found.differences) == (60, 60 * len(FEATURES.names), ())


def test_the_audit_sees_an_event_at_the_very_moment(history: History, spine: pa.Table) -> None:
    def up_to_and_including(past: History, rows: pa.Table) -> pa.Table:
        later = pa.array(pc.cast(rows["as_of"], pa.int64()).to_numpy() + 1, pa.timestamp("us", tz="UTC"))
        return FEATURES.offline(past, rows.set_column(1, "as_of", later))

    found = leakage(FEATURES, history, spine, rng=np.random.default_rng(1), rows=60, compute=up_to_and_including)
    assert not found.passed


def test_the_audit_sees_what_was_recorded_later(history: History, spine: pa.Table, tmp_path: Path) -> None:
    folders = iter(range(10))

    def by_occurrence_only(past: History, rows: pa.Table) -> pa.Table:
        dated = History(tmp_path / f"dated{next(folders)}")
        for read, append in ((past.events(), dated.append), (past.profile(), dated.append_profile)):
            place = read.column_names.index("recorded_at")
            append(read.set_column(place, "recorded_at", read["occurred_at"]), part="all")
        return FEATURES.offline(dated, rows)

    found = leakage(FEATURES, history, spine, rng=np.random.default_rng(1), rows=60, compute=by_occurrence_only)
    assert not found.passed
    assert found.differences[0].feature in FEATURES.names


def test_the_audit_sees_a_link_that_was_found_later(history: History, spine: pa.Table, tmp_path: Path) -> None:
    def linked_for_ever(past: History, rows: pa.Table) -> pa.Table:
        path = next((past.folder / "members").glob("*.parquet"))
        links = pq.read_table(path)
        since = pa.array([day(0)] * len(links), links["since"].type)
        pq.write_table(
            links.set_column(3, "since", since).set_column(4, "until", pa.nulls(len(links), since.type)), path
        )
        return FEATURES.offline(past, rows)

    # Among the sampled rows some have a household, so that there are links before anything is altered.
    found = leakage(FEATURES, history, spine, rng=np.random.default_rng(1), rows=60, compute=linked_for_ever)
    assert not found.passed


def test_moments_to_audit_are_those_of_the_history(history: History) -> None:
    spine = moments_of(history, rng=np.random.default_rng(1), rows=80)
    known = {(each["customer_id"], each[time]) for each in history.events().to_pylist() for time in TIMES}
    assert spine.num_rows == 80 and {tuple(row.values()) for row in spine.to_pylist()} <= known
    assert spine.equals(moments_of(history, rng=np.random.default_rng(1), rows=80))
    assert not spine.equals(moments_of(history, rng=np.random.default_rng(2), rows=80))


def test_facts_of_many_rows_are_those_of_each(history: History, spine: pa.Table) -> None:
    sample = spine.slice(0, 25)
    keys = zip(sample["customer_id"].to_pylist(), sample["as_of"].to_pylist(), strict=True)
    for found, (customer, as_of) in zip(facts_of(history, sample), keys, strict=True):
        wanted = history.customer(customer, as_of=as_of)
        assert set(found.events) == set(wanted.events) and set(found.household) == set(wanted.household)
        assert set(found.profile) == set(wanted.profile) and len(found.events) == len(wanted.events)
    assert any(each.household for each in facts_of(history, sample))


def test_customers_are_looked_at_when_all_is_known(history: History) -> None:
    spine = customers_of(history, rng=np.random.default_rng(1), most=30)
    last = max(max(each["occurred_at"], each["recorded_at"]) for each in history.events().to_pylist())
    assert set(spine["as_of"].to_pylist()) == {last + timedelta(microseconds=1)}
    assert len(set(spine["customer_id"].to_pylist())) == 30


def test_without_events_there_is_nothing_to_audit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to audit"):
        moments_of(History(tmp_path), rng=np.random.default_rng(1))


def test_parity_sees_a_difference(history: History, spine: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = FeatureSet.online
    monkeypatch.setattr(FeatureSet, "online", lambda self, facts, as_of: {**honest(self, facts, as_of), "age": -1})
    found = parity(FEATURES, history, spine, rng=np.random.default_rng(1), rows=10)
    assert {each.feature for each in found.differences} == {"age"}


def test_an_audit_of_customers_without_facts(tmp_path: Path) -> None:
    spine = pa.table({"customer_id": ["nobody"], "as_of": [datetime(2024, 1, 1, tzinfo=UTC)]})
    assert leakage(FEATURES, History(tmp_path), spine, rng=np.random.default_rng(1)).passed
    assert parity(FEATURES, History(tmp_path), spine, rng=np.random.default_rng(1)).passed


def test_schemas_agree_with_records() -> None:
    from features import Event, ProfileFact

    assert (list(Event._fields), list(ProfileFact._fields)) == (EVENTS.names, PROFILE.names)


@pytest.mark.parametrize(
    ("spine", "wrong"),
    [
        ({"customer": ["a"], "as_of": ["2024-01-01"]}, "unknown column 'customer_id'"),
        ({"customer_id": ["a"], "as_of": [None]}, "must be complete"),
        ({"customer_id": ["a"], "as_of": ["soon"]}, "can't be read as a moment"),
        ({"customer_id": ["a"], "as_of": [17]}, "can't be read as a moment"),
        ({"customer_id": ["a"], "as_of": ["2024-01-01"], "age": [3]}, "have names of features"),
    ],
)
def test_a_wrong_spine_is_told(tmp_path: Path, spine: dict[str, list[object]], wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        FEATURES.offline(History(tmp_path), pa.table(spine))
