"""A look at a project's own experiment, from the decisions in its ledger."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from experiments.policies import Nothing, Static
from experiments.record import ExperimentRecord, report_again
from experiments.report import headline
from features.errors import InputError
from rapport.decided import decided_so_far
from rapport.init import create_project
from rapport.insight import record_insight
from rapport.looks import report_of, take_look, units_of
from rapport.objections import contacts_after_opt_out
from rapport.project import Project, load_project
from serving.batch import decide_all
from serving.book import Consent
from serving.desk import Desk
from serving.ledger import Ledger
from serving.rules import RuleBook, Rules
from serving.trial import Trial
from serving.trials import Trials

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
DESIGN = """
key = "letter"
title = "The letter against nothing"
hypothesis = "The letter sells."
control = "nothing"
start = 2026-03-02T00:00:00Z
stop_rule = "anytime"
[[arms]]
name = "nothing"
shows = "nothing"
policy = "nothing"
share = 0.5
rung = "nothing"
[[arms]]
name = "static"
shows = "the letter"
policy = "static"
share = 0.5
rung = "static"
[[goals]]
name = "bought"
kind = "any"
events = ["purchase"]
window_days = 14
[[goals]]
name = "profit"
kind = "given"
window_days = 14
money = true
"""


@pytest.fixture
def shop(tmp_path: Path) -> tuple[Project, np.ndarray]:
    """A shop with 600 customers in its experiment, and who of them bought."""
    create_project(tmp_path / "shop", name="Shop")
    (tmp_path / "shop" / "experiments" / "letter.toml").write_text(DESIGN, encoding="utf-8")
    project = load_project(tmp_path / "shop")
    people = [f"c{number}" for number in range(600)]
    ledger = Ledger(project.ledger)
    with ledger.writing() as book:
        joined = {"occurred_at": START - timedelta(days=9), "recorded_at": START - timedelta(days=9)}
        book.consent(
            [Consent(customer_id=each, channel="all", granted=True, source="customer", **joined) for each in people]
        )
    policies = {"nothing": Nothing(), "static": Static(treatment="coats-new@mail")}
    trial = Trial.of_experiment(project.experiment("letter"), policies=policies)
    rules = Rules(RuleBook(catalogue=project.catalogue.__class__(offers=project.catalogue.offers[1:])))
    desk = Desk(ledger, rules=rules, trials=Trials.only(trial))
    decide_all(pa.table({"customer_id": people}), desk=desk, at=START, seed="s", values=None)
    ledger.close()
    bought = np.random.default_rng(1).random(600) < 0.3
    buyers = [each for each, buys in zip(people, bought, strict=True) if buys]
    moment = [START + timedelta(days=3)] * len(buyers)
    project.history.append(
        pa.table(
            {
                "event_id": [f"p-{each}" for each in buyers],
                "customer_id": buyers,
                "kind": ["purchase"] * len(buyers),
                "occurred_at": moment,
                "recorded_at": moment,
                "amount": pa.array([4_900] * len(buyers), pa.int64()),
            }
        ),
        part="till",
    )
    return project, bought


def _look(project: Project, *, day: int) -> Any:
    design = project.experiment("letter")
    decisions = decided_so_far(project, "letter")
    units = units_of(decisions, design)
    return take_look(project, design, units=units, decisions=decisions, as_of=START + timedelta(days=day))


def test_the_look_counts_what_the_ledger_and_the_history_hold(shop: tuple[Project, np.ndarray]) -> None:
    project, bought = shop
    look = _look(project, day=15)
    arms = dict(zip(look.units["customer_id"].to_pylist(), look.units["arm"].to_pylist(), strict=True))
    in_static = np.array([arms[f"c{number}"] == "static" for number in range(600)])
    row = look.findings.metrics[0]
    assert (row.metric, row.n_arm, row.n_control) == ("bought", int(in_static.sum()), int((~in_static).sum()))
    assert row.difference == pytest.approx(bought[in_static].mean() - bought[~in_static].mean(), abs=1e-12)
    profit = np.where(bought, 4_900 * 0.3, 0) - 60 * in_static  # margin 30%, 60 cents a letter
    expected = profit[in_static].mean() - profit[~in_static].mean()
    assert look.findings.metrics[1].difference == pytest.approx(expected, abs=1e-9)
    assert sum(each.revenue for each in look.money) == 4_900 * int(bought.sum())


def test_before_a_window_has_closed_nothing_counts(shop: tuple[Project, np.ndarray]) -> None:
    with pytest.raises(InputError, match="no window"):
        _look(shop[0], day=13)


def test_a_contact_after_an_opt_out_is_seen_whatever_the_ledger_knew(shop: tuple[Project, np.ndarray]) -> None:
    project, _ = shop
    decisions = decided_so_far(project, "letter")
    assert contacts_after_opt_out(project, decisions) == 0
    sent = decisions.filter(pa.compute.not_equal(decisions["action"], "nothing"))["customer_id"].to_pylist()
    days = (-3, -3, -3, 3)
    said = [
        ("opt_out", sent[0], "mail"),
        ("opt_out", sent[1], "email"),
        ("opt_out", sent[2], None),
        ("opt_out", sent[3], None),
    ]
    rows = [
        {"event_id": f"o{day}{who}", "customer_id": who, "kind": kind, "channel": channel}
        | dict.fromkeys(("occurred_at", "recorded_at"), START + timedelta(days=day))
        for day, (kind, who, channel) in zip(days, said, strict=True)
    ]
    project.history.append(pa.Table.from_pylist(rows), part="no")
    assert (
        contacts_after_opt_out(project, decisions) == 2
    )  # the letter's channel, and all channels; not later, not e-mail


def test_an_experiment_without_decisions_says_what_to_do(shop: tuple[Project, np.ndarray]) -> None:
    with pytest.raises(InputError, match="nothing was decided"):
        decided_so_far(shop[0], "always-on")


def test_the_report_takes_a_first_look_and_further_ones_when_told(
    shop: tuple[Project, np.ndarray], rapport_cli: Callable[..., Any], tmp_path: Path, migrated_store: Path
) -> None:
    project, _ = shop
    shutil.copytree(migrated_store, project.root / "mlruns")
    page, told = tmp_path / "lift.html", tmp_path / "lift.json"
    for arguments, number in (((), 1), ((), 1), (("--look",), 2)):
        ran = rapport_cli("report", "letter", "--project", project.root, "--out", page, "--json", told, *arguments)
        assert ran.exit_code == 0, ran.stderr
        assert json.loads(told.read_text(encoding="utf-8"))["look"] == number
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def _arrives_later(project: Project, *, day: datetime) -> None:
    """Events and a no that happened before ``day`` but were recorded after it, and decisions of later customers."""
    late = {"occurred_at": day - timedelta(days=9), "recorded_at": day + timedelta(days=1)}
    rows = [
        {"event_id": f"late-{number}", "customer_id": f"c{number}", "kind": kind, "amount": 9_900} | late
        for number in range(80)
        for kind in (("purchase", "opt_out")[number % 2],)
    ]
    project.history.append(pa.Table.from_pylist(rows), part="late")
    ledger = Ledger(project.ledger)
    with ledger.writing() as book:
        book.consent([Consent(customer_id="c7", channel="all", granted=False, source="customer", **late)])
        book.publish("letter/static", Static(treatment="coats-new@email"), at=late["recorded_at"])
    trial = Trial.of_experiment(
        project.experiment("letter"), policies={"nothing": Nothing(), "static": Static(treatment="coats-new@mail")}
    )
    rules = Rules(RuleBook(catalogue=project.catalogue.__class__(offers=project.catalogue.offers[1:])))
    desk = Desk(ledger, rules=rules, trials=Trials.only(trial))
    newcomers = pa.table({"customer_id": [f"new{number}" for number in range(50)]})
    decide_all(newcomers, desk=desk, at=day + timedelta(hours=1), seed="s", values=None)
    ledger.close()


def test_a_report_as_of_a_day_is_the_same_to_the_byte_whatever_arrived_later(
    shop: tuple[Project, np.ndarray], rapport_cli: Callable[..., Any], tmp_path: Path, migrated_store: Path
) -> None:
    project, _ = shop
    shutil.copytree(migrated_store, project.root / "mlruns")
    day = START.replace(hour=0) + timedelta(days=20)
    before, after, naive = tmp_path / "before.html", tmp_path / "after.html", tmp_path / "naive.html"
    asked = ("report", "letter", "--project", project.root, "--out")
    assert rapport_cli(*asked, before, "--as-of", f"{day:%Y-%m-%d}").exit_code == 0
    _arrives_later(project, day=day)
    ran = rapport_cli(*asked, naive, "--as-of", f"{day + timedelta(days=2):%Y-%m-%d}")
    assert ran.exit_code == 0, ran.stderr
    ran = rapport_cli(*asked, after, "--as-of", f"{day:%Y-%m-%d}")
    assert ran.exit_code == 0, ran.stderr
    runs = ExperimentRecord(project.tracking, project.experiment("letter")).looks()
    assert len(runs) == 3
    assert "look" in ran.stdout
    pages = [report_again(project.tracking, run) for run in runs]
    assert pages[0] == pages[1] == before.read_text(encoding="utf-8")
    assert pages[2] != pages[0], "what arrived later does show in a later look"


def test_the_page_is_made_again_from_the_run_alone_once_the_ledger_is_gone(
    shop: tuple[Project, np.ndarray], rapport_cli: Callable[..., Any], tmp_path: Path, migrated_store: Path
) -> None:
    project, _ = shop
    shutil.copytree(migrated_store, project.root / "mlruns")
    first, again = tmp_path / "first.html", tmp_path / "again.html"
    assert rapport_cli("report", "letter", "--project", project.root, "--out", first).exit_code == 0
    for path in project.ledger.parent.glob(f"{project.ledger.name}*"):
        path.unlink()
    (project.root / "experiments" / "letter.toml").unlink()
    shutil.rmtree(project.history.folder)
    ran = rapport_cli("report", "letter", "--project", project.root, "--out", again)
    assert ran.exit_code == 0, ran.stderr
    assert again.read_bytes() == first.read_bytes()


def test_a_run_keeps_digests_of_data_policy_consent_design_and_code_and_nobody_s_name(
    shop: tuple[Project, np.ndarray], migrated_store: Path
) -> None:
    project, _ = shop
    shutil.copytree(migrated_store, project.root / "mlruns")
    day = START + timedelta(days=20)
    first = record_insight(project, "letter", as_of=day)
    _arrives_later(project, day=day)
    later = record_insight(project, "letter", as_of=day + timedelta(days=2))
    client = project.tracking.client
    one, two = (client.get_run(run).data.params for run in (first, later))
    names = {name.removeprefix("sha256_") for name in one if name.startswith("sha256_")}
    assert names == {"data", "policy", "consent", "design", "code"}
    changed = {name for name in names if one[f"sha256_{name}"] != two[f"sha256_{name}"]}
    assert changed == {"data", "policy", "consent"}
    kept = [path.read_bytes() for path in (project.root / "mlruns").rglob("*") if path.is_file()]
    people = [f"c{number}" for number in range(100, 600)]
    named = [name for name in people for each in kept if f'"{name}"'.encode() in each or f">{name}<".encode() in each]
    assert named == []


def test_a_look_into_the_future_is_refused(
    shop: tuple[Project, np.ndarray], rapport_cli: Callable[..., Any], tmp_path: Path, migrated_store: Path
) -> None:
    project, _ = shop
    shutil.copytree(migrated_store, project.root / "mlruns")
    asked = ("report", "letter", "--project", project.root, "--out", tmp_path / "x.html", "--as-of")
    ran = rapport_cli(*asked, "2199-01-01")
    assert ran.exit_code == 2 and "future" in ran.stderr
    assert rapport_cli(*asked, "soon").exit_code == 2


def test_a_look_after_the_feed_has_stopped_is_not_to_be_trusted(shop: tuple[Project, np.ndarray]) -> None:
    project, _ = shop
    still = report_of(_look(project, day=15), project=project, number=1)
    stopped = report_of(_look(project, day=60), project=project, number=1)
    assert still.trusted
    assert headline(stopped).text == "Do not trust these numbers yet"
    assert headline(stopped).below.startswith("No event of any kind has arrived since 5 March 2026")
