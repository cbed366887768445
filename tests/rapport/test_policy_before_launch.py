"""The value of a whole policy before its launch: replayed from a ledger, held against a market whose truth is known."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from experiments.assignment import assign_all
from experiments.market import Market, MarketSpec
from experiments.policies import AnyPolicy, Nothing, OneToOne, RandomEligible, Static
from features.errors import InputError
from rapport.init import create_project
from rapport.project import Project, load_project
from rapport.trials.counterfactual import PolicyValue, value_before_launch
from serving.ask import Ask
from serving.assembly import rules_of
from serving.book import policy_version
from serving.candidate import Candidate
from serving.consent import Permission
from serving.contact_policy import Contact
from serving.counterfactual import Replayed, replayed
from serving.decision import Assignment, Decision, decide
from serving.ledger import Ledger
from serving.logged import read_logged
from serving.rules import Rules
from serving.trial import STANDING


class Ran(Protocol):
    """How a command ended and what it printed."""

    exit_code: int
    stdout: str
    stderr: str


CHANNELS = ("web", "email", "mail", "call", "store")
YES = Permission(granted=("all:marketing",))
NOW = datetime(2026, 1, 1, tzinfo=UTC)
DESIGN = """
key = "personal"
title = "Personal against nothing"
hypothesis = "What fits sells more."
control = "nothing"
start = 2023-01-09T00:00:00Z
stop_rule = "anytime"
[[arms]]
name = "nothing"
shows = "no contact"
policy = "nothing"
share = 0.5
[[arms]]
name = "random"
shows = "any contact"
policy = "random"
share = 0.3
[[arms]]
name = "one_to_one"
shows = "what fits"
policy = "one_to_one"
share = 0.2
rung = "one_to_one"
[[goals]]
name = "profit"
kind = "given"
window_days = 28
money = true
[[goals]]
name = "bought"
kind = "any"
events = ["purchase"]
window_days = 7
"""
LIMITS = "[[limits]]\ncontact_class = 'marketing'\ncount = 3\nwindow_days = 13\n"
STRICTER = "cooldown_days = 6\n[[limits]]\ncontact_class = 'marketing'\ncount = 1\nwindow_days = 13\n"


def offers_toml(market: Market, *, only: Sequence[str] = (), channels: Sequence[str] = CHANNELS, rule: str = "") -> str:
    """The market's offers as a project writes them."""
    lines = []
    for offer_id in dict.fromkeys(each.offer_id for each in market.treatments):
        sent = [each for each in market.treatments if each.offer_id == offer_id and each.channel in channels]
        if sent and (not only or offer_id in only):
            lines += ["[[offers]]", f'offer_id = "{offer_id}"', f'title = "{offer_id}"', rule]
            for each in sent:
                lines += ["[[offers.treatments]]", f'channel = "{each.channel}"', f"cost_cents = {each.cost_cents}"]
    return "\n".join(lines)


@dataclass
class World:
    """A project in whose ledger two weeks of an experiment lie, and the market that answered."""

    market: Market
    project: Project
    values: np.ndarray
    rows: list[tuple[float | None, ...]]
    contacts: list[tuple[Contact, ...]]

    def decisions(
        self, policies: dict[str, AnyPolicy], arms: Sequence[str], *, week: int, key: str, rules: Rules
    ) -> list[Decision]:
        moment = self.market.begin(week)
        return [
            decide(
                Ask(customer_id=customer, moment=moment, seed=f"week-{week}"),
                permission=YES,
                contacts=contacts,
                row=row,
                values=values,
                assignment=Assignment(
                    experiment=key, arm=arm, policy=policies[arm], version=policy_version(policies[arm])
                ),
                rules=rules,
            )
            for customer, arm, row, values, contacts in zip(
                self.market.customer_ids.to_pylist(), arms, self.rows, self.values, self.contacts, strict=True
            )
        ]

    def run(self, ledger: Ledger, policies: dict[str, AnyPolicy], arms: Sequence[str], *, week: int, key: str) -> None:
        """Decide on everybody, write it down, and let the market answer."""
        rules = rules_of(self.project)
        taken = self.decisions(policies, arms, week=week, key=key, rules=rules)
        with ledger.writing() as book:
            book.keep_rules(rules.fingerprint, rules.book)
            for name, policy in policies.items():
                book.publish(f"{key}/{name}", policy, at=self.market.begin(week))
            book.record(taken)
        self.contacts = [
            (*before, each.contact) if each.contact else before
            for before, each in zip(self.contacts, taken, strict=True)
        ]
        actions = np.array([self.market.actions.index(each.action) for each in taken])
        self.project.history.append(self.market.week(week, actions), part=f"week-{week}")

    def truth(self, rules: Rules, policy: AnyPolicy, contacts: Sequence[tuple[Contact, ...]], *, week: int) -> float:
        """What a candidate would truly earn per customer in a week, whose customers stand as ``contacts`` say."""
        held = replace(self, contacts=list(contacts))
        wished = held.decisions({"c": policy}, ["c"] * len(self.rows), week=week, key="truth", rules=rules)
        chances = np.zeros((len(wished), len(self.market.actions)))
        for row, each in enumerate(wished):
            for place, chance in zip(each.survivors, each.probabilities, strict=True):
                chances[row, self.market.actions.index(rules.actions[place])] = chance
        return self.market.value(chances, week)


def make_world(folder: Path, *, customers: int, seed: int, weeks: int = 1) -> tuple[World, list[tuple[Contact, ...]]]:
    """The world, and the contacts of each customer as the experiment begins: a week of random ones lies behind them."""
    market = Market(MarketSpec(customers=customers, seed=seed, return_rate=0.0, delay_scale=0.0))
    create_project(folder, name="Shop")
    settings = (folder / "rapport.toml").read_text().replace("margin = 0.30", "margin = 0.40")
    (folder / "rapport.toml").write_text(settings)
    (folder / "offers.toml").write_text(offers_toml(market))
    (folder / "contact_policy.toml").write_text(LIMITS)
    (folder / "scenarios.toml").write_text("")
    shutil.rmtree(folder / "experiments")
    (folder / "experiments").mkdir()
    (folder / "experiments" / "personal.toml").write_text(DESIGN)
    project = load_project(folder)
    rng = np.random.default_rng(seed)
    gains = market.profits(1) - market.profits(1)[:, :1]
    guessed = gains + rng.normal(0, 10, gains.shape)
    guessed[:, 0] = 0.0
    known = project.features.names.index("purchases_365d")
    rows: list[tuple[float | None, ...]] = []
    for often in (52 * market.customers.base).tolist():
        row: list[float | None] = [None] * len(project.features.names)
        row[known] = often
        rows.append(tuple(row))
    world = World(market, project, guessed, rows, [()] * customers)
    ledger = Ledger(project.ledger)
    world.run(ledger, {"all": RandomEligible(nothing_share=0.8)}, ["all"] * customers, week=0, key="earlier")
    begin = list(world.contacts)
    design = project.experiment("personal")
    arms = assign_all(market.customer_ids.to_pylist(), experiment=design.key, shares=design.shares).to_pylist()
    policies: dict[str, AnyPolicy] = {"nothing": Nothing(), "random": RandomEligible(), "one_to_one": OneToOne()}
    for week in range(1, 1 + weeks):
        world.run(ledger, policies, arms, week=week, key=design.key)
    with ledger.writing() as book:
        for name, policy in policies.items():
            book.publish(name, policy, at=market.begin(1))
    ledger.close()
    return world, begin


def candidate_of(world: World, folder: Path, **files: str) -> Project:
    """A copy of the project's files, without its facts, with some of them changed."""
    shutil.copytree(world.project.root, folder, ignore=shutil.ignore_patterns("ledger*", "history", "mlruns"))
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)
    return load_project(folder)


ELIGIBLE = 'eligibility = [{feature = "purchases_365d", at_least = 1.1}]'
FEWER = ("beauty-15", "clothing-15", "garden-20", "home-25", "shoes-10", "shoes-25")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, list[tuple[Contact, ...]], Project]:
    """6,000 customers, a first decision on each; and a candidate with other offers, conditions and limits."""
    root = tmp_path_factory.mktemp("launch")
    world, begin = make_world(root / "shop", customers=6_000, seed=2)
    offers = offers_toml(world.market, only=FEWER, rule=ELIGIBLE)
    return world, begin, candidate_of(world, root / "new", offers=offers, contact_policy=STRICTER)


def doubly_robust(found: PolicyValue) -> tuple[float, float, float]:
    (best,) = (each for each in found.evaluation.estimates if each.estimator == "dr")
    return best.value, best.ci_low, best.ci_high


def replay_of(world: World, candidate: Project, *, every: bool = False) -> tuple[Replayed, Rules]:
    design, rules = world.project.experiment("personal"), rules_of(candidate)
    ledger = Ledger(world.project.ledger)
    with ledger.reading() as book:
        logged = read_logged(book, design, candidate=rules)
    ledger.close()
    wished = Candidate(rules=rules, policy=OneToOne())
    return replayed(
        logged, design=design, candidate=wished, unit_of=lambda each: each.ask.customer_id, every=every
    ), rules


def test_the_interval_holds_the_true_value_and_the_mean_of_matching_decisions_does_not(
    shop: tuple[World, list[tuple[Contact, ...]], Project],
) -> None:
    world, begin, candidate = shop
    found = value_before_launch(world.project, candidate, key="personal", as_of=NOW)
    truth = world.truth(rules_of(candidate), OneToOne(), begin, week=1)
    _, low, high = doubly_robust(found)
    assert low < truth < high
    assert found.evaluation.diagnostics.unsupported_share == 0.0
    # Against the control at the same decisions: surer than from two intervals that know nothing of each other.
    control = found.evaluation.control
    assert control is not None and control.name == "nothing"
    (apart,) = (each for each in control.differences if each.estimator == "dr")
    idle = world.truth(rules_of(world.project), Nothing(), begin, week=1)
    assert apart.ci_low < truth - idle < apart.ci_high
    (arm,) = (each for each in found.arms if each.arm == "nothing")
    assert apart.ci_high - apart.ci_low < np.hypot(high - low, arm.ci_high - arm.ci_low)
    (alone,) = (each for each in control.estimates if each.estimator == "dr")
    assert alone.ci_low < arm.value < alone.ci_high
    # What was logged mostly did nothing, so the decisions that match are mostly those on customers who buy little.
    replay, _ = replay_of(world, candidate)
    spent = world.market.expected(1, np.zeros(6_000, dtype=int)).profit
    places = {name: place for place, name in enumerate(world.market.customer_ids.to_pylist())}
    own = np.array([spent[places[each.ask.customer_id]] for each in replay.decisions])
    matching = replay.wanted[np.arange(6_000), replay.taken] > 0.5
    weight = replay.wanted[np.arange(6_000), replay.taken] / replay.probability
    assert own[matching].mean() < 0.93 * own.mean()
    assert (weight * own).mean() == pytest.approx(own.mean(), rel=0.06)  # three standard errors of the weights


def test_the_chances_of_the_log_are_those_of_all_arms_by_their_shares(
    shop: tuple[World, list[tuple[Contact, ...]], Project],
) -> None:
    world, _, candidate = shop
    replay, _ = replay_of(world, candidate)
    assert replay.logged.sum(axis=1) == pytest.approx(1.0)
    assert replay.wanted.sum(axis=1) == pytest.approx(1.0)
    first = replay.decisions[0]
    best = world.project.catalogue.actions[int(np.argmax(first.values or ()))]
    left = len(first.survivors)
    chances = dict(zip(replay.actions, replay.logged[0], strict=True))
    # Nothing: always in its arm, by chance at random; what fits best: by chance at random, and always where it is sent.
    assert chances["nothing"] == pytest.approx(0.5 + 0.3 / left)
    assert chances[best] == pytest.approx(0.2 + 0.3 / left)


def test_a_later_decision_knows_which_arm_the_earlier_ones_give_away(tmp_path: Path) -> None:
    world, _ = make_world(tmp_path / "shop", customers=1_500, seed=3, weeks=2)
    replay, _ = replay_of(world, world.project, every=True)
    assert len(replay.decisions) == 3_000
    # The weights of a policy that the log itself followed must average 1, in the second week too; by the arms' shares
    # alone they would not, as who was contacted before tells that they are not in the arm of nothing.
    later = np.array([each.ask.moment == world.market.begin(2) for each in replay.decisions])
    uniform = np.where(replay.logged > 0, 1.0, 0.0) / (replay.logged > 0).sum(axis=1, keepdims=True)
    weight = uniform[np.arange(3_000), replay.taken] / replay.probability
    for week in (later, ~later):
        error = weight[week].std() / np.sqrt(week.sum())
        assert weight[week].mean() == pytest.approx(1.0, abs=4 * error)
    # Whoever got two random treatments that did not fit is surely in the arm of chance: there the chance is 1 / left.
    arm = np.array([each.arm for each in replay.decisions])
    sent = np.array([each.action != "nothing" for each in replay.decisions])
    surely = later & (arm == "random") & sent
    share = [1 / len(each.survivors) for each, kept in zip(replay.decisions, surely, strict=True) if kept]
    assert np.median(replay.probability[surely] / share) == pytest.approx(1.0, abs=0.05)


def test_offers_that_the_log_never_tried_are_named(
    shop: tuple[World, list[tuple[Contact, ...]], Project], tmp_path: Path, rapport_cli: Callable[..., Ran]
) -> None:
    world, _, _ = shop
    added = (
        '[[offers]]\noffer_id = "boots-30"\ntitle = "Boots"\n[[offers.treatments]]\nchannel = "mail"\ncost_cents = 60\n'
    )
    experiments = {"offers": offers_toml(world.market) + "\n" + added}
    candidate = candidate_of(world, tmp_path / "boots", **experiments)
    ledger = Ledger(candidate.ledger)
    with ledger.writing() as book:
        book.publish("one_to_one", Static(treatment="boots-30@mail"), at=NOW)
    ledger.close()
    out = tmp_path / "out.json"
    ran = rapport_cli(
        "evaluate",
        "--project",
        world.project.root,
        "--experiment",
        "personal",
        "--candidate",
        candidate.root,
        "--json",
        out,
    )
    assert ran.exit_code == 0
    assert "The log can't tell. " in ran.stdout
    written = json.loads(out.read_text())
    assert written["estimates"] == []
    assert "boots-30@mail" in written["refused"]
    assert written["untried"]["boots-30@mail"] > 0.9


def test_what_the_candidate_needs_and_the_log_did_not_record_is_told(
    shop: tuple[World, list[tuple[Contact, ...]], Project], tmp_path: Path
) -> None:
    world, _, _ = shop
    worth = offers_toml(world.market, rule="value_cents = 900")
    with pytest.raises(InputError, match="is worth something else"):
        value_before_launch(world.project, candidate_of(world, tmp_path / "a", offers=worth), key="personal", as_of=NOW)
    settings = (world.project.root / "rapport.toml").read_text().replace('"shoes", "coats"', '"shoes", "hats"')
    with pytest.raises(InputError, match="other features"):
        value_before_launch(
            world.project, candidate_of(world, tmp_path / "b", rapport=settings), key="personal", as_of=NOW
        )
    with pytest.raises(InputError, match="did you mean 'random'"):
        value_before_launch(world.project, world.project, key="personal", arm="randm", as_of=NOW)
    with pytest.raises(InputError, match="no decision's window has closed"):
        early = world.market.begin(1)
        value_before_launch(world.project, world.project, key="personal", as_of=early)


def test_the_standing_trial_is_a_log_too(tmp_path: Path) -> None:
    world, begin = make_world(tmp_path / "shop", customers=2_000, seed=4, weeks=0)
    policies: dict[str, AnyPolicy] = {"static": Static(treatment="shoes-10@email"), "one_to_one": OneToOne(floor=0.01)}
    arms = assign_all(world.market.customer_ids.to_pylist(), experiment="standing", shares=STANDING).to_pylist()
    ledger = Ledger(world.project.ledger)
    world.run(ledger, policies, arms, week=1, key="standing")
    ledger.close()
    found = value_before_launch(world.project, world.project, key="standing", as_of=NOW)
    assert (found.goal, found.policy, found.window_days) == ("profit", "one_to_one", 7)
    assert [each.arm for each in found.arms] == list(STANDING)
    # The candidate is the published one, which keeps no floor: better than the arm that ran.
    _, low, high = doubly_robust(found)
    assert low < world.truth(rules_of(world.project), OneToOne(), begin, week=1) < high


def test_longer_limits_look_back_further_than_the_decisions_recorded(
    shop: tuple[World, list[tuple[Contact, ...]], Project], tmp_path: Path
) -> None:
    world, begin, _ = shop
    once = "[[limits]]\ncontact_class = 'marketing'\ncount = 1\nwindow_days = 40\n"
    replay, _ = replay_of(world, candidate_of(world, tmp_path / "once", contact_policy=once))
    contacted = {
        customer for customer, before in zip(world.market.customer_ids.to_pylist(), begin, strict=True) if before
    }
    before = np.array([each.ask.customer_id in contacted for each in replay.decisions])
    assert replay.wanted[before, 0] == pytest.approx(1.0)
    assert replay.wanted[~before, 0].mean() < 0.5


def test_the_command_says_what_the_value_is_and_what_it_leaves_out(
    shop: tuple[World, list[tuple[Contact, ...]], Project], tmp_path: Path, rapport_cli: Callable[..., Ran]
) -> None:
    world, _, candidate = shop
    out = tmp_path / "out.json"
    named = (
        "--project",
        world.project.root,
        "--experiment",
        "personal",
        "--candidate",
        candidate.root,
        "--goal",
        "bought",
    )
    ran = rapport_cli("evaluate", *named, "--json", out)
    assert ran.exit_code == 0, ran.stderr
    said = " ".join(ran.stdout.split())
    assert "Under the policy, bought would be" in said and "per 1,000 decisions, by the doubly robust" in said
    assert "One decision at a time, within 7 days, at customers as the experiment found them" in said
    assert "Under the control arm 'nothing', at the same decisions, it would be" in said
    written = json.loads(out.read_text())
    assert {"estimates", "diagnostics", "refused", "untried", "arms", "experiment", "policy"} <= set(written)
    assert {"logged", "differences", "sentence", "control", "features", "left_out"} <= set(written)
    assert [each["arm"] for each in written["arms"]] == ["nothing", "random", "one_to_one"]
    assert sum(each["decisions"] for each in written["arms"]) == 6_000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--project", "."), "no --experiment"),
        (("log.csv", "--experiment", "x"), "a table beside it"),
        (("log.csv", "--action", "a"), "no --reward, --probability, --policy"),
    ],
)
def test_half_a_question_is_told(arguments: tuple[str, ...], said: str, rapport_cli: Callable[..., Ran]) -> None:
    ran = rapport_cli("evaluate", *arguments)
    assert ran.exit_code == 2
    assert said in " ".join(ran.stderr.split())
