"""Moments of a spine, however a table holds them."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from features.spine import spine_keys

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
MICROS = int(NOON.timestamp()) * 1_000_000


@pytest.mark.parametrize(
    "as_of",
    [
        pa.array([NOON]),
        pa.array([NOON.replace(tzinfo=None)], pa.timestamp("ns")),
        pa.array([NOON], pa.timestamp("s", tz="Europe/Berlin")),
        pa.array(["2024-05-01T12:00:00Z"]),
        pa.array(["2024-05-01 12:00:00"]),
        pa.array(["2024-05-01T14:00:00+02:00"], pa.large_string()),
        pa.array(["2024-05-01 07:00:00-0500"]),
    ],
)
def test_a_moment_is_one_number(as_of: pa.Array) -> None:
    assert spine_keys(pa.table({"customer_id": ["a"], "as_of": as_of}))["as_of"].to_pylist() == [MICROS]


def test_a_date_is_its_first_moment_and_forms_may_be_mixed() -> None:
    midnight = MICROS - 12 * 3_600_000_000
    dates = pa.table({"customer_id": ["a"], "as_of": pa.array([date(2024, 5, 1)])})
    mixed = pa.table({"customer_id": ["a", "b"], "as_of": ["2024-05-01", "2024-05-01T12:00:00Z"]})
    assert spine_keys(dates)["as_of"].to_pylist() == [midnight]
    assert spine_keys(mixed)["as_of"].to_pylist() == [midnight, MICROS]


def test_numbers_are_ids_too() -> None:
    keys = spine_keys(pa.table({"customer_id": [7], "as_of": [NOON]}))
    assert (keys["customer_id"].to_pylist(), keys["row"].to_pylist()) == (["7"], [0])
