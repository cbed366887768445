"""The decision: one pure function from what is known about a customer at a moment to a contact, or to nothing.

The API, the batch and the demo all call :func:`decide`. It reads no clock, no store and no random source: everything
comes in, so everything that it did can be done again from the record.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np

from experiments.assignment import uniform
from experiments.policies import AnyPolicy, Choice, choose
from features.errors import InputError
from serving.ask import Ask
from serving.conditions import Row, Value
from serving.consent import Permission
from serving.contact_policy import Contact
from serving.people import Linked
from serving.reasons import Reason
from serving.rules import Rules
from serving.sieve import sift

Source = Literal["policy", "static", "no_contact"]
_DRAW = "action"
_TOLERANCE = 1e-6  # of the sum of a policy's probabilities


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """The arm that a customer is in, and the policy that decides there.

    ``withheld`` says that all marketing is withheld from the arm, the holdout; service contacts still go out.
    ``withheld_channels`` are the channels whose marketing alone is withheld from the customer.
    """

    experiment: str
    arm: str
    policy: AnyPolicy
    version: str
    withheld: bool = False
    withheld_channels: tuple[str, ...] = ()

    @cached_property
    def needs_values(self) -> bool:
        """Whether the policy ranks by the model's values."""
        return self.policy.reads_values


class Decision(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The record of one decision: what went in, what each stage removed, and what came out by which chance.

    Actions appear as places in the rule book's actions (0 is ``nothing``, i the i-th treatment), so that a record
    takes some hundred bytes; :func:`serving.explanation.explain` gives them their names. ``removed`` holds pairs of a
    reason's number and the actions that it removed; ``survivors`` and ``probabilities`` belong together, ``nothing``
    first. ``values`` are expected incremental profits in cents, one per action, or None when they could not be read.
    ``contacts`` are those of all accounts that count as the customer's, and ``linked`` says what else came from them.
    """

    decision_id: str
    ask: Ask
    experiment: str
    arm: str
    policy: str
    model: str
    rules: str
    permission: Permission | None
    contacts: tuple[Contact, ...]
    row: tuple[Value, ...] | None
    values: tuple[float, ...] | None
    removed: tuple[tuple[int, tuple[int, ...]], ...]
    fired: tuple[str, ...]
    survivors: tuple[int, ...]
    probabilities: tuple[float, ...]
    action: str
    probability: float
    offer_id: str | None
    channel: str | None
    contact_class: str | None
    scenario: str | None
    contact_cost: int
    source: Source
    degraded: bool
    reason: int
    withheld: bool = False
    linked: Linked | None = None
    withheld_channels: tuple[str, ...] = ()

    @property
    def contact(self) -> Contact | None:
        """The slot that the decision takes, None when nothing is sent."""
        if self.offer_id is None or self.channel is None or self.contact_class is None:
            return None
        return Contact(self.offer_id, self.channel, self.contact_class, self.ask.moment)


class _Known(Mapping[str, Any]):
    """The values of one kind in a feature row by name; what is missing or of another kind is not in it."""

    __slots__ = ("_kinds", "_places", "_row")

    def __init__(self, row: Row, places: Mapping[str, int], *kinds: type) -> None:
        self._row = row
        self._places = places
        self._kinds = kinds

    def __getitem__(self, name: str) -> Any:
        value = self._row[self._places[name]]
        if isinstance(value, self._kinds):
            return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._places if isinstance(self._row[self._places[name]], self._kinds))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def decide(
    ask: Ask,
    *,
    permission: Permission | None,
    contacts: Sequence[Contact],
    row: Row | None,
    values: np.ndarray | None,
    assignment: Assignment,
    rules: Rules,
    model: str = "",
    linked: Linked | None = None,
) -> Decision:
    """The decision for ``ask``: checks in order, then arbitration by the arm's policy and the ask's seed.

    Permission fails closed, ranking fails open: without ``permission`` nobody is contacted; without ``values`` a
    policy that needs them gives way to the catalogue's static contact, if that survived the same checks.

    Parameters
    ----------
    permission: what the customer permits; None when it could not be read.
    contacts: slots taken before, at least those within ``rules.horizon``.
    row: feature values in the order of ``rules.book.feature_names``; None when they could not be read.
    values: expected incremental profit in cents, float64 of shape (len(rules.actions),), 0 for ``nothing``; or None.
    model: the version of what gave ``values``.
    linked: what came from other accounts of the customer, for the record.
    """
    seen = rules.no_features if row is None else row
    sieve = sift(
        ask,
        permission=permission,
        contacts=contacts,
        row=seen,
        withheld=assignment.withheld,
        channels=assignment.withheld_channels,
        rules=rules,
    )
    decision_id = ask.decision_id
    if permission is None:
        outcome = _NO_PERMISSION
    elif not sieve.left:
        outcome = _NOTHING_LEFT
    else:
        chances = _chances(sieve.left, ask, row=seen, values=values, assignment=assignment, rules=rules)
        outcome = _stand_in(sieve.left, rules) if chances is None else _draw(chances, sieve.left, decision_id, rules)
    place, probabilities, source, reason = outcome
    survivors = rules.survivors(sieve.left).places
    treatment = rules.treatments[place - 1] if place else None
    return Decision(
        decision_id=decision_id,
        ask=ask,
        experiment=assignment.experiment,
        arm=assignment.arm,
        policy=assignment.version,
        model=model,
        rules=rules.fingerprint,
        permission=permission,
        contacts=tuple(contacts),
        row=None if row is None else tuple(row),
        values=None if values is None else tuple(values.tolist()),
        removed=tuple((int(why), rules.survivors(mask).places[1:]) for why, mask in sieve.removed.items()),
        fired=tuple(name for name, _ in sieve.fired),
        survivors=survivors,
        probabilities=probabilities,
        action=rules.actions[place],
        probability=probabilities[survivors.index(place)],
        offer_id=treatment.offer.offer_id if treatment else None,
        channel=treatment.content.channel if treatment else None,
        contact_class=treatment.offer.contact_class if treatment else None,
        scenario=next((name for name, mask in sieve.fired if place and mask >> (place - 1) & 1), None),
        contact_cost=rules.costs[place],
        source=source,
        degraded=reason in _DEGRADED,
        reason=int(reason),
        withheld=assignment.withheld,
        linked=linked,
        withheld_channels=assignment.withheld_channels,
    )


class _Outcome(NamedTuple):
    place: int
    probabilities: tuple[float, ...]
    source: Source
    reason: Reason


_NO_PERMISSION = _Outcome(0, (1.0,), "no_contact", Reason.NO_PERMISSION_READ)
_NOTHING_LEFT = _Outcome(0, (1.0,), "policy", Reason.NOTHING_LEFT)
_DEGRADED = frozenset({Reason.STATIC_STANDS_IN, Reason.STATIC_NOT_LEFT, Reason.NO_PERMISSION_READ})


def _draw(chances: np.ndarray, mask: int, decision_id: str, rules: Rules) -> _Outcome:
    place = rules.survivors(mask).places[choose(chances, uniform(decision_id, _DRAW))]
    return _Outcome(place, tuple(chances.tolist()), "policy", Reason.CHOSEN if place else Reason.NOTHING_CHOSEN)


def _stand_in(mask: int, rules: Rules) -> _Outcome:
    place = next((bit.bit_length() for bit in rules.static if bit & mask), 0)
    sure = tuple(1.0 if each == place else 0.0 for each in rules.survivors(mask).places)
    return _Outcome(place, sure, "static", Reason.STATIC_STANDS_IN if place else Reason.STATIC_NOT_LEFT)


def _chances(
    mask: int, ask: Ask, *, row: Row, values: np.ndarray | None, assignment: Assignment, rules: Rules
) -> np.ndarray | None:
    """The policy's probabilities of what is left; None when they can't be had."""
    left = rules.survivors(mask)
    if values is None and assignment.needs_values:
        return None
    try:
        choice = Choice(
            actions=left.names,
            values=np.zeros(len(left.names)) if values is None else values[left.index],
            features=_Known(row, rules.feature_places, int, float),
            labels=_Known(row, rules.feature_places, str),
            segment=ask.segment,
        )
        chances = assignment.policy.probabilities(choice)
        listed = chances.tolist()
    except (InputError, ArithmeticError, LookupError, TypeError, ValueError):
        return None
    sound = len(listed) == len(left.names) and min(listed) >= 0 and abs(math.fsum(listed) - 1) <= _TOLERANCE
    return chances if sound else None
