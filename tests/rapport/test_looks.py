"""A look at a project's own experiment, from the decisions in its ledger."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from experiments.policies import Static
from experiments.record import ExperimentRecord, read_report
from experiments.report import headline, render
from features.errors import InputError
from rapport.trials.decided import decided_so_far
from rapport.trials.insight import record_insight
from rapport.trials.looks import report_of
from rapport.trials.objections import AfterNo, contacts_after_opt_out
from serving.book import Consent
from serving.ledger import Ledger

if TYPE_CHECKING:
    from tests.rapport.conftest import LetterShop

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
PEOPLE = [f"c{number}" for number in range(600)]
BOUGHT = np.random.default_rng(1).random(600) < 0.3
GOALS = """
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


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path, letter_shop: Callable[..., Any]) -> Path:
    """A shop with 600 customers in its experiment, of whom those who ``BOUGHT`` did so on day 3; to be copied."""
    folder = tmp_path_factory.mktemp("built") / "shop"
    shop = letter_shop(folder, goals=GOALS)
    shop.agree(PEOPLE, at=START - timedelta(days=9))
    shop.decide(PEOPLE, at=START)
    shop.buy([(each, START + timedelta(days=3), 4_900) for each, buys in zip(PEOPLE, BOUGHT, strict=True) if buys])
    shutil.copytree(migrated_store, folder / "mlruns")
    return folder


@pytest.fixture
def shop(built: Path, tmp_path: Path, letter_shop: Callable[..., LetterShop]) -> LetterShop:
    """A copy of the shop."""
    shutil.copytree(built, tmp_path / "shop")
    return letter_shop(tmp_path / "shop")


def _day(number: float) -> datetime:
    return START + timedelta(days=number)


def test_the_look_counts_what_the_ledger_and_the_history_hold(shop: LetterShop) -> None:
    look = shop.look(_day(15))
    arms = dict(zip(look.units["customer_id"].to_pylist(), look.units["arm"].to_pylist(), strict=True))
    in_static = np.array([arms[f"c{number}"] == "static" for number in range(600)])
    row = look.findings.metrics[0]
    assert (row.metric, row.n_arm, row.n_control) == ("bought", int(in_static.sum()), int((~in_static).sum()))
    assert row.difference == pytest.approx(BOUGHT[in_static].mean() - BOUGHT[~in_static].mean(), abs=1e-12)
    profit = np.where(BOUGHT, 4_900 * 0.3, 0) - 60 * in_static  # margin 30%, 60 cents a letter
    expected = profit[in_static].mean() - profit[~in_static].mean()
    assert look.findings.metrics[1].difference == pytest.approx(expected, abs=1e-9)
    assert sum(each.revenue for each in look.money) == 4_900 * int(BOUGHT.sum())


def test_before_a_window_has_closed_nothing_counts(shop: LetterShop) -> None:
    with pytest.raises(InputError, match="no window"):
        shop.look(_day(13))


def test_a_contact_after_an_opt_out_is_seen_whatever_the_ledger_knew(shop: LetterShop) -> None:
    project = shop.project
    decisions = decided_so_far(project, "letter")
    assert contacts_after_opt_out(project, decisions) == AfterNo()
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
        len(contacts_after_opt_out(project, decisions).known) == 2
    )  # the letter's channel, and all channels; not later, not e-mail


def test_an_experiment_without_decisions_says_what_to_do(shop: LetterShop) -> None:
    with pytest.raises(InputError, match="nothing was decided"):
        decided_so_far(shop.project, "always-on")


def test_the_report_takes_a_first_look_and_further_ones_when_told(
    shop: LetterShop, rapport_cli: Callable[..., Any], tmp_path: Path
) -> None:
    project = shop.project
    page, told = tmp_path / "lift.html", tmp_path / "lift.json"
    for arguments, number in (((), 1), ((), 1), (("--look",), 2)):
        ran = rapport_cli("report", "letter", "--project", project.root, "--out", page, "--json", told, *arguments)
        assert ran.exit_code == 0, ran.stderr
        assert json.loads(told.read_text(encoding="utf-8"))["look"] == number
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def _arrives_later(shop: LetterShop, *, day: datetime) -> None:
    """Events and a no that happened before ``day`` but were recorded after it, and decisions of later customers."""
    late = {"occurred_at": day - timedelta(days=9), "recorded_at": day + timedelta(days=1)}
    rows = [
        {"event_id": f"late-{number}", "customer_id": f"c{number}", "kind": kind, "amount": 9_900} | late
        for number in range(80)
        for kind in (("purchase", "opt_out")[number % 2],)
    ]
    shop.project.history.append(pa.Table.from_pylist(rows), part="late")
    with closing(Ledger(shop.project.ledger)) as ledger, ledger.writing() as book:
        book.consent([Consent(customer_id="c7", channel="all", granted=False, source="customer", **late)])
        book.publish("letter/static", Static(treatment="coats-new@email"), at=late["recorded_at"])
    shop.decide([f"new{number}" for number in range(50)], at=day + timedelta(hours=1))


def test_a_report_as_of_a_day_is_the_same_to_the_byte_whatever_arrived_later(
    shop: LetterShop, rapport_cli: Callable[..., Any], tmp_path: Path
) -> None:
    project = shop.project
    day = START.replace(hour=0) + timedelta(days=20)
    before, after, naive = tmp_path / "before.html", tmp_path / "after.html", tmp_path / "naive.html"
    asked = ("report", "letter", "--project", project.root, "--out")
    assert rapport_cli(*asked, before, "--as-of", f"{day:%Y-%m-%d}").exit_code == 0
    _arrives_later(shop, day=day)
    ran = rapport_cli(*asked, naive, "--as-of", f"{day + timedelta(days=2):%Y-%m-%d}")
    assert ran.exit_code == 0, ran.stderr
    ran = rapport_cli(*asked, after, "--as-of", f"{day:%Y-%m-%d}")
    assert ran.exit_code == 0, ran.stderr
    runs = ExperimentRecord(project.tracking, project.experiment("letter")).looks()
    assert len(runs) == 3
    assert "look" in ran.stdout
    pages = [render(read_report(project.tracking, run)) for run in runs]
    assert pages[0] == pages[1] == before.read_text(encoding="utf-8")
    assert pages[2] != pages[0], "what arrived later does show in a later look"


def test_the_page_is_made_again_from_the_run_alone_once_the_ledger_is_gone(
    shop: LetterShop, rapport_cli: Callable[..., Any], tmp_path: Path
) -> None:
    project = shop.project
    first, again = tmp_path / "first.html", tmp_path / "again.html"
    assert rapport_cli("report", "letter", "--project", project.root, "--out", first).exit_code == 0
    for path in project.ledger.parent.glob(f"{project.ledger.name}*"):
        path.unlink()
    (project.root / "experiments" / "letter.toml").unlink()
    shutil.rmtree(project.history.folder)
    ran = rapport_cli("report", "letter", "--project", project.root, "--out", again)
    assert ran.exit_code == 0, ran.stderr
    assert again.read_bytes() == first.read_bytes()


def test_a_run_keeps_digests_of_data_policy_consent_design_and_code_and_nobody_s_name(shop: LetterShop) -> None:
    project = shop.project
    day = START + timedelta(days=20)
    first = record_insight(project, "letter", as_of=day)
    _arrives_later(shop, day=day)
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


def test_a_look_into_the_future_is_refused(shop: LetterShop, rapport_cli: Callable[..., Any], tmp_path: Path) -> None:
    project = shop.project
    asked = ("report", "letter", "--project", project.root, "--out", tmp_path / "x.html", "--as-of")
    ran = rapport_cli(*asked, "2199-01-01")
    assert ran.exit_code == 2 and "future" in ran.stderr
    assert rapport_cli(*asked, "soon").exit_code == 2


def test_a_look_after_the_feed_has_stopped_is_not_to_be_trusted(shop: LetterShop) -> None:
    still = report_of(shop.look(_day(15)), project=shop.project, number=1)
    stopped = report_of(shop.look(_day(60)), project=shop.project, number=1)
    assert still.trusted
    assert headline(stopped).text == "Do not trust these numbers yet"
    assert headline(stopped).below.startswith("No event of any kind has arrived since 5 March 2026")
