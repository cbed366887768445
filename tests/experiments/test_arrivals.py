"""A feed that has stopped is told by its own rhythm."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from experiments.arrivals import Arrivals
from features.facts import TIMESTAMP

END = datetime(2024, 2, 6, 9, tzinfo=UTC)
DAY = timedelta(days=1)


def arrivals(every: timedelta, *, silent: timedelta, moments: int = 30, window: timedelta = 14 * DAY) -> Arrivals:
    recorded = pa.chunked_array([pa.array([END - place * every for place in range(moments)], TIMESTAMP)])
    return Arrivals.of(recorded, as_of=END + silent, window=window)


@pytest.mark.parametrize(
    ("every", "silent", "status"),
    [
        (DAY, 1, "green"),
        (DAY, 3, "yellow"),
        (DAY, 7, "yellow"),
        (DAY, 8, "red"),
        (timedelta(hours=1), 2, "green"),
        (7 * DAY, 12, "green"),
        (7 * DAY, 20, "yellow"),
        (7 * DAY, 22, "red"),
    ],
)
def test_silence_counts_by_the_feed_s_own_longest_pause(every: timedelta, silent: int, status: str) -> None:
    assert arrivals(every, silent=silent * DAY).status == status


def test_few_arrivals_tell_no_rhythm_so_the_window_stands_for_it() -> None:
    assert arrivals(DAY, silent=20 * DAY, moments=2).status == "green"
    assert arrivals(DAY, silent=50 * DAY, moments=2).status == "red"


def test_what_arrived_after_the_look_is_not_known_to_it() -> None:
    recorded = pa.chunked_array([pa.array([END + place * DAY for place in (-30, -29, 5)], TIMESTAMP)])
    assert Arrivals.of(recorded, as_of=END, window=DAY).newest == END - 29 * DAY


def test_the_sentence_names_the_day_of_the_last_event() -> None:
    found = arrivals(DAY, silent=27 * DAY)
    assert found.sentence.startswith("No event of any kind has arrived since 6 February 2024: ")
    nothing = Arrivals.of(pa.chunked_array([pa.array([], TIMESTAMP)]), as_of=END, window=DAY)
    assert (nothing.status, nothing.sentence[:35]) == ("red", "No event of any kind has arrived: w")


def test_the_usual_delay_of_records_is_no_silence() -> None:
    recorded = pa.chunked_array([pa.array([END - place * DAY for place in range(30)], TIMESTAMP)])
    assert Arrivals.of(recorded, as_of=END + 9 * DAY, window=DAY).status == "red"
    assert Arrivals.of(recorded, as_of=END + 9 * DAY, window=DAY, delay=8 * DAY).status == "green"
