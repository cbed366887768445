"""The shop that sends a letter: a project with one experiment, in which half of the customers get nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from experiments.policies import AnyPolicy, Nothing, Static
from experiments.report import LookPoint
from features import History
from features.facts import MEMBERS
from rapport.init import create_project
from rapport.project import Project, load_project
from rapport.trials.decided import decided_so_far
from rapport.trials.looks import Look, take_look, units_of
from serving.batch import decide_all
from serving.book import Consent
from serving.catalogue import Catalogue
from serving.desk import Desk
from serving.ledger import Ledger
from serving.people import LinkedAccounts
from serving.rules import RuleBook, Rules
from serving.trial import Trial
from serving.trials import Trials

DESIGN = """
key = "letter"
title = "The letter against nothing"
hypothesis = "The letter sells."
control = "nothing"
start = {start}
{more}
[[arms]]
name = "nothing"
shows = "nothing"
policy = "nothing"
share = {nothing}
rung = "nothing"
[[arms]]
name = "static"
shows = "the letter"
policy = "static"
share = {letter}
rung = "static"
{goals}
"""
BOUGHT = """
[[goals]]
name = "bought"
kind = "any"
events = ["purchase"]
window_days = 14
"""


@pytest.fixture(scope="session")
def letter_design() -> Callable[..., str]:
    """``letter_design(goals=GOALS)``: the text of experiments/letter.toml, but for what a test says otherwise."""
    return _design


def _design(
    *,
    start: str = "2026-03-02T00:00:00Z",
    more: str = 'stop_rule = "anytime"',
    letter: float = 0.5,
    goals: str = BOUGHT,
) -> str:
    """A design from ``start`` on; ``more`` are lines about the experiment, ``letter`` is the share of that arm."""
    return DESIGN.format(start=start, more=more, nothing=1 - letter, letter=letter, goals=goals)


@pytest.fixture(scope="session")
def only_experiment() -> Callable[..., Project]:
    """``only_experiment(folder, letter=DESIGN)``: a new project with this experiment alone and no scenarios."""
    return _only_experiment


def _only_experiment(folder: Path, **designs: str) -> Project:
    create_project(folder, name="Shop")
    (folder / "scenarios.toml").unlink()
    (folder / "experiments" / "always-on.toml").unlink()
    for key, text in designs.items():
        (folder / "experiments" / f"{key}.toml").write_text(text, encoding="utf-8")
    return load_project(folder)


@pytest.fixture(scope="session")
def agree() -> Callable[..., None]:
    """``agree(project, customers, at=START)``: they opted in to all marketing."""
    return _agree


def _agree(project: Project, customers: Iterable[str], *, at: datetime) -> None:
    yes = Consent(customer_id="", channel="all", granted=True, source="customer", occurred_at=at, recorded_at=at)
    with closing(Ledger(project.ledger)) as ledger, ledger.writing() as book:
        book.consent([replace(yes, customer_id=each) for each in customers])


@pytest.fixture(scope="session")
def buy() -> Callable[..., None]:
    """``buy(project, [("anna", at, 4_900)])``: customers bought for so many cents."""
    return _buy


def _buy(
    project: Project, bought: Sequence[tuple[str, datetime, int]], *, part: str = "till", known: datetime | None = None
) -> None:
    """Add purchases to the history, which were recorded when they happened, or when they were ``known``."""
    customers, moments, cents = zip(*bought, strict=True)
    purchases = {
        "event_id": [f"{part}-{place}-{each}" for place, each in enumerate(customers)],
        "customer_id": customers,
        "kind": ["purchase"] * len(bought),
        "occurred_at": moments,
        "recorded_at": [known] * len(bought) if known else moments,
        "amount": pa.array(cents, pa.int64()),
    }
    project.history.append(pa.table(purchases), part=part)


@pytest.fixture(scope="session")
def link() -> Callable[..., None]:
    """``link(history, rows)``: accounts belong to one person or household, as rows in the columns of ``MEMBERS``."""

    def write(history: History, rows: Sequence[dict[str, Any]]) -> None:
        folder = history.folder / "members"
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=MEMBERS), folder / "m.parquet")

    return write


@dataclass(frozen=True)
class LetterShop:
    """A project whose experiment "letter" sends one letter by mail to a share of the customers.

    Neither limits on contacts nor eligibility stand in its way, so that who is in arm "static" gets the letter.
    """

    project: Project

    def agree(self, customers: Iterable[str], *, at: datetime) -> None:
        """They opted in to all marketing; without it nobody gets the letter."""
        _agree(self.project, customers, at=at)

    @contextmanager
    def desk(self) -> Iterator[Desk]:
        """Where it is decided who gets the letter."""
        policies: dict[str, AnyPolicy] = {"nothing": Nothing(), "static": Static(treatment="coats-new@mail")}
        trial = Trial.of_experiment(self.project.experiment("letter"), policies=policies)
        rules = Rules(RuleBook(catalogue=Catalogue(offers=self.project.catalogue.offers[1:])))
        with closing(Ledger(self.project.ledger)) as ledger:
            yield Desk(ledger, rules=rules, trials=Trials.only(trial))

    def decide(self, customers: Sequence[str], *, at: datetime, people: LinkedAccounts | None = None) -> pa.Table:
        """Decide for each of them, or with ``people`` once for each person, and return the decisions."""
        with self.desk() as desk:
            table = pa.table({"customer_id": customers})
            return decide_all(table, desk=desk, at=at, seed="s", values=None, people=people)

    def buy(self, bought: Sequence[tuple[str, datetime, int]]) -> None:
        """Purchases arrive, each of a customer, at a moment, for so many cents."""
        _buy(self.project, bought)

    def look(self, as_of: datetime, *, earlier: tuple[LookPoint, ...] = ()) -> Look:
        """A look at the experiment as of a moment, at everything that was decided."""
        design = self.project.experiment("letter")
        decisions = decided_so_far(self.project, "letter")
        units = units_of(decisions, design)
        return take_look(self.project, design, units=units, decisions=decisions, as_of=as_of, earlier=earlier)


@pytest.fixture(scope="session")
def letter_shop() -> Callable[..., LetterShop]:
    """``letter_shop(folder)``: the shop in a folder; in a new one with a design that differs by ``letter_design``'s."""

    def open_shop(folder: Path, **design: Any) -> LetterShop:
        if (folder / "rapport.toml").exists():
            return LetterShop(load_project(folder))
        return LetterShop(_only_experiment(folder, letter=_design(**design)))

    return open_shop
