"""Looks at a project's campaign with an end: each knows those before it, and its record tells the next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from experiments.analysis.group_sequential import boundaries
from experiments.policies import Nothing, Static
from experiments.report import LookPoint, decision, headline
from rapport.decided import decided_so_far
from rapport.init import create_project
from rapport.looks import Look, report_of, take_look, units_of
from rapport.project import Project, load_project
from serving.batch import decide_all
from serving.book import Consent
from serving.desk import Desk
from serving.ledger import Ledger
from serving.rules import RuleBook, Rules
from serving.trial import Trial
from serving.trials import Trials

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
WEEK = timedelta(weeks=1)
DESIGN = """
key = "letter"
title = "The letter against nothing"
hypothesis = "The letter sells."
control = "nothing"
start = 2026-03-02T09:00:00Z
end = 2026-04-13T09:00:00Z
[[arms]]
name = "nothing"
shows = "nothing"
policy = "nothing"
share = 0.5
[[arms]]
name = "static"
shows = "the letter"
policy = "static"
share = 0.5
[[goals]]
name = "bought"
kind = "any"
events = ["purchase"]
window_days = 7
"""


@pytest.fixture
def shop(tmp_path: Path) -> Project:
    """A shop of which 200 customers a week enter a campaign of six weeks."""
    create_project(tmp_path / "shop", name="Shop")
    (tmp_path / "shop" / "experiments" / "letter.toml").write_text(DESIGN, encoding="utf-8")
    project = load_project(tmp_path / "shop")
    people = [f"c{number}" for number in range(1_000)]
    ledger = Ledger(project.ledger)
    with ledger.writing() as book:
        joined = {"occurred_at": START - WEEK, "recorded_at": START - WEEK}
        book.consent(
            [Consent(customer_id=each, channel="all", granted=True, source="customer", **joined) for each in people]
        )
    policies = {"nothing": Nothing(), "static": Static(treatment="coats-new@mail")}
    trial = Trial.of_experiment(project.experiment("letter"), policies=policies)
    rules = Rules(RuleBook(catalogue=project.catalogue.__class__(offers=project.catalogue.offers[1:])))
    desk = Desk(ledger, rules=rules, trials=Trials.only(trial))
    for week in range(5):
        entering = pa.table({"customer_id": people[200 * week : 200 * (week + 1)]})
        decide_all(entering, desk=desk, at=START + week * WEEK, seed="s", values=None)
    ledger.close()
    chance = np.random.default_rng(1).random(1_000)
    buyers = [number for number in range(1_000) if chance[number] < 0.3]
    moments = [START + (number // 200) * WEEK + timedelta(days=2) for number in buyers]
    columns = {"event_id": [f"p{each}" for each in buyers], "customer_id": [people[each] for each in buyers]}
    facts = {"kind": ["purchase"] * len(buyers), "occurred_at": moments, "recorded_at": moments}
    project.history.append(pa.table(columns | facts), part="till")
    return project


def _look(project: Project, week: float, *, earlier: tuple[LookPoint, ...] = ()) -> Look:
    design = project.experiment("letter")
    decisions = decided_so_far(project, "letter")
    as_of = START + week * WEEK
    units = units_of(decisions, design)
    return take_look(project, design, units=units, decisions=decisions, as_of=as_of, earlier=earlier)


def _bound(look: Look) -> float:
    """How many of the standard errors of one look the range of a look is wide."""
    (row,) = look.findings.metrics
    assert look.findings.kind == "group_sequential"
    low, high = row.interval("group_sequential")
    return 1.96 * (high - low) / (row.ci_high - row.ci_low)


def test_each_look_allows_for_the_looks_before_it_and_the_last_spends_what_is_left(shop: Project) -> None:
    points: tuple[LookPoint, ...] = ()
    for week in (2.5, 4.5, 6.5):
        look = _look(shop, week, earlier=points)
        points += look.points
    # Windows of 400, 800 and 1,000 customers had closed; of six weeks 2.5, 4.5 and all had passed.
    expected = boundaries([400, 800, 1_000], elapsed=[2.5 / 6, 4.5 / 6, 1.0])
    assert [point.kind for point in points] == ["group_sequential"] * 3
    assert [point.n_arm + point.n_control for point in points] == [400, 800, 1_000]
    assert _bound(look) == pytest.approx(expected[-1], rel=1e-2)  # Student's t for 1,000 units
    assert look.findings.rule.last
    page = report_of(look, project=shop, number=3, points=points[:2])
    assert "of which this is the last" in headline(page).below
    assert decision(page).word == "No clear answer"


def test_a_look_that_is_taken_again_or_as_of_an_earlier_day_comes_out_the_same(shop: Project) -> None:
    first = _look(shop, 2.5)
    second = _look(shop, 4.5, earlier=first.points)
    third = _look(shop, 5.5, earlier=(*first.points, *second.points))
    again = _look(shop, 4.5, earlier=(*first.points, *second.points, *third.points))
    assert again.findings.metrics == second.findings.metrics
    assert _bound(third) < _bound(second) < _bound(first)


def test_a_look_after_the_end_stands_in_the_place_of_the_last(shop: Project) -> None:
    first = _look(shop, 2.5)
    last = _look(shop, 6.0, earlier=first.points)
    later = _look(shop, 8.0, earlier=(*first.points, *last.points))
    assert _bound(later) == pytest.approx(_bound(last))
