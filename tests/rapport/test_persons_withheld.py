"""The long run and the channels count persons, however many accounts they have, as serving withholds them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from experiments.policies import Nothing
from rapport.init import create_project
from rapport.project import Project, load_project
from rapport.trials.insight import channels_of, long_run_of
from serving.batch import decide_all
from serving.catalogue import Catalogue
from serving.desk import Desk
from serving.ledger import Ledger
from serving.people import LinkedAccounts
from serving.rules import RuleBook, Rules
from serving.trial import Trial
from serving.trials import Trials

START = datetime(2026, 1, 12, 9, tzinfo=UTC)
QUARTER = datetime(2026, 4, 1, tzinfo=UTC)
AS_OF = datetime(2026, 7, 2, tzinfo=UTC)
PERSONS = 500
#: Accounts of each person: linked before the quarter began, but for every fifth person, who is linked within it.
ACCOUNTS = [tuple(f"p{number}-{place}" for place in range(3)) for number in range(PERSONS)]
LATE = range(0, PERSONS, 5)


def _links() -> list[dict[str, object]]:
    early, late = QUARTER - timedelta(days=60), QUARTER + timedelta(days=20)
    rows = [
        {"account_id": each, "customer_id": own[0], "since": late if number in LATE else early, "until": None}
        for number, own in enumerate(ACCOUNTS)
        for each in own
    ]
    persons = [{"strength": "personalize", **row} for row in rows]
    homes = [
        {**row, "strength": "household", "customer_id": ACCOUNTS[number // 3 // 2 * 2][0], "since": early}
        for number, row in enumerate(rows)
    ]
    return [*persons, *homes]


def _events(amounts: dict[str, int], at: datetime, tag: str) -> pa.Table:
    times = {"occurred_at": at, "recorded_at": at}
    return pa.Table.from_pylist(
        [
            {"event_id": f"{tag}{each}", "customer_id": each, "kind": "purchase", "amount": amount, **times}
            for each, amount in amounts.items()
        ]
    )


@pytest.fixture(params=["customer", "household"])
def shop(request: pytest.FixtureRequest, tmp_path: Path, link: Callable[..., None]) -> tuple[Project, str]:
    """A shop from whose marketing a quarter of persons, or households, is withheld."""
    unit = str(request.param)
    create_project(tmp_path / "shop", name="Shop")
    with (tmp_path / "shop" / "rapport.toml").open("a", encoding="utf-8") as settings:
        settings.write(f'\n[holdout]\nshare = 0.25\nunit = "{unit}"\nchannels = {{ mail = 0.4, email = 0.3 }}\n')
    project = load_project(tmp_path / "shop")
    every = [each for own in ACCOUNTS for each in own]
    project.history.append(_events(dict.fromkeys(every, 100), START - timedelta(days=9), "before"), part="before")
    amounts = dict(zip(every, np.random.default_rng(1).integers(100, 900, len(every)).tolist(), strict=True))
    project.history.append(_events(amounts, QUARTER + timedelta(days=30), "within"), part="within")
    link(project.history, _links())
    return project, unit


def _decide(project: Project, accounts: list[str], at: datetime) -> pa.Table:
    ledger = Ledger(project.ledger)
    trials = Trials(standing=Trial.of_policy(Nothing(), arm="all"), holdout=project.holdout)
    rules = Rules(RuleBook(catalogue=Catalogue(offers=project.catalogue.offers[1:])))
    desk = Desk(ledger, rules=rules, trials=trials)
    people = LinkedAccounts(project.history)
    decided = decide_all(pa.table({"customer_id": accounts}), desk=desk, at=at, seed="s", values=None, people=people)
    ledger.close()
    return decided


def test_persons_count_once_and_are_held_as_serving_held_them(shop: tuple[Project, str]) -> None:
    project, unit = shop
    _decide(project, ["p1-0"], START)
    found = long_run_of(project, as_of=AS_OF)
    assert found is not None
    (quarter,) = found.periods
    # Whoever is linked within the quarter counts as they were known when it began.
    known = (PERSONS - len(LATE)) + 3 * len(LATE)
    assert quarter.n + quarter.n_held == known
    linked = [own for number, own in enumerate(ACCOUNTS) if number not in LATE]
    served = _decide(project, [own[-1] for own in linked], QUARTER + timedelta(days=40))
    withheld = sum(arm == "holdout" for arm in served["arm"].to_pylist())
    holdout = project.holdout
    assert holdout is not None
    names = [own[0] for own in linked]
    if unit == "household":
        names = [ACCOUNTS[int(name[1:-2]) // 2 * 2][0] for name in names]
    assert withheld == holdout.withheld(names, at=QUARTER).sum()
    # Of persons a quarter, as planned; were an account enough, it would be 58%. Four standard errors, by household.
    assert abs(withheld / len(linked) - 0.25) < 4 * np.sqrt(0.25 * 0.75 / (len(linked) / 2))
    alone = [each for number in LATE for each in ACCOUNTS[number]]
    if unit == "household":
        alone = [ACCOUNTS[int(name[1:-2]) // 2 * 2][0] for name in alone]
    assert quarter.n_held == withheld + holdout.withheld(alone, at=QUARTER).sum()


def test_the_channels_take_the_same_persons(shop: tuple[Project, str]) -> None:
    project, _ = shop
    _decide(project, ["p1-0"], START)
    told = channels_of(project, as_of=AS_OF)
    assert told is not None
    for each in told[0].channels:
        assert each.n + each.n_held == told[0].channels[0].n + told[0].channels[0].n_held
        # Nobody was contacted: what the withheld did not get made no difference.
        assert each.ci_low <= 0 <= each.ci_high
    mail = told[0].channels[0]
    assert 0.3 < mail.n_held / (mail.n + mail.n_held) < 0.5
