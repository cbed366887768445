"""Decisions for a whole customer base: scored together, decided one by one by the same function as a request."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import repeat

import numpy as np
import pyarrow as pa

from features.errors import InputError
from features.facts import TIMESTAMP
from features.identity import Person
from features.tables import require_column
from serving.ask import Ask
from serving.conditions import Row
from serving.contact_policy import utc
from serving.decision import Decision
from serving.desk import Case, Conflict, Desk
from serving.ledger import Ledger
from serving.people import People, person_id
from serving.reasons import Reason

DECISIONS = pa.schema(
    [
        ("decision_id", pa.string()),
        ("customer_id", pa.string()),
        ("household_id", pa.string()),
        ("session_id", pa.string()),
        ("decided_at", TIMESTAMP),
        ("experiment", pa.string()),
        ("arm", pa.string()),
        ("action", pa.string()),
        ("offer_id", pa.string()),
        ("channel", pa.string()),
        ("probability", pa.float64()),
        ("source", pa.string()),
        ("degraded", pa.bool_()),
        ("contact_cost", pa.int64()),
        ("reason", pa.string()),
    ]
)
"""The decisions as ``experiments`` reads them; one row each. ``contact_cost`` is in cents."""

_CHUNK = 5_000
# A request beside the batch waits 15 ms for its turn. So while others write, a transaction takes few customers and is
# followed by a pause; while none does it takes many, as each costs some milliseconds whatever it holds.
_FEW, _MANY = 80, 1_000
_PAUSE = 0.002
_FIRST_LOOK, _REMEMBERED = 1.0, 10.0  # seconds
_NOTHING: frozenset[int] = frozenset()
_OF_ASK = ("household_id", "time_zone", "segment")


def decide_all(
    customers: pa.Table,
    *,
    desk: Desk,
    at: datetime,
    seed: str,
    values: np.ndarray | None,
    people: People | None = None,
    masks: Sequence[frozenset[int]] | None = None,
    chunk: int = _CHUNK,
    progress: Callable[[int], None] | None = None,
) -> pa.Table:
    """Decide for each row of ``customers`` at the moment ``at`` and return the decisions, in the same order.

    Requests of a service beside it get their turn between its transactions. All decisions are on disk when it returns.
    A customer who was decided on before with the same moment and seed gets the recorded decision again, so a run that
    was interrupted is simply run anew.

    Parameters
    ----------
    customers: ``customer_id``, a column per feature of the desk's rules, and optionally ``household_id``,
        ``time_zone`` and ``segment``.
    values: expected incremental profit in cents, float64 (rows, actions), as a :class:`serving.scoring.Scorer` gives
        it; None when the model can't be read, which makes ranking policies fall back on the static contact.
    people: who is behind the ids, which are accounts; without it each is a person of its own. A person comes once.
    masks: the places of each row's features that were masked before it was valued (``serving.masking``).
    progress: called with the number of rows that were decided after each chunk.

    Raises
    ------
    InputError
        When a column is missing, or ``values`` has another shape.
    """
    require_column(customers, "customer_id")
    if customers["customer_id"].null_count:
        empty = customers["customer_id"].null_count
        raise InputError("customer ids are missing", got=f"{empty} empty rows", do="drop the rows without an id")
    shape = (customers.num_rows, len(desk.rules.actions))
    if values is not None and values.shape != shape:
        raise InputError("the values don't fit", got=f"shape {values.shape}", do=f"pass (customers, actions) = {shape}")
    tables, pace = [], _Pace(desk.ledger)
    with _without_collector():
        for start in range(0, customers.num_rows, chunk):
            part = customers.slice(start, chunk)
            rest = slice(start, start + part.num_rows)
            valued = None if values is None else values[rest]
            hidden = None if masks is None else masks[rest]
            cases = _cases(part, desk, at=utc(at), seed=seed, values=valued, people=people, masks=hidden)
            decided = [answer for some in pace.shared_out(cases) for answer in desk.decide(some, synced=False)]
            tables.append(decision_table([each for each in decided if not isinstance(each, Conflict)]))
            if progress is not None:
                progress(start + part.num_rows)
    desk.ledger.sync()
    return pa.concat_tables(tables) if tables else DECISIONS.empty_table()


class _Pace:
    """How many customers a transaction takes, by whether others write to the ledger too."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._seen = ledger.others()
        self._few_until = time.monotonic() + _FIRST_LOOK

    def shared_out(self, cases: Sequence[Case]) -> Iterator[Sequence[Case]]:
        """The cases of one transaction after the other."""
        place = 0
        while place < len(cases):
            size = _FEW if self._others_write() else _MANY
            yield cases[place : place + size]
            place += size
            time.sleep(_PAUSE)

    def _others_write(self) -> bool:
        seen = self._ledger.others()
        if seen != self._seen:
            self._seen, self._few_until = seen, time.monotonic() + _REMEMBERED
        return time.monotonic() < self._few_until


@contextmanager
def _without_collector() -> Iterator[None]:
    """Records are many and have no cycles: the cyclic collector would walk them over and over, a fifth of the time."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def decision_table(decisions: Sequence[Decision]) -> pa.Table:
    """Decisions as a table with the columns of :data:`DECISIONS`.

    >>> decision_table([]).column_names[:2]
    ['decision_id', 'customer_id']
    """
    codes = {int(reason): reason.code for reason in Reason}
    columns = {
        "decision_id": [each.decision_id for each in decisions],
        "customer_id": [each.ask.customer_id for each in decisions],
        "household_id": [each.ask.household_id for each in decisions],
        "session_id": [each.ask.session_id for each in decisions],
        "decided_at": [each.ask.moment for each in decisions],
        "reason": [codes[each.reason] for each in decisions],
    }
    for name in DECISIONS.names:
        if name not in columns:
            columns[name] = [getattr(each, name) for each in decisions]
    return pa.table(columns, schema=DECISIONS)


def rows_of(table: pa.Table, names: Sequence[str]) -> Iterator[Row]:
    """The rows of the feature columns ``names``."""
    if not names:
        return iter([()] * table.num_rows)
    for name in names:
        require_column(table, name)
    return zip(*(table[name].to_pylist() for name in names), strict=True)


def _cases(
    part: pa.Table,
    desk: Desk,
    *,
    at: datetime,
    seed: str,
    values: np.ndarray | None,
    people: People | None,
    masks: Sequence[frozenset[int]] | None,
) -> list[Case]:
    told = {name: part[name].to_pylist() for name in _OF_ASK if name in part.column_names}
    ids = part["customer_id"].to_pylist()
    persons = people.persons(ids) if people is not None else {}
    asks = [
        _ask(persons.get(each), each, at=at, seed=seed, told={name: column[place] for name, column in told.items()})
        for place, each in enumerate(ids)
    ]
    rows = rows_of(part, desk.rules.book.feature_names)
    valued = repeat(None, len(asks)) if values is None else values
    masked = repeat(_NOTHING, len(asks)) if masks is None else masks
    return [
        Case(ask=ask, row=row, values=own, person=persons.get(ask.customer_id), masked=hidden)
        for ask, row, own, hidden in zip(asks, rows, valued, masked, strict=True)
    ]


def _ask(person: Person | None, customer_id: str, *, at: datetime, seed: str, told: dict[str, str | None]) -> Ask:
    if person is None:
        return Ask(customer_id=customer_id, moment=at, seed=seed, **told)
    told["household_id"] = told.get("household_id") or person.household_id
    return Ask(customer_id=customer_id, moment=at, seed=seed, person_id=person_id(customer_id, person), **told)
