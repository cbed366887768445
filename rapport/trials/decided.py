"""What a project decided, from its ledger, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from typing import Any

import pyarrow as pa
from sqlalchemy import select

from features.errors import InputError
from features.facts import TIMESTAMP, micros
from rapport.project import Project
from serving import schema
from serving.batch import DECISIONS
from serving.inbox import EVER
from serving.ledger import Ledger
from serving.reasons import Reason

EARNING = pa.schema(
    [
        ("decision_id", pa.string()),
        ("customer_id", pa.string()),
        ("household_id", pa.string()),
        ("decided_at", TIMESTAMP),
        ("contact_cost", pa.int64()),
        ("action", pa.string()),
        ("channel", pa.string()),
    ]
)
"""The columns of decisions that ``unit_money``, ``decision_rewards`` and ``matchback`` take, and whose they were."""


def decided_so_far(project: Project, key: str, *, until: datetime = EVER) -> pa.Table:
    """The decisions of an experiment before ``until``, oldest first, in the columns of ``serving.batch.DECISIONS``.

    Raises
    ------
    InputError
        When nothing was decided in the experiment yet.
    """
    stored = DECISIONS.set(DECISIONS.get_field_index("reason"), pa.field("reason", pa.int64()))
    decisions = _read(project, stored, schema.decisions.c.experiment == key, until=until)
    if not decisions.num_rows:
        raise InputError(
            f"nothing was decided in experiment {key!r} yet",
            got="no decision of it in the ledger",
            do="decide with `rapport score` or `rapport serve` while it runs",
        )
    place = DECISIONS.get_field_index("reason")
    codes = {int(reason): reason.code for reason in Reason}
    return decisions.set_column(place, "reason", pa.array([codes[each] for each in decisions["reason"].to_pylist()]))


def all_decided(project: Project, *, until: datetime) -> pa.Table:
    """All decisions before ``until``, whatever they belong to, oldest first, in the columns of ``EARNING``."""
    return _read(project, EARNING, until=until)


def as_table(rows: Sequence[Sequence[Any]], *, columns: pa.Schema) -> pa.Table:
    """Rows of the ledger as a table; where a moment is wanted the ledger has whole microseconds.

    >>> wanted = pa.schema([("decision_id", pa.string()), ("decided_at", TIMESTAMP)])
    >>> str(as_table([("d1", 1_000_000)], columns=wanted)["decided_at"][0])
    '1970-01-01 00:00:01+00:00'
    """
    held = list(zip(*rows, strict=True)) or [()] * len(columns)
    arrays = [
        pa.array(values, pa.int64()).cast(TIMESTAMP) if each.type == TIMESTAMP else pa.array(values, each.type)
        for each, values in zip(columns, held, strict=True)
    ]
    return pa.table(arrays, schema=columns)


def _read(project: Project, columns: pa.Schema, *wanted: Any, until: datetime) -> pa.Table:
    table = schema.decisions.c
    query = (
        select(*(table[name] for name in columns.names))
        .where(table.decided_at < micros(until), *wanted)
        .order_by(table.decided_at, table.decision_id)
    )
    with closing(Ledger(project.ledger)) as ledger, ledger.reading() as book:
        return as_table(book.connection.execute(query).all(), columns=columns)
