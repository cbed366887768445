"""The desk where decisions are taken: permission and slots are read, decided on and written in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec
import numpy as np

from features.identity import Person
from serving.ask import Ask
from serving.book import Book
from serving.catalogue import NOTHING
from serving.conditions import Row
from serving.contact_policy import Contact, now
from serving.decision import Assignment, Decision, decide
from serving.ledger import PATIENCE, Ledger, LedgerError
from serving.masking import Facts, Masking
from serving.people import accounts_of, agreed, linked
from serving.reasons import Reason
from serving.rules import Rules
from serving.sieve import objection
from serving.trial import Trial
from serving.trials import Trials


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """An ask with what was looked up and computed for it beforehand.

    ``key`` and ``digest`` are the idempotency key and a hash of the request; a batch has none, as a decision's id
    already stands for customer, moment and seed. ``person`` is who is behind the account; without one, it is linked to
    no other.
    ``masked``: places in the row that were masked before it was valued.
    """

    ask: Ask
    row: Row | None
    values: np.ndarray | None
    key: str | None = None
    digest: str = ""
    person: Person | None = None
    masked: frozenset[int] = frozenset()

    @property
    def whose(self) -> Person:
        """The person, if only by this account."""
        return Person.alone(self.ask.customer_id) if self.person is None else self.person


@dataclass(frozen=True)
class Conflict:
    """The answer to a request whose idempotency key already stood for another one."""

    key: str


class Desk:
    """Decides cases against a ledger.

    Parameters
    ----------
    model: the version of the model that gave the cases' values.
    masking: what may be used of a row, by what its customer said. A row that shows what was withdrawn since it was
        valued is masked and loses its values.
    """

    def __init__(
        self, ledger: Ledger, *, rules: Rules, trials: Trials, model: str = "", masking: Masking | None = None
    ) -> None:
        self.ledger = ledger
        self.masking = masking
        self.rules = rules
        self.trials = trials
        self.model = model
        with ledger.writing() as book:
            book.keep_rules(rules.fingerprint, rules.book)
            trials.publish(book, at=now())

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

    def closed(self, case: Case, *, reason: Reason = Reason.LEDGER_UNAVAILABLE) -> Decision:
        """The decision of nothing for want of a ledger, or of what else permission can't be known without."""
        decision = decide(
            case.ask,
            permission=None,
            contacts=(),
            row=case.row,
            values=case.values,
            assignment=self.trials.proposed(case.ask, case.row).assignment(case.ask),
            rules=self.rules,
            model=self.model,
        )
        return msgspec.structs.replace(decision, reason=int(reason))


class _Sitting:
    """One transaction of the desk: what it read, and what it will write."""

    def __init__(self, book: Book, cases: Sequence[Case], desk: Desk) -> None:
        persons = [case.whose for case in cases]
        self._book = book
        self._desk = desk
        self._answered = book.answered([case.key for case in cases if case.key is not None])
        self._known = book.decisions(
            {case.ask.decision_id for case in cases} | {decision_id for _, decision_id in self._answered.values()}
        )
        accounts = accounts_of(persons)
        self._said = book.said(accounts)
        self._permissions = book.permissions(accounts, said=about_contact(self._said, desk.masking))
        counted = list({account for person in persons for account in person.counted})
        self._contacts = book.contacts(counted, since=min(case.ask.moment for case in cases) - desk.rules.horizon)
        self._arms = self._arms_of(cases)
        self._assigned: dict[str, list[tuple[str, str, datetime]]] = {}
        self._fresh: list[Decision] = []
        self._keys: list[tuple[str, str, str]] = []

    def _arms_of(self, cases: Sequence[Case]) -> dict[str, dict[str, str]]:
        """The arms that units of the cases have, by experiment."""
        trials = self._desk.trials
        units: dict[str, set[str]] = {}
        for case in cases:
            for trial in (*trials.at(case.ask), trials.standing):
                if trial.splits:
                    units.setdefault(trial.key, set()).update(_units(trial, case))
        return {key: self._book.arms(key, names) for key, names in units.items()}

    def answer(self, case: Case) -> Decision | Conflict:
        if case.key is None:
            return self._released(case, case.ask.decision_id) or self._decide(case)
        digest, decision_id = self._answered.get(case.key, (case.digest, case.ask.decision_id))
        if digest != case.digest:
            return Conflict(case.key)
        decision = self._released(case, decision_id) or self._decide(case)
        if case.key not in self._answered:
            self._answered[case.key] = (case.digest, decision.decision_id)
            self._keys.append((case.key, case.digest, decision.decision_id))
        return decision

    def _released(self, case: Case, decision_id: str) -> Decision | None:
        """The recorded decision, its contact taken out of the answer when the customer has said no since."""
        decision = self._known.get(decision_id)
        if decision is None or decision.contact is None:
            return decision
        permission = agreed(case.ask.customer_id, case.whose, self._permissions)
        if objection(permission, decision.contact, rules=self._desk.rules) is None:
            return decision
        return _withdrawn(decision)

    def write(self) -> None:
        self._book.record(self._fresh)
        for key, assigned in self._assigned.items():
            self._book.keep_arms(key, assigned)
        self._book.answer(self._keys)

    def _decide(self, case: Case) -> Decision:
        case = self._masked(case)
        desk, asked, whose = self._desk, case.ask.customer_id, case.whose
        decision = decide(
            case.ask,
            permission=agreed(asked, whose, self._permissions),
            contacts=self._taken(whose),
            row=case.row,
            values=case.values,
            assignment=self._assignment(case),
            rules=desk.rules,
            model=desk.model if case.values is not None else "",
            linked=linked(asked, whose, self._permissions),
        )
        self._fresh.append(decision)
        self._known[decision.decision_id] = decision
        # The next case of this person in the same transaction, by whichever account, sees the slot that this one takes.
        if decision.contact is not None:
            self._contacts[asked].append(decision.contact)
        return decision

    def _masked(self, case: Case) -> Case:
        """The case without what its customer does not allow to be used; its values go when they knew of that."""
        masking = self._desk.masking
        if masking is None or case.row is None:
            return case
        masked = masking.of(case.whose, self._said)
        if masked <= case.masked:
            return case
        return replace(case, row=masking.apply(case.row, masked), values=None)

    def _taken(self, person: Person) -> list[Contact]:
        """The slots that all the accounts of a person have taken, oldest first."""
        if len(person.counted) == 1:
            return self._contacts[person.counted[0]]
        every = [contact for account in person.counted for contact in self._contacts[account]]
        return sorted(every, key=lambda contact: contact.taken_at)

    def _assignment(self, case: Case) -> Assignment:
        """Where the case belongs: to those withheld, to the experiment where its unit has an arm, or to a new one."""
        trials = self._desk.trials
        if trials.withholds(case.ask):
            return trials.withheld
        assignment = self._proposed(case)
        channels = trials.withheld_channels(case.ask)
        return replace(assignment, withheld_channels=channels) if channels else assignment

    def _proposed(self, case: Case) -> Assignment:
        """Where a case that may get marketing belongs."""
        trials = self._desk.trials
        for trial in trials.at(case.ask):
            arm = self._arm(trial, case)
            if arm is not None:
                return self._kept(trial, case, trial.kept(arm))
        trial = trials.proposed(case.ask, case.row)
        arm = self._arm(trial, case)
        return self._kept(trial, case, trial.assignment(case.ask) if arm is None else trial.kept(arm))

    def _arm(self, trial: Trial, case: Case) -> str | None:
        held = self._arms.get(trial.key, {})
        return next((held[unit] for unit in _units(trial, case) if unit in held), None)

    def _kept(self, trial: Trial, case: Case, assignment: Assignment) -> Assignment:
        """The assignment, which is the unit's own from now on.

        A person who was a unit under another account before the accounts were linked stays in that arm, and the
        account asked for keeps it too, should they be parted again.
        """
        if trial.splits:
            held = self._arms[trial.key]
            for unit in _units(trial, case)[:2]:
                if unit not in held:
                    held[unit] = assignment.arm
                    self._assigned.setdefault(trial.key, []).append((unit, assignment.arm, case.ask.moment))
        return assignment


def _units(trial: Trial, case: Case) -> tuple[str, ...]:
    """The unit that is assigned for a case, and then those that it may have been before."""
    own = case.whose.own
    return (trial.unit_of(case.ask), *(trial.former_units(case.ask, own) if len(own) > 1 else ()))


def about_contact(said: Facts, masking: Masking | None) -> Facts:
    """What was said about being contacted: a no for whatever purpose, but those that features are for."""
    if masking is None:
        return said
    return {
        account: [each for each in facts if each.purpose not in masking.purposes] for account, facts in said.items()
    }


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
