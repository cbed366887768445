"""An experiment's decisions as the ledger holds them, with all that is needed to take them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import select

from experiments.design import Experiment
from experiments.policies import AnyPolicy
from features.errors import InputError
from serving import schema
from serving.book import Book
from serving.contact_policy import Contact
from serving.decision import Decision
from serving.rules import Rules

_decoder = msgspec.msgpack.Decoder(Decision)


@dataclass(frozen=True, kw_only=True)
class Logged:
    """All decisions of an experiment, oldest first, with the rules and the policies that took them.

    ``older``: contacts of a decision's customer from before what the decision recorded, by decision id.
    """

    decisions: tuple[Decision, ...]
    rules: Mapping[str, Rules]
    policies: Mapping[str, AnyPolicy]
    older: Mapping[str, tuple[Contact, ...]]


def read_logged(book: Book, design: Experiment, *, candidate: Rules) -> Logged:
    """The decisions of the arms of ``design`` in a ledger, with what is needed to take them again.

    Raises
    ------
    InputError
        When there are none, or their rules or policies are not kept.
    """
    columns = schema.decisions.c
    found = book.connection.scalars(
        select(columns.record)
        .where(columns.experiment == design.key, columns.arm.in_(design.arm_names))
        .order_by(columns.decided_at, columns.decision_id)
    )
    decisions = tuple(_decoder.decode(record) for record in found)
    if not decisions:
        raise InputError(
            f"nothing was decided in experiment {design.key!r} yet",
            got="no decision of its arms in the ledger",
            do="decide with `rapport score` or `rapport serve` while it runs",
        )
    rules = {each: _rules(book, each) for each in {decision.rules for decision in decisions}}
    policies = {each: _policy(book, each) for each in {decision.policy for decision in decisions}}
    horizon = min(each.horizon for each in rules.values())
    older = _older(book, decisions, candidate=candidate, rules=rules) if candidate.horizon > horizon else {}
    return Logged(decisions=decisions, rules=rules, policies=policies, older=older)


def _rules(book: Book, fingerprint: str) -> Rules:
    kept = book.rules(fingerprint)
    if kept is None:
        raise InputError("a rule book of the experiment is not kept", got=fingerprint, do="restore the whole ledger")
    return Rules(kept)


def _policy(book: Book, version: str) -> AnyPolicy:
    policy = book.policy_of_version(version)
    if policy is None:
        raise InputError("a policy of the experiment is not kept", got=version, do="restore the whole ledger")
    return policy


def _older(
    book: Book, decisions: Sequence[Decision], *, candidate: Rules, rules: Mapping[str, Rules]
) -> dict[str, tuple[Contact, ...]]:
    """What the candidate's longer limits look back at: slots from before those that each decision recorded."""
    accounts = {
        each.decision_id: (each.ask.customer_id, *(each.linked.counted if each.linked else ())) for each in decisions
    }
    since = min(each.ask.moment for each in decisions) - candidate.horizon
    taken = book.contacts(sorted({name for names in accounts.values() for name in names}), since=since)
    return {
        each.decision_id: tuple(
            contact
            for name in accounts[each.decision_id]
            for contact in taken[name]
            if contact.taken_at <= each.ask.moment - rules[each.rules].horizon and contact not in each.contacts
        )
        for each in decisions
    }
