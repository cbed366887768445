"""Champion against challenger on rows that the champion has not seen; what can't be compared is not promoted."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from training.challenge import SEEN, fingerprints, saved
from training.evaluation import score
from training.models import ResponseModel
from training.offers import train_offers
from training.pipeline import train_response
from training.promotion import promotion_of
from training.uplift import train_uplift


def _rows(rows: int, *, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Response hangs weakly on two of six columns, so trees learn much of the noise of their own rows."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(rows, 6)), columns=list("abcdef"))
    chance = 1 / (1 + np.exp(1.5 - 0.7 * frame["a"] - 0.5 * np.abs(frame["b"])))
    return frame, rng.random(rows) < chance


@pytest.fixture(scope="module")
def grown():
    """A champion of 3,000 rows, and a challenger of these and 1,500 that came since; both cross-validated."""
    frame, label = _rows(4500, seed=1)
    champion = train_response(frame.iloc[:3000], label[:3000])
    return champion, train_response(frame, label)


def test_a_champion_is_not_asked_about_rows_that_it_learned_from(grown):
    champion, challenger = grown
    asked = challenger.challenge
    flattered = score(asked.label, ResponseModel.from_bundle(champion.bundle()).predict_proba(asked.table)[:, 1]).auc
    mine = challenger.card.figure("auc").value
    assert flattered > mine + 0.01, "on rows it has seen the champion looks better than an honest challenger"
    gain = asked.against(champion.bundle())
    assert gain.rows == 1500
    later = slice(3000, None)
    theirs = champion.model.predict_proba(asked.table[later])[:, 1]
    assert gain.theirs == pytest.approx(score(asked.label[later], theirs).auc)
    assert gain.theirs + gain.difference == pytest.approx(score(asked.label[later], asked.probability[later]).auc)
    found = promotion_of(_fit(challenger), champion=champion.bundle(), tolerance=0.01)
    assert found.promoted
    assert "on 1,500 test rows that it has not seen" in found.reason


def _fit(trained):
    return replace(trained, card=replace(trained.card, objections=()))


def test_where_the_champion_has_seen_the_rows_recorded_figures_are_compared_by_their_intervals(grown):
    champion, challenger = grown
    told = promotion_of(_fit(champion), champion=challenger.bundle(), tolerance=0.005)
    assert told.promoted
    assert "each on test rows of its own, as it has seen too many of these to be asked" in told.reason
    figures = tuple(replace(each, value=each.value - 0.2) for each in champion.card.figures)
    worse = replace(champion, card=replace(champion.card, figures=figures, objections=()))
    refused = promotion_of(worse, champion=challenger.bundle(), tolerance=0.005)
    assert not refused.promoted
    assert refused.reason.startswith("worse than the champion by more than 0.0")


def test_a_champion_that_does_not_say_what_it_saw_is_taken_to_have_seen_all(grown):
    champion, challenger = grown
    silent = replace(champion.bundle(), about={})
    assert challenger.challenge.against(silent) is None


def test_a_champion_that_reads_other_columns_stays(grown):
    champion, _ = grown
    frame, label = _rows(1500, seed=2)
    found = promotion_of(
        _fit(train_response(frame.drop(columns="a"), label)), champion=champion.bundle(), tolerance=0.005
    )
    assert not found.promoted
    assert "can't be asked" in found.reason
    assert "'a'" in found.reason


def test_fingerprints_are_of_values_not_of_their_bits(grown):
    rows = np.array([[0.0, np.nan], [1.0, 2.0], [-0.0, -np.nan], [1.0, 2.5]])
    assert len(fingerprints(rows)) == 3
    assert fingerprints(rows[::-1]).tolist() == fingerprints(rows).tolist()
    champion, _ = grown
    assert len(champion.bundle().arrays(SEEN)["rows"]) == 3000


def _arms(rows: int, *, seed: int, effect: float = 0.4):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"loyal": rng.random(rows) < 0.5, "age": rng.normal(40, 10, rows)})
    arm = rng.choice(["nothing", "mail"], rows)
    chance = 0.1 + effect * frame["loyal"] * (arm == "mail")
    return frame, (rng.random(rows) < chance).astype(float), arm


@pytest.fixture(scope="module")
def effects():
    return train_uplift(*_arms(6000, seed=1), control="nothing")


def test_an_uplift_champion_is_asked_about_the_same_doubly_robust_effects(effects):
    """The challenger never saw the column that effects hang on: it gives everybody the average."""
    frame, outcome, arm = _arms(6000, seed=2)
    blind = train_uplift(frame[["age"]], outcome, arm, control="nothing")
    challenge = replace(blind.challenge, table=frame.iloc[_tested(frame, blind)])
    gain = challenge.against(effects.bundle())
    theirs = effects.model.predict(challenge.table).to_numpy()
    truth = saved(challenge.pseudo, effect=theirs, constant=challenge.constant).mean()
    assert gain.rows == 1500
    assert gain.theirs == pytest.approx(truth)
    assert gain.high < 0
    refused = promotion_of(_fit(replace(blind, challenge=challenge)), champion=effects.bundle(), tolerance=0.005)
    assert not refused.promoted
    assert "loss_saved" in refused.reason


def _tested(frame, trained):
    return frame.index.get_indexer(trained.challenge.table.index)


def test_the_same_uplift_model_again_is_no_worse(effects):
    found = promotion_of(effects, champion=effects.bundle(), tolerance=0.005)
    assert found.promoted
    assert "difference +0.0000 to +0.0000" in found.reason


def test_an_uplift_champion_of_other_arms_stays(effects):
    frame, outcome, arm = _arms(3000, seed=3)
    other = train_uplift(frame, outcome, np.where(arm == "mail", "web", arm), control="nothing")
    found = promotion_of(_fit(other), champion=effects.bundle(), tolerance=0.005)
    assert not found.promoted
    assert "it has other arms: mail against nothing" in found.reason


def _taken(customers: int, *, each: int, seed: int = 1) -> pd.DataFrame:
    """Customers of two tastes take ``each`` items; the first ones are the same whatever ``each`` is."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"c{customer}", f"i{item}", place)
        for customer in range(customers)
        for place, item in enumerate(rng.permutation(np.arange(customer % 2, 24, 2))[:each])
    ]
    return pd.DataFrame(rows, columns=["customer_id", "item_id", "at"]).sort_values("at", kind="stable")


def test_an_offers_champion_is_asked_about_what_customers_took_since():
    champion = train_offers(_taken(400, each=5), k=5)
    challenger = train_offers(_taken(400, each=6), k=5)
    assert champion.challenge.against(champion.bundle()) is None, "it learned from all of these"
    gain = challenger.challenge.against(champion.bundle())
    assert gain.rows == 400
    assert abs(gain.difference) < 0.15
    shuffled = np.random.default_rng(1).permutation(challenger.challenge.listed.ravel())
    listed = shuffled.reshape(challenger.challenge.listed.shape)
    blind = replace(challenger, challenge=replace(challenger.challenge, listed=listed))
    refused = promotion_of(_fit(blind), champion=champion.bundle(), tolerance=0.005)
    assert not refused.promoted
    assert refused.reason.startswith("worse than the champion")


def test_another_kind_of_model_is_not_replaced(effects, grown):
    found = promotion_of(_fit(grown[0]), champion=effects.bundle(), tolerance=0.005)
    assert not found.promoted
    assert "another kind of model: uplift" in found.reason
