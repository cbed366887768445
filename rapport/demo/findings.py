"""What the demo's experiment found: a look after every week, the last one whole, beside the market's truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from experiments.analysis import Findings, analyze
from experiments.design import Experiment
from experiments.ladder import ladder_of_arms
from experiments.market import Market
from experiments.money import ArmMoney, money_by_arm, unit_money, with_profit
from experiments.outcomes import OutcomeCounts, count_outcomes, join_outcomes
from experiments.record import ExperimentRecord, table_digest
from experiments.report import (
    AllocationPoint,
    Driver,
    LookPoint,
    ReasonCount,
    Report,
    TruthRow,
    health_checks,
    look_points,
)
from rapport.demo.campaign import COVARIATE, SEGMENT, Campaign
from rapport.demo.setting import DELAY_DAYS
from rapport.project import Project
from serving.reasons import Reason

_SILENT = (Reason.NOTHING_CHOSEN, Reason.NOTHING_LEFT, Reason.STATIC_NOT_LEFT, Reason.NO_PERMISSION_READ)


@dataclass(frozen=True, kw_only=True)
class Look:
    """One look at the experiment: the table of outcomes, the analysis, the money and the counts behind them."""

    as_of: datetime
    outcomes: pa.Table
    findings: Findings
    money: tuple[ArmMoney, ...]
    counts: OutcomeCounts


def look_after(week: int, *, project: Project, campaign: Campaign, final: bool) -> Look:
    """The look at all that had happened by the end of week ``week`` (from 1), once its outcomes had arrived."""
    design = project.experiment("personalization")
    measures = [replace(each, window_days=7.0 * week) for each in design.measures]
    as_of = design.start + timedelta(days=7 * week + DELAY_DAYS, seconds=1)
    events = project.history.events(until=as_of, since=design.start)
    decisions = campaign.decisions.filter(
        pc.less(campaign.decisions["decided_at"], pa.scalar(design.start + timedelta(weeks=week)))
    )
    money = unit_money(
        campaign.units,
        events,
        decisions,
        as_of=as_of,
        margin_bp=round(10_000 * project.settings.project.margin),
        since=design.start,
        window=timedelta(weeks=week),
    )
    joined = with_profit(join_outcomes(campaign.units, events, measures, as_of=as_of), money)
    degraded = pc.unique(decisions.filter(decisions["degraded"])["customer_id"])
    outcomes = joined.filter(pc.and_not(joined["mature"], pc.is_in(joined["customer_id"], degraded)))
    findings = analyze(
        outcomes,
        arm="arm",
        control=design.control,
        metrics=[each.name for each in design.measures],
        covariates=[COVARIATE],
        segments=[SEGMENT] if final else [],
        planned=design.shares,
        lower_is_better=[each.name for each in design.guardrails],
        final=final,
        alpha=design.alpha,
    )
    counts = count_outcomes(campaign.units, events, measures, as_of=as_of)
    return Look(as_of=as_of, outcomes=outcomes, findings=findings, money=money_by_arm(money), counts=counts)


def truths(look: Look, *, campaign: Campaign, design: Experiment, market: Market) -> tuple[TruthRow, ...]:
    """Each arm's profit per customer over the control's, as estimated, beside what its contacts truly caused."""
    arms = np.asarray(campaign.units["arm"].to_pylist())
    caused = campaign.incremental[market.places(campaign.units["customer_id"])]
    means = {arm: float(caused[arms == arm].mean()) for arm in design.arm_names}
    goal = design.goals[0].name
    return tuple(
        TruthRow(
            metric=goal,
            arm=row.arm,
            quantity=f"profit per customer over {design.control}",
            estimate=row.difference,
            ci_low=row.ci_low,
            ci_high=row.ci_high,
            truth=means[row.arm] - means[design.control],
        )
        for row in look.findings.metrics
        if row.metric == goal
    )


def whole_report(
    look: Look,
    *,
    project: Project,
    campaign: Campaign,
    points: Sequence[LookPoint],
    drivers: Sequence[Driver],
    market: Market,
    number: int,
) -> Report:
    """Everything that the last look has to tell."""
    design = project.experiment("personalization")
    rungs = {arm.name: arm.rung for arm in design.arms if arm.rung is not None}
    goal = design.goals[0].name
    decisions = campaign.decisions
    standards = analyze(
        look.outcomes, arm="arm", control="random", metrics=[goal], covariates=[COVARIATE], planned=design.shares
    )
    return Report(
        experiment=design,
        analysis=look.findings,
        as_of=look.as_of,
        look=number,
        currency=project.settings.project.currency,
        company=project.settings.project.name,
        simulated=True,
        health=health_checks(
            counts=look.counts,
            degraded=pc.sum(decisions["degraded"]).as_py(),
            decisions=decisions.num_rows,
            contacts_to_opted_out=contacts_after_opt_out(project, decisions),
        ),
        looks=tuple(points),
        allocation=_allocation(decisions),
        money=look.money,
        ladder=ladder_of_arms(look.outcomes, arm="arm", outcome=goal, rungs=rungs),
        decisions=decisions.num_rows,
        refusals=_refusals(decisions),
        drivers=tuple(drivers),
        standards=tuple(row for row in standards.metrics if row.arm == design.headline_arm),
        truths=truths(look, campaign=campaign, design=design, market=market),
        provenance=(("response model", campaign.model),),
    )


def record_looks(project: Project, reports: Sequence[Report], tables: Sequence[pa.Table]) -> tuple[str, ...]:
    """Log each look as a run of the experiment's MLflow record; returns the ids of the runs."""
    record = ExperimentRecord(project.tracking, project.experiment("personalization"))
    return tuple(
        record.log_look(report, digests={"data": table_digest(table)})
        for report, table in zip(reports, tables, strict=True)
    )


def interim_report(look: Look, *, project: Project, number: int) -> Report:
    """The short report of a look before the last one."""
    return Report(
        experiment=project.experiment("personalization"),
        analysis=look.findings,
        as_of=look.as_of,
        look=number,
        currency=project.settings.project.currency,
        company=project.settings.project.name,
        simulated=True,
        health=health_checks(counts=look.counts),
        looks=points_of(look, design=project.experiment("personalization")),
        money=look.money,
    )


def points_of(look: Look, *, design: Experiment) -> tuple[LookPoint, ...]:
    """The look's points for the chart over time."""
    return look_points(look.findings, experiment=design, as_of=look.as_of)


def contacts_after_opt_out(project: Project, decisions: pa.Table) -> int:
    """Contacts that went to customers who had said no before, counted from the facts, not from the ledger."""
    events = project.history.events()
    said = events.filter(pc.equal(events["kind"], "opt_out")).select(["customer_id", "occurred_at"])
    first = said.group_by("customer_id").aggregate([("occurred_at", "min")])
    sent = decisions.filter(pc.not_equal(decisions["action"], "nothing"))
    joined = sent.join(first, "customer_id", join_type="inner")
    return int(pc.sum(pc.greater(joined["decided_at"], joined["occurred_at_min"])).as_py() or 0)


def _allocation(decisions: pa.Table) -> tuple[AllocationPoint, ...]:
    """The share of its customers that the bandit gave to each offer, week by week."""
    own = decisions.filter(pc.equal(decisions["arm"], "bandit"))
    offers = pc.coalesce(own["offer_id"], pa.scalar("nothing"))
    points = []
    for moment in pc.unique(own["decided_at"]).to_pylist():
        week = offers.filter(pc.equal(own["decided_at"], pa.scalar(moment, own["decided_at"].type)))
        counted = {each["values"]: each["counts"] for each in pc.value_counts(week).to_pylist()}
        points.append(AllocationPoint(at=moment, shares={name: n / len(week) for name, n in sorted(counted.items())}))
    return tuple(points)


def _refusals(decisions: pa.Table) -> tuple[ReasonCount, ...]:
    counted = {each["values"]: each["counts"] for each in pc.value_counts(decisions["reason"]).to_pylist()}
    return tuple(
        ReasonCount(code=reason.code, sentence=reason.sentence, count=counted[reason.code])
        for reason in _SILENT
        if counted.get(reason.code)
    )
