"""Effects that are there are found, effects that are not there are not invented; offers beat what is popular."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import ndcg_score

from features.errors import InputError
from training.evaluation import rank, rank_scores
from training.models import OfferRecommender, ResponseModel, UpliftModel
from training.offers import train_offers
from training.promotion import promotion_of
from training.uplift import train_uplift

ARMS = ["nothing", "shoes@mail", "hats@web"]


def _world(rows: int, *, seed: int, effect: float, confounded: bool = False):
    """Shoes work for the loyal by ``effect``, hats for nobody: frame, outcome, arm, shares, truth."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {"loyal": rng.random(rows) < 0.5, "age": rng.normal(40, 10, rows), "city": rng.choice(list("ab"), rows)}
    )
    loyal = frame["loyal"].to_numpy()
    shares = np.tile([1 / 3, 1 / 3, 1 / 3], (rows, 1))
    if confounded:  # the loyal, who buy anyway, get the hats
        shares = np.where(loyal[:, None], [0.2, 0.2, 0.6], [0.45, 0.45, 0.1])
    arm = np.array(ARMS, dtype=object)[(rng.random(rows)[:, None] > shares.cumsum(axis=1)).sum(axis=1)]
    truth = np.column_stack([np.zeros(rows), effect * loyal])  # hats@web, shoes@mail
    chance = 0.1 + 0.2 * loyal + 0.1 * (frame["city"] == "a") + truth[:, 1] * (arm == "shoes@mail")
    return frame, (rng.random(rows) < chance).astype(float), arm, pd.DataFrame(shares, columns=ARMS), truth


def test_known_effects_are_found():
    frame, outcome, arm, _, _ = _world(15_000, seed=1, effect=0.2)
    model = UpliftModel().fit(frame, outcome, arm, control="nothing", probabilities=dict.fromkeys(ARMS, 1 / 3))
    later, _, _, _, truth = _world(4000, seed=2, effect=0.2)
    predicted = model.predict(later)
    assert list(predicted.columns) == ["hats@web", "shoes@mail"]
    # The average effect is off by 0.1 for each customer; boosting, stopped early, shrinks somewhat towards it.
    assert np.abs(predicted["shoes@mail"] - truth[:, 1]).mean() < 0.05
    assert np.abs(predicted["hats@web"]).mean() < 0.03
    truths = truth.mean(axis=0)
    for place, name in enumerate(model.treatments_):
        effect, error = model.average_.loc[name]
        assert abs(effect - truths[place]) < 4 * error


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_heterogeneity_is_invented_but_a_naive_twin_invents_it(seed):
    """A world where no treatment works: two response models subtracted see effects, the doubly robust learner none."""
    frame, outcome, arm, _, _ = _world(6000, seed=seed, effect=0.0)
    predicted = UpliftModel().fit(frame, outcome, arm, control="nothing").predict(frame)
    treated, control = (
        ResponseModel(min_data_in_leaf=20).fit(frame[arm == name], outcome[arm == name]).predict_proba(frame)[:, 1]
        for name in ("shoes@mail", "nothing")
    )
    naive = treated - control
    assert predicted["shoes@mail"].std() < naive.std() / 2
    assert predicted["shoes@mail"].std() < 0.015
    assert predicted["shoes@mail"].abs().max() < 0.08


@pytest.mark.parametrize("known", [True, False])
def test_confounded_treatments_are_seen_through(known):
    """The loyal get the hats, which do nothing: the raw difference says they work."""
    frame, outcome, arm, shares, _ = _world(15_000, seed=4, effect=0.2, confounded=True)
    raw = outcome[arm == "hats@web"].mean() - outcome[arm == "nothing"].mean()
    model = UpliftModel().fit(frame, outcome, arm, control="nothing", probabilities=shares if known else None)
    effect, error = model.average_.loc["hats@web"]
    assert raw > 0.08
    assert abs(effect) < 4 * error
    assert error < 0.02


def test_effects_are_in_the_outcomes_unit():
    frame, outcome, arm, _, _ = _world(6000, seed=1, effect=0.2)
    cents = UpliftModel().fit(frame, 1000 * outcome, arm, control="nothing").average_["effect"]
    assert cents["shoes@mail"] == pytest.approx(100, abs=40)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"control": "nothin"}, "unknown control 'nothin'"),
        ({"treatment": ["nothing"] * 6000}, "each arm needs 50 rows, and there must be two"),
        ({"treatment": [None] + ["nothing"] * 5999}, "the treatment must be one name a row, without gaps"),
        ({"y": [np.nan] * 6000}, "the outcome must be one number a row, without gaps"),
        ({"y": ["much"] * 6000}, "the outcome must be a number"),
        ({"probabilities": {"nothing": 0.5}}, "unknown arm of the probabilities 'hats@web'"),
        ({"probabilities": dict.fromkeys(ARMS, np.nan)}, "assignment probabilities must be numbers from 0 to 1"),
    ],
)
def test_wrong_input_is_named(change, wrong):
    frame, outcome, arm, _, _ = _world(6000, seed=1, effect=0.2)
    given = {"y": outcome, "treatment": arm, "control": "nothing", "probabilities": None, **change}
    with pytest.raises(InputError) as caught:
        UpliftModel().fit(frame, given.pop("y"), given.pop("treatment"), **given)
    assert caught.value.wrong == wrong


def test_the_uplift_card_tells_worlds_with_effects_from_worlds_without():
    there = train_uplift(*_world(12_000, seed=1, effect=0.3)[:3], control="nothing").card
    absent = train_uplift(*_world(12_000, seed=1, effect=0.0)[:3], control="nothing").card
    assert there.figure("loss_saved").low > 0
    assert there.figure("autoc.shoes@mail").low > 0
    assert absent.figure("loss_saved").low <= 0
    assert absent.figure("effect.shoes@mail").low < 0 < absent.figure("effect.shoes@mail").high
    assert there.objections == ()


def _taken(customers: int, *, items: int, seed: int = 1) -> pd.DataFrame:
    """Customers of two tastes (ten in a large catalogue); item 0 is popular with all."""
    rng = np.random.default_rng(seed)
    tastes = 2 if items < 100 else 10
    rows = [
        (f"c{customer}", f"i{item}")
        for customer in range(customers)
        for item in [0, *rng.choice(np.arange(1 + customer % tastes, items, tastes), 5, replace=False)]
    ]
    return pd.DataFrame(rows, columns=["customer_id", "item_id"]).assign(weight=1.0)


@pytest.mark.parametrize("items", [20, 300])
def test_offers_find_the_taste_in_small_and_large_catalogues(items):
    card = train_offers(_taken(600, items=items), k=5).card
    assert card.figure("ndcg_over_popularity").low > 0
    assert card.objections == ()


def test_offers_without_taste_are_not_promoted_over_popularity_by_much():
    """Items taken at random by popularity: nothing beats the list of the popular ones."""
    rng = np.random.default_rng(1)
    share = 1 / np.arange(1, 21)
    rows = [
        (f"c{each}", f"i{item}")
        for each in range(800)
        for item in rng.choice(20, 5, replace=False, p=share / share.sum())
    ]
    trained = train_offers(pd.DataFrame(rows, columns=["customer_id", "item_id"]), k=5)
    assert trained.card.figure("ndcg_over_popularity").low <= 0
    assert "not surely better than popularity" in trained.card.objections[0]
    assert not promotion_of(trained, champion=None, tolerance=0.005).promoted


def test_the_order_of_the_rows_makes_no_difference():
    """Baskets of three at each of two moments: all of the later one tests, though nothing in it comes first or last."""
    taken = _taken(300, items=20)
    baskets = taken.assign(at=np.tile([1, 1, 1, 2, 2, 2], 300))
    shuffled = baskets.sample(frac=1, random_state=3)
    one, other = (train_offers(each, k=5) for each in (baskets, shuffled))
    later = baskets[baskets["at"] == 2].groupby("customer_id")["item_id"].agg(set)
    tested = one.challenge
    assert {who: set(items) - {""} for who, items in zip(tested.who, tested.target, strict=True)} == later.to_dict()
    assert one.card.figures == other.card.figures
    assert one.card.test_digest == other.card.test_digest
    assert one.card.model_hash == other.card.model_hash


def test_a_list_is_held_against_all_that_was_taken():
    """Against scikit-learn, whose relevance is 1 for each item of the basket."""
    rng = np.random.default_rng(2)
    items = np.array(list("abcdefgh"))
    listed = np.array([rng.permutation(items)[:4] for _ in range(50)])
    baskets = [rng.permutation(items)[: rng.integers(1, 7)] for _ in range(50)]
    taken = np.array([[*basket, *[""] * (6 - len(basket))] for basket in baskets])
    scores = rank_scores(listed, taken)
    for place, basket in enumerate(baskets):
        order = [*listed[place], *sorted(set(items) - set(listed[place]))]
        truth = [[float(each in basket) for each in order]]
        assert scores[place] == pytest.approx(ndcg_score(truth, [np.arange(8, 0, -1)], k=4))
    assert rank(listed, taken).recall == pytest.approx(
        np.mean([len(set(row) & set(basket)) / len(basket) for row, basket in zip(listed, baskets, strict=True)])
    )


@pytest.fixture(scope="module", params=[20, 300])
def offers(request) -> OfferRecommender:
    return OfferRecommender().fit(_taken(800, items=request.param))


def test_one_customer_alone_gets_what_they_get_in_a_batch(offers):
    """To the last bit, though matrix products round by the shape of their blocks."""
    everybody = [f"c{each}" for each in range(800)] + ["stranger"]
    ids, scores = offers.recommend(everybody, 7)
    for place in (0, 1, 63, 64, 65, 511, 512, 799, 800):
        one, one_scores = offers.recommend([everybody[place]], 7)
        assert one.tolist() == [ids[place].tolist()]
        assert one_scores.tobytes() == scores[place].tobytes()


def test_nothing_is_recommended_twice_or_again(offers):
    taken = _taken(800, items=20 if len(offers.items_) < 100 else 300)
    had = taken.groupby("customer_id")["item_id"].agg(set)
    ids, scores = offers.recommend([f"c{each}" for each in range(800)], 9)
    for place, row in enumerate(ids):
        listed = [item for item in row if item]
        assert len(set(listed)) == len(listed)
        assert not set(listed) & had[f"c{place}"]
    assert (np.diff(scores, axis=1) <= 0).all()


def test_strangers_get_what_is_popular(offers):
    ids, _ = offers.recommend(["stranger"], 1)
    assert ids.tolist() == [["i0"]]


def test_lists_longer_than_the_catalogue_end_in_nothing():
    ids, scores = OfferRecommender().fit(_taken(30, items=12)).recommend(["c0", "stranger"], 20)
    assert ids.shape == (2, 20)
    assert set(ids[:, -1]) == {""}
    assert np.isneginf(scores[:, -1]).all()


def test_repeats_may_come_again():
    taken = pd.concat([_taken(200, items=12)] * 2)
    ids, _ = OfferRecommender(repeats=True).fit(taken).recommend(["c0"], 11)
    assert "i0" in ids[0]


def test_attributes_of_customers_and_items_are_used():
    """Taste hangs on the customer's town alone; a customer without other items shows it only there."""
    taken = _taken(600, items=40)
    towns = pd.DataFrame({"town": ["north", "south"] * 300}, index=[f"c{each}" for each in range(600)])
    model = OfferRecommender().fit(taken, customers=towns, items=pd.DataFrame({"size": [1]}, index=["i0"]))
    assert {"town", "size"} <= set(model.importances)
    with pytest.raises(InputError, match="features of customers"):
        model.recommend(["c0"], 3)
    assert model.recommend(["c0", "stranger"], 3, customers=towns)[0].shape == (2, 3)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"weight": -1.0}, "weights must be positive numbers"),
        ({"item_id": None}, "interactions need a customer and an item"),
    ],
)
def test_wrong_interactions_are_named(change, wrong):
    with pytest.raises(InputError) as caught:
        OfferRecommender().fit(_taken(30, items=12).assign(**change))
    assert caught.value.wrong == wrong
