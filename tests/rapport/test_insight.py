"""What a project's look tells beyond its goals: who gains, who stays, and the long run against its holdout."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from experiments.holdout import Holdout
from experiments.policies import Static
from experiments.report import Report, numbers_csv, render
from rapport.project import Project
from rapport.trials.insight import channels_of, gains_of, level_of, long_run_of, retention_of, with_insight
from rapport.trials.looks import Look, report_of
from serving.batch import decide_all
from serving.catalogue import Catalogue
from serving.desk import Desk
from serving.explanation import differences, replay
from serving.ledger import Ledger
from serving.reasons import Reason
from serving.rules import RuleBook, Rules
from serving.trial import Trial
from serving.trials import Trials

if TYPE_CHECKING:
    from tests.rapport.conftest import LetterShop

START = datetime(2026, 1, 12, 9, tzinfo=UTC)
AS_OF = datetime(2026, 10, 3, tzinfo=UTC)
PEOPLE = [f"c{number:04d}" for number in range(1_600)]


def _events(kind: str, who: list[str], at: list[datetime], *, amount: int | None = None, tag: str = "") -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"event_id": f"{kind}{tag}-{each}-{when:%j}", "customer_id": each, "kind": kind, "amount": amount}
            | {"occurred_at": when, "recorded_at": when}
            for each, when in zip(who, at, strict=True)
        ]
    )


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory, letter_shop: Callable[..., LetterShop]) -> LetterShop:
    """A shop whose letter sells to those who bought within the month before it, and makes some opt out.

    A quarter of its customers is withheld from everything, each quarter another.
    """
    root = tmp_path_factory.mktemp("shop") / "shop"
    letter_shop(root, start="2026-01-12T00:00:00Z")
    with (root / "rapport.toml").open("a", encoding="utf-8") as settings:
        settings.write("\n[holdout]\nshare = 0.25\nchannels = { mail = 0.4, email = 0.3 }\n")
    shop = letter_shop(root)
    shop.agree(PEOPLE, at=START - timedelta(days=400))
    rng = np.random.default_rng(1)
    recent = rng.random(len(PEOPLE)) < 0.5
    days = np.where(recent, rng.uniform(1, 25, len(PEOPLE)), rng.uniform(40, 200, len(PEOPLE)))
    before = [START - timedelta(days=float(day)) for day in days]
    history = shop.project.history
    history.append(_events("purchase", PEOPLE, before, amount=2_000), part="before")
    mailed = np.asarray(shop.decide(PEOPLE, at=START)["arm"].to_pylist()) == "static"
    buys = rng.random(len(PEOPLE)) < np.where(mailed & recent, 0.5, 0.15)
    leaves = rng.random(len(PEOPLE)) < np.where(mailed, 0.12, 0.04)
    for kind, who, day, amount in (("purchase", buys, 3, 4_000), ("opt_out", leaves, 20, None)):
        names = [PEOPLE[place] for place in np.flatnonzero(who)]
        at = [START + timedelta(days=day)] * len(names)
        history.append(_events(kind, names, at, amount=amount, tag="!"), part=kind)
    holdout = shop.project.holdout
    assert holdout is not None
    for month in (5, 8):
        moment = datetime(2026, month, 5, tzinfo=UTC)
        held = holdout.withheld(PEOPLE, at=moment)
        amounts = np.where(held, 10_000, 30_000) + rng.integers(0, 5_000, len(PEOPLE))
        rows = [
            {"event_id": f"q{month}-{each}", "customer_id": each, "kind": "purchase", "amount": int(amount)}
            | {"occurred_at": moment, "recorded_at": moment}
            for each, amount in zip(PEOPLE, amounts, strict=True)
        ]
        history.append(pa.Table.from_pylist(rows), part=f"month-{month}")
    return shop


@pytest.fixture(scope="module")
def shop(opened: LetterShop) -> tuple[Project, Look]:
    """The shop's project, and a look at it."""
    return opened.project, opened.look(AS_OF)


@pytest.fixture(scope="module")
def told(shop: tuple[Project, Look]) -> Report:
    """The report of that look, with all that it tells beyond its goals."""
    project, look = shop
    return with_insight(report_of(look, project=project, number=1), look, project=project)


def test_who_gains_is_told_by_the_features_before_the_letter(shop: tuple[Project, Look]) -> None:
    found = gains_of(*shop)
    assert found is not None and found.differ
    said = " ".join(found.sentences)
    assert "purchase" in said and "Customers with " in said
    assert found.groups[0].inside.n + found.groups[0].outside.n == len(PEOPLE)


def test_ranges_are_those_of_every_look_where_any_look_may_decide(shop: tuple[Project, Look]) -> None:
    _, look = shop
    at_any_look = level_of(look, units=5_000)
    assert stats.norm.isf(at_any_look / 2) / stats.norm.isf(0.025) == pytest.approx(1.548604, abs=1e-5)
    fixed = replace(look, design=replace(look.design, stop_rule="fixed", end=START + timedelta(days=30)))
    assert level_of(fixed, units=5_000) == 0.05


def test_too_few_customers_or_a_ratio_tell_nothing_of_single_ones(shop: tuple[Project, Look]) -> None:
    project, look = shop
    few = replace(look, outcomes=look.outcomes.slice(0, 300))
    assert gains_of(project, few) is None


def test_who_stays_is_told_until_the_opt_out(shop: tuple[Project, Look]) -> None:
    found = retention_of(*shop)
    assert found is not None
    (row,) = found.differences
    assert row.ci_high < 0 and row.p_value < 1e-4
    assert "Customers stay less long with 'static'" in row.sentence


def test_the_long_run_takes_whole_quarters_and_each_quarter_s_own_holdout(shop: tuple[Project, Look]) -> None:
    project, _ = shop
    found = long_run_of(project, as_of=AS_OF)
    assert found is not None
    assert [each.period for each in found.periods] == ["2026-04 to 2026-06", "2026-07 to 2026-09"]
    for each in found.periods:
        assert each.n + each.n_held == len(PEOPLE)
        assert each.difference == pytest.approx(0.3 * 20_000, rel=0.05)  # margin 30%
    assert found.periods[1].total == pytest.approx(sum(each.difference for each in found.periods), rel=1e-9)
    assert long_run_of(project, as_of=datetime(2026, 5, 1, tzinfo=UTC)) is None


def test_each_channel_is_told_from_those_withheld_from_it_beside_matchback(shop: tuple[Project, Look]) -> None:
    told = channels_of(shop[0], as_of=AS_OF)
    assert told is not None
    found, when = told
    assert when == "2026-07 to 2026-09"
    assert [each.channel for each in found.channels] == ["mail", "email"]
    mail = found.channels[0]
    # In that quarter nobody was contacted: what customers withheld from mail bought differs by chance alone.
    assert mail.ci_low <= 0 <= mail.ci_high and mail.matchback == 0
    assert found.together is not None and found.together.ci_low > 0
    assert channels_of(shop[0], as_of=datetime(2026, 5, 1, tzinfo=UTC)) is None


def test_the_page_and_its_numbers_hold_all_of_it_and_nobody_s_name(told: Report) -> None:
    page, numbers = render(told), numbers_csv(told)
    for title in ("Which customers gain", "Who stays", "The long run: everything against the holdout"):
        assert title in page
    for part in ("gains,", "retention,", "holdout,"):
        assert f"\n{part}" in numbers
    assert not any(each in page or each in numbers for each in PEOPLE)


def test_what_arrives_later_changes_nothing_of_it(opened: LetterShop, told: Report) -> None:
    project = opened.project
    late = [
        {"event_id": f"late-{each}", "customer_id": each, "kind": kind, "amount": 90_000}
        | {"occurred_at": START + timedelta(days=day), "recorded_at": AS_OF + timedelta(days=1)}
        for each in PEOPLE[::3]
        for kind, day in (("purchase", -5), ("opt_out", 30), ("purchase", 100))
    ]
    project.history.append(
        pa.Table.from_pylist([row | {"event_id": f"{row['event_id']}-{place}"} for place, row in enumerate(late)]),
        part="late",
    )
    look = opened.look(AS_OF)
    after = with_insight(report_of(look, project=project, number=1), look, project=project)
    assert json.dumps(msgspec.to_builtins(after)) == json.dumps(msgspec.to_builtins(told))


def test_who_is_withheld_from_a_channel_gets_nothing_there_and_the_decision_replays(
    tmp_path: Path, only_experiment: Callable[..., Project], agree: Callable[..., None]
) -> None:
    project, people = only_experiment(tmp_path / "shop"), PEOPLE[:300]
    agree(project, people, at=START - timedelta(days=9))
    ledger = Ledger(project.ledger)
    policy = Static(treatment="coats-new@mail")
    holdout = Holdout(share=0.1, channels={"mail": 0.4, "email": 0.2})
    rules = Rules(RuleBook(catalogue=Catalogue(offers=project.catalogue.offers[1:])))
    desk = Desk(ledger, rules=rules, trials=Trials(standing=Trial.of_policy(policy, arm="all"), holdout=holdout))
    decided = decide_all(pa.table({"customer_id": people}), desk=desk, at=START, seed="s", values=None)
    got = np.asarray(decided["channel"].to_pylist()) == "mail"
    everything, mail = holdout.withheld(people, at=START), holdout.withheld_from("mail", people, at=START)
    assert (got == ~(everything | mail)).all()
    assert 0.3 < mail.mean() < 0.5 and 0.02 < (everything & mail).mean() < 0.07  # chance nests them
    with ledger.reading() as book:
        kept = book.decisions([decided["decision_id"][int(np.flatnonzero(mail & ~everything)[0])].as_py()])
    ledger.close()
    (decision,) = kept.values()
    assert "mail" in decision.withheld_channels
    assert int(Reason.HELD_OUT) in [why for why, _ in decision.removed]
    assert differences(decision, replay(decision, rules=rules, policy=policy)) == {}
