"""The market: a year of history, week after week of consequences, and the truth behind them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from experiments.market.behaviour import BlockWeek
from experiments.market.customers import (
    AGE_BANDS,
    BLOCK,
    REGIONS,
    TENURES,
    customer_ids,
    draw_customers,
    household_ids,
    places,
    spans,
)
from experiments.market.offers import TREATMENTS
from experiments.market.reactions import Expected, expected
from experiments.market.rows import to_events
from experiments.market.spec import MarketSpec
from features.errors import InputError
from features.facts import PROFILE

#: In the history a customer comes up for a decision every fourth week, and gets nothing with this chance.
DECIDED_EVERY = 4
NOTHING_SHARE = 0.45
UNDECIDED = -1
_MOST_WEEKS = 900


class Market:
    """A simulated retailer with known causal truth.

    >>> market = Market(MarketSpec(customers=1000, seed=1))
    >>> nothing = np.zeros(1000, dtype=int)
    >>> market.week(52, nothing).schema.names[:3]
    ['event_id', 'customer_id', 'kind']
    >>> bool(market.expected(52, nothing + 1).purchases.sum() > market.expected(52, nothing).purchases.sum())
    True
    """

    def __init__(self, spec: MarketSpec) -> None:
        self.spec = spec
        self.customers = draw_customers(spec)
        self.customer_ids: pa.Array = customer_ids(0, spec.customers)
        self.household_ids: pa.Array = household_ids(self.customers.household)
        self.treatments = TREATMENTS
        self.actions: tuple[str, ...] = ("nothing", *(each.treatment_id for each in TREATMENTS))

    def begin(self, number: int) -> datetime:
        """When week ``number`` begins: the moment at which its decisions are made."""
        if not 0 <= number < _MOST_WEEKS:
            raise InputError("the week is out of range", got=str(number), do=f"give 0 to {_MOST_WEEKS - 1}")
        return self.spec.start + timedelta(weeks=number)

    def places(self, ids: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """The places of customers in the arrays of this market, by their ids."""
        return places(ids)

    def profile(self) -> pa.Table:
        """What the CRM knows of each customer (``features.facts.PROFILE``), all of it before week 0."""
        who = self.customers
        columns = {
            "age_band": pa.array(AGE_BANDS).take(pa.array(who.age)),
            "household_id": self.household_ids,
            "region": pa.array(REGIONS).take(pa.array(who.region)),
            "tenure": pa.array(TENURES).take(pa.array(who.tenure)),
        }
        known = pa.scalar(self.spec.start - timedelta(days=1), PROFILE.field("occurred_at").type)
        tables = [
            pa.table(
                [
                    self.customer_ids,
                    pa.repeat(name, len(who)),
                    values,
                    pa.repeat(known, len(who)),
                    pa.repeat(known, len(who)),
                    pa.repeat("crm", len(who)),
                ],
                schema=PROFILE,
            )
            for name, values in columns.items()
        ]
        return pa.concat_tables(tables)

    def week(self, number: int, actions: np.ndarray, *, log_contacts: bool = False) -> pa.Table:
        """What happens in week ``number`` under ``actions``, as facts (``features.facts.EVENTS``).

        Parameters
        ----------
        number: weeks since the market's start; the year of history is 0 to 51.
        actions: shape (customers,), 0 for nothing, i for ``treatments[i - 1]``, made when the week begins. Leaving out
            who opted out is the caller's duty.
        log_contacts: whether the actions are events too (``contact``, ``no_contact``); the ledger knows them otherwise.
        """
        taken = self._checked(actions)
        return self._events(number, taken, np.full(len(taken), log_contacts))

    def history(self, weeks: int = 52) -> pa.Table:
        """The facts of the first ``weeks`` weeks, under a logged policy that contacts at random.

        Every customer comes up for a decision every fourth week: nothing with chance 0.45, else one of the treatments,
        all with the same chance. Decisions are events: ``contact`` or ``no_contact``. Who opted out is left alone.
        """
        return pa.concat_tables(list(self.history_weeks(weeks)))

    def history_weeks(self, weeks: int = 52) -> Iterator[pa.Table]:
        """``history`` week by week, for markets that don't fit into memory."""
        if not 1 <= weeks <= _MOST_WEEKS:
            raise InputError("the weeks of history are out of range", got=str(weeks), do=f"give 1 to {_MOST_WEEKS}")
        willing = np.ones(self.spec.customers, dtype=bool)
        for number in range(weeks):
            decided = np.where(willing, self._random_actions(number), UNDECIDED)
            actions = np.maximum(decided, 0)
            events = self._events(number, actions, decided != UNDECIDED)
            willing[self.places(events["customer_id"].filter(pc.equal(events["kind"], "opt_out")))] = False
            yield events

    def expected(self, number: int, actions: np.ndarray) -> Expected:
        """The truth of week ``number`` under ``actions``: chances and money that are expected of each customer."""
        self.begin(number)
        return expected(self.spec, self.customers, week=number, actions=self._checked(actions))

    def profits(self, number: int) -> np.ndarray:
        """Expected profit in cents of each customer under each action, shape (customers, 1 + treatments)."""
        one = np.ones(self.spec.customers, dtype=np.int64)
        return np.column_stack([self.expected(number, one * action).profit for action in range(len(self.actions))])

    def value(self, probabilities: np.ndarray, number: int) -> float:
        """Expected profit in cents per customer in week ``number`` of a policy, known by its probabilities.

        Parameters
        ----------
        probabilities: shape (customers, 1 + treatments), nothing first; rows sum to 1.
        """
        shape = (self.spec.customers, len(self.actions))
        if np.shape(probabilities) != shape or not np.allclose(np.sum(probabilities, axis=1), 1):
            raise InputError(
                "the probabilities are not a policy of this market",
                got=f"shape {np.shape(probabilities)}",
                do=f"give shape {shape}, each row with sum 1",
            )
        return float((probabilities * self.profits(number)).sum(axis=1).mean())

    def _checked(self, actions: np.ndarray) -> np.ndarray:
        taken = np.asarray(actions)
        fits = taken.shape == (self.spec.customers,) and np.issubdtype(taken.dtype, np.integer)
        if not fits or taken.min() < 0 or taken.max() >= len(self.actions):
            raise InputError(
                "the actions don't fit the market",
                got=f"shape {taken.shape}, type {taken.dtype}",
                do=f"give {self.spec.customers} integers from 0 to {len(self.actions) - 1}",
            )
        return taken

    def _events(self, number: int, actions: np.ndarray, logged: np.ndarray) -> pa.Table:
        begin = self.begin(number)
        parts = [part for block in self._blocks(number, actions, logged) for part in block.events()]
        return to_events(
            parts, begin=begin, week=number, customer_ids=self.customer_ids, delay_scale=self.spec.delay_scale
        )

    def _blocks(self, number: int, actions: np.ndarray, logged: np.ndarray) -> Iterator[BlockWeek]:
        for block, start, stop in spans(self.spec.customers):
            yield BlockWeek(
                spec=self.spec,
                customers=self.customers.rows(start, stop),
                block=block,
                week=number,
                actions=actions[start:stop],
                logged=logged[start:stop],
            )

    def _random_actions(self, number: int) -> np.ndarray:
        """The logged policy's action of each customer in a week of the history, or ``UNDECIDED``."""
        drawn = [self._random_block(number, block) for block, _, _ in spans(self.spec.customers)]
        return np.concatenate(drawn)[: self.spec.customers]

    def _random_block(self, number: int, block: int) -> np.ndarray:
        turn = np.random.default_rng([self.spec.seed, 3, block]).integers(0, DECIDED_EVERY, BLOCK)
        rng = np.random.default_rng([self.spec.seed, 4, number, block])
        nothing = rng.random(BLOCK) < NOTHING_SHARE
        action = np.where(nothing, 0, rng.integers(1, len(self.actions), BLOCK))
        return np.where((number + turn) % DECIDED_EVERY == 0, action, UNDECIDED)
