"""The desk where decisions are taken: permission and slots are read, decided on and written in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
import numpy as np

from serving.book import Book
from serving.catalogue import NOTHING
from serving.conditions import Row
from serving.contact_policy import now
from serving.decision import Ask, Assignment, Decision, decide
from serving.ledger import PATIENCE, Ledger, LedgerError
from serving.reasons import Reason
from serving.rules import Rules
from serving.sieve import objection
from serving.trial import Trial


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """An ask with what was looked up and computed for it beforehand.

    ``key`` and ``digest`` are the idempotency key and a hash of the request; a batch has none, as a decision's id
    already stands for customer, moment and seed. ``assignment`` is for a unit without an arm: one that the ledger
    holds an arm of keeps that.
    """

    ask: Ask
    assignment: Assignment
    row: Row | None
    values: np.ndarray | None
    key: str | None = None
    digest: str = ""


@dataclass(frozen=True)
class Conflict:
    """The answer to a request whose idempotency key already stood for another one."""

    key: str


class Desk:
    """Decides cases against a ledger.

    Parameters
    ----------
    model: the version of the model that gave the cases' values.
    """

    def __init__(self, ledger: Ledger, *, rules: Rules, trial: Trial, model: str = "") -> None:
        self.ledger = ledger
        self.rules = rules
        self.trial = trial
        self.model = model
        with ledger.writing() as book:
            book.keep_rules(rules.fingerprint, rules.book)
            trial.publish(book, at=now())

    def decide(
        self, cases: Sequence[Case], *, patience: float = PATIENCE, synced: bool = True
    ) -> list[Decision | Conflict]:
        """Decide and write all ``cases`` in one transaction; the answers are on disk when this returns, if ``synced``.

        A case that was decided before gets its recorded decision again; one whose customer has said no to the contact
        since gets nothing in its place, under the same id, and the record stays. When the ledger can't be read or
        written, or others hold it for longer than ``patience`` (seconds), nobody is contacted: the answers say so and
        are not recorded.
        """
        if not cases:
            return []
        try:
            with self.ledger.writing(patience=patience, synced=synced) as book:
                sitting = _Sitting(book, cases, self)
                answers = [sitting.answer(case) for case in cases]
                sitting.write()
            return answers
        except LedgerError:
            return [self.closed(case) for case in cases]

    def closed(self, case: Case) -> Decision:
        """The decision of nothing for want of a ledger."""
        decision = decide(
            case.ask,
            permission=None,
            contacts=(),
            row=case.row,
            values=case.values,
            assignment=case.assignment,
            rules=self.rules,
            model=self.model,
        )
        return msgspec.structs.replace(decision, reason=int(Reason.LEDGER_UNAVAILABLE))


class _Sitting:
    """One transaction of the desk: what it read, and what it will write."""

    def __init__(self, book: Book, cases: Sequence[Case], desk: Desk) -> None:
        customers = list({case.ask.customer_id for case in cases})
        self._book = book
        self._desk = desk
        self._answered = book.answered([case.key for case in cases if case.key is not None])
        self._known = book.decisions(
            {case.ask.decision_id for case in cases} | {decision_id for _, decision_id in self._answered.values()}
        )
        self._permissions = book.permissions(customers)
        self._contacts = book.contacts(customers, since=min(case.ask.moment for case in cases) - desk.rules.horizon)
        units = {desk.trial.unit_of(case.ask) for case in cases}
        self._arms = book.arms(desk.trial.key, units) if desk.trial.splits else {}
        self._assigned: list[tuple[str, str, datetime]] = []
        self._fresh: list[Decision] = []
        self._keys: list[tuple[str, str, str]] = []

    def answer(self, case: Case) -> Decision | Conflict:
        if case.key is None:
            return self._released(case.ask.decision_id) or self._decide(case)
        digest, decision_id = self._answered.get(case.key, (case.digest, case.ask.decision_id))
        if digest != case.digest:
            return Conflict(case.key)
        decision = self._released(decision_id) or self._decide(case)
        if case.key not in self._answered:
            self._answered[case.key] = (case.digest, decision.decision_id)
            self._keys.append((case.key, case.digest, decision.decision_id))
        return decision

    def _released(self, decision_id: str) -> Decision | None:
        """The recorded decision, its contact taken out of the answer when the customer has said no since."""
        decision = self._known.get(decision_id)
        if decision is None or decision.contact is None:
            return decision
        permission = self._permissions[decision.ask.customer_id]
        if objection(permission, decision.contact, rules=self._desk.rules) is None:
            return decision
        return _withdrawn(decision)

    def write(self) -> None:
        self._book.record(self._fresh)
        self._book.keep_arms(self._desk.trial.key, self._assigned)
        self._book.answer(self._keys)

    def _decide(self, case: Case) -> Decision:
        desk = self._desk
        contacts = self._contacts[case.ask.customer_id]
        decision = decide(
            case.ask,
            permission=self._permissions[case.ask.customer_id],
            contacts=contacts,
            row=case.row,
            values=case.values,
            assignment=self._assignment(case),
            rules=desk.rules,
            model=desk.model if case.values is not None else "",
        )
        self._fresh.append(decision)
        self._known[decision.decision_id] = decision
        # The next case of this customer in the same transaction sees the slot that this one takes.
        if decision.contact is not None:
            contacts.append(decision.contact)
        return decision

    def _assignment(self, case: Case) -> Assignment:
        """The arm that the case's unit has in the ledger; else the proposed one, which is its own from now on."""
        trial = self._desk.trial
        if not trial.splits:
            return case.assignment
        unit, proposed = trial.unit_of(case.ask), case.assignment
        arm = self._arms.get(unit)
        if arm is not None:
            return proposed if arm == proposed.arm else trial.kept(arm)
        self._arms[unit] = proposed.arm
        self._assigned.append((unit, proposed.arm, case.ask.moment))
        return proposed


def _withdrawn(decision: Decision) -> Decision:
    """The answer of nothing in place of a decision that was recorded; the record stays as it is."""
    return msgspec.structs.replace(
        decision,
        survivors=(0,),
        probabilities=(1.0,),
        action=NOTHING,
        probability=1.0,
        offer_id=None,
        channel=None,
        contact_class=None,
        scenario=None,
        contact_cost=0,
        source="no_contact",
        reason=int(Reason.WITHDRAWN),
    )
