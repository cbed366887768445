"""A state that was learned keeps its window and margin; many who learn at once leave one state."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from experiments.policies import ArmBeliefs, Bandit, Beta, Gaussian
from features.errors import InputError
from rapport.project import Project, load_project
from rapport.trials.learning import Learned, learn
from serving.assembly import rules_of, trials_of
from serving.batch import decide_all
from serving.desk import Desk
from serving.learned import LearnedFrom, learned_from, learned_name
from serving.ledger import Ledger

START = datetime(2024, 3, 4, 9, tzinfo=UTC)
DAY = timedelta(days=1)
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
window_days = 14
"""


@pytest.fixture
def shop(
    tmp_path: Path, only_experiment: Callable[..., Project], agree: Callable[..., None], buy: Callable[..., None]
) -> Project:
    """A shop of 60 customers on whom a bandit decided once; a third bought on the third day, a third on the tenth."""
    project = only_experiment(tmp_path / "shop", learning=DESIGN)
    people = [f"c{number}" for number in range(60)]
    agree(project, people, at=START - 9 * DAY)
    with closing(Ledger(project.ledger)) as ledger:
        with ledger.writing() as book:
            book.publish("letters", OPENING, at=START)
        desk = Desk(ledger, rules=rules_of(project), trials=trials_of(project, ledger, at=START))
        features = {name: pa.nulls(60, pa.float64()) for name in project.features.names}
        decide_all(pa.table({"customer_id": people, **features}), desk=desk, at=START, seed="s", values=None)
    buy(project, [(each, START + (3 + 7 * (place % 2)) * DAY, 4_900) for place, each in enumerate(people[:40])])
    return project


def _learn(project: Project, *, day: float = 20, **options: Any) -> Learned:
    (found,) = learn(project, project.experiment("learning"), as_of=START + day * DAY, **options)
    return found


def _versions(project: Project) -> list[str]:
    with closing(Ledger(project.ledger)) as ledger, ledger.reading() as book:
        rows = book.connection.exec_driver_sql("SELECT version FROM policies WHERE name LIKE 'learning/learned/%'")
        return [version for (version,) in rows]


def test_another_window_is_refused_with_both_and_replaces_only_when_it_is_said(shop: Project) -> None:
    week = _learn(shop, window=7 * DAY)
    for window in (None, 3.5 * DAY):
        with pytest.raises(
            InputError, match=r"a window of .* now, and a window of 7 days .* --window 7 again, or --anew"
        ):
            _learn(shop, window=window)
    assert _versions(shop) == [week.version]
    fortnight = _learn(shop, anew=True)
    assert fortnight.published and fortnight.version != week.version
    assert _versions(shop) == [week.version, fortnight.version]  # the old one stays on record
    assert not _learn(shop).published
    with closing(Ledger(shop.ledger)) as ledger, ledger.reading() as book:
        assert learned_from(book, learned_name("learning", OPENING)) == LearnedFrom(window_days=14)


def test_what_nobody_wrote_down_may_be_learned_by_any_window(shop: Project) -> None:
    """States from before the ledger kept their windows."""
    week = _learn(shop, window=7 * DAY)
    with closing(Ledger(shop.ledger)) as ledger, ledger.writing() as book:
        book.connection.exec_driver_sql("UPDATE policies SET made_from = NULL")
    assert _learn(shop).published
    assert len(_versions(shop)) == 2 and _versions(shop)[0] == week.version


def test_profit_is_learned_by_one_margin(shop: Project) -> None:
    design = shop.root / "experiments" / "learning.toml"
    goal = '[[goals]]\nname = "profit"\nkind = "given"\nwindow_days = 14\nmoney = true\n'
    design.write_text(DESIGN.split("[[goals]]")[0].replace('"learning"', '"money"') + goal, encoding="utf-8")
    money = load_project(shop.root)
    with closing(Ledger(shop.ledger)) as ledger, ledger.writing() as book:
        book.publish(
            "letters", Bandit(beliefs=ArmBeliefs(prior=Gaussian(mean=0.0, sd=500.0, noise_sd=900.0))), at=START
        )
    learn(money, money.experiment("money"), as_of=START + 20 * DAY)
    settings = shop.root / "rapport.toml"
    settings.write_text(settings.read_text().replace("margin = 0.3", "margin = 0.2"), encoding="utf-8")
    changed = load_project(shop.root)
    assert changed.settings.project.margin_bp == 2_000
    with pytest.raises(InputError, match=r"a margin of 0\.2 now, .* a margin of 0\.3 .*put the margin"):
        learn(changed, changed.experiment("money"), as_of=START + 20 * DAY)


def test_a_design_other_than_the_one_that_decided_teaches_nothing(shop: Project) -> None:
    design = shop.root / "experiments" / "learning.toml"
    design.write_text(DESIGN.replace("window_days = 14", "window_days = 7"), encoding="utf-8")
    with pytest.raises(InputError, match="was changed after its first decision"):
        _learn(load_project(shop.root))


def test_the_command_tells_what_to_do(shop: Project, rapport_cli: Callable[..., Any]) -> None:
    given = ("learn", "learning", "--project", shop.root, "--at", "2024-03-24T09:00:00Z")
    first = rapport_cli(*given, "--window", 7)
    assert first.exit_code == 0, first.stderr
    assert "pass --window 7 the next time, too" in " ".join(first.stdout.split())
    second = rapport_cli(*given)
    assert second.exit_code == 2 and "--anew" in second.stderr
    assert rapport_cli(*given, "--anew").exit_code == 0
    assert rapport_cli(*given, "--window", "inf").exit_code == 2


def test_many_who_learn_at_once_leave_one_state(shop: Project) -> None:
    """Eight at the same moment, and eight of as many moments: one state each, the newest in force, nobody fails."""
    with ThreadPoolExecutor(8) as pool:
        same = list(pool.map(lambda _: _learn(load_project(shop.root)), range(8)))
        assert sum(each.published for each in same) == 1 and len({each.version for each in same}) == 1
        list(pool.map(lambda day: _learn(load_project(shop.root), day=day), range(16, 24)))
    with closing(Ledger(shop.ledger)) as ledger, ledger.reading() as book:
        held = book.policy(learned_name("learning", OPENING))
    assert held is not None and held[0] == _learn(shop, day=23).version
