"""The audits pass on what is right, and see what is not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from features import EVENTS, PROFILE, Feature, FeatureSet, History, InputError, standard_features
from features.audit import leakage, parity

FEATURES = standard_features(channels=("web", "email"), categories=("shoes",)) + FeatureSet.of(
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
    return history


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
