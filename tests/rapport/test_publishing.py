"""What a marketer publishes decides: fitted on what differs, told before, on record with what decided until then."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from experiments.policies import Bandit, Gaussian, Greedy, LinearBeliefs, Segment
from rapport.project import Project, load_project
from serving.book import policy_version
from serving.ledger import Ledger
from training.models import ResponseModel

NOON = datetime(2027, 2, 1, 12, tzinfo=UTC)
PEOPLE = 240
DESIGN = """
key = "rungs"
title = "The lower rungs"
hypothesis = "Regions want different things."
control = "static"
start = 2024-01-01T00:00:00Z
[[arms]]
name = "static"
shows = "shoes"
policy = "static"
share = 0.5
[[arms]]
name = "segment"
shows = "what fits the region"
policy = "segment"
share = 0.5
rung = "segment"
[[goals]]
name = "profit"
kind = "given"
window_days = 14
money = true
"""
_FEW = '[features]\ngroups = ["frequency", "service"]'  # all of them would take most of the tests' time
FEATURES = """
[[feature]]
name = "region"
aggregate = "latest"
of = "region"
"""


def _south(number: int) -> bool:
    return PEOPLE // 3 <= number < 2 * PEOPLE // 3


@pytest.fixture(scope="module")
def built(
    tmp_path_factory: pytest.TempPathFactory, only_experiment: Callable[..., Project], agree: Callable[..., None]
) -> Path:
    """240 customers who agreed: the first third lives in the north, the second in the south, of the rest nobody knows.

    Who lives in the south has visited more. Nobody has a model yet.
    """
    root = only_experiment(tmp_path_factory.mktemp("built") / "shop", rungs=DESIGN).root
    settings = (root / "rapport.toml").read_text(encoding="utf-8")
    (root / "rapport.toml").write_text(settings.replace("[features]", _FEW) + FEATURES, encoding="utf-8")
    found = load_project(root)
    before = NOON - timedelta(days=3)
    events = [
        {
            "event_id": f"{span}-{number}-{place}",
            "customer_id": f"c{number}",
            "kind": kind,
            "amount": 1000 * (number % 4),
        }
        | dict.fromkeys(("occurred_at", "recorded_at"), NOON - timedelta(days=span - place))
        for span in (80, 20)
        for number in range(PEOPLE)
        for place, kind in enumerate(["purchase", *["visit"] * (9 if _south(number) else 2)])
    ]
    found.history.append(pa.Table.from_pylist(events), part="start")
    homes = [
        {"customer_id": f"c{number}", "attribute": "region", "value": "south" if _south(number) else "north"}
        | {"occurred_at": before - timedelta(days=99), "recorded_at": before - timedelta(days=99)}
        for number in range(2 * PEOPLE // 3)
    ]
    found.history.append_profile(pa.Table.from_pylist(homes), part="homes")
    agree(found, [f"c{number}" for number in range(PEOPLE)], at=before)
    return root


@pytest.fixture
def shop(built: Path, tmp_path: Path) -> Project:
    """A copy of the shop."""
    shutil.copytree(built, tmp_path / "shop")
    return load_project(tmp_path / "shop")


@pytest.fixture(scope="module")
def model(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A response model that knows: coats by e-mail sell in the north, shoes on the web in the south."""
    project = load_project(built)
    ids = [f"c{n % PEOPLE}" for n in range(6 * PEOPLE)]
    spine = pa.table({"customer_id": ids, "as_of": [NOON] * len(ids)})
    frame = project.features.offline(project.history, spine).drop_columns(["customer_id", "as_of"]).to_pandas()
    rng = np.random.default_rng(1)
    frame["treatment"] = rng.choice(project.catalogue.actions, len(ids))
    fits = ((frame["treatment"] == "coats-new@email") & (frame["region"] != "south")) | (
        (frame["treatment"] == "shoes-10@web") & (frame["region"] == "south")
    )
    model = ResponseModel(rounds=40, min_data_in_leaf=20).fit(frame, rng.random(len(ids)) < 0.05 + 0.7 * fits)
    folder = tmp_path_factory.mktemp("model") / "response"
    model.save(folder, features=project.features)
    return folder


@pytest.fixture
def trained(shop: Project, model: Path) -> Project:
    """The copy of the shop, with the model in force."""
    shutil.copytree(model, shop.models / "response")
    return shop


def _publish(cli: Callable[..., Any], shop: Project, *arguments: object, told: Path | None = None) -> Any:
    more = ("--json", told) if told else ()
    return cli("publish", *arguments, "--project", shop.root, "--at", NOON.isoformat(), *more)


def _in_force(project: Project, name: str) -> tuple[str, Any]:
    """The version and the policy of that name; "" and None without one."""
    ledger = Ledger(project.ledger)
    with ledger.reading() as book:
        found = book.policy(name)
    ledger.close()
    return found or ("", None)


def _words(ran: Any) -> str:
    assert ran.exit_code == 0, ran.stderr
    return " ".join(ran.stdout.split())


def _score(
    cli: Callable[..., Any], shop: Project, out: Path, *, at: datetime = NOON
) -> tuple[str, list[dict[str, Any]]]:
    said = _words(cli("score", "--project", shop.root, "--at", at.isoformat(), "--out", out))
    return said, pq.read_table(out).to_pylist()


def test_without_a_model_it_says_what_to_do_and_what_needs_none_is_published(
    shop: Project, rapport_cli: Callable[..., Any]
) -> None:
    ran = _publish(rapport_cli, shop, "segment", "--by", "region")
    assert ran.exit_code == 2
    said = " ".join(ran.stderr.split())
    assert "there is no model in force to fit a policy by" in said
    assert "run `rapport train response" in said
    named = _publish(rapport_cli, shop, "static", "--treatment", "coats-new@email")
    assert "everybody 240 coats-new@email 100%" in _words(named)
    assert "rungs, arm static: from the next `rapport score` on" in _words(named)


def test_an_experiment_waits_for_the_policy_and_then_its_segments_get_what_fits(
    trained: Project, rapport_cli: Callable[..., Any], tmp_path: Path
) -> None:
    said, _ = _score(rapport_cli, trained, tmp_path / "before.parquet", at=NOON - timedelta(hours=1))
    assert "Experiment rungs waits: unknown policy 'segment'; publish it: rapport publish segment" in said
    _publish(rapport_cli, trained, "segment", "--by", "region", "--dry-run")
    assert _in_force(trained, "segment") == ("", None)
    told = tmp_path / "told.json"
    _words(_publish(rapport_cli, trained, "segment", "--by", "region", told=told))
    version, policy = _in_force(trained, "segment")
    assert policy == Segment(
        table={"north": "coats-new@email", "south": "shoes-10@web"}, default="coats-new@email", by="region"
    )
    groups = {each["group"]: each for each in json.loads(told.read_text())["groups"]}
    assert groups["south"] == {"group": "south", "customers": 80, "shares": {"shoes-10@web": 1.0}}
    assert groups["none of these"]["customers"] == 80
    _, decided = _score(rapport_cli, trained, tmp_path / "after.parquet", at=NOON + timedelta(days=60))
    own = [each for each in decided if (each["experiment"], each["arm"]) == ("rungs", "segment")]
    assert len(own) > 80
    wanted = {each["customer_id"]: policy.default for each in own}
    wanted |= {who: "shoes-10@web" for who in wanted if _south(int(who[1:]))}
    assert {each["customer_id"]: each["action"] for each in own} == wanted
    ledger = Ledger(trained.ledger)
    with ledger.reading() as book:
        kept = book.decisions(each["decision_id"] for each in own)
    ledger.close()
    assert {each.policy for each in kept.values()} == {version}


def test_another_version_in_a_running_experiment_is_told_and_both_stay_on_record(
    trained: Project, rapport_cli: Callable[..., Any], tmp_path: Path
) -> None:
    _words(_publish(rapport_cli, trained, "segment", "--by", "region"))
    first = _in_force(trained, "segment")[0]
    _score(rapport_cli, trained, tmp_path / "one.parquet")
    again = _words(_publish(rapport_cli, trained, "segment", "--by", "region"))
    assert f"Version {first} is in force under 'segment' already; nothing changes." in again
    names = tmp_path / "names.csv"
    names.write_text(
        "\n".join(["customer_id,segment", *(f"c{n},{'gold' if _south(n) else 'silver'}" for n in range(PEOPLE))])
    )
    told = tmp_path / "told.json"
    changed = _words(_publish(rapport_cli, trained, "segment", "--customers", names, told=told))
    (arm,) = json.loads(told.read_text())["arms"]
    assert arm["version_before"] == first
    assert f"{arm['units']} units have this arm, decided by version {first} until now" in changed
    version, policy = _in_force(trained, "segment")
    assert policy.table == {"gold": "shoes-10@web", "silver": "coats-new@email"}
    _score(rapport_cli, trained, tmp_path / "two.parquet", at=NOON + timedelta(days=60))
    ledger = Ledger(trained.ledger)
    with ledger.reading() as book:
        ids = [
            each["decision_id"]
            for name in ("one", "two")
            for each in pq.read_table(tmp_path / f"{name}.parquet").to_pylist()
            if each["arm"] == "segment"
        ]
        assert {each.policy for each in book.decisions(ids).values()} == {first, version}
    ledger.close()


def test_groups_of_alike_customers_and_the_one_best_contact(trained: Project, rapport_cli: Callable[..., Any]) -> None:
    few = _publish(rapport_cli, trained, "few", "--clusters", 2, "--feature", "visits_30d")
    assert "2: high visits_30d 80 shoes-10@web 100%" in _words(few) or "1: high visits_30d 80 shoes" in _words(few)
    assert sorted(_in_force(trained, "few")[1].treatments) == ["coats-new@email", "shoes-10@web"]
    alike = _publish(rapport_cli, trained, "few", "--clusters", 1, "--dry-run")
    assert "this arm would be static by another name" in _words(alike)
    assert "everybody 240 coats-new@email 100%" in _words(_publish(rapport_cli, trained, "static"))


def test_a_bandit_opens_at_the_level_of_its_goal_and_with_the_model_if_it_is_trusted(
    trained: Project, rapport_cli: Callable[..., Any]
) -> None:
    bandit = ("letters", "--kind", "bandit", "--experiment", "rungs")
    said = _words(_publish(rapport_cli, trained, *bandit, "--rule", "greedy"))
    assert "Its floor gives 1.00% to each of 5 actions, 5% of its decisions in all" in said
    assert 'No experiment has an arm with policy = "letters"' in said
    plain = _in_force(trained, "letters")[1]
    prior = plain.beliefs.prior
    assert isinstance(plain, Bandit) and plain.rule == Greedy(epsilon=0.1)
    # Everybody bought once in the last window, for 0, 10, 20 or 30 euros at a margin of 30%: 450 cents on average.
    assert prior == Gaussian(mean=prior.mean, sd=prior.noise_sd, noise_sd=prior.noise_sd)
    assert prior.mean == pytest.approx(450)
    _words(_publish(rapport_cli, trained, *bandit, "--trust", 1000))
    trusted = _in_force(trained, "letters")[1].beliefs.arms
    assert trusted["nothing"].mean == pytest.approx(450)
    assert trusted["coats-new@email"].mean > 450 + 500  # 2,500 cents for most of two thirds of them
    _words(_publish(rapport_cli, trained, *bandit, "--beliefs", "linear", "--feature", "visits_30d", "--trust", 1000))
    linear = _in_force(trained, "letters")[1].beliefs
    assert isinstance(linear, LinearBeliefs)
    few, many = (linear.of(("nothing", "coats-new@email", "shoes-10@web"), {"visits_30d": each}) for each in (2.0, 9.0))
    assert few[1].mean > few[2].mean + 500
    assert many[2].mean > many[1].mean + 300


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (("letters",), "what policy 'letters' is to be is open"),
        (("few", "--by", "region"), "--by says nothing about a policy of kind few"),
        (("random", "--floor", 0.1), "--floor says nothing about a policy of kind random"),
        (("segment",), "no customer's segment is known"),
        (("segment", "--by", "regoin"), "unknown text feature 'regoin'"),
        (("few", "--feature", "region"), "unknown numeric feature 'region'"),
        (("static", "--treatment", "coats@email"), "unknown treatment 'coats@email'"),
        (("bandit",), "which goal the bandit 'bandit' is to learn is open"),
        (("bandit", "--experiment", "rungs", "--beliefs", "linear"), "the beliefs don't fit the features"),
        (("bandit", "--experiment", "rungs", "--epsilon", 0.2), "--epsilon belongs to a greedy rule"),
        (("a/b", "--kind", "random"), "the policy's name is not an id"),
    ],
)
def test_what_can_not_be_published_is_said_in_three_parts(
    shop: Project, rapport_cli: Callable[..., Any], arguments: tuple[object, ...], wrong: str
) -> None:
    ran = _publish(rapport_cli, shop, *arguments)
    assert ran.exit_code == 2
    assert wrong in " ".join(ran.stderr.split())


def test_what_stands_anyway_is_not_written(shop: Project, rapport_cli: Callable[..., Any]) -> None:
    assert "is in force under 'random' already" in _words(_publish(rapport_cli, shop, "random"))
    assert _in_force(shop, "random") == ("", None)
    _words(_publish(rapport_cli, shop, "static", "--treatment", "coats-new@email"))
    version = policy_version(_in_force(shop, "static")[1])
    _words(_publish(rapport_cli, shop, "static", "--treatment", "shoes-10@email"))
    assert _in_force(shop, "static")[0] != version
