"""Decisions for requests: looks up customers' features, scores them, and decides at the desk, many requests at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import chain
from typing import NamedTuple, Protocol, TypeVar

import numpy as np

from features import CustomerFacts, FeatureSet
from features.identity import Person
from serving.ask import Ask
from serving.book import Book
from serving.conditions import Row
from serving.contact_policy import Clock, now
from serving.customers import JoinedFacts
from serving.decision import Decision
from serving.desk import Case, Conflict, Desk
from serving.inbox import events_of
from serving.messages import DecisionRequest
from serving.people import People, accounts_of, person_id
from serving.reasons import Reason
from serving.scoring import Scorer

_log = logging.getLogger("rapport.serving")
_MOST_AT_ONCE = 256
_MOST_WAITING = 2_000
_PATIENCE = 0.015  # seconds that a group waits for the ledger: after the group before it, still an answer within 50 ms


T = TypeVar("T")


class Busy(Exception):
    """More requests are waiting than can be answered soon."""


class Customers(People, Protocol):
    """Who is behind the accounts that are asked for, and where their facts come from."""

    def customers(self, customer_ids: Collection[str]) -> dict[str, CustomerFacts]:
        """All facts of each of the accounts."""
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


class Shown(NamedTuple):
    """A feature row as far as it may be used, None when it can't be read, and the places that were masked."""

    row: Row | None
    masked: frozenset[int] = frozenset()


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
    _joined: JoinedFacts = field(default_factory=JoinedFacts)
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
        persons = self._persons(asked)
        if persons is None:
            return [_unknown(each, engine.desk, moment) for each in asked]
        asks = [_ask(each, moment, person) for each, person in zip(asked, persons, strict=True)]
        rows = self.rows(asks, persons)
        values = _values(engine.scorer, [each.row for each in rows])
        found = zip(asked, asks, rows, values, persons, strict=True)
        return engine.desk.decide([_case(*each) for each in found], patience=_PATIENCE)

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

    def rows(self, asks: Sequence[Ask], persons: Sequence[Person]) -> list[Shown]:
        """What each person's features are at the moment of the ask, from the history and the inbox, as far as allowed.

        Nothing where they can't be read.
        """
        masking = self.engine.desk.masking
        try:
            others = [self.customers.housemates(each) if self._of_households else () for each in persons]
            names = {account for person in persons for account in person.own}.union(*others)
            mates = masking.housemates(persons, self.customers) if masking else []
            known = self.customers.customers(names)
            with self.engine.desk.ledger.reading(patience=_PATIENCE) as book:
                inbox = events_of(book, names)
                said = book.said(accounts_of(chain(persons, *mates))) if masking else {}
            rows = [
                tuple(self.features.online(self._joined.of(person, known, inbox, others=home), ask.moment).values())
                for ask, person, home in zip(asks, persons, others, strict=True)
            ]
            if masking is None:
                return [Shown(row) for row in rows]
            pairs = zip(persons, mates, strict=True)
            masks = [masking.of(person, said, housemates=each) for person, each in pairs]
            return [Shown(masking.apply(row, masked), masked) for row, masked in zip(rows, masks, strict=True)]
        except Exception as error:  # ranking fails open: whatever is wrong with a store, the static contact stands in
            _log.error("features could not be read: %s", type(error).__name__)
            return [Shown(None)] * len(asks)

    @cached_property
    def _of_households(self) -> bool:
        return any(each.feature.scope == "household" for each in self.features.columns)

    def _persons(self, asked: Sequence[Asked]) -> list[Person] | None:
        """Who is behind the account of each request; None when it can't be known."""
        names = [each.request.customer_id for each in asked]
        try:
            known = self.customers.persons(names)
            return [known[each] for each in names]
        except Exception as error:  # permission fails closed: whatever is wrong, a no may be missed
            _log.error("links between accounts could not be read: %s", type(error).__name__)
            return None

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


def _case(asked: Asked, ask: Ask, shown: Shown, values: np.ndarray | None, person: Person) -> Case:
    return Case(
        ask=ask,
        row=shown.row,
        values=values,
        key=asked.key,
        digest=asked.digest,
        person=person,
        masked=shown.masked,
    )


def _unknown(asked: Asked, desk: Desk, moment: datetime) -> Decision:
    """The answer of nothing where it can't be known whose no concerns the account; it is not recorded."""
    ask = _ask(asked, moment, Person.alone(asked.request.customer_id))
    case = Case(ask=ask, row=None, values=None)
    return desk.closed(case, reason=Reason.PEOPLE_UNREADABLE)


def _ask(asked: Asked, moment: datetime, person: Person) -> Ask:
    request = asked.request
    return Ask(
        customer_id=request.customer_id,
        moment=moment,
        seed=request.seed or asked.key,
        household_id=request.household_id or person.household_id,
        session_id=request.session_id,
        channel=request.channel,
        placement=request.placement,
        time_zone=request.time_zone,
        segment=request.segment,
        person_id=person_id(request.customer_id, person),
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
