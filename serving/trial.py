"""The experiment that runs within the decisions: which arm a customer is in, and which policy decides there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from types import MappingProxyType

from experiments.assignment import assign_all, uniform_all
from experiments.design import Experiment, Unit
from experiments.policies import AnyPolicy, Nothing, OneToOne, RandomEligible, Static
from features.errors import InputError, unknown
from serving.book import Book, policy_version
from serving.catalogue import NOTHING, Catalogue
from serving.decision import Ask, Assignment

HOLDOUT = "holdout"
"""The arm of customers from whom all marketing is withheld; service contacts reach them as before."""

STANDING: Mapping[str, float] = MappingProxyType({"static": 0.1, "one_to_one": 0.9})
"""The arms, named like their policies, and shares of the trial that stands while no experiment runs."""

_FLOOR = 0.01


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Arms with their shares and policies; what a whole experiment needs to be decided.

    ``stands`` marks the one that runs because no designed experiment does.

    >>> from datetime import UTC, datetime
    >>> trial = Trial.of_policy(Nothing(), arm="quiet")
    >>> trial.assignment(Ask(customer_id="c-1", moment=datetime(2026, 3, 1, tzinfo=UTC), seed="s")).arm
    'quiet'
    """

    key: str
    shares: Mapping[str, float]
    assignments: Mapping[str, Assignment]
    unit: Unit = "customer"
    holdout_share: float = 0.0
    control: str = ""
    stands: bool = False

    @classmethod
    def of_policy(cls, policy: AnyPolicy, *, arm: str, key: str = "none") -> Trial:
        """Everybody in one arm."""
        assignment = Assignment(experiment=key, arm=arm, policy=policy, version=policy_version(policy))
        return cls(key=key, shares={arm: 1.0}, assignments={arm: assignment})

    @classmethod
    def standing(cls, policies: Mapping[str, AnyPolicy]) -> Trial:
        """The trial while no experiment runs: a tenth gets the static contact, so that lift can always be measured."""
        key = "standing"
        assignments = {
            name: Assignment(experiment=key, arm=name, policy=policies[name], version=policy_version(policies[name]))
            for name in STANDING
        }
        return cls(key=key, shares=STANDING, assignments=assignments, control="static", stands=True)

    @classmethod
    def of_experiment(cls, design: Experiment, *, policies: Mapping[str, AnyPolicy]) -> Trial:
        """The trial of an experiment's design; ``policies`` are known by the names that its arms use."""
        if HOLDOUT in design.shares:
            raise InputError(
                f"an arm of experiment {design.key!r} has the holdout's name",
                got=repr(HOLDOUT),
                do="name it otherwise; the holdout stands beside the arms, in holdout_share",
            )
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
            control=design.control,
        )

    @property
    def splits(self) -> bool:
        """Whether there is more than one arm to be in; only then is a unit's arm worth keeping."""
        return len(self.shares) > 1 or self.holdout_share > 0

    @property
    def sentence(self) -> str:
        """Which experiment it is and how it splits, for people."""
        arms = ", ".join(f"{arm} {share:.0%}" for arm, share in self.shares.items())
        held = f"; {self.holdout_share:.0%} held out of all marketing" if self.holdout_share else ""
        if self.stands:
            return f"No designed experiment runs, so the standing one does: {arms}."
        return f"Experiment {self.key}: {arms}{held}."

    def unit_of(self, ask: Ask) -> str:
        """What is assigned: the person, or their household where that is known."""
        return self._household_of(ask) or ask.person_id or ask.customer_id

    def former_units(self, ask: Ask, own: Sequence[str]) -> tuple[str, ...]:
        """The units that the accounts ``own`` of a person were before they were linked, the account asked for first."""
        return () if self._household_of(ask) else (ask.customer_id, *(each for each in own if each != ask.customer_id))

    def _household_of(self, ask: Ask) -> str | None:
        return ask.household_id if self.unit == "household" else None

    def assignment(self, ask: Ask) -> Assignment:
        """The arm that the present shares give a customer (or their household) who has none yet."""
        return self.assignments_of([ask])[0]

    def kept(self, arm: str) -> Assignment:
        """The assignment of a unit that has ``arm``, whatever the shares are now.

        An arm that the design no longer has is decided by the control's policy (by nothing without one), still under
        its own name: such a unit is in none of the arms that are compared, and never seen in two of them.
        """
        return self._of_arm.get(arm) or replace(self._fallback, arm=arm)

    @cached_property
    def _of_arm(self) -> dict[str, Assignment]:
        return {**self.assignments, HOLDOUT: self._held}

    @cached_property
    def _held(self) -> Assignment:
        version = policy_version(_SERVICE)
        return Assignment(experiment=self.key, arm=HOLDOUT, policy=_SERVICE, version=version, withheld=True)

    @cached_property
    def _fallback(self) -> Assignment:
        nothing = Assignment(experiment=self.key, arm="", policy=_NOTHING, version=policy_version(_NOTHING))
        return self.assignments.get(self.control, nothing)

    def assignments_of(self, asks: Sequence[Ask]) -> list[Assignment]:
        """The same of many customers."""
        if not self.splits:
            return [self.assignments[arm] for arm in self.shares] * len(asks)
        units = [self.unit_of(ask) for ask in asks]
        arms = assign_all(units, experiment=self.key, shares=self.shares).to_pylist()
        found = [self.assignments[arm] for arm in arms]
        if self.holdout_share:
            withheld = uniform_all(units, f"{self.key}:{HOLDOUT}") < self.holdout_share
            found = [self._held if out else each for out, each in zip(withheld.tolist(), found, strict=True)]
        return found

    def publish(self, book: Book, *, at: datetime) -> None:
        """Keep the policies of all arms in the ledger, so that their decisions can be replayed."""
        for name, assignment in self.assignments.items():
            book.publish(f"{self.key}/{name}", assignment.policy, at=at)
        book.publish(f"{self.key}/{HOLDOUT}", _SERVICE, at=at)
        book.publish(f"{self.key}/{HOLDOUT}/{NOTHING}", _NOTHING, at=at)


_NOTHING = Nothing()
# What the holdout is left with are service contacts, which are owed and not ranked: one of those that hold goes out.
_SERVICE = RandomEligible(nothing_share=0.0)


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
