"""Samples of a history: customers and moments to look at, and all that was known of them, read at once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from features.errors import InputError
from features.facts import EVENTS, PROFILE, TIMESTAMP, CustomerFacts, Event, ProfileFact
from features.history import History
from features.sql import in_memory


def moments_of(history: History, *, rng: np.random.Generator, rows: int = 200) -> pa.Table:
    """A spine to audit where none is at hand: sampled events' customers, when one happened or when it was recorded.

    At such moments a feature that looks one event too far shows.

    Raises
    ------
    InputError
        When the history holds no event.
    """
    seed = int(rng.integers(1 << 31))
    with in_memory() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.execute(
            "SELECT customer_id, CASE WHEN hash(event_id) % 2 = 0 THEN occurred_at ELSE recorded_at END AS as_of "
            f"FROM {history.scan('events')} ORDER BY hash(event_id, {seed}) LIMIT {rows}"
        ).to_arrow_table()
    if found.num_rows == 0:
        raise InputError(
            "there is nothing to audit", got="a history without events", do="take facts in with `rapport ingest`"
        )
    return found.set_column(1, "as_of", found["as_of"].cast(TIMESTAMP))


def customers_of(history: History, *, rng: np.random.Generator, most: int) -> pa.Table:
    """A spine of at most ``most`` sampled customers, as of when all events were known, but not later than now."""
    with in_memory() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.execute(
            "SELECT customer_id, "
            "least(max(greatest(occurred_at, recorded_at)) OVER () + INTERVAL 1 MICROSECOND, $now) AS as_of "
            "FROM (SELECT customer_id, max(occurred_at) AS occurred_at, max(recorded_at) AS recorded_at "
            f"FROM {history.scan('events')} GROUP BY customer_id) "
            f"ORDER BY hash(customer_id, {int(rng.integers(1 << 31))}) LIMIT {most}",
            {"now": datetime.now(UTC)},
        ).to_arrow_table()
    return found.set_column(1, "as_of", found["as_of"].cast(TIMESTAMP))


def facts_of(history: History, sample: pa.Table) -> list[CustomerFacts]:
    """``history.customer`` of each row's ``customer_id`` as of its ``as_of``, read for all rows at once."""
    ids = sample["customer_id"].to_pylist()
    with in_memory() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        numbered = sample.append_column("row", pa.array(range(sample.num_rows), pa.int64()))
        connection.register("sample", numbered.select(["row", "customer_id", "as_of"]))
        connection.execute(f"CREATE TEMP TABLE member AS SELECT * FROM {history.scan('members')}")
        connection.execute(_ACCOUNTS.format(into="own", rows="sample", strength="personalize"))
        connection.execute(_ACCOUNTS.format(into="family", rows="own", strength="household"))
        connection.execute("CREATE TEMP TABLE others AS FROM family ANTI JOIN own USING (row, customer_id)")

        def rows(owners: str, name: str, schema: pa.Schema) -> list[list[tuple[Any, ...]]]:
            columns = ", ".join(f"fact.{each}" for each in schema.names)
            found = connection.execute(
                f"SELECT row, {columns} FROM {history.scan(name)} AS fact JOIN {owners} USING (customer_id)"
            ).to_arrow_table()
            grouped: list[list[tuple[Any, ...]]] = [[] for _ in ids]
            for row, *values in zip(*(column.to_pylist() for column in found.columns), strict=True):
                grouped[row].append(tuple(values))
            return grouped

        events, household, profile = (
            rows("own", "events", EVENTS),
            rows("others", "events", EVENTS),
            rows("own", "profile", PROFILE),
        )
    return [
        CustomerFacts(
            customer_id=customer,
            events=tuple(map(Event._make, events[row])),
            profile=tuple(map(ProfileFact._make, profile[row])),
            household=tuple(map(Event._make, household[row])),
        )
        for row, customer in enumerate(ids)
    ]


# The accounts of each row, and those in a group of that strength with one of them, as known at its moment.
_ACCOUNTS = """
CREATE TEMP TABLE {into} AS
WITH known AS (
    SELECT row, as_of, member.customer_id AS person
    FROM {rows} JOIN member ON member.account_id = {rows}.customer_id
    WHERE strength = '{strength}' AND since < as_of AND (until IS NULL OR as_of <= until)
)
SELECT row, customer_id, as_of FROM {rows}
UNION
SELECT row, account_id, as_of FROM known JOIN member ON member.customer_id = person
WHERE strength = '{strength}' AND since < as_of AND (until IS NULL OR as_of <= until)
"""
