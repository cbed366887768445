"""``rapport train`` without a table: from the history of a project, contacts of nothing and open windows included."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from features.errors import InputError
from features.facts import EVENTS
from rapport.init import create_project
from rapport.project import load_project
from training.models import ResponseModel
from training.registry import load_champion

# MLflow 3.17 uses a loader strategy that SQLAlchemy 2.1 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

START = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def shop(tmp_path_factory, migrated_store):
    """A shop whose loyal customers answer to shoes by mail; nobody answers to anything else."""
    folder = tmp_path_factory.mktemp("project") / "shop"
    create_project(folder, name="Shop")
    rng, rows = np.random.default_rng(1), []

    def add(customer, kind, day, **more):
        at = START + timedelta(days=day)
        row = {
            "event_id": f"e{len(rows)}",
            "customer_id": f"c{customer}",
            "kind": kind,
            "occurred_at": at,
            "recorded_at": at,
        }
        rows.append(row | more)

    for customer in range(900):
        loyal = customer % 2
        for _ in range(loyal * 8):
            add(
                customer,
                "purchase",
                300 * rng.random(),
                amount=2500,
                item=f"product-{rng.integers(12)}",
                channel="store",
            )
        for week in range(3):
            day = 40 + 80 * week + 30 * rng.random()
            action = rng.choice(["no_contact", "shoes", "hats"])
            if action == "no_contact":
                add(customer, "no_contact", day)
                continue
            add(customer, "contact", day, item=str(action), channel="mail")
            if rng.random() < 0.05 + 0.6 * loyal * (action == "shoes"):
                add(customer, "purchase", day + 3 * rng.random(), amount=4000, item=str(action), channel="web")
    load_project(folder).history.append(pa.Table.from_pylist(rows, schema=EVENTS), "all")
    return folder


def test_response_from_the_project(shop, tracking, rapport_cli, tmp_path):
    place = ["--project", shop, "--mlruns", tracking.folder, "--out", tmp_path / "m", "--json", tmp_path / "o.json"]
    done = rapport_cli("train", "response", *place)
    assert done.exit_code == 0, done.stderr
    card = json.loads((tmp_path / "o.json").read_text())["card"]
    assert card["split"].startswith("by time")
    assert card["rows"] == 2700
    assert card["figures"][0]["value"] > 0.7
    features = load_project(shop).features
    model = ResponseModel.load(tmp_path / "m", features=features)
    assert "offer" in model.importances
    with pytest.raises(InputError, match="trained on other features"):
        ResponseModel.load(tmp_path / "m", features=features.select(features.names[:5]))


def test_uplift_from_the_project(shop, tracking, rapport_cli):
    done = rapport_cli("train", "uplift", "--project", shop, "--mlruns", tracking.folder)
    assert done.exit_code == 0, done.stderr
    assert "effect.shoes@mail" in done.stdout
    model = load_champion(tracking, "uplift")
    assert model.features == load_project(shop).features.names


def test_offers_from_the_project(shop, tracking, rapport_cli):
    done = rapport_cli("train", "offers", "--project", shop, "--mlruns", tracking.folder, "--length", 5)
    assert done.exit_code == 0, done.stderr
    assert "ndcg" in done.stdout


def test_an_empty_project_says_what_is_missing(tmp_path, rapport_cli):
    create_project(tmp_path / "empty", name="Empty")
    for kind, wrong in (("response", "the history holds no contacts"), ("offers", "the history holds nothing")):
        done = rapport_cli("train", kind, "--project", tmp_path / "empty")
        assert done.exit_code == 2
        assert wrong in " ".join(done.stderr.split())
