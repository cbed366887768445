"""A bandit learns from its ledger: late outcomes in their place, twice the same, nothing from open windows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from experiments.policies import ArmBeliefs, Bandit, Beta, LinearBeliefs, Nothing, Static
from experiments.report.choices import allocation
from features.errors import InputError
from rapport.project import Project, load_project
from rapport.trials.bandits import learning_arms
from rapport.trials.decided import decided_so_far
from rapport.trials.learning import learn
from rapport.trials.looks import report_of, take_look, units_of
from serving.assembly import rules_of, trials_of
from serving.batch import decide_all
from serving.book import Book, Consent, policy_version
from serving.desk import Desk
from serving.learned import learned_name
from serving.ledger import Ledger

START = datetime(2024, 3, 4, 9, tzinfo=UTC)
WEEK, DAY = timedelta(days=7), timedelta(days=1)
OPENING = Bandit(beliefs=ArmBeliefs(prior=Beta()))
DESIGN = """
key = "learning"
title = "What is learned against nothing"
hypothesis = "It learns which letter sells."
control = "nothing"
start = 2024-03-04T00:00:00Z
[[arms]]
name = "nothing"
shows = "nothing"
policy = "nothing"
share = 0.2
[[arms]]
name = "learner"
shows = "what has sold so far"
policy = "letters"
share = 0.8
[[goals]]
name = "bought"
kind = "any"
events = ["purchase"]
window_days = 5
delay_days = 1
"""


@pytest.fixture(scope="module")
def built(
    tmp_path_factory: pytest.TempPathFactory,
    only_experiment: Callable[..., Project],
    agree: Callable[..., None],
    buy: Callable[..., None],
) -> Path:
    """A shop of 400 customers whose bandit has decided on two Mondays; who got the coats bought them half the time."""
    project = only_experiment(tmp_path_factory.mktemp("built") / "shop", learning=DESIGN)
    agree(project, [f"c{number}" for number in range(400)], at=START - 9 * DAY)
    with closing(Ledger(project.ledger)) as ledger, ledger.writing() as book:
        book.publish("letters", OPENING, at=START)
    for week in range(2):
        decided = _decide(project, START + week * WEEK)
        rng = np.random.default_rng(week)
        bought = [
            (each, START + week * WEEK + 2 * DAY, 4_900)
            for each, action in zip(decided["customer_id"].to_pylist(), decided["action"].to_pylist(), strict=True)
            if rng.random() < (0.5 if action.startswith("coats") else 0.1)
        ]
        buy(project, bought, part=f"till-{week}")
    return project.root


@pytest.fixture
def shop(built: Path, tmp_path: Path) -> Project:
    """A copy of the shop."""
    shutil.copytree(built, tmp_path / "shop")
    return load_project(tmp_path / "shop")


def _decide(project: Project, at: datetime) -> pa.Table:
    ledger = Ledger(project.ledger)
    desk = Desk(ledger, rules=rules_of(project), trials=trials_of(project, ledger, at=at))
    names = project.features.names
    table = pa.table(
        {"customer_id": [f"c{number}" for number in range(400)]} | {name: pa.nulls(400, pa.float64()) for name in names}
    )
    for name in ("purchases_365d", "visits_30d"):
        if name in names:
            place = table.column_names.index(name)
            table = table.set_column(place, name, pa.array([float(number % 7) for number in range(400)]))
    decided = decide_all(table, desk=desk, at=at, seed=f"{at}", values=None)
    ledger.close()
    return decided


def _learn(project: Project, *, day: float) -> Any:
    (found,) = learn(project, project.experiment("learning"), as_of=START + day * DAY)
    return found


def _published(project: Project, opening: Bandit = OPENING) -> list[str]:
    ledger = Ledger(project.ledger)
    with ledger.reading() as book:
        rows = book.connection.exec_driver_sql(
            "SELECT version FROM policies WHERE name = ? ORDER BY sequence", (learned_name("learning", opening),)
        )
        found = [version for (version,) in rows]
    ledger.close()
    return found


def test_only_matured_decisions_of_the_arm_count(shop: Project) -> None:
    assert (_learn(shop, day=5).matured, _published(shop)) == (0, [policy_version(OPENING)])
    one, both = _learn(shop, day=7.5), _learn(shop, day=14)
    assert one.open == both.matured - one.matured > 0
    assert both.open == 0
    arms = both.policy.beliefs.arms
    assert set(arms) == set(both.rewards)
    for action, (n, mean) in both.rewards.items():
        assert (arms[action].a, arms[action].b) == pytest.approx((1 + n * mean, 1 + n * (1 - mean)))
    coats = [mean for action, (_, mean) in both.rewards.items() if action.startswith("coats")]
    assert coats
    assert min(coats) > both.rewards["nothing"][1]


def test_learning_twice_changes_nothing_and_an_older_state_replaces_no_newer_one(shop: Project) -> None:
    first = _learn(shop, day=14)
    again = _learn(shop, day=14)
    later = _learn(shop, day=20)
    assert first.published
    assert not again.published
    assert not later.published  # nothing new came
    assert first.version == again.version == later.version
    before = _published(shop)
    older = _learn(shop, day=7.5)
    assert older.version != first.version
    assert not older.published
    assert _published(shop) == before


def test_a_run_that_dies_leaves_the_old_state_in_force(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    _learn(shop, day=7.5)
    before, publish = _published(shop), Book.publish

    def dies(book: Book, *given: Any, **named: Any) -> None:
        publish(book, *given, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Book, "publish", dies)
        _learn(shop, day=14)
    assert _published(shop) == before
    assert _learn(shop, day=14).published


def test_a_late_outcome_is_in_its_place_and_the_past_can_be_computed_again(
    shop: Project, buy: Callable[..., None]
) -> None:
    early = _learn(shop, day=14)
    late = [(f"c{number}", START + 3 * DAY, 4_900) for number in range(0, 400, 3)]
    buy(shop, late, known=START + 16 * DAY, part="late")
    after = _learn(shop, day=17)
    assert after.matured == early.matured
    won = {name: sum(n * mean for n, mean in each.rewards.values()) for name, each in {"a": early, "b": after}.items()}
    assert won["b"] > won["a"] + 20
    assert _learn(shop, day=14).version == early.version


def test_what_was_learned_decides_from_then_on_until_another_opening_is_published(shop: Project) -> None:
    learned = _learn(shop, day=14)
    ledger = Ledger(shop.ledger)

    def in_force() -> str:
        (trial,) = trials_of(shop, ledger, at=START + 15 * DAY).designed
        return trial.assignments["learner"].version

    assert in_force() == learned.version
    for opening in (Static(treatment="nothing"), Bandit(beliefs=OPENING.beliefs, floor=0.05)):
        with ledger.writing() as book:
            book.publish("letters", opening, at=START + 15 * DAY)
        assert in_force() == policy_version(opening)
    ledger.close()
    _decide(shop, START + 15 * DAY)
    assert learning_arms(shop.ledger, decided_so_far(shop, "learning")) == ("learner",)


def test_a_policy_that_is_published_later_changes_no_report_of_an_earlier_day(shop: Project) -> None:
    def learning(day: float) -> tuple[str, ...]:
        return learning_arms(shop.ledger, decided_so_far(shop, "learning", until=START + day * DAY))

    _decide(shop, START + 15 * DAY)
    with closing(Ledger(shop.ledger)) as ledger, ledger.writing() as book:
        for name in ("letters", "learning/learner"):
            book.publish(name, Static(treatment="nothing"), at=START + 16 * DAY)
    assert learning(15.5) == learning(30) == ("learner",)
    _decide(shop, START + 17 * DAY)
    assert (learning(15.5), learning(30)) == (("learner",), ())


def test_old_outcomes_count_less_where_the_policy_forgets(shop: Project) -> None:
    forgetful = Bandit(beliefs=OPENING.beliefs, half_life_days=7.0)
    ledger = Ledger(shop.ledger)
    with ledger.writing() as book:
        book.publish("letters", forgetful, at=START)
    ledger.close()
    found = _learn(shop, day=21)
    known = sum(each.a + each.b - 2 for each in found.policy.beliefs.arms.values())
    once = _learn(shop, day=7.5).matured
    # Three weeks old an outcome counts an eighth, two weeks old a quarter; the Mondays begin at nine in the morning.
    assert known == pytest.approx(once / 8 + (found.matured - once) / 4, rel=1e-9)


def test_beliefs_over_features_learn_from_the_rows_that_decisions_saw(shop: Project) -> None:
    name = next(each for each in ("visits_30d", "purchases_365d") if each in shop.features.names)
    ledger = Ledger(shop.ledger)
    with ledger.writing() as book:
        book.publish("letters", Bandit(beliefs=LinearBeliefs(names=(name,), noise_sd=0.5)), at=START)
    ledger.close()
    found = _learn(shop, day=14)
    precision, _ = found.policy.beliefs.belief("nothing")
    n = found.rewards["nothing"][0]
    assert precision[0, 0] == pytest.approx(1 + n)
    assert precision[0, 1] > n  # the mean of 0 to 6 is 3


def test_an_experiment_without_a_bandit_is_told(shop: Project) -> None:
    ledger = Ledger(shop.ledger)
    with ledger.writing() as book:
        book.publish("letters", Nothing(), at=START)
    ledger.close()
    with pytest.raises(InputError, match="no arm of 'learning' learns"):
        _learn(shop, day=14)


def test_the_command_tells_what_was_learned(shop: Project, tmp_path: Path, rapport_cli: Callable[..., Any]) -> None:
    options = ("--project", shop.root, "--at", "2024-03-18T09:00:00Z", "--json", tmp_path / "learned.json")
    done = rapport_cli("learn", "learning", *options)
    assert done.exit_code == 0, done.stderr
    assert "letters in arm learner" in done.stdout
    assert "decides from the next run or reload on" in " ".join(done.stdout.split())
    (told,) = json.loads((tmp_path / "learned.json").read_text())["policies"]
    assert told["published"]
    assert told["open"] == 0
    assert sum(each["n"] for each in told["actions"]) == told["matured"]
    assert "nothing changed" in rapport_cli("learn", "learning", *options).stdout
    future = rapport_cli("learn", "learning", "--project", shop.root, "--at", "2999-01-01")
    assert future.exit_code == 2


def test_nothing_is_learned_of_a_feed_that_has_stopped(shop: Project) -> None:
    before = _published(shop)
    with pytest.raises(InputError, match="No event of any kind has arrived since 13 March 2024"):
        _learn(shop, day=60)
    assert _published(shop) == before


def test_the_picture_of_the_shares_leaves_out_decisions_in_which_the_bandit_had_no_choice(shop: Project) -> None:
    said = {"occurred_at": START + 10 * DAY, "recorded_at": START + 10 * DAY}
    with closing(Ledger(shop.ledger)) as ledger, ledger.writing() as book:
        book.consent(
            [
                Consent(customer_id=f"c{number}", channel="all", granted=False, source="customer", **said)
                for number in range(300)
            ]
        )
    _decide(shop, START + 15 * DAY)
    design, as_of = shop.experiment("learning"), START + 18 * DAY
    decisions = decided_so_far(shop, "learning", until=as_of)
    look = take_look(shop, design, units=units_of(decisions, design), decisions=decisions, as_of=as_of)
    report = report_of(look, project=shop, number=1)
    without = decisions.filter(
        pc.and_(pc.equal(decisions["reason"], "nothing_left"), pc.equal(decisions["arm"], "learner"))
    ).num_rows
    assert without > 200
    assert report.unchosen == without
    assert report.allocation[-1].shares.get("nothing", 0.0) <= 0.5  # of those without a choice all got nothing
    panel = allocation(report)
    assert panel is not None
    assert f"Left out of the picture: {without} decisions in which it had no choice" in panel.intro
