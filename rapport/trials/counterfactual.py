"""The value of a whole policy before its launch: rules, limits, levers and model, from a project's own decisions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa

from experiments.analysis.balance import sample_ratio
from experiments.design import Arm, Experiment
from experiments.estimation.columns import feature_matrix, read_columns, screen
from experiments.estimation.influence import Floats, mean_interval
from experiments.measures import Goal, Measure
from experiments.offpolicy import Log, Rival, Telling, value_of
from experiments.offpolicy.rewards import decision_rewards
from experiments.policies import AnyPolicy
from experiments.results import Earned, Evaluation, Result
from features.errors import InputError, unknown
from features.facts import TIMESTAMP
from rapport.incumbent import incumbent
from rapport.people.persons import persons_known
from rapport.project import Project
from serving.assembly import rules_of, scorer_of
from serving.candidate import Candidate
from serving.counterfactual import Replayed, replayed
from serving.decision import Decision
from serving.ledger import Ledger
from serving.logged import Logged, read_logged
from serving.rules import Rules
from serving.trial import STANDING, policies_of

_DAY = timedelta(days=1)
_STANDING = "standing"
_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class ArmValue(Earned):
    """What the decisions of one arm earned each."""

    arm: str
    decisions: int


@dataclass(frozen=True, kw_only=True)
class PolicyValue(Result):
    """The value of a candidate at the decisions of an experiment, beside what its arms earned there.

    Values are per decision, in the measure's own units (cents for money), within ``window_days`` after it.
    """

    experiment: str
    policy: str
    goal: str
    money: bool
    decisions: int
    window_days: float
    evaluation: Evaluation
    arms: tuple[ArmValue, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The keys of an evaluation, and beside them what was valued."""
        told = asdict(self)
        return {**told.pop("evaluation"), **told}


def value_before_launch(
    project: Project,
    candidate: Project,
    *,
    key: str,
    as_of: datetime,
    arm: str | None = None,
    goal: str | None = None,
    every: bool = False,
    window_days: float | None = None,
    seed: int = 1,
    alpha: float = 0.05,
) -> PolicyValue:
    """What the policy of ``candidate`` would earn per decision, from the decisions of an experiment of ``project``.

    One decision at a time, at customers as the log found them: the histories are those that the experiment's arms
    made, and what the candidate's own contacts would change later (used up limits, opt-outs) is not in the value.

    Parameters
    ----------
    key: of the experiment that decided, or ``standing`` for the trial that runs where none does.
    candidate: the folder of what is to be launched, such as a copy of the project with other offers, rules or limits;
        its model if it has one in force, else the values that the decisions recorded.
    arm: the arm of the candidate's design whose policy is valued; that of the headline if not given.
    goal: the measure of the project's design that is earned; the deciding one if not given.
    every: all decisions of a customer and not the first alone, whose arm is pure chance.
    window_days: how long after a decision counts; if not given the goal's window, or the usual time between two
        decisions on a customer where that is shorter.

    Raises
    ------
    InputError
        When nothing was decided, or the candidate needs what the decisions did not record.
    """
    design = _design(project, key)
    measure = _measure(design, goal)
    rules = rules_of(candidate)
    name, policy = _policy(project, candidate, key=key, arm=arm)
    with closing(Ledger(project.ledger)) as ledger, ledger.reading() as book:
        logged = read_logged(book, design, candidate=rules)
    scorer, notes = _scorer(project, candidate, rules, at=as_of)
    person_of = _persons(project, as_of)
    found = replayed(
        logged,
        design=design,
        candidate=Candidate(rules=rules, policy=policy, scorer=scorer),
        unit_of=_unit_of(design, person_of),
        every=every,
    )
    window, said = _window(logged, measure, person_of, days=window_days)
    rewards = _rewards(project, found, measure, person_of, window=window, as_of=as_of)
    mature = np.isfinite(rewards)
    log = _log(found, rewards, mature, cluster_of=_cluster_of(design, person_of))
    telling = None
    if measure.money:
        telling = Telling(unit="per decision", scale=0.01, currency=project.settings.project.currency)
    control = Rival(design.control, found.control[mature])
    valued = value_of(log, control=control, telling=telling, seed=seed, alpha=alpha)
    evaluation = _checked(valued, found, design)
    return PolicyValue(
        experiment=key,
        policy=name,
        goal=measure.words,
        money=measure.money,
        decisions=int(mature.sum()),
        window_days=window / _DAY,
        evaluation=evaluation,
        arms=_arms(found, rewards, mature, design, alpha=alpha),
        notes=(*notes, *said, *_left_out(found, mature)),
    )


def _design(project: Project, key: str) -> Experiment:
    """The experiment of that key; ``standing`` is the trial that runs where none decides, with profit as its goal."""
    if key != _STANDING or key in project.experiments:
        return project.experiment(key)
    response = project.settings.response
    profit = Goal(
        name="profit",
        kind="given",
        window_days=response.window_days,
        delay_days=response.delay_days,
        money=True,
    )
    return Experiment(
        key=key,
        title="The standing trial",
        hypothesis="What fits each customer earns more than the static contact.",
        arms=tuple(Arm(name=name, shows=name, policy=name, share=share) for name, share in STANDING.items()),
        control="static",
        goals=(profit,),
        start=_ALWAYS,
    )


def _measure(design: Experiment, goal: str | None) -> Measure:
    if goal is None:
        return design.goals[0]
    named = {each.name: each for each in (*design.measures, *design.parts)}
    if goal not in named:
        raise unknown("goal", goal, named)
    return named[goal]


def _policy(project: Project, candidate: Project, *, key: str, arm: str | None) -> tuple[str, AnyPolicy]:
    """The name of the candidate's policy and its state: of the candidate's ledger, of the project's, or standing."""
    design = candidate.experiments.get(key) or _design(project, key)
    policies = {each.name: each.policy for each in design.arms}
    chosen = arm or design.headline_arm
    if chosen not in policies:
        raise unknown("arm", chosen, policies)
    name = policies[chosen]
    for each in (candidate, project):
        if each.ledger.exists():
            with closing(Ledger(each.ledger)) as ledger, ledger.reading() as book:
                if book.policy(name) is not None or each is project:
                    return name, policies_of([name], catalogue=candidate.catalogue, book=book)[name]
    raise InputError("the project has no ledger", got=str(project.ledger), do="decide with `rapport score` first")


def _scorer(project: Project, candidate: Project, rules: Rules, *, at: datetime) -> tuple[Any, list[str]]:
    found = incumbent(candidate)
    if found.bundle is None:
        return None, [f"Valued by what the decisions recorded, as the candidate has no model in force ({found.note})."]
    # Of the offers' attributes the project knows more than a folder that was only made to be tried.
    return scorer_of(found.bundle, project=project, rules=rules, at=at), [found.note] if found.note else []


def _persons(project: Project, as_of: datetime) -> Callable[[str], str]:
    known = persons_known(project, as_of=as_of)
    persons = dict(zip(known["account_id"].to_pylist(), known["customer_id"].to_pylist(), strict=True))
    return lambda account: str(persons.get(account, account))


def _unit_of(design: Experiment, person_of: Callable[[str], str]) -> Callable[[Decision], str]:
    """Who has an arm: the session, the household or the person, as the design says."""
    cluster_of = _cluster_of(design, person_of)
    if design.unit == "session":
        return lambda decision: decision.ask.session_id or cluster_of(decision)
    return cluster_of


def _cluster_of(design: Experiment, person_of: Callable[[str], str]) -> Callable[[Decision], str]:
    """Whose decisions may depend on each other."""
    if design.unit == "household":
        return lambda decision: decision.ask.household_id or person_of(decision.ask.customer_id)
    return lambda decision: person_of(decision.ask.customer_id)


def _window(
    logged: Logged, measure: Measure, person_of: Callable[[str], str], *, days: float | None
) -> tuple[timedelta, list[str]]:
    """How long after a decision counts, and what to say of it."""
    if days is not None:
        if not 0 < days < 10_000:
            raise InputError("the window is no number of days", got=f"{days:g}", do="give one above 0, such as 7")
        return timedelta(days=days), []
    moments: dict[str, set[datetime]] = {}
    for decision in logged.decisions:
        moments.setdefault(person_of(decision.ask.customer_id), set()).add(decision.ask.moment)
    seen = [sorted(each) for each in moments.values()]
    gaps = [(later - earlier).total_seconds() for each in seen for earlier, later in pairwise(each)]
    usual = timedelta(seconds=median(gaps)) if gaps else measure.window
    if usual >= measure.window:
        return measure.window, []
    if usual < _DAY:
        raise InputError(
            "customers come up for a decision within hours, so it is not clear what a decision earned",
            got=f"usually {usual / timedelta(hours=1):.1f} hours between two",
            do="say with --window how many days after a decision its outcome counts",
        )
    return usual, [
        f"Outcomes count for {usual / _DAY:g} days, after which customers usually come up again; "
        f"{measure.words}'s own window is {measure.window_days:g}."
    ]


def _rewards(
    project: Project,
    found: Replayed,
    measure: Measure,
    person_of: Callable[[str], str],
    *,
    window: timedelta,
    as_of: datetime,
) -> Floats:
    """What each valued decision earned (n,), NaN where its window has not closed."""
    decisions = pa.table(
        {
            "decision_id": [each.decision_id for each in found.decisions],
            "customer_id": [person_of(each.ask.customer_id) for each in found.decisions],
            "decided_at": pa.array([each.ask.moment for each in found.decisions], TIMESTAMP),
            "contact_cost": pa.array([each.contact_cost for each in found.decisions], pa.int64()),
        }
    )
    events = project.history.events(until=as_of, since=found.decisions[0].ask.moment) if found.decisions else None
    if events is None:
        raise InputError("no decision of the experiment can be valued", got="none was read whole", do="look at them")
    who = pa.array([person_of(each) for each in events["customer_id"].to_pylist()], pa.string())
    events = events.set_column(events.column_names.index("customer_id"), "customer_id", who)
    rewards = decision_rewards(
        decisions, events, measure=measure, window=window, as_of=as_of, margin_bp=project.settings.project.margin_bp
    )
    known = dict(zip(rewards["decision_id"].to_pylist(), rewards["reward"].to_pylist(), strict=True))
    earned = (known[each.decision_id] for each in found.decisions)
    return np.array([np.nan if value is None else float(value) for value in earned])


def _log(found: Replayed, rewards: Floats, mature: np.ndarray, *, cluster_of: Callable[[Decision], str]) -> Log:
    if not mature.any():
        raise InputError(
            "no decision's window has closed yet",
            got=f"{mature.size:,} decisions",
            do="look again later, or give a shorter --window",
        )
    decisions = [each for each, closed in zip(found.decisions, mature.tolist(), strict=True) if closed]
    known = [each.row or () for each in decisions]
    width = max(map(len, known))
    padded = [row or (None,) * width for row in known]
    table = pa.table({str(place): [row[place] for row in padded] for place in range(width)})
    columns, _ = screen(read_columns(table, table.column_names), outcome=rewards[mature], named=set())
    return Log(
        actions=found.actions,
        action=found.taken[mature],
        reward=rewards[mature],
        probability=found.probability[mature],
        policy=found.wanted[mature],
        features=feature_matrix(columns, rows=len(decisions)),
        cluster=np.unique([cluster_of(each) for each in decisions], return_inverse=True)[1].astype(np.int64),
        logged=found.logged[mature],
    )


def _checked(evaluation: Evaluation, found: Replayed, design: Experiment) -> Evaluation:
    """The evaluation, refused where units are not spread over the arms as planned: their arm is not chance alone then.

    Under a ramp the planned shares change, so there is no single split to check.
    """
    arms = {unit: each.arm for unit, each in zip(found.units, found.decisions, strict=True)}
    counts = Counter(arms.values())
    split = [counts[arm] for arm in design.arm_names]
    if design.ramp or sample_ratio(split, list(design.shares.values())).status != "red":
        return evaluation
    told = ", ".join(f"{arm} {count:,}" for arm, count in zip(design.arm_names, split, strict=True))
    refused = f"Customers are not spread over the arms as planned ({told}): who got what was not chance alone."
    return replace(evaluation, estimates=(), differences=(), sentence="", control=None, refused=refused)


def _arms(
    found: Replayed, rewards: Floats, mature: np.ndarray, design: Experiment, *, alpha: float
) -> tuple[ArmValue, ...]:
    """What the valued decisions of each arm earned."""
    arm_of = np.array([each.arm for each in found.decisions])
    values = []
    for arm in design.arm_names:
        earned = rewards[mature & (arm_of == arm)]
        if earned.size:
            each = mean_interval(earned, alpha=alpha)
            values.append(
                ArmValue(arm=arm, decisions=earned.size, value=each.value, ci_low=each.low, ci_high=each.high)
            )
    return tuple(values)


def _left_out(found: Replayed, mature: np.ndarray) -> list[str]:
    counts = (
        (int((~mature).sum()), "whose window has not closed"),
        (found.unread, "for which consent or values could not be read"),
    )
    said = [f"{count:,} decisions left out {why}." for count, why in counts if count]
    return said + ([f"{found.torn:,} customers left out who were seen in two arms."] if found.torn else [])
