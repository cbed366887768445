"""From table to card to MLflow: what is honest and good is promoted, everything else is kept and told why."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from features.errors import InputError
from features.tracking import TrackingStore
from training.card import Figure, Part, drift_sentence
from training.columns import digest, usable
from training.curves import curves
from training.models import OfferRecommender, ResponseModel, UpliftModel
from training.models.bundle import read_bundle
from training.pipeline import Plan, train_offers, train_response, train_uplift
from training.promotion import promotion_of
from training.registry import load_champion, load_model, register
from training.tuning import tune

# MLflow 3.17 uses a loader strategy that SQLAlchemy 2.1 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


def _table(rows: int = 4000, *, seed: int = 1, drift: float = 0.0) -> tuple[pd.DataFrame, pd.Series]:
    """Response hangs on two columns, not in a straight line; with ``drift`` its level rises over the file."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {"x": rng.normal(size=rows), "kind": rng.choice(list("abc"), rows), "noise": rng.normal(size=rows)}
    )
    level = -2.0 + np.abs(frame["x"]) + 2 * (frame["kind"] == "b") * (frame["x"] > 0) + drift * np.linspace(-1, 1, rows)
    return frame, pd.Series(rng.random(rows) < 1 / (1 + np.exp(-level)))


@pytest.fixture(scope="module")
def trained():
    return train_response(*_table())


def test_an_honest_model_is_calibrated_and_has_no_objections(trained):
    assert trained.card.calibration == "calibrated"
    assert trained.card.objections == ()
    assert trained.card.figure("auc").value > trained.card.figure("auc").baselines["logistic"] + 0.01
    assert list(trained.card.importances)[:2] in (["x", "kind"], ["kind", "x"])


def test_drift_is_told_and_not_promoted():
    frame, label = _table(drift=2.0)
    card = train_response(frame, label, in_order=True).card
    assert card.calibration == "uncalibrated"
    assert "uncalibrated on the test rows" in card.objections
    assert "drifted by" in card.drift
    assert "**uncalibrated**" in card.to_markdown()


def test_a_model_of_noise_is_not_promoted():
    frame, _ = _table(1500)
    card = train_response(frame, np.random.default_rng(1).random(1500) < 0.2).card
    assert card.objections


def test_where_rows_are_split_once_the_model_saw_only_the_train_rows():
    frame, label = _table(2000)
    times = pd.Series(pd.date_range("2026-01-01", periods=2000, freq="h", tz="UTC"))
    kept = train_response(frame, label, times=times)
    alone = ResponseModel(seed=1).fit(frame.iloc[:1500], label.iloc[:1500])
    assert kept.model.bundle().model_hash == alone.bundle().model_hash


def test_the_same_data_and_seed_give_the_same_card(trained):
    """F4, curves included."""
    again = train_response(*_table())
    assert again.card == trained.card
    assert again.curves == trained.curves
    assert again.bundle().contents() == trained.bundle().contents()


def test_columns_that_teach_nothing_are_left_out_and_named():
    frame, label = _table(500)
    frame["customer"] = [f"customer-{place}" for place in range(500)]
    frame["row"] = range(500)
    frame["customer_id"] = np.random.default_rng(1).permutation(500)
    frame["country"] = "pt"
    frame["empty"] = None
    frame["when"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(range(500), unit="h")
    frame["tags"] = [["a", "b"]] * 500
    frame["amount"] = np.random.default_rng(1).random(500)
    found = usable(frame)
    assert list(found.frame) == ["x", "kind", "noise", "amount"]
    notes = " ".join(train_response(frame, label).card.notes)
    for name in ("customer", "row", "customer_id", "country", "empty", "when", "tags"):
        assert repr(name) in notes


def test_nothing_left_to_learn_from_is_said():
    with pytest.raises(InputError, match="no column is left"):
        usable(pd.DataFrame({"country": ["pt"] * 30}))


def test_many_categories_are_no_obstacle():
    frame, label = _table(3000)
    frame["town"] = [f"town {each}" for each in np.random.default_rng(1).integers(0, 1200, 3000)]
    assert "town" in train_response(frame, label).card.importances


def test_digests_tell_rows_apart():
    frame, label = _table(50)
    same = digest(frame, label.to_numpy())
    assert digest(frame.copy(), label.to_numpy()) == same
    assert digest(frame.iloc[::-1], label.to_numpy()) != same
    assert digest(frame, ~label.to_numpy()) != same


def test_tuning_keeps_the_defaults_without_evidence_and_is_repeatable():
    frame, label = _table(1500)
    one, two = (tune(frame, label.to_numpy(float), trials=4, seed=1) for _ in range(2))
    assert one == two
    assert len(one.losses) + one.pruned == 4
    noise = np.random.default_rng(1).random(1500) < 0.2
    assert tune(frame, noise.astype(float), trials=4, seed=1).params == {}


def test_tuning_finds_better_settings_where_there_are_some():
    """A checkerboard needs leaves of few rows and many of them; the defaults ask for a hundred rows a leaf."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.integers(0, 8, (2000, 2)), columns=["a", "b"])
    label = ((frame["a"] + frame["b"]) % 2 == 0).to_numpy(float)
    tuned = tune(frame, label, trials=8, seed=1)
    assert tuned.params
    assert min(tuned.losses) < tuned.losses[0]


def test_curves_are_the_same_bytes_and_small():
    rng = np.random.default_rng(1)
    chance = rng.random(20_000)
    label = (rng.random(20_000) < chance).astype(float)
    drawn = curves(label, {"model": chance, "logistic regression": chance**2})
    assert drawn == curves(label, {"model": chance, "logistic regression": chance**2})
    assert sorted(drawn) == ["calibration.svg", "gain.svg", "roc.svg"]
    assert all(text.lstrip().startswith("<?xml") and len(text) < 40_000 for text in drawn.values())


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        (0.064, 0.258, "drifted by +19.4 points, so the past is a poor guide"),
        (0.064, 0.065, "which may be chance"),
        (0.678, 0.749, "drifted by +7.1 points, which is more than chance and less than a tenth of the rate"),
    ],
)
def test_drift_in_words(before, after, word):
    train, test = Part(name="train", rows=30_000, label_rate=before), Part(name="test", rows=10_000, label_rate=after)
    assert word in drift_sentence(train, test)


def _with(trained, **figures):
    changed = tuple(replace(each, value=figures.get(each.name, each.value)) for each in trained.card.figures)
    return replace(trained, card=replace(trained.card, figures=changed))


def test_promotion_by_the_champion_on_the_same_rows(trained):
    """F5, with the tolerance of 0.005."""
    champion, auc = trained.bundle(), trained.card.figure("auc").value
    assert promotion_of(trained, champion=None, tolerance=0.005).promoted
    assert promotion_of(_with(trained, auc=auc - 0.004), champion=champion, tolerance=0.005).promoted
    worse = promotion_of(_with(trained, auc=auc - 0.006), champion=champion, tolerance=0.005)
    assert not worse.promoted
    assert worse.reason.startswith("worse than the champion by more than 0.005: auc")


def test_a_champion_of_other_rows_is_asked_anew(trained):
    """The champion knows the world, the challenger only noise columns of it: the champion must win."""
    later, answer = _table(seed=2)
    weak = train_response(later[["noise", "kind"]], answer)
    weak = replace(weak, card=replace(weak.card, objections=()), challenge=replace(weak.challenge, table=later))
    found = promotion_of(weak, champion=trained.bundle(), tolerance=0.005)
    assert not found.promoted
    assert "worse than the champion" in found.reason


def test_the_run_holds_everything_and_the_champion_comes_back(trained, tracking, tmp_path):
    done = register(trained, tracking=tracking, name="response", out=tmp_path / "model")
    assert (done.promotion.promoted, done.version, done.warning) == (True, "1", "")
    run = tracking.client.get_run(done.run_id)
    assert run.data.metrics["auc"] == pytest.approx(trained.card.figure("auc").value)
    assert run.data.metrics["logistic.auc"] == pytest.approx(trained.card.figure("auc").baselines["logistic"])
    assert run.data.tags["calibration"] == "calibrated"
    listed = {
        each.path
        for folder in (None, "curves", "bundle")
        for each in tracking.client.list_artifacts(done.run_id, folder)
    }
    assert {
        "card.md",
        "card.json",
        "importances.json",
        "curves/calibration.svg",
        "curves/roc.svg",
        "curves/gain.svg",
    } <= listed
    assert {"bundle/manifest.json", "bundle/trees.txt", "bundle/model.json"} <= listed
    bundle = load_champion(tracking, "response")
    assert bundle.model_hash == read_bundle(tmp_path / "model").model_hash == trained.card.model_hash
    frame, _ = _table(50)
    expected = trained.model.predict_proba(frame)
    assert load_model(bundle).predict_proba(frame).tobytes() == expected.tobytes()


def test_the_second_model_takes_its_place_by_its_worth(trained, tracking):
    register(trained, tracking=tracking, name="response")
    again = register(trained, tracking=tracking, name="response")
    assert again.promotion.promoted, "as good as the champion on the same rows"
    bad = replace(trained, card=replace(trained.card, objections=("uncalibrated on the test rows",)))
    refused = register(bad, tracking=tracking, name="response")
    model = tracking.client.get_registered_model("response")
    aliases = {alias: str(version) for alias, version in model.aliases.items()}
    assert aliases == {"champion": again.version, "challenger": refused.version}
    assert refused.promotion.reason == "uncalibrated on the test rows"


def test_no_champion_is_said(tracking):
    with pytest.raises(InputError, match="has no champion"):
        load_champion(tracking, "response")


def test_mlflow_down_loses_nothing(trained, tmp_path):
    """C5: the store's folder is a file, so its database can't be made."""
    (tmp_path / "mlruns").write_text("in the way")
    done = register(trained, tracking=TrackingStore(tmp_path / "mlruns"), name="response")
    assert not done.promotion.promoted
    assert str(done.folder) in done.warning
    assert ResponseModel.load(done.folder).predict_proba(_table(20)[0]).shape == (20, 2)


def test_uplift_and_offers_are_registered_too(tracking):
    rng = np.random.default_rng(1)
    frame, _ = _table(1500)
    arm = rng.choice(["nothing", "mail"], 1500)
    outcome = (rng.random(1500) < 0.1 + 0.4 * (frame["x"] > 0) * (arm == "mail")).astype(float)
    uplift = train_uplift(frame, outcome, arm, control="nothing")
    taken = pd.DataFrame({"customer_id": rng.integers(0, 100, 600), "item_id": rng.integers(0, 12, 600)})
    offers = train_offers(taken, k=3)
    for name, each, kind in (("uplift", uplift, UpliftModel), ("offers", offers, OfferRecommender)):
        done = register(each, tracking=tracking, name=name)
        assert done.warning == ""
        bundle = read_bundle(load_path(tracking, done.run_id))
        assert isinstance(load_model(bundle), kind)
        json.dumps(each.card.to_json(), allow_nan=False)


def load_path(tracking, run_id):
    from urllib.parse import urlparse

    return urlparse(tracking.client.get_run(run_id).info.artifact_uri).path + "/bundle"


def test_figures_print_their_interval():
    assert Figure(name="auc", value=0.8, low=0.79, high=0.81).interval == "0.7900 to 0.8100"
    assert Figure(name="auc", value=0.8).interval == ""


@pytest.mark.parametrize("change", [{"label": [True] * 300}, {"label": list(range(300))}, {"label": [True] * 299}])
def test_labels_that_can_not_be_learned_are_refused(change):
    with pytest.raises(InputError):
        train_response(_table(300)[0], change["label"], plan=Plan(trials=2))
