"""``rapport plan --experiment``: a design held against the project's own history, and what keeps it from starting."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from experiments.analysis.planning import Design, detectable, sample_size
from features.errors import InputError
from rapport.init import create_project
from rapport.project import Project, load_project
from rapport.trials.prospects import prospects
from rapport.trials.readiness import history_days, readiness, requirements
from serving.assembly import trials_of
from serving.ledger import Ledger

START = datetime(2026, 1, 5, tzinfo=UTC)
DESIGN = """
key = "letter"
title = "The letter against nothing"
hypothesis = "The letter sells."
control = "nothing"
start = 2026-03-01
end = 2026-04-01
unit = "{unit}"
planned_units = 5000
[[arms]]
name = "nothing"
shows = "nothing"
policy = "nothing"
share = 0.8
[[arms]]
name = "static"
shows = "the letter"
policy = "{policy}"
share = 0.2
[[goals]]
name = "bought"
kind = "any"
events = ["purchase"]
window_days = 14
worth = 0.05
[[goals]]
name = "revenue"
kind = "sum"
events = ["purchase"]
window_days = 14
money = true
cap = 9000
[[goals]]
name = "order_value"
kind = "ratio"
numerator = "revenue"
denominator = "orders"
window_days = 14
money = true
[[goals]]
name = "profit"
kind = "given"
window_days = 14
money = true
[[goals]]
name = "called"
kind = "any"
events = ["call"]
window_days = 14
[[parts]]
name = "orders"
kind = "count"
events = ["purchase"]
window_days = 14
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop of 800 customers: half of them buy with chance 0.6 a fortnight, the others with 0.1."""
    folder = tmp_path_factory.mktemp("plan") / "shop"
    create_project(folder, name="Shop")
    project, rng, rows = load_project(folder), np.random.default_rng(5), []
    for number in range(800):
        rows.append((f"c{number}", "visit", START + timedelta(days=float(rng.uniform(0, 2))), 0))
        for week in range(3):
            if rng.random() < (0.6 if number % 2 else 0.1):
                day = START + timedelta(days=2 + 14 * week + float(rng.uniform(0, 14)))
                rows.append((f"c{number}", "purchase", day, int(rng.integers(1000, 20_000))))
    rows.append(("c0", "visit", START + timedelta(days=44), 0))
    project.history.append(
        pa.table(
            {
                "event_id": [f"e{place}" for place in range(len(rows))],
                "customer_id": [row[0] for row in rows],
                "kind": [row[1] for row in rows],
                "occurred_at": [row[2] for row in rows],
                "recorded_at": [row[2] for row in rows],
                "amount": pa.array([row[3] for row in rows], pa.int64()),
            }
        ),
        part="till",
    )
    return folder


@pytest.fixture
def shop(template: Path) -> Callable[..., Project]:
    """``shop(unit=, policy=, more=)``: the project with that design."""

    def with_design(*, unit: str = "customer", policy: str = "static", more: str = "") -> Project:
        text = DESIGN.format(unit=unit, policy=policy) + more
        (template / "experiments" / "letter.toml").write_text(text, encoding="utf-8")
        return load_project(template)

    return with_design


def test_the_goals_are_measured_as_they_are(shop: Callable[..., Project]) -> None:
    project = shop()
    found = prospects(project, project.experiment("letter"))
    assert (found.until - found.since).days == 14
    assert found.customers == 800
    events = project.history.events().to_pandas()
    own = events[(events["kind"] == "purchase") & (events["occurred_at"] > found.since)]
    by_name = {each.measure.name: each for each in found.found}
    bought = by_name["bought"].metric
    assert bought is not None
    assert bought.baseline == pytest.approx(own["customer_id"].nunique() / 800)
    # Rates of 0.6 and 0.1 correlate from one fortnight to the next by their variance over the whole: 0.0625 / 0.2275.
    assert bought.variance_kept == pytest.approx(1 - (0.0625 / 0.2275) ** 2, abs=0.05)
    metric = by_name["revenue"].metric
    assert metric is not None
    assert metric.baseline == pytest.approx(own.groupby("customer_id")["amount"].sum().clip(upper=9000).sum() / 800)
    ratio = by_name["order_value"].metric
    assert ratio is not None
    assert ratio.baseline == pytest.approx(metric.baseline * 800 / len(own))
    profit = by_name["profit"].metric
    assert profit is not None
    assert profit.baseline == pytest.approx(0.3 * own["amount"].sum() / 800, rel=1e-3)
    assert by_name["called"].metric is None
    assert "never varies" in by_name["called"].why


def test_the_command_tells_sizes_days_and_what_must_hold(
    shop: Callable[..., Project], rapport_cli: Callable[..., Any], tmp_path: Path
) -> None:
    project, told = shop(more="[start_rules]\nhistory_days = 90\naudience_size = 500\n"), tmp_path / "plan.json"
    ran = rapport_cli("plan", "--project", project.root, "--experiment", "letter", "--daily", 100, "--json", told)
    assert ran.exit_code == 0, ran.stderr
    text = " ".join(ran.stdout.split())
    assert "The letter against nothing: 800 customers at hand, 100 come by a day." in text
    assert "to come: the history reaches back 44 of at least 90 days" in text
    assert "holds: the audience holds 800 of at least 500 customers" in text
    assert "The design plans 5,000 units, and 800 customers are there" in text
    assert "called: metric 'called' never varies" in text
    plans = json.loads(told.read_text())["plans"]
    first = plans[0]
    plain = Design(baseline=first["baseline"], shares=(0.8, 0.2), arms=2)
    assert first["detectable"] == pytest.approx(detectable(plain, 160))
    assert first["units"] == plain.total(sample_size(plain, 0.05))
    assert first["days"] == -(-first["units"] // 100)
    looks = [each["looks"] for each in plans if each["metric"] == "bought"]
    assert looks == ["one", "one", "campaign", "campaign", "any", "any"]
    assert {each["looks"] for each in plans if each["metric"] != "bought"} == {"campaign"}


def test_sessions_and_empty_audiences_are_told(shop: Callable[..., Project], rapport_cli: Callable[..., Any]) -> None:
    project = shop(unit="session")
    ran = rapport_cli("plan", "--project", project.root, "--experiment", "letter")
    assert ran.exit_code == 2
    assert "sessions can't be planned" in ran.stderr
    assert rapport_cli("plan", "--project", project.root, "--experiment", "lettr").exit_code == 2


def test_households_are_planned_with_what_their_likeness_costs(shop: Callable[..., Project]) -> None:
    project = shop(unit="household")
    metric = prospects(project, project.experiment("letter")).found[0].metric
    assert metric is not None
    assert metric.design_effect == pytest.approx(1.0, abs=1e-6)  # nobody shares a household here


def test_an_experiment_waits_until_its_start_rules_hold(shop: Callable[..., Project]) -> None:
    at = START + timedelta(days=57)
    project = shop(more='[start_rules]\nhistory_days = 90\nbalanced = ["purchases_90d"]\n')
    design = project.experiment("letter")
    assert history_days(project, at=at) == pytest.approx(57, abs=0.1)
    alike = {each.sentence: each.held for each in requirements(project, design, at=at)}
    assert [held for sentence, held in alike.items() if "are alike in purchases_90d" in sentence] == [True]
    ledger = Ledger(project.ledger)
    trials = trials_of(project, ledger, at=at, ready=lambda each: readiness(project, each, at=at))
    assert (trials.key, len(trials.waiting)) == ("standing", 1)
    assert trials.waiting[0].startswith("Experiment letter waits: the history reaches back 57 of at least 90 days")
    project = shop()
    assert trials_of(project, ledger, at=at).key == "letter"
    with pytest.raises(InputError, match="doesn't run at"):
        trials_of(project, ledger, at=START, key="letter")
    assert trials_of(project, ledger, at=at + timedelta(days=60)).key == "standing"
    project = shop(policy="sttic")
    assert trials_of(project, ledger, at=at).waiting == (
        "Experiment letter waits: unknown policy 'sttic'; did you mean 'static'?.",
    )
    ledger.close()


def test_a_rule_about_an_unknown_feature_is_refused(shop: Callable[..., Project]) -> None:
    project = shop(more='[start_rules]\nbalanced = ["purchases_9d"]\n')
    with pytest.raises(InputError, match="unknown feature 'purchases_9d'"):
        readiness(project, project.experiment("letter"), at=START + timedelta(days=57))


def test_a_campaign_that_cant_show_its_worth_is_told_first(
    shop: Callable[..., Project], rapport_cli: Callable[..., Any], tmp_path: Path
) -> None:
    """With 300 customers at hand the worth of 5 points is out of reach; with very many and days enough, it is not."""
    root, target = shop().root, tmp_path / "plan.json"
    given = ("plan", "--project", root, "--experiment", "letter", "--json", target)
    short = rapport_cli(*given, "--units", 300, "--daily", 10)
    assert short.exit_code == 0, short.stderr
    found = json.loads(target.read_text(encoding="utf-8"))
    own = [row for row in found["plans"] if row["looks"] == "campaign" and row["metric"] == "bought"]
    needed = min(own, key=lambda row: row["units"])
    (first, *_) = found["remarks"]
    assert " ".join(short.stdout.split()).startswith("It can't show what it wants: ")
    assert f"{needed['units']:,} units, {needed['days']:,} days" in first
    assert first.endswith("and 300 are at hand; the campaign has 31 days.")
    enough = rapport_cli(*given, "--units", 1_000_000, "--daily", 1_000_000)
    assert "It can't show" not in enough.stdout


def test_a_plan_says_that_it_takes_the_shares_of_the_first_step(
    shop: Callable[..., Project], rapport_cli: Callable[..., Any]
) -> None:
    ramp = "[[ramp]]\nat = 2026-03-08\nshares = {nothing = 0.5, static = 0.5}\n"
    for more, said in (("", False), (ramp, True)):
        done = rapport_cli("plan", "--project", shop(more=more).root, "--experiment", "letter")
        assert done.exit_code == 0, done.stderr
        assert ("planned at the shares of the first step" in " ".join(done.stdout.split())) == said
