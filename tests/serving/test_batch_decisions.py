"""A batch decides as the service does, and what it read and wrote adds up."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from experiments.assignment import assign
from experiments.holdout import Holdout
from experiments.policies import Nothing, OneToOne, RandomEligible, Static
from features.errors import InputError
from serving import schema
from serving.batch import DECISIONS, decide_all
from serving.decision import Assignment
from serving.desk import Desk
from serving.explanation import differences
from serving.ledger import Ledger
from serving.messages import DecisionRequest
from serving.rules import RuleBook, Rules
from serving.scoring import ResponseScorer, items_of
from serving.service import Asked
from serving.trial import Trial
from serving.trials import HOLDOUT, Trials
from training.models import ResponseModel

ARMS = {"nothing": Nothing(), "random": RandomEligible(), "static": Static(treatment="shoes@web"), "one": OneToOne()}


def trial(**changes):
    assignments = {
        arm: Assignment(experiment="spring", arm=arm, policy=policy, version=arm) for arm, policy in ARMS.items()
    }
    return Trial(key="spring", shares=dict.fromkeys(ARMS, 0.25), assignments=assignments, **changes)


def customers(count):
    rng = np.random.default_rng(5)
    return pa.table(
        {
            "customer_id": [f"c{number}" for number in range(count)],
            "household_id": [f"h{number // 2}" for number in range(count)],
            "purchases_365d": rng.integers(0, 4, count),
            "returns_365d": rng.integers(0, 6, count),
            "cart_1d": rng.integers(0, 2, count),
            "state": rng.choice(["CA", "TX"], count),
        }
    )


@pytest.fixture
def desk(ledger, shop, agree):
    agree(*(f"c{number}" for number in range(200)))
    return Desk(ledger, rules=shop.rules, trials=Trials.only(trial()), model="m")


@pytest.fixture
def values(shop):
    drawn = np.random.default_rng(7).normal(0, 100, (300, len(shop.rules.actions)))
    drawn[:, 0] = 0
    return drawn


def test_the_batch_gives_the_answer_of_the_service(web, tmp_path, monday):
    """Same customer, moment and seed: every field of the record is the same, features and values among them."""
    service = web.site.service
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("ledger.db", "ledger.db-wal", "ledger.db.key"):
        shutil.copy(web.site.ledger.path.with_name(name), copy / name)
    names = ["anna", "ben", "carl", "dora"]
    asked = [
        Asked(request=DecisionRequest(customer_id=name, seed="week-9"), key=f"k-{name}", digest="") for name in names
    ]
    answers = service.decide(asked)
    spine = pa.table({"customer_id": names, "as_of": pa.array([monday] * 4, pa.timestamp("us", tz="UTC"))})
    table = service.features.offline(web.history, spine)
    engine = service.engine
    other = Ledger(copy / "ledger.db")
    desk = Desk(other, rules=engine.desk.rules, trials=engine.desk.trials, model=engine.desk.model)
    decided = decide_all(table, desk=desk, at=monday, seed="week-9", values=engine.scorer.values_of(table))
    assert decided["action"].to_pylist() == ["hello@email", "hello@email", "nothing", "nothing"]
    with other.reading() as book:
        kept = book.decisions(decided["decision_id"].to_pylist())
    for answer in answers:
        assert differences(answer, kept[answer.decision_id]) == {}
    other.close()


def test_the_table_holds_one_row_a_customer_and_the_ledger_the_same(desk, values, monday):
    table = customers(300)
    decided = decide_all(table, desk=desk, at=monday, seed="s", values=values, chunk=64)
    assert decided.schema == DECISIONS
    assert decided["customer_id"].equals(table["customer_id"])
    with desk.ledger.reading() as book:
        contacted = pc.sum(pc.not_equal(decided["action"], "nothing")).as_py()
        assert (book.count(schema.decisions), book.count(schema.slots)) == (300, contacted)
        costs = book.connection.exec_driver_sql("SELECT sum(contact_cost), count(distinct arm) FROM decisions").one()
    assert tuple(costs) == (pc.sum(decided["contact_cost"]).as_py(), 4)
    # Nobody beyond the first 200 ever agreed: they get no marketing.
    silent = decided.slice(200).filter(pc.is_valid(decided.slice(200)["offer_id"]))
    assert set(silent["offer_id"].to_pylist()) <= {"receipt"}
    shares = {"spring": dict.fromkeys(ARMS, 0.25)}
    assert decided["arm"].to_pylist() == [
        assign(each, experiment="spring", shares=shares["spring"]) for each in table["customer_id"].to_pylist()
    ]


def test_an_interrupted_run_is_simply_run_anew(desk, values, monday):
    table = customers(300)
    head = decide_all(table.slice(0, 100), desk=desk, at=monday, seed="s", values=values[:100])
    whole = decide_all(table, desk=desk, at=monday, seed="s", values=values, chunk=77)
    assert whole.slice(0, 100).equals(head)
    assert decide_all(table, desk=desk, at=monday, seed="s", values=values).equals(whole)
    with desk.ledger.reading() as book:
        assert book.count(schema.decisions) == 300


def test_without_values_ranking_arms_are_degraded_and_the_others_not(desk, monday):
    decided = decide_all(customers(300), desk=desk, at=monday, seed="s", values=None)
    by_arm = {arm: decided.filter(pc.equal(decided["arm"], arm)) for arm in ARMS}
    assert set(by_arm["one"]["action"].to_pylist()) <= {"nothing", "shoes@email", "shoes@web"}
    assert pc.any(by_arm["one"]["degraded"]).as_py()
    assert not any(pc.any(by_arm[arm]["degraded"]).as_py() for arm in ("nothing", "random", "static"))
    assert set(by_arm["nothing"]["action"].to_pylist()) == {"nothing"}


def test_what_does_not_fit_is_told(desk, values, monday):
    table = customers(300)
    with pytest.raises(InputError, match="the values don't fit"):
        decide_all(table, desk=desk, at=monday, seed="s", values=values[:, :3])
    with pytest.raises(InputError, match="unknown column 'state'"):
        decide_all(table.drop_columns("state"), desk=desk, at=monday, seed="s", values=values)
    empty = table.set_column(0, "customer_id", pa.array([None] * 300, pa.string()))
    with pytest.raises(InputError, match="customer ids are missing"):
        decide_all(empty, desk=desk, at=monday, seed="s", values=values)
    with pytest.raises(InputError, match="no offset"):
        decide_all(table, desk=desk, at=monday.replace(tzinfo=None), seed="s", values=values)
    assert decide_all(table.slice(0, 0), desk=desk, at=monday, seed="s", values=values[:0]).num_rows == 0


def test_households_share_an_arm_and_the_holdout_gets_no_marketing(ledger, shop, agree, values, monday):
    table = customers(300)
    agree(*table["customer_id"].to_pylist())
    trials = Trials(standing=trial(unit="household"), holdout=Holdout(share=0.2, unit="household"))
    held = Desk(ledger, rules=shop.rules, trials=trials, model="m")
    decided = decide_all(table, desk=held, at=monday, seed="s", values=values)
    arms = decided["arm"].to_pylist()
    assert arms[::2] == arms[1::2]
    out = decided.filter(pc.equal(decided["arm"], HOLDOUT))
    assert set(out["action"].to_pylist()) == {"receipt@email"}
    # 150 households at 20%: 30 expected, standard deviation 4.9.
    assert abs(out.num_rows / 2 - 30) < 5 * 4.9


@pytest.fixture(scope="module")
def response():
    """A small response model that knows treatments, nothing among them, on 4,000 rows."""
    rng = np.random.default_rng(3)
    actions = ["nothing", "shoes@email", "shoes@web", "coats@mail"]
    frame = pd.DataFrame(
        {
            "purchases_365d": rng.integers(0, 5, 4000),
            "state": rng.choice(["CA", "TX", None], 4000),
            "treatment": rng.choice(actions, 4000),
        }
    )
    chance = 0.05 + 0.1 * (frame["treatment"] == "shoes@email") * (frame["purchases_365d"] > 2)
    return ResponseModel(rounds=30, min_data_in_leaf=20).fit(frame, rng.random(4000) < chance)


def test_values_are_the_increment_in_cents_net_of_discount_and_cost(shop, response):
    """Against predict_proba on one frame per treatment, written out once more."""
    table = customers(50)
    found = ResponseScorer(response, rules=shop.rules, version="v")
    frame = table.to_pandas()

    def chance(treatment):
        return response.predict_proba(frame.assign(treatment=treatment))[:, 1]

    expected = [np.zeros(50)]
    for treatment in shop.rules.treatments:
        offer = treatment.offer
        kept = chance(treatment.treatment_id) * (offer.value_cents - offer.discount_cents)
        expected.append(kept - chance("nothing") * offer.value_cents - treatment.content.cost_cents)
    assert np.array_equal(found.values_of(table), np.column_stack(expected))
    rows = list(zip(*(table[name].to_pylist() for name in shop.rules.book.feature_names), strict=True))
    assert np.array_equal(found.values(rows), found.values_of(table))
    assert found.values_of(table.slice(0, 0)).shape == (0, 8)


def test_a_model_that_does_not_fit_is_refused(shop, response):
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"purchases_365d": rng.integers(0, 5, 400)})
    blind = ResponseModel(rounds=5).fit(frame, rng.random(400) < 0.3)
    with pytest.raises(InputError, match="does not know what was sent"):
        ResponseScorer(blind, rules=shop.rules, version="v")
    book = RuleBook(catalogue=shop.rules.book.catalogue.__class__(), feature_names=("purchases_365d",))
    with pytest.raises(InputError, match="reads 'state'"):
        ResponseScorer(response, rules=Rules(book), version="v")


def test_a_project_s_model_knows_offers_their_attributes_and_nothing(shop):
    """As training sets of a project have it; attributes are empty where nothing was sent."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {"offer": rng.choice(["shoes", "coats", "nothing"], 3000), "state": rng.choice(["CA", "TX"], 3000)}
    )
    sent = frame["offer"] != "nothing"
    frame["channel"] = np.where(sent, rng.choice(["email", "web"], 3000), "nothing")
    frame["offer_level"] = np.where(~sent, np.nan, np.where(frame["offer"] == "shoes", 3, 7))
    chance = 0.05 + 0.3 * (frame["offer_level"] == 7)
    model = ResponseModel(rounds=30, min_data_in_leaf=10).fit(frame, rng.random(3000) < chance)
    days = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 1)]
    facts = {"item": ["coats", "coats", "shoes"], "attribute": ["level"] * 3, "value": ["1", "7", "3"]}
    items = items_of(pa.table({**facts, "occurred_at": days, "recorded_at": days}))
    assert items == {"coats": {"level": "7"}, "shoes": {"level": "3"}}
    row = (None, None, None, "CA")
    place = shop.rules.actions.index("coats@email")

    def asked(**sent):
        nothing = {"offer": "nothing", "channel": "nothing", "offer_level": np.nan, "state": "CA"}
        table = pd.DataFrame([nothing | sent])
        return model.predict_proba(table)[0, 1]

    found = ResponseScorer(model, rules=shop.rules, version="v", items=items)
    with_offer = asked(offer="coats", channel="email", offer_level=7.0)
    assert with_offer > asked() + 0.2
    assert found.values([row])[0, place] == with_offer * 2500 - asked() * 2500 - 2
    assert found.incremental


def test_a_model_of_redemptions_has_no_response_to_nothing_and_looks_at_the_offer_s_own_category(shop):
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"offer": rng.choice(["shoes", "coats"], 4000), "channel": "email"})
    frame["purchases_<category>_365d"] = rng.integers(0, 5, 4000).astype(float)
    model = ResponseModel(rounds=40, min_data_in_leaf=10)
    model.fit(frame, rng.random(4000) < 0.1 * (1 + frame["purchases_<category>_365d"]))
    names = ("purchases_coats_365d", "purchases_shoes_365d", *shop.rules.book.feature_names)
    catalogue = shop.rules.book.catalogue
    rules = Rules(RuleBook(catalogue=catalogue, feature_names=names))
    scorer = ResponseScorer(model, rules=rules, version="v")
    assert not scorer.incremental
    rest = (None,) * len(shop.rules.book.feature_names)
    rows = [(0, 4, *rest), (4, 0, *rest)]
    values = scorer.values(rows)
    for place, treatment in enumerate(rules.treatments, start=1):
        seen = [dict(zip(names, row, strict=True)) for row in rows]
        own = [float(each.get(f"purchases_{treatment.offer.category}_365d", np.nan)) for each in seen]
        asked = {"offer": treatment.offer.offer_id, "channel": treatment.channel, "purchases_<category>_365d": own}
        worth = treatment.offer.value_cents - treatment.offer.discount_cents
        expected = model.predict_proba(pd.DataFrame(asked, index=[0, 1]))[:, 1] * worth - treatment.content.cost_cents
        assert np.array_equal(values[:, place], expected)
    table = pa.table({name: [row[place] for row in rows] for place, name in enumerate(names[:2])})
    assert np.array_equal(scorer.values_of(table), values)


def test_seconds_matter(desk, values, monday):
    """Two moments of one seed are two decisions; the contact policy sees the first of them."""
    table = customers(300)
    first = decide_all(table, desk=desk, at=monday, seed="s", values=values)
    second = decide_all(table, desk=desk, at=monday + timedelta(seconds=1), seed="s", values=values)
    assert not set(first["decision_id"].to_pylist()) & set(second["decision_id"].to_pylist())
    both = zip(first["offer_id"].to_pylist(), second["offer_id"].to_pylist(), strict=True)
    assert not [offer for offer, again in both if offer is not None and offer == again]


def test_a_batch_beside_a_service_takes_few_at_a_time(ledger, shop, monkeypatch):
    """As soon as another connection wrote to the ledger, and not for its own writing."""
    monkeypatch.setattr("serving.batch._FIRST_LOOK", 0.0)
    desk = Desk(ledger, rules=shop.rules, trials=Trials.only(Trial.of_policy(Nothing(), arm="quiet")))
    other, sizes, decide = Ledger(ledger.path), [], desk.decide

    def watched(cases, **options):
        sizes.append(len(cases))
        if len(sizes) == 3:
            with other.writing() as book:
                book.keep_arms("another", [("c0", "a", datetime(2026, 3, 2, tzinfo=UTC))])
        return decide(cases, **options)

    monkeypatch.setattr(desk, "decide", watched)
    names = [f"c{number}" for number in range(3_100)]
    columns = {name: [1] * len(names) for name in shop.rules.book.feature_names if name != "state"}
    table = pa.table({"customer_id": names, **columns, "state": ["CA"] * len(names)})
    decided = decide_all(table, desk=desk, at=datetime(2026, 3, 2, tzinfo=UTC), seed="s", values=None)
    assert sizes == [1_000, 1_000, 1_000, 80, 20]
    assert decided["customer_id"].to_pylist() == names
    with other.reading() as book:
        assert book.count(schema.decisions) == len(names)
    other.close()
