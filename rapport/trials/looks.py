"""A look at an experiment of a project: from its decisions and the history to analysis, record and report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from experiments.adaptive import ActionValue
from experiments.analysis import Findings, analyze
from experiments.arrivals import BEFORE, Arrivals, KindArrivals, arrivals_by_kind
from experiments.design import Experiment, Unit
from experiments.ladder import ladder_of_arms
from experiments.measures import Measure
from experiments.money import ArmMoney, money_by_arm, unit_money, with_profit
from experiments.outcomes import OutcomeCounts, by_person, count_outcomes, join_outcomes, query
from experiments.ramping import STEP, planned_shares, with_steps
from experiments.record import ExperimentRecord
from experiments.report import AllocationPoint, HealthCheck, LookPoint, ReasonCount, Report, health_checks, look_points
from experiments.results import Ladder
from experiments.stopping import ended, stops
from features.errors import InputError
from features.facts import TIMESTAMP
from rapport.people.persons import persons_known
from rapport.project import Project
from rapport.trials.bandits import bandit_values, learning_arms
from rapport.trials.digests import look_digests
from rapport.trials.objections import contacts_after_opt_out
from serving.inbox import EVER
from serving.ledger import Ledger
from serving.looked import keep_looks, looks_taken
from serving.reasons import Reason

_CHOICES = (Reason.CHOSEN.code, Reason.NOTHING_CHOSEN.code)
_SILENT = (Reason.NOTHING_CHOSEN, Reason.NOTHING_LEFT, Reason.STATIC_NOT_LEFT, Reason.NO_PERMISSION_READ)
_UNITS = """
    SELECT customer_id, {session}arg_min(household_id, decided_at) AS household_id, arg_min(arm, decided_at) AS arm,
        min(decided_at) AS assigned_at
    FROM decisions WHERE arm IN $arms GROUP BY customer_id, {session}decisions.arm ORDER BY customer_id, assigned_at
"""
_RAMPED = (
    "The planned shares changed while it ran, so the ladder, who gains and who stays are not told: all customers of an "
    "arm together would hold early customers against late ones."
)
MISSING_LOOKS = "Earlier looks"
"""The check that tells of looks whose record is lost."""

_CLUSTERS: dict[Unit, str | None] = {"customer": None, "household": "household_id", "session": "customer_id"}


@dataclass(frozen=True, kw_only=True)
class Look:
    """One look: what was decided and for whom, the table of outcomes, and what it says.

    ``units``: one row per person of the experiment, or several of the accounts that are one as known at ``as_of``.
    ``outcomes``: those whose windows have closed, with their goals. ``actions``: what those of a bandit earned.
    ``arrivals``: whether events still arrived when the look was taken; ``kinds``: each kind that feeds a measure.
    ``before``: the units of each look as of an earlier moment; ``lost``: those of which the ledger alone knows.
    """

    design: Experiment
    as_of: datetime
    units: pa.Table
    decisions: pa.Table
    outcomes: pa.Table
    findings: Findings
    money: tuple[ArmMoney, ...]
    counts: OutcomeCounts
    arrivals: Arrivals
    kinds: tuple[KindArrivals, ...] = ()
    actions: tuple[ActionValue, ...] = ()
    before: Mapping[datetime, int] = field(default_factory=dict)
    lost: tuple[datetime, ...] = ()

    @property
    def number(self) -> int:
        """Which look it is, those as of later moments left aside."""
        return len(self.before) + 1

    @property
    def ramped(self) -> bool:
        """Whether the planned shares changed while it ran: then only what compares within the steps is told."""
        return len(self.design.steps) > 1

    @property
    def points(self) -> tuple[LookPoint, ...]:
        """The look's points for the chart over time."""
        return look_points(self.findings, experiment=self.design, as_of=self.as_of)


def units_of(decisions: pa.Table, design: Experiment) -> pa.Table:
    """One row per account (or session) and each of the experiment's arms that it was seen in.

    Columns: ``customer_id, household_id, arm, assigned_at``, and ``session_id`` where sessions are assigned.
    """
    sql = _UNITS.format(session="session_id, " if design.unit == "session" else "")
    return query(sql, values={"arms": list(design.arm_names)}, decisions=decisions)


def take_look(
    project: Project,
    design: Experiment,
    *,
    units: pa.Table,
    decisions: pa.Table,
    as_of: datetime,
    so_far: timedelta | None = None,
    covariates: Sequence[str] = (),
    segments: Sequence[str] = (),
    earlier: Sequence[LookPoint] = (),
) -> Look:
    """What is known at ``as_of`` of the customers whose windows have closed.

    All count in the arm they were assigned to, whatever happened to single decisions. What the accounts of a person
    did counts for the person, by the links that were known at ``as_of``; one whose accounts had different arms is left
    out and counted.

    Parameters
    ----------
    so_far: windows shortened to this, for a look in the middle of a campaign in which all began together.
    covariates, segments: columns of ``units``.
    earlier: the points of the looks before, as the record has them: a campaign with an end allows for each, and for
        those that only the ledger knows of.
    """
    measures = [replace(each, window_days=so_far / timedelta(days=1)) if so_far else each for each in design.columns]
    people = persons_known(project, as_of=as_of)
    units = by_person(units, people)
    events = by_person(project.history.events(until=as_of, since=design.start - BEFORE), people)
    arrivals = Arrivals.of(
        events["recorded_at"],
        as_of=as_of,
        window=max(each.window for each in measures),
        delay=min(each.maturity - each.window for each in measures),
    )
    kinds = tuple(arrivals_by_kind(events, design.columns, as_of=as_of))
    events = events.filter(pc.greater_equal(events["occurred_at"], pa.scalar(design.start, TIMESTAMP)))
    held = by_person(decisions, people)
    held = held.filter(pc.less(decisions["decided_at"], pa.scalar(design.start + so_far if so_far else as_of)))
    margin_bp = project.settings.project.margin_bp
    unit = f"{design.unit}_id"
    money = unit_money(
        units,
        events,
        held,
        as_of=as_of,
        margin_bp=margin_bp,
        since=design.start,
        window=max(each.window for each in measures),
        unit=unit,
    )
    mature = _mature(units, events, measures, money=money, design=design, as_of=as_of)
    with closing(Ledger(project.ledger)) as ledger:
        actions = bandit_values(
            ledger, held, events, measure=measures[0], as_of=as_of, margin_bp=margin_bp, alpha=design.alpha
        )
        with ledger.reading() as book:
            taken = looks_taken(book, design.key, before=as_of)
    recorded = _units_seen(earlier, design, before=as_of)
    before = dict(sorted((taken | recorded).items()))
    return Look(
        design=design,
        as_of=as_of,
        units=units,
        decisions=held,
        outcomes=mature,
        findings=_findings(design, mature, as_of=as_of, covariates=covariates, segments=segments, before=before),
        money=money_by_arm(money),
        counts=count_outcomes(units, events, measures, as_of=as_of, unit=unit),
        arrivals=arrivals,
        kinds=kinds,
        actions=actions,
        before=before,
        lost=tuple(moment for moment in before if moment not in recorded),
    )


def _units_seen(points: Sequence[LookPoint], design: Experiment, *, before: datetime) -> dict[datetime, int]:
    """The units that each look as of an earlier moment saw of the first goal, as the points of its record tell."""
    counted: dict[datetime, int] = {}
    for point in points:
        if point.metric == design.goals[0].metric and point.as_of < before:
            counted[point.as_of] = counted.get(point.as_of, point.n_control) + point.n_arm
    return counted


def _mature(
    units: pa.Table,
    events: pa.Table,
    measures: Sequence[Measure],
    *,
    money: pa.Table,
    design: Experiment,
    as_of: datetime,
) -> pa.Table:
    """The outcomes of the units whose windows have closed."""
    outcomes = join_outcomes(units, events, measures, as_of=as_of, unit=f"{design.unit}_id")
    for goal in (each for each in measures if each.kind == "given"):
        outcomes = with_profit(outcomes, money, name=goal.name)
    mature = outcomes.filter(outcomes["mature"])
    if mature.num_rows == 0:
        first = pc.min(units["assigned_at"]).as_py() + max(each.maturity for each in measures)
        raise InputError(
            f"no window of {design.key!r} has closed yet",
            got=f"{units.num_rows:,} customers, the first of them counts from {first:%d %B %Y}",
            do="look again then",
        )
    return mature


def _findings(
    design: Experiment,
    mature: pa.Table,
    *,
    as_of: datetime,
    covariates: Sequence[str],
    segments: Sequence[str],
    before: Mapping[datetime, int],
) -> Findings:
    """The arms compared as the design says."""
    looked_at, elapsed = _campaign(design, before, as_of=as_of, units=mature.num_rows)
    ramps = len(design.steps) > 1
    return analyze(
        with_steps(mature, design) if ramps else mature,
        arm="arm",
        control=design.control,
        metrics=[each.metric for each in design.measures],
        covariates=covariates,
        cluster=_CLUSTERS[design.unit],
        segments=segments,
        planned=planned_shares(mature, design),
        ramp=STEP if ramps else None,
        limits=design.limits,
        caps=design.caps,
        worth=design.goals[0].worth,
        final=design.is_planned_look(as_of),
        looked_at=looked_at,
        elapsed=elapsed,
        alpha=design.alpha,
    )


def _campaign(
    design: Experiment, before: Mapping[datetime, int], *, as_of: datetime, units: int
) -> tuple[list[float], list[float]]:
    """The units at each look before this one, and the share of the campaign that had passed at each and at this one.

    A look at the same moment, or after the end as this one is, is not before it but in its place. Nothing for a design
    without looks to allow for.
    """
    if design.interval_kind != "group_sequential":
        return [], []
    now = _passed(design, as_of, units=units)
    looked_at, elapsed = [0.0], [0.0]
    for moment, count in before.items():
        passed = _passed(design, moment, units=count)
        if elapsed[-1] < passed < now:
            # People who were erased since may leave fewer than a look before had.
            looked_at.append(min(max(float(count), looked_at[-1]), float(units)))
            elapsed.append(passed)
    return looked_at[1:], [*elapsed[1:], now]


def _passed(design: Experiment, moment: datetime, *, units: int) -> float:
    """The share of a campaign that has passed: of its planned units where it has them, else of its planned time."""
    if design.planned_units is None or design.is_planned_look(moment):
        return design.elapsed(moment)
    return min(units / design.planned_units, 1.0)


def report_of(look: Look, *, project: Project, number: int, points: Sequence[LookPoint] = ()) -> Report:
    """The report of a look; ``points`` are those of the looks before it."""
    decisions = look.decisions
    learned, unchosen = _learned_decisions(project, decisions)
    after = contacts_after_opt_out(project, decisions, as_of=look.as_of)
    return Report(
        experiment=look.design,
        analysis=look.findings,
        as_of=look.as_of,
        look=number,
        currency=project.settings.project.currency,
        company=project.settings.project.name,
        health=(
            *health_checks(
                counts=look.counts,
                arrivals=look.arrivals,
                degraded=pc.sum(decisions["degraded"]).as_py() or 0,
                decisions=decisions.num_rows,
                contacts_to_opted_out=after.known,
                told_later=after.later,
            ),
            *(
                HealthCheck(name=f"{each.words.capitalize()} arriving", status=each.status, sentence=each.sentence)
                for each in look.kinds
                if each.status != "green"
            ),
            *_stop_rules(look),
            *_lost_looks(look),
        ),
        looks=(*points, *look.points),
        allocation=_allocation(learned),
        unchosen=unchosen,
        actions=look.actions,
        money=look.money,
        ladder=_ladder(look),
        ladder_in_cents=look.design.goals[0].money,
        decisions=decisions.num_rows,
        refusals=_refusals(decisions),
        notes=(_RAMPED,) if look.ramped else (),
        waiting=look.counts.immature,
        waiting_until=pc.max(look.units["assigned_at"]).as_py() + max(each.maturity for each in look.design.columns),
    )


def _stop_rules(look: Look) -> tuple[HealthCheck, ...]:
    """The stop rules that have come true: yellow, but for the end that was planned."""
    end = ended(look.design, as_of=look.as_of)
    told = [HealthCheck(name="Stop rules", status="green", sentence=end)] if end else []
    due = stops(look.design, look.findings, as_of=look.as_of)
    return (*told, *(HealthCheck(name="Stop rules", status="yellow", sentence=each) for each in due))


def _lost_looks(look: Look) -> tuple[HealthCheck, ...]:
    """What is to be known of looks that were taken and whose record is gone."""
    if not look.lost:
        return ()
    told = f"One earlier look, as of {look.lost[0]:%d %B %Y}, has"
    if len(look.lost) > 1:
        told = f"{len(look.lost):,} earlier looks, as of {look.lost[0]:%d %B %Y} to {look.lost[-1]:%d %B %Y}, have"
    sentence = (
        f"{told} no record in MLflow any more. They count as looks, and a campaign's ranges allow for them; what was "
        "seen and decided then is not known here."
    )
    return (HealthCheck(name=MISSING_LOOKS, status="yellow", sentence=sentence),)


def record_look(project: Project, report: Report, *, outcomes: pa.Table) -> str:
    """Log a look as a run of the experiment's MLflow record, and keep in the ledger that it was; the id of the run."""
    record = ExperimentRecord(project.tracking, report.experiment)
    digests = look_digests(project, report.experiment.key, outcomes=outcomes, as_of=report.as_of)
    run_id = record.log_look(report, digests=digests)
    seen = _units_seen(report.looks, report.experiment, before=EVER)
    with closing(Ledger(project.ledger)) as ledger, ledger.writing() as book:
        keep_looks(book, report.experiment.key, {report.as_of: outcomes.num_rows} | seen)
    return run_id


def _ladder(look: Look) -> Ladder | None:
    """The ladder of the arms that are rungs; None where fewer than two are, or shares changed."""
    rungs = {arm.name: arm.rung for arm in look.design.arms if arm.rung is not None}
    if len(rungs) < 2 or look.ramped:
        return None
    return ladder_of_arms(look.outcomes, arm="arm", outcome=look.design.goals[0].name, rungs=rungs)


def _learned_decisions(project: Project, decisions: pa.Table) -> tuple[pa.Table, int]:
    """The decisions of the arms which learn in which they had a choice, and the number of those without one."""
    arms = learning_arms(project.ledger, decisions)
    own = decisions.filter(pc.is_in(decisions["arm"], pa.array(arms, pa.string())))
    chosen = own.filter(pc.is_in(own["reason"], pa.array(_CHOICES)))
    return chosen, own.num_rows - chosen.num_rows


def _allocation(own: pa.Table) -> tuple[AllocationPoint, ...]:
    """The share of decisions in which each offer was chosen, by day of decision."""
    days = pc.floor_temporal(own["decided_at"], unit="day")
    offers = pc.coalesce(own["offer_id"], pa.scalar("nothing"))
    points = []
    for day in pc.unique(days).to_pylist():
        chosen = offers.filter(pc.equal(days, pa.scalar(day, days.type)))
        counted = {each["values"]: each["counts"] for each in pc.value_counts(chosen).to_pylist()}
        points.append(AllocationPoint(at=day, shares={name: n / len(chosen) for name, n in sorted(counted.items())}))
    return tuple(points) if len(points) > 1 else ()


def _refusals(decisions: pa.Table) -> tuple[ReasonCount, ...]:
    counted = {each["values"]: each["counts"] for each in pc.value_counts(decisions["reason"]).to_pylist()}
    return tuple(
        ReasonCount(code=reason.code, sentence=reason.sentence, count=counted[reason.code])
        for reason in _SILENT
        if counted.get(reason.code)
    )
