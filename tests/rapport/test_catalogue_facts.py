"""Offers from the facts about them: what an export says, what is typed counts before it, and ranks of all offers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from features.channels import bundle, channels_of
from features.errors import InputError
from features.facts import ITEMS
from rapport.catalogue import OfferFacts, with_facts
from rapport.project import Project, load_project
from rapport.ranking import first_choices, ranked_offers
from serving.assembly import rules_of
from training.models import ResponseModel

AT = datetime(2026, 3, 1, tzinfo=UTC)
EXPORT = {
    "letter": {"channels": '["mail", "email"]', "kind": "discount", "reward": "5.0", "worth": "12.345"},
    "banner": {"channels": "web; email", "kind": "news", "reward": "0", "worth": None},
    "shoe": {"size": "9"},
}
FACTS = OfferFacts(
    channels="channels",
    title="{kind}: {reward} off",
    category="kind",
    value="worth",
    discount="reward",
    cost_cents={"mail": 60, "email": 1},
)


def test_an_offer_is_what_its_attributes_say() -> None:
    assert FACTS.offer("letter", EXPORT["letter"]) == {
        "offer_id": "letter",
        "title": "discount: 5 off",
        "category": "discount",
        "value_cents": 1235,  # 12.345, half a cent away from zero
        "discount_cents": 500,
        "treatments": [{"channel": "mail", "cost_cents": 60}, {"channel": "email", "cost_cents": 1}],
    }


def test_channels_that_go_out_together_are_one_treatment_that_costs_their_sum() -> None:
    together = OfferFacts(channels="channels", together=True, cost_cents={"mail": 60, "email": 1})
    assert together.offer("letter", EXPORT["letter"])["treatments"] == [{"channel": "email-mail", "cost_cents": 61}]


def test_an_offer_holds_between_the_moments_of_its_facts() -> None:
    facts = OfferFacts(channels="channels", valid_from="start", valid_until="end")
    offer = facts.offer("o", {"channels": "mail", "start": "2026-03-01T00:00:00-05:00", "end": None})
    assert offer["valid_from"] == datetime(2026, 3, 1, 5, tzinfo=UTC)
    assert "valid_until" not in offer
    with pytest.raises(InputError, match="end of offer 'o' is no moment"):
        facts.offer("o", {"channels": "mail", "start": None, "end": "Easter"})


@pytest.mark.parametrize(
    ("attributes", "wrong"),
    [({"channels": "web", "kind": "x", "worth": "1"}, "attribute of offer 'o' 'reward'"),
     ({"channels": "web", "kind": "x", "reward": "five", "worth": "1"}, "reward of offer 'o' is no amount"),
     ({"channels": "web", "kind": "x", "reward": "NaN", "worth": "1"}, "reward of offer 'o' is no amount")],
)  # fmt: skip
def test_an_attribute_that_is_missing_or_no_amount_is_told(attributes: dict[str, str], wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        FACTS.offer("o", attributes)


@pytest.mark.parametrize("text", ['["web","email"]', "web,email", " web ; email ", "web email"])
def test_channels_are_read_as_they_are_written(text: str) -> None:
    assert channels_of(text) == ("web", "email")
    assert bundle(reversed(channels_of(text))) == "email-web"


def test_what_is_typed_counts_and_a_product_is_no_offer() -> None:
    typed = {"static": ["banner@web"], "offers": [{"offer_id": "letter", "title": "The letter"}, {"offer_id": "own"}]}
    found = with_facts(typed, FACTS, EXPORT)
    assert found["static"] == ["banner@web"]
    assert [offer["offer_id"] for offer in found["offers"]] == ["letter", "own", "banner"]
    assert found["offers"][0]["title"] == "The letter"
    assert found["offers"][0]["value_cents"] == 1235


@pytest.fixture
def shop(tmp_path: Path) -> Project:
    (tmp_path / "rapport.toml").write_text(
        '[project]\nname = "Shop"\n[features]\nchannels = []\n[catalogue]\nchannels = "channels"\ntitle = "{kind}"\n'
        'value = "worth"\ndiscount = "reward"\ncost_cents = {mail = 60}\n',
        encoding="utf-8",
    )
    project = load_project(tmp_path)
    before = AT - timedelta(days=1)
    facts = [
        {"item": item, "attribute": name, "value": value, "occurred_at": before, "recorded_at": before, "source": "x"}
        for item, attributes in EXPORT.items()
        for name, value in attributes.items()
    ]
    project.history.append_items(pa.Table.from_pylist(facts, schema=ITEMS), "export")
    return project


def test_a_project_takes_its_catalogue_from_its_facts(shop: Project) -> None:
    assert [each.treatment_id for each in shop.catalogue.treatments] == [
        "banner@web",
        "banner@email",
        "letter@mail",
        "letter@email",
    ]


def test_ranks_are_by_profit_computed_by_hand(shop: Project) -> None:
    rng = np.random.default_rng(1)
    rows = 4000
    offer = rng.choice(["nothing", "letter", "banner"], rows)
    purchases = rng.integers(0, 5, rows)
    likely = 0.1 + 0.1 * purchases + 0.2 * (offer == "letter") + 0.1 * (offer == "banner") * (purchases > 2)
    frame = pd.DataFrame({"purchases_30d": purchases, "offer": offer})
    model = ResponseModel(seed=1, threads=1).fit(frame, rng.random(rows) < likely)
    known = pd.DataFrame({name: np.zeros(5, dtype=np.int64) for name in rules_of(shop).book.feature_names})
    known = known.assign(purchases_30d=range(5), customer_id=list("abcde"))
    found = ranked_offers(shop, model.bundle(), pa.Table.from_pandas(known), at=AT, top=3).to_pandas()
    assert found.groupby("customer_id").size().tolist() == [3] * 5
    assert found["rank"].tolist() == [1, 2, 3] * 5
    assert (found.groupby("customer_id")["expected_profit"].diff().dropna() <= 0).all()
    asked = found.assign(purchases_30d=found["customer_id"].map(dict(zip("abcde", range(5), strict=True))))
    chance = model.predict_proba(asked.rename(columns={"offer_id": "offer"})[["purchases_30d", "offer"]])[:, 1]
    alone = model.predict_proba(asked.assign(offer="nothing")[["purchases_30d", "offer"]])[:, 1]
    worth = asked["offer_id"].map({"letter": 1235, "banner": 0})
    given = asked["offer_id"].map({"letter": 500, "banner": 0})
    cost = asked["channel"].map({"mail": 60}).fillna(0)
    assert found["response_probability"].to_numpy() == pytest.approx(chance, abs=1e-12)
    assert found["added_response"].to_numpy() == pytest.approx(chance - alone, abs=1e-12)
    profit = chance * (worth - given) - alone * worth - cost
    assert found["expected_profit"].to_numpy() == pytest.approx(profit.to_numpy(), abs=1e-9)
    first = first_choices(pa.Table.from_pandas(found))
    assert sum(each.customers for each in first) == 5
    assert (
        sum(each.better_alone for each in first) == (found.groupby("customer_id")["expected_profit"].max() <= 0).sum()
    )
    best = found[found["rank"] == 1].groupby(["offer_id", "channel"])["expected_profit"].mean()
    assert {(each.offer_id, each.channel): each.profit for each in first} == pytest.approx(best.to_dict())
    with pytest.raises(InputError, match="top must be at least 1"):
        ranked_offers(shop, model.bundle(), pa.Table.from_pandas(known), at=AT, top=0)


@pytest.mark.parametrize(
    ("options", "wrong"),
    [((), "no response model to rank by"), (("--seed", "x"), "--top ranks, and decides nothing")],
)
def test_a_ranking_that_can_not_be_made_is_told(
    shop: Project, rapport_cli: Callable[..., Any], options: tuple[str, ...], wrong: str
) -> None:
    done = rapport_cli("score", "--project", shop.root, "--top", 3, "--out", shop.root / "x.csv", *options)
    assert done.exit_code == 2
    assert wrong in done.stderr
