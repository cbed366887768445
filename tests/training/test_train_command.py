"""``rapport train`` on real tables and on tables as people have them."""

import json

import numpy as np
import pandas as pd
import pytest

from features.errors import InputError
from features.tables import read_table
from serving.catalogue import Catalogue, Content, Offer
from serving.rules import RuleBook, Rules
from serving.scoring import ResponseScorer
from training.models import OfferRecommender, ResponseModel, UpliftModel
from training.pipeline import Plan, train_response
from training.tables import with_treatment

# MLflow 3.17 uses a loader strategy that SQLAlchemy 2.1 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

BANK = "bank_marketing/bank-additional-full.csv.gz"


@pytest.fixture
def ran(rapport_cli, tracking, tmp_path):
    """Run ``rapport train`` with a fresh store; returns what it printed and its JSON."""

    def run(*arguments):
        done = rapport_cli("train", *arguments, "--mlruns", tracking.folder, "--json", tmp_path / "out.json")
        written = (tmp_path / "out.json").read_text() if done.exit_code == 0 else "null"
        return done, json.loads(written)

    return run


def test_bank_marketing_in_cross_validation(ran, data, tracking, tmp_path):
    """AUC at least 0.80 (histogram boosting 0.8039, logistic regression 0.7913), calibrated, logged and promoted."""
    done, out = ran("response", "--data", data(BANK), "--label", "y", "--exclude", "duration", "--out", tmp_path / "m")
    assert done.exit_code == 0
    assert out["metrics"]["auc"] >= 0.80
    assert out["metrics"]["auc_over_logistic.low"] > 0
    assert out["metrics"]["logistic.auc"] == pytest.approx(0.7913, abs=0.003)
    assert out["card"]["calibration"] == "calibrated"
    assert out["promotion"]["promoted"] is True
    assert "promoted to champion" in done.stdout
    assert "duration" not in ResponseModel.load(tmp_path / "m").importances
    listed = {each.path for each in tracking.client.list_artifacts(out["run_id"], "curves")}
    assert listed == {"curves/calibration.svg", "curves/gain.svg", "curves/roc.svg"}


def test_bank_marketing_in_order_of_time_is_uncalibrated_and_not_promoted(ran, data, tracking):
    """The base rate moves from 6.4% to 25.8%: the order of customers holds (AUC at least 0.70), the level doesn't."""
    done, out = ran("response", "--data", data(BANK), "--label", "y", "--exclude", "duration", "--time-order")
    assert done.exit_code == 0
    assert out["metrics"]["auc"] >= 0.70
    assert [round(part["label_rate"], 3) for part in out["card"]["parts"]] == [0.064, 0.258]
    assert out["card"]["calibration"] == "uncalibrated"
    assert out["promotion"]["promoted"] is False
    assert "NOT promoted: uncalibrated" in done.stdout
    assert "drifted by +19.4 points" in " ".join(done.stdout.split())
    assert b"**uncalibrated**" in tracking.read_artifact(out["run_id"], "card.md")
    assert "champion" not in tracking.client.get_registered_model(out["name"]).aliases


@pytest.mark.slow
@pytest.mark.parametrize("trials", [0, 10])
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_bank_marketing_does_not_hang_on_the_seed(data, seed, trials, capsys):
    table = read_table(data(BANK)).to_pandas()
    label = table["y"]
    frame = table.drop(columns=["y", "duration"])
    mixed = train_response(frame, label, plan=Plan(seed=seed, trials=trials))
    ordered = train_response(frame, label, in_order=True, plan=Plan(seed=seed, trials=trials))
    with capsys.disabled():
        for name, each in (("cross-validated", mixed), ("in order of time", ordered)):
            scores = each.scores
            figures = f"AUC {scores.auc:.4f} slope {scores.slope:.3f} ECE {scores.ece:.4f}"
            print(f"\nseed {seed}, {trials} trials, {name}: {figures}")
    assert mixed.scores.auc >= 0.80
    assert mixed.card.objections == ()
    assert ordered.scores.auc >= 0.70
    assert ordered.card.calibration == "uncalibrated"


def test_hillstrom_uplift_agrees_with_the_published_effects(ran, data, tmp_path):
    """Differences of rates on all rows: men's 0.0766 (se 0.0034), women's 0.0452 (0.0032); here on three quarters."""
    arguments = ["--label", "visit", "--treatment", "segment", "--control", "No E-Mail"]
    left_out = ["--exclude", "conversion", "--exclude", "spend", "--out", tmp_path / "m"]
    done, _ = ran("uplift", "--data", data("hillstrom/hillstrom.csv.gz"), *arguments, *left_out)
    assert done.exit_code == 0
    average = UpliftModel.load(tmp_path / "m").average_["effect"]
    assert average["Mens E-Mail"] == pytest.approx(0.0766, abs=4 * 0.0039)
    assert average["Womens E-Mail"] == pytest.approx(0.0452, abs=4 * 0.0037)


@pytest.fixture
def table(tmp_path):
    """A table as people have them: names with blanks, an id, a date, gaps, a constant, yes and no."""
    rng = np.random.default_rng(1)
    visits = rng.poisson(3, 1200)
    frame = pd.DataFrame(
        {
            "customer id": [f"c-{place:05d}" for place in range(1200)],
            "last seen": pd.date_range("2025-01-01", periods=1200, freq="h").strftime("%Y-%m-%d"),
            "number of visits": visits,
            "favourite channel": rng.choice(["web", "mail", None], 1200),
            "country": "pt",
            "bought": np.where(rng.random(1200) < 0.1 + 0.05 * visits, "yes", "no"),
            "arm": rng.choice(["none", "mail"], 1200),
            "tries": rng.integers(0, 3, 1200),
            "gaps": rng.choice([1.0, np.nan], 1200),
        }
    )
    path = tmp_path / "people.csv"
    frame.to_csv(path, index=False)
    return path


def test_any_table_trains_and_says_what_it_left_out(ran, table, tmp_path):
    done, out = ran("response", "--data", table, "--label", "bought", "--out", tmp_path / "m", "--seed", 3)
    assert done.exit_code == 0
    notes = " ".join(out["card"]["notes"])
    assert "'customer id'" in notes
    assert "'last seen'" in notes
    assert "'country'" in notes
    assert out["name"] == "response-people"
    assert out["card"]["label"] == "bought = True", "DuckDB reads yes and no as booleans"
    assert ResponseModel.load(tmp_path / "m").classes_.tolist() == [False, True]


def test_what_was_sent_becomes_the_treatment_that_decisions_ask_about(ran, table, tmp_path):
    arguments = ["--data", table, "--label", "bought", "--treatment", "arm", "--control", "none"]
    done, _ = ran("response", *arguments, "--out", tmp_path / "m")
    assert done.exit_code == 0
    assert "stays unknown" not in done.stdout
    model = ResponseModel.load(tmp_path / "m")
    column = next(each for each in model.encoder_.columns if each.name == "treatment")
    assert sorted(column.categories) == ["mail", "nothing"]
    assert "arm" not in model.importances


def test_decisions_ask_a_bundle_of_any_table_about_each_treatment(ran, tmp_path):
    """Shoes raise the response from 10% to 50%, hats don't: a response is worth 1,000 cents."""
    rng = np.random.default_rng(1)
    sent = rng.choice(["none", "shoes@web", "hats@web"], 3000)
    bought = rng.random(3000) < np.where(sent == "shoes@web", 0.5, 0.1)
    frame = pd.DataFrame({"visits_30d": rng.poisson(3, 3000), "sent": sent, "bought": bought})
    frame.to_csv(tmp_path / "sent.csv", index=False)
    arguments = ["--data", tmp_path / "sent.csv", "--label", "bought", "--treatment", "sent", "--control", "none"]
    ran("response", *arguments, "--out", tmp_path / "m")
    offers = tuple(
        Offer(offer_id=name, title=name, value_cents=1000, treatments=(Content(channel="web"),))
        for name in ("hats", "shoes")
    )
    rules = Rules(RuleBook(catalogue=Catalogue(offers=offers), feature_names=("visits_30d",)))
    scorer = ResponseScorer(ResponseModel.load(tmp_path / "m"), rules=rules, version="1")
    assert scorer.incremental
    assert rules.actions == ("nothing", "hats@web", "shoes@web")
    # Four standard errors of a difference of rates in arms of 1,000 are 80 cents.
    assert scorer.values([(3,)])[0] == pytest.approx([0, 0, 400], abs=80)


def test_without_rows_of_nothing_the_unknown_is_said(ran, table):
    done, _ = ran("response", "--data", table, "--label", "bought", "--treatment", "arm")
    assert done.exit_code == 0
    assert "no row has the treatment 'nothing'" in " ".join(done.stdout.split())


def test_the_treatment_may_be_a_number_and_is_text_to_the_model():
    frame = with_treatment(pd.DataFrame({"treatment": [0, 1, 1], "age": [30, 40, 50]}), column="treatment", nothing="0")
    assert frame.to_dict("list") == {"age": [30, 40, 50], "treatment": ["nothing", "1", "1"]}
    with pytest.raises(InputError, match="two columns say the treatment"):
        with_treatment(frame, column="age")


def test_offers_from_any_table(ran, tmp_path):
    rng = np.random.default_rng(1)
    pd.DataFrame({"who": rng.integers(0, 100, 800), "what": rng.integers(0, 15, 800)}).to_csv(
        tmp_path / "t.csv", index=False
    )
    done, out = ran(
        "offers",
        "--data",
        tmp_path / "t.csv",
        "--customer",
        "who",
        "--item",
        "what",
        "--length",
        3,
        "--out",
        tmp_path / "m",
    )
    assert done.exit_code == 0
    assert out["metrics"]["popularity.ndcg"] > 0
    assert OfferRecommender.load(tmp_path / "m").recommend(["1", "2"], 3)[0].shape == (2, 3)


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["response", "--data", "{table}", "--label", "bougt"], "unknown column 'bougt'"),
        (
            ["response", "--data", "{table}", "--label", "bought", "--exclude", "durations"],
            "unknown column 'durations'",
        ),
        (["response", "--data", "{table}", "--label", "tries"], "the label must have two values"),
        (["response", "--data", "{table}", "--label", "country"], "the label must have two values"),
        (["response", "--data", "{table}", "--label", "arm"], "it is not clear which label is the response"),
        (["response", "--data", "{table}", "--label", "gaps"], "column 'gaps' has gaps"),
        (["response", "--data", "{table}"], "--label is missing"),
        (["response", "--data", "{table}", "--label", "bought", "--treatment", "amr"], "unknown column 'amr'"),
        (["response", "--data", "{table}", "--label", "bought", "--treatment", "country"], "no column is left"),
        (["response", "--data", "{table}", "--label", "bought", "--treatment", "customer id"], "no column is left"),
        (["response", "--data", "{table}", "--label", "bought", "--treatment", "gaps"], "column 'gaps' has gaps"),
        (["response", "--data", "{table}", "--label", "bought", "--treatment", "bought"], "are one column"),
        (["response", "--data", "{table}", "--label", "bought", "--control", "none"], "--treatment is missing"),
        (
            ["response", "--data", "{table}", "--label", "bought", "--treatment", "arm", "--control", "nome"],
            "unknown value of nothing 'nome'",
        ),
        (["response", "--data", "{table}", "--label", "bought", "--exclude", "bought"], "is needed and left out"),
        (["response", "--treatment", "arm"], "go with --data"),
        (["response", "--data", "nowhere.csv", "--label", "y"], "there is no table at 'nowhere.csv'"),
        (["response", "--project", "nowhere"], "there is no project in"),
        (["uplift", "--data", "{table}", "--label", "bought"], "--treatment is missing"),
        (["uplift", "--data", "{table}", "--label", "bought", "--treatment", "arm"], "unknown control 'nothing'"),
        (["offers", "--data", "{table}"], "unknown column 'customer_id'"),
        (
            ["offers", "--data", "{table}", "--customer", "customer id", "--item", "country"],
            "there is too little to test",
        ),
    ],
)
def test_bad_input_ends_in_three_parts(ran, table, arguments, wrong):
    done, _ = ran(*(each.format(table=table) for each in arguments))
    assert done.exit_code == 2
    assert wrong in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_help_has_an_example_for_each_kind(rapport_cli):
    for kind in ("response", "offers", "uplift"):
        done = rapport_cli("train", kind, "--help")
        assert done.exit_code == 0
        assert f"rapport train {kind}" in done.stdout
