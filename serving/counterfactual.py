"""What a candidate would do at decisions that were logged, and with which chance the log did what it did there.

Both come from the decision function itself, run again over the records. An experiment's arms are several loggers at
once: a unit met the policy of one of them, by lot, so the chance of an action is the mean over the arms, weighed by how
likely the unit is in each (the balance heuristic of multiple importance sampling; Agarwal et al. 2017, "Effective
evaluation using logged bandit feedback from multiple loggers"). At a unit's first decision that weight is the arm's
share. Later its history tells of the arm: the weight becomes share x the chances with which the arm would have taken
all earlier actions (Bayes' rule; what customers do depends on the actions and not on the arm, so it cancels).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from experiments.design import Experiment
from features.errors import InputError, listed
from serving.candidate import Candidate, chances_of, wanted
from serving.decision import Assignment, Decision
from serving.logged import Logged

# Of a probability that is computed again: policies are exact, but for the order of sums.
_SAME = 1e-9


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """The decisions that are valued, and who would have done what at each of them.

    ``taken`` (n,): the place of the action that was taken in ``actions``. ``logged`` and ``wanted`` (n, actions): the
    chance of each action under the experiment and under the candidate; ``control`` (n, actions): under its control arm.
    ``units`` (n,): who was decided on. Left out are ``torn`` units, seen in two arms, and ``unread`` decisions, for
    which values or consent could not be read.
    """

    actions: tuple[str, ...]
    decisions: tuple[Decision, ...]
    units: tuple[str, ...]
    taken: np.ndarray
    logged: np.ndarray
    wanted: np.ndarray
    control: np.ndarray
    torn: int
    unread: int

    @property
    def probability(self) -> np.ndarray:
        """The chance (n,) with which the experiment took the action that it took."""
        chosen: np.ndarray = self.logged[np.arange(self.taken.size), self.taken]
        return chosen


def replayed(
    logged: Logged,
    *,
    design: Experiment,
    candidate: Candidate,
    unit_of: Callable[[Decision], str],
    every: bool = False,
) -> Replayed:
    """The chance of each action at each logged decision: under the experiment, and under the candidate.

    Parameters
    ----------
    unit_of: who has an arm, such as the person or the household behind a decision.
    every: all decisions of a unit and not its first alone.

    Raises
    ------
    InputError
        When a decision does not come out of its record again, or the candidate needs what was not recorded.
    """
    units = [unit_of(each) for each in logged.decisions]
    torn = _torn(units, logged.decisions)
    loggers = _Loggers(logged, design)
    reads_values = loggers.need_values or candidate.reads_recorded
    kept: list[int] = []
    chances: list[dict[str, float]] = []
    control: list[dict[str, float]] = []
    beliefs: dict[str, np.ndarray] = {}
    unread = 0
    for place, (unit, decision) in enumerate(zip(units, logged.decisions, strict=True)):
        if unit in torn or (unit in beliefs and not every):
            continue
        belief = beliefs.get(unit)
        belief = loggers.shares(decision.ask.moment) if belief is None else belief
        by_arm = loggers.chances(decision)
        beliefs[unit] = belief * [each.get(decision.action, 0.0) for each in by_arm]
        beliefs[unit] /= beliefs[unit].sum()
        if decision.permission is None or (decision.values is None and reads_values):
            unread += 1
            continue
        kept.append(place)
        chances.append(_mixed(by_arm, belief))
        control.append(by_arm[design.arm_names.index(design.control)])
    decisions = tuple(logged.decisions[place] for place in kept)
    wished = list(wanted(decisions, logged=logged, candidate=candidate))
    actions = tuple(dict.fromkeys((*candidate.rules.actions, *(name for each in chances for name in each))))
    places = {name: place for place, name in enumerate(actions)}
    return Replayed(
        actions=actions,
        decisions=decisions,
        units=tuple(units[place] for place in kept),
        taken=np.array([places[each.action] for each in decisions], dtype=np.int64),
        logged=_matrix(chances, places),
        wanted=_matrix(wished, places),
        control=_matrix(control, places),
        torn=len(torn),
        unread=unread,
    )


class _Loggers:
    """The arms of an experiment as they would have decided, each by the version of its policy that was in force."""

    def __init__(self, logged: Logged, design: Experiment) -> None:
        self._logged = logged
        self._steps = [np.array([shares[arm] for arm in design.arm_names]) for _, shares in design.steps]
        self._design = design
        self._versions: dict[str, list[tuple[datetime, str]]] = {}
        for decision in logged.decisions:
            held = self._versions.setdefault(decision.arm, [])
            if not held or held[-1][1] != decision.policy:
                held.append((decision.ask.moment, decision.policy))
        self._arms = [name for name in design.arm_names if name in self._versions]
        if len(self._arms) < len(design.arm_names):
            missing = [name for name in design.arm_names if name not in self._versions]
            raise InputError(
                "arms of the experiment have not decided yet, so their policies are not known",
                got=listed(missing),
                do="wait until each arm has decisions",
            )
        self.need_values = any(
            self._assignment(arm, version).needs_values for arm, held in self._versions.items() for _, version in held
        )

    def shares(self, moment: datetime) -> np.ndarray:
        """The chance (arms,) of each arm for a unit that comes in at ``moment``."""
        return self._steps[self._design.step_at(moment)]

    def chances(self, decision: Decision) -> list[dict[str, float]]:
        """The chance of each action under each arm, where an action without one is left out."""
        rules = self._logged.rules[decision.rules]
        found = []
        for arm in self._arms:
            version = decision.policy if arm == decision.arm else self._in_force(arm, decision.ask.moment)
            values = None if decision.values is None else np.array(decision.values)
            taken = chances_of(
                decision, assignment=self._assignment(arm, version), rules=rules, row=decision.row, values=values
            )
            found.append(taken)
            if arm == decision.arm and abs(taken.get(decision.action, 0.0) - decision.probability) > _SAME:
                again = taken.get(decision.action, 0.0)
                raise InputError(
                    "a decision does not come out of its record again",
                    got=f"{decision.decision_id}: chance {decision.probability:g}, now {again:g}",
                    do=f"look at it with `rapport replay {decision.decision_id}`",
                )
        return found

    def _in_force(self, arm: str, moment: datetime) -> str:
        """The version with which an arm decided last by ``moment``; its first one before that."""
        held = self._versions[arm]
        return next((version for since, version in reversed(held) if since <= moment), held[0][1])

    def _assignment(self, arm: str, version: str) -> Assignment:
        policy = self._logged.policies[version]
        return Assignment(experiment=self._design.key, arm=arm, policy=policy, version=version)


def _mixed(by_arm: Sequence[Mapping[str, float]], belief: np.ndarray) -> dict[str, float]:
    """The chance of each action over the arms, each as likely as ``belief`` (arms,) says."""
    mixed: dict[str, float] = {}
    for chances, weight in zip(by_arm, belief.tolist(), strict=True):
        for action, chance in chances.items():
            mixed[action] = mixed.get(action, 0.0) + weight * chance
    return mixed


def _matrix(chances: Sequence[Mapping[str, float]], places: Mapping[str, int]) -> np.ndarray:
    filled = np.zeros((len(chances), len(places)))
    for row, each in enumerate(chances):
        for action, chance in each.items():
            filled[row, places[action]] = chance
    return filled


def _torn(units: Sequence[str], decisions: Sequence[Decision]) -> set[str]:
    """The units that were seen in two arms."""
    first: dict[str, str] = {}
    return {
        unit
        for unit, decision in zip(units, decisions, strict=True)
        if first.setdefault(unit, decision.arm) != decision.arm
    }
