"""The experiment that runs within the decisions: which arm a customer is in, and which policy decides there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from experiments.assignment import assign_all, uniform_all
from experiments.design import Experiment
from experiments.policies import AnyPolicy, Nothing, OneToOne, RandomEligible, Static
from features.errors import unknown
from serving.book import Book, policy_version
from serving.catalogue import NOTHING, Catalogue
from serving.decision import Ask, Assignment

HOLDOUT = "holdout"
"""The arm of customers who are withheld from all marketing."""

_FLOOR = 0.01


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Arms with their shares and policies; what a whole experiment needs to be decided.

    >>> from datetime import UTC, datetime
    >>> trial = Trial.of_policy(Nothing(), arm="quiet")
    >>> trial.assignment(Ask(customer_id="c-1", moment=datetime(2026, 3, 1, tzinfo=UTC), seed="s")).arm
    'quiet'
    """

    key: str
    shares: Mapping[str, float]
    assignments: Mapping[str, Assignment]
    unit: Literal["customer", "household"] = "customer"
    holdout_share: float = 0.0

    @classmethod
    def of_policy(cls, policy: AnyPolicy, *, arm: str, key: str = "none") -> Trial:
        """Everybody in one arm."""
        assignment = Assignment(experiment=key, arm=arm, policy=policy, version=policy_version(policy))
        return cls(key=key, shares={arm: 1.0}, assignments={arm: assignment})

    @classmethod
    def of_experiment(cls, design: Experiment, *, policies: Mapping[str, AnyPolicy]) -> Trial:
        """The trial of an experiment's design; ``policies`` are known by the names that its arms use."""
        assignments = {}
        for arm in design.arms:
            if arm.policy not in policies:
                raise unknown("policy", arm.policy, policies, do="publish it in the ledger first")
            policy = policies[arm.policy]
            assignments[arm.name] = Assignment(
                experiment=design.key, arm=arm.name, policy=policy, version=policy_version(policy)
            )
        return cls(
            key=design.key,
            shares=design.shares,
            assignments=assignments,
            unit=design.unit,
            holdout_share=design.holdout_share,
        )

    def assignment(self, ask: Ask) -> Assignment:
        """The arm of a customer (or of their household), always the same one."""
        return self.assignments_of([ask])[0]

    def assignments_of(self, asks: Sequence[Ask]) -> list[Assignment]:
        """The arms of many customers."""
        units = [ask.household_id if self.unit == "household" and ask.household_id else ask.customer_id for ask in asks]
        arms = assign_all(units, experiment=self.key, shares=self.shares).to_pylist()
        found = [self.assignments[arm] for arm in arms]
        if self.holdout_share:
            withheld = uniform_all(units, f"{self.key}:{HOLDOUT}") < self.holdout_share
            held = Assignment(experiment=self.key, arm=HOLDOUT, policy=_NOTHING, version=policy_version(_NOTHING))
            found = [held if out else each for out, each in zip(withheld.tolist(), found, strict=True)]
        return found

    def publish(self, book: Book, *, at: datetime) -> None:
        """Keep the policies of all arms in the ledger, so that their decisions can be replayed."""
        for name, assignment in self.assignments.items():
            book.publish(f"{self.key}/{name}", assignment.policy, at=at)
        book.publish(f"{self.key}/{HOLDOUT}", _NOTHING, at=at)


_NOTHING = Nothing()


def policies_of(names: Sequence[str], *, catalogue: Catalogue, book: Book) -> dict[str, AnyPolicy]:
    """The policies called ``names``: those in force in the ledger, else the standing ones.

    Standing are ``nothing``, ``random``, ``static`` (the catalogue's first static contact) and ``one_to_one``, which
    keeps a floor of 1% under every surviving action so that what it does not choose can still be judged.
    """
    standing: dict[str, AnyPolicy] = {
        "nothing": Nothing(),
        "random": RandomEligible(),
        "static": Static(treatment=catalogue.static[0] if catalogue.static else NOTHING),
        "one_to_one": OneToOne(floor=_FLOOR),
    }
    found = {}
    for name in names:
        published = book.policy(name)
        if published is None and name not in standing:
            raise unknown("policy", name, standing, do="publish it in the ledger first")
        found[name] = published[1] if published else standing[name]
    return found
