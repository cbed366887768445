"""The looks that were taken at experiments: as of when, and how many units each saw; what they found is in MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert

from features.facts import micros
from serving import schema
from serving.book import Book, moment


def looks_taken(book: Book, key: str, *, before: datetime) -> dict[datetime, int]:
    """The units that each look at an experiment as of a moment before ``before`` saw, oldest first."""
    columns = schema.looks.c
    found = book.connection.execute(
        select(columns.as_of, columns.units)
        .where(columns.experiment == key, columns.as_of < micros(before))
        .order_by(columns.as_of)
    )
    return {moment(row.as_of): row.units for row in found}


def keep_looks(book: Book, key: str, looks: Mapping[datetime, int]) -> None:
    """Keep the looks, as of a moment each with its units; of two as of one moment the newest stands."""
    rows = [{"experiment": key, "as_of": micros(as_of), "units": units} for as_of, units in looks.items()]
    if rows:
        fresh = insert(schema.looks)
        book.connection.execute(
            fresh.on_conflict_do_update(index_elements=["experiment", "as_of"], set_={"units": fresh.excluded.units}),
            rows,
        )
