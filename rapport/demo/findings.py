"""What only the demo can tell of its experiment: the market's truth, and looks after every week of a campaign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import numpy as np

from experiments.analysis import analyze
from experiments.market import Market
from experiments.report import Driver, LookPoint, Report, TruthRow
from rapport.demo.campaign import COVARIATE, SEGMENT, Campaign
from rapport.demo.setting import DELAY_DAYS
from rapport.project import Project
from rapport.trials.insight import with_insight
from rapport.trials.looks import Look, report_of, take_look


def look_after(week: int, *, project: Project, campaign: Campaign, final: bool) -> Look:
    """The look at all that had happened by the end of week ``week`` (from 1), once its outcomes had arrived."""
    design = project.experiment("personalization")
    return take_look(
        project,
        design,
        units=campaign.units,
        decisions=campaign.decisions,
        as_of=design.start + timedelta(days=7 * week + DELAY_DAYS, seconds=1),
        so_far=timedelta(weeks=week),
        covariates=[COVARIATE],
        segments=[SEGMENT] if final else [],
    )


def truths(look: Look, *, campaign: Campaign, market: Market) -> tuple[TruthRow, ...]:
    """Each arm's profit per customer over the control's, as estimated, beside what its contacts truly caused."""
    design = look.design
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


def reports_of(
    looks: Sequence[Look], *, project: Project, campaign: Campaign, drivers: Sequence[Driver], market: Market
) -> list[Report]:
    """The report of each look; the last one with the other standards, the model's drivers and the truth."""
    reports: list[Report] = []
    points: list[LookPoint] = []
    for number, look in enumerate(looks, start=1):
        found = report_of(look, project=project, number=number, points=points)
        reports.append(replace(found, simulated=True, provenance=(("response model", campaign.model),)))
        points += look.points
    last, design = looks[-1], looks[-1].design
    goal = design.goals[0].name
    standards = analyze(
        last.outcomes, arm="arm", control="random", metrics=[goal], covariates=[COVARIATE], planned=design.shares
    )
    reports[-1] = replace(
        with_insight(reports[-1], last, project=project),
        drivers=tuple(drivers),
        standards=tuple(row for row in standards.metrics if row.arm == design.headline_arm),
        truths=truths(last, campaign=campaign, market=market),
    )
    return reports
