"""The experiment that runs within the decisions: which arm a customer is in, and which policy decides there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from types import MappingProxyType

import msgspec

from experiments.assignment import assign
from experiments.design import Experiment, Unit
from experiments.layers import in_slice
from experiments.policies import AnyPolicy, Nothing, OneToOne, RandomEligible, Static
from features.errors import InputError, unknown
from serving.ask import Ask
from serving.book import Book, policy_version
from serving.catalogue import NOTHING, Catalogue
from serving.conditions import Condition, Row, compile_conditions
from serving.decision import Assignment
from serving.designs import keep_design

STANDING: Mapping[str, float] = MappingProxyType({"static": 0.1, "one_to_one": 0.9})
"""The arms, named like their policies, and shares of the trial that stands where no experiment decides."""

_FLOOR = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """Arms with their shares and policies; what a whole experiment needs to be decided.

    Parameters
    ----------
    shares: the planned share of each arm at the start; ``ramp``: from which moments others are planned.
    design: what it was made of; None for one that nobody designed.
    admits: whether a customer with that feature row may come in; None for everybody.
    stands: marks the one that runs beside the designed experiments.

    >>> from datetime import UTC
    >>> trial = Trial.of_policy(Nothing(), arm="quiet")
    >>> trial.assignment(Ask(customer_id="c-1", moment=datetime(2026, 3, 1, tzinfo=UTC), seed="s")).arm
    'quiet'
    """

    key: str
    shares: Mapping[str, float]
    assignments: Mapping[str, Assignment]
    unit: Unit = "customer"
    control: str = ""
    ramp: tuple[tuple[datetime, Mapping[str, float]], ...] = ()
    layer: str = "main"
    slice: tuple[float, float] = (0.0, 1.0)
    placements: tuple[str, ...] = ()
    admits: Callable[[Row], bool] | None = None
    design: Experiment | None = None
    stands: bool = False

    @classmethod
    def of_policy(cls, policy: AnyPolicy, *, arm: str, key: str = "none") -> Trial:
        """Everybody in one arm."""
        assignment = Assignment(experiment=key, arm=arm, policy=policy, version=policy_version(policy))
        return cls(key=key, shares={arm: 1.0}, assignments={arm: assignment})

    @classmethod
    def standing(cls, policies: Mapping[str, AnyPolicy]) -> Trial:
        """The trial where no experiment decides: a tenth gets the static contact, so that lift can be measured."""
        key = "standing"
        assignments = {
            name: Assignment(experiment=key, arm=name, policy=policies[name], version=policy_version(policies[name]))
            for name in STANDING
        }
        return cls(key=key, shares=STANDING, assignments=assignments, control="static", stands=True)

    @classmethod
    def of_experiment(
        cls, design: Experiment, *, policies: Mapping[str, AnyPolicy], feature_names: Sequence[str] = ()
    ) -> Trial:
        """The trial of an experiment's design.

        Parameters
        ----------
        policies: by the names that its arms use.
        feature_names: the order of the values in the rows that its audience is told by.

        Raises
        ------
        InputError
            When a policy, or a feature of the audience, is unknown.
        """
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
            control=design.control,
            ramp=design.steps[1:],
            layer=design.layer,
            slice=design.slice,
            placements=design.placements,
            admits=audience_of(design, feature_names=feature_names),
            design=design,
        )

    @property
    def splits(self) -> bool:
        """Whether there is more than one arm to be in; only then is a unit's arm worth keeping."""
        return len(self.assignments) > 1

    def shares_at(self, moment: datetime) -> Mapping[str, float]:
        """The planned shares of a moment."""
        return next((shares for since, shares in reversed(self.ramp) if since <= moment), self.shares)

    def sentence_at(self, moment: datetime) -> str:
        """Which experiment it is and how it splits at a moment, for people."""
        arms = ", ".join(f"{arm} {share:.0%}" for arm, share in self.shares_at(moment).items())
        if self.stands:
            return f"No designed experiment runs, so the standing one does: {arms}."
        whom = "" if self.admits is None and self.slice == (0.0, 1.0) else ", of those whom it takes"
        return f"Experiment {self.key}: {arms}{whom}."

    def runs_for(self, ask: Ask) -> bool:
        """Whether it runs at the moment of an ask that has its unit: one without a session's id has no session."""
        running = self.design is None or self.design.runs_at(ask.moment)
        return running and (self.unit != "session" or ask.session_id is not None)

    def takes(self, ask: Ask, row: Row | None) -> bool:
        """Whether a unit without an arm comes in: by its place in the layer, and by what is known of the customer.

        What can't be read admits nobody to an audience.
        """
        whose = self._household_of(ask) or ask.person_id or ask.customer_id
        admitted = self.admits is None or (row is not None and self.admits(row))
        return admitted and in_slice(whose, layer=self.layer, slice=self.slice)

    def unit_of(self, ask: Ask) -> str:
        """What is assigned: the person, their household where that is known, or the session."""
        if self.unit == "session" and ask.session_id is not None:
            return ask.session_id
        return self._household_of(ask) or ask.person_id or ask.customer_id

    def former_units(self, ask: Ask, own: Sequence[str]) -> tuple[str, ...]:
        """The units that the accounts ``own`` of a person were before they were linked, the account asked for first."""
        if self.unit == "session" or self._household_of(ask):
            return ()
        return (ask.customer_id, *(each for each in own if each != ask.customer_id))

    def _household_of(self, ask: Ask) -> str | None:
        return ask.household_id if self.unit == "household" else None

    def assignment(self, ask: Ask) -> Assignment:
        """The arm that the shares of the moment give a unit that has none yet."""
        if not self.splits:
            return next(iter(self.assignments.values()))
        return self.assignments[assign(self.unit_of(ask), experiment=self.key, shares=self.shares_at(ask.moment))]

    def kept(self, arm: str) -> Assignment:
        """The assignment of a unit that has ``arm``, whatever the shares are now.

        An arm that the design no longer has is decided by the control's policy (by nothing without one), still under
        its own name: such a unit is in none of the arms that are compared, and never seen in two of them.
        """
        return self.assignments.get(arm) or replace(self._fallback, arm=arm)

    @cached_property
    def _fallback(self) -> Assignment:
        nothing = Assignment(experiment=self.key, arm="", policy=_NOTHING, version=policy_version(_NOTHING))
        return self.assignments.get(self.control, nothing)

    def publish(self, book: Book, *, at: datetime) -> None:
        """Keep the policies of all arms in the ledger, so that their decisions can be replayed; and the design.

        Raises
        ------
        InputError
            When units have arms by another design of that key.
        """
        if self.design is not None:
            keep_design(book, self.design, at=at)
        for name, assignment in self.assignments.items():
            book.publish(f"{self.key}/{name}", assignment.policy, at=at)
        book.publish(f"{self.key}/{NOTHING}", _NOTHING, at=at)


def audience_of(design: Experiment, *, feature_names: Sequence[str]) -> Callable[[Row], bool] | None:
    """Whether a feature row is of the design's audience; None where everybody is.

    Raises
    ------
    InputError
        When it is no list of conditions, or names a feature that is not among ``feature_names``.
    """
    try:
        conditions = msgspec.convert(design.audience, tuple[Condition, ...])
    except msgspec.ValidationError as error:
        raise InputError(
            f"the audience of experiment {design.key!r} is no list of conditions",
            got=str(error),
            do='write audience = [{feature = "purchases_365d", at_least = 1}]',
        ) from error
    return compile_conditions(conditions, {name: place for place, name in enumerate(feature_names)})


_NOTHING = Nothing()


def standing_policies(catalogue: Catalogue) -> dict[str, AnyPolicy]:
    """The policies that need no publishing, by name.

    ``static`` is the catalogue's first static contact; ``one_to_one`` keeps a floor of 1% under every surviving action
    so that what it does not choose can still be judged.
    """
    return {
        "nothing": Nothing(),
        "random": RandomEligible(),
        "static": Static(treatment=catalogue.static[0] if catalogue.static else NOTHING),
        "one_to_one": OneToOne(floor=_FLOOR),
    }


def policies_of(names: Sequence[str], *, catalogue: Catalogue, book: Book) -> dict[str, AnyPolicy]:
    """The policies called ``names``: those in force in the ledger, else the standing ones."""
    standing = standing_policies(catalogue)
    found = {}
    for name in names:
        published = book.policy(name)
        if published is None and name not in standing:
            raise unknown("policy", name, standing, do=f"publish it: rapport publish {name} --project DIR")
        found[name] = published[1] if published else standing[name]
    return found
