"""A whole policy that never ran: what it would have done at decisions that others took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.policies import AnyPolicy
from features.errors import InputError, listed, unknown
from serving.conditions import Row, Value
from serving.contact_policy import Contact
from serving.decision import Assignment, Decision, decide
from serving.logged import Logged
from serving.rules import Rules
from serving.scoring import Scorer


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A whole policy that never ran: offers, rules and limits, the policy that chooses, and the model that values.

    Without a ``scorer`` the values are those that were recorded, which stand for the offers as they were.
    """

    rules: Rules
    policy: AnyPolicy
    scorer: Scorer | None = None

    @property
    def assignment(self) -> Assignment:
        """The candidate as the only arm there is."""
        return Assignment(experiment="", arm="", policy=self.policy, version="")

    @property
    def reads_recorded(self) -> bool:
        """Whether it ranks by the values that were recorded."""
        return self.scorer is None and self.assignment.needs_values


def wanted(decisions: Sequence[Decision], *, logged: Logged, candidate: Candidate) -> Iterator[Mapping[str, float]]:
    """The chance of each action under the candidate at each decision."""
    assignment = candidate.assignment
    rows = _Rows(logged.rules, candidate.rules)
    seen = [rows.of(each) for each in decisions]
    if not assignment.needs_values:
        values: Sequence[np.ndarray | None] = [None] * len(decisions)
    elif candidate.scorer is None:
        recorded = _Values(logged.rules, candidate.rules)
        values = [recorded.of(each) for each in decisions]
    else:
        values = _scored(seen, candidate.scorer)
    for decision, row, valued in zip(decisions, seen, values, strict=True):
        yield chances_of(
            decision,
            assignment=assignment,
            rules=candidate.rules,
            row=row,
            values=valued,
            older=logged.older.get(decision.decision_id, ()),
        )


def chances_of(
    decision: Decision,
    *,
    assignment: Assignment,
    rules: Rules,
    row: Row | None,
    values: np.ndarray | None,
    older: tuple[Contact, ...] = (),
) -> dict[str, float]:
    """The chance of each action when a recorded decision is taken again; actions without a chance are left out."""
    taken = decide(
        decision.ask,
        permission=decision.permission,
        contacts=(*older, *decision.contacts),
        row=row,
        values=values,
        assignment=assignment,
        rules=rules,
    )
    chances = zip(taken.survivors, taken.probabilities, strict=True)
    return {rules.actions[place]: chance for place, chance in chances if chance > 0}


class _Rows:
    """Recorded feature rows in the order that the candidate's rules have."""

    def __init__(self, recorded: Mapping[str, Rules], candidate: Rules) -> None:
        self._places: dict[str, list[int]] = {}
        for version, rules in recorded.items():
            if rules.book.features != candidate.book.features:
                raise InputError(
                    "the candidate declares other features than those that the decisions recorded",
                    got=listed(sorted(set(candidate.book.feature_names) ^ set(rules.book.feature_names))) or "others",
                    do="keep [features] as they were, or decide with the new ones first",
                )
            self._places[version] = [rules.feature_places[name] for name in candidate.book.feature_names]

    def of(self, decision: Decision) -> tuple[Value, ...] | None:
        if decision.row is None:
            return None
        return tuple(decision.row[place] for place in self._places[decision.rules])


class _Values:
    """Recorded values in the order of the candidate's actions, which must be worth what they were."""

    def __init__(self, recorded: Mapping[str, Rules], candidate: Rules) -> None:
        self._places = {version: _places(rules, candidate) for version, rules in recorded.items()}

    def of(self, decision: Decision) -> np.ndarray | None:
        return None if decision.values is None else np.array(decision.values)[self._places[decision.rules]]


def _places(recorded: Rules, candidate: Rules) -> list[int]:
    known = {name: place for place, name in enumerate(recorded.actions)}
    for treatment in candidate.treatments:
        name = treatment.treatment_id
        if name not in known:
            raise unknown("treatment of the log", name, known, do="give the candidate a model that values it")
        was, now = recorded.treatments[known[name] - 1], treatment
        if (was.offer.value_cents, was.offer.discount_cents) != (now.offer.value_cents, now.offer.discount_cents):
            raise InputError(
                f"{name!r} is worth something else to the candidate than when its value was recorded",
                got=f"{now.offer.value_cents} cents against {was.offer.value_cents}",
                do="give the candidate a model that values it, or keep value_cents and discount_cents",
            )
    return [known[name] for name in candidate.actions]


def _scored(rows: Sequence[Row | None], scorer: Scorer) -> list[np.ndarray | None]:
    readable = [row for row in rows if row is not None]
    found = iter(scorer.values(readable)) if readable else iter(())
    return [None if row is None else next(found) for row in rows]
