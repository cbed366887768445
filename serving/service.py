"""Decisions for requests: looks up customers' features, scores them, and decides at the desk, many requests at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeVar

import numpy as np

from features import CustomerFacts, Event, FeatureSet
from serving.book import Book
from serving.conditions import Row
from serving.contact_policy import Clock, now
from serving.decision import Ask, Decision
from serving.desk import Case, Conflict, Desk
from serving.inbox import events_of
from serving.messages import DecisionRequest
from serving.scoring import Scorer

_log = logging.getLogger("rapport.serving")
_MOST_AT_ONCE = 256
_MOST_WAITING = 2_000
_PATIENCE = 0.015  # seconds that a group waits for the ledger: after the group before it, still an answer within 50 ms


T = TypeVar("T")


class Busy(Exception):
    """More requests are waiting than can be answered soon."""


class Customers(Protocol):
    """Where the facts of customers come from."""

    def customers(self, customer_ids: Collection[str]) -> dict[str, CustomerFacts]:
        """All facts of each of the customers."""
        ...


@dataclass(frozen=True, kw_only=True)
class Engine:
    """What a decision needs beside the request; replaced as a whole, so that no request sees half of a change.

    ``note`` says what a person should know about the model, or why there is none.
    """

    desk: Desk
    scorer: Scorer | None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request with its idempotency key and the hash of its content."""

    request: DecisionRequest
    key: str
    digest: str


@dataclass
class Service:
    """Answers requests for decisions.

    Requests that arrive while others are being written are decided together in the next transaction (group commit),
    so one sync of the disk serves many of them.
    """

    engine: Engine
    customers: Customers
    features: FeatureSet
    clock: Clock = now
    _waiting: list[tuple[Asked, asyncio.Future[Decision | Conflict]]] = field(default_factory=list)
    _task: asyncio.Task[None] | None = None
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="desk"))

    async def answer(self, asked: Asked) -> Decision | Conflict:
        """The decision for one request, on disk when it is returned.

        Raises
        ------
        Busy
            When too many requests are waiting.
        """
        if len(self._waiting) >= _MOST_WAITING:
            raise Busy
        future: asyncio.Future[Decision | Conflict] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return await future

    def decide(self, asked: Sequence[Asked]) -> list[Decision | Conflict]:
        """The decisions for several requests, taken in one transaction."""
        engine, moment = self.engine, self.clock()
        asks = [_ask(each, moment) for each in asked]
        rows = self.rows(asks)
        values = _values(engine.scorer, rows)
        assignments = engine.desk.trial.assignments_of(asks)
        return engine.desk.decide(
            [
                Case(ask=ask, assignment=arm, row=row, values=own, key=each.key, digest=each.digest)
                for each, ask, arm, row, own in zip(asked, asks, assignments, rows, values, strict=True)
            ],
            patience=_PATIENCE,
        )

    async def in_turn(self, work: Callable[[Book], T]) -> T:
        """Run ``work`` in a transaction between those of the decisions, in the one thread that writes.

        Raises
        ------
        LedgerError
            When the ledger can't be written, or others hold it just now.
        """

        def run() -> T:
            with self.engine.desk.ledger.writing(patience=_PATIENCE) as book:
                return work(book)

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    def rows(self, asks: Sequence[Ask]) -> list[Row | None]:
        """Each customer's features at the moment of the ask, from the history and the inbox; None when unreadable."""
        names = {ask.customer_id for ask in asks}
        try:
            known = self.customers.customers(names)
            with self.engine.desk.ledger.reading(patience=_PATIENCE) as book:
                inbox = events_of(book, names)
            return [self._row(known[ask.customer_id], inbox[ask.customer_id], ask.moment) for ask in asks]
        except Exception as error:  # ranking fails open: whatever is wrong with a store, the static contact stands in
            _log.error("features could not be read: %s", type(error).__name__)
            return [None] * len(asks)

    def _row(self, facts: CustomerFacts, inbox: Sequence[Event], moment: datetime) -> Row:
        held = {event.event_id for event in facts.events} if inbox else set()
        new = [event for event in inbox if event.event_id not in held]
        # Facts sort themselves once, at their first use: without anything new they are used as they are.
        return tuple(self.features.online(facts.plus(*new) if new else facts, moment).values())

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting[:_MOST_AT_ONCE], self._waiting[_MOST_AT_ONCE:]
            try:
                answers = await loop.run_in_executor(self._thread, self.decide, [asked for asked, _ in batch])
            except Exception as error:  # whoever waits must hear of it, whatever it is
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
            else:
                for (_, future), answer in zip(batch, answers, strict=True):
                    if not future.done():
                        future.set_result(answer)


def _ask(asked: Asked, moment: datetime) -> Ask:
    request = asked.request
    return Ask(
        customer_id=request.customer_id,
        moment=moment,
        seed=request.seed or asked.key,
        household_id=request.household_id,
        channel=request.channel,
        placement=request.placement,
        time_zone=request.time_zone,
        segment=request.segment,
    )


def _values(scorer: Scorer | None, rows: Sequence[Row | None]) -> Sequence[np.ndarray | None]:
    """The values of each row; None for those that can't be scored."""
    readable = [row for row in rows if row is not None]
    if scorer is None or not readable:
        return [None] * len(rows)
    try:
        scored = iter(scorer.values(readable))
    except Exception as error:  # as above
        _log.error("values could not be computed: %s", type(error).__name__)
        return [None] * len(rows)
    return [None if row is None else next(scored) for row in rows]
