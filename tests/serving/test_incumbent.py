"""Which model serves: MLflow's champion, the last one that could be read, or none; and what is told of it."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import InputError
from rapport.incumbent import incumbent
from rapport.init import create_project
from rapport.project import load_project
from serving.assembly import open_site
from serving.book import Consent
from serving.ledger import Ledger
from training.models import ResponseModel
from training.models.bundle import read_bundle

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
CUSTOMERS = [f"c{number}" for number in range(30)]


@pytest.fixture
def project(tmp_path, migrated_ledger):
    """A project of 30 customers, one of whom the history knows by a fact alone, and no MLflow store."""
    root = tmp_path / "shop"
    create_project(root, name="Shop")
    found = load_project(root)
    before = NOON - timedelta(days=30)
    visit = {"kind": "visit", "occurred_at": before, "recorded_at": before}
    events = [{"event_id": f"e-{name}", "customer_id": name, **visit} for name in CUSTOMERS[1:]]
    late = {"event_id": "late", "customer_id": "later", **visit, "recorded_at": NOON + timedelta(days=1)}
    found.history.append(pa.Table.from_pylist([*events, late]), part="start")
    fact = {"customer_id": "c0", "attribute": "state", "value": "CA", "occurred_at": before, "recorded_at": before}
    found.history.append_profile(pa.Table.from_pylist([fact]), part="start")
    shutil.copy(migrated_ledger, found.ledger)
    yes = {"channel": "all", "granted": True, "source": "import", "occurred_at": before, "recorded_at": before}
    ledger = Ledger(found.ledger)
    with ledger.writing() as book:
        book.consent([Consent(customer_id=name, **yes) for name in CUSTOMERS])
    ledger.close()
    return found


@pytest.fixture
def bundle(project, tmp_path):
    """``bundle(seed)``: the folder of a response model of the project, another one for each seed."""
    spine = pa.table({"customer_id": CUSTOMERS * 20, "as_of": [NOON] * 600})
    frame = project.features.offline(project.history, spine).drop_columns(["customer_id", "as_of"]).to_pandas()

    def train(seed):
        rng = np.random.default_rng(seed)
        told = frame.assign(treatment=rng.choice(project.catalogue.actions, len(frame)))
        bought = rng.random(len(frame)) < 0.1 + 0.4 * (told["treatment"] == "coats-new@email")
        model = ResponseModel(rounds=10, min_data_in_leaf=20).fit(told, bought)
        return model.save(tmp_path / f"bundle-{seed}", features=project.features)

    return train


@pytest.fixture
def register(project, migrated_store):
    """``register(folder, alias)``: a bundle as the next version of the response model in the project's own MLflow."""
    shutil.copytree(migrated_store, project.root / "mlruns")

    def version(folder, alias):
        client = project.tracking.client
        run = project.tracking.log_run(
            "train-response", name="response", tags={"promotion_reason": "uncalibrated"}, artifacts={"bundle": folder}
        )
        if not client.search_registered_models(filter_string="name = 'response'"):
            client.create_registered_model("response")
        source = f"{client.get_run(run).info.artifact_uri}/bundle"
        made = client.create_model_version("response", source=source, run_id=run)
        client.set_registered_model_alias("response", alias, made.version)
        return Path(urlparse(source).path)

    return version


def in_folder(project, folder):
    shutil.copytree(folder, project.models / "response")


def test_without_any_mlflow_the_folder_serves(project, bundle):
    assert (incumbent(project).bundle, incumbent(project).note) == (None, "none was trained yet")
    folder = bundle(1)
    in_folder(project, folder)
    found = incumbent(project)
    assert (found.bundle.model_hash, found.note) == (read_bundle(folder).model_hash, "")


def test_the_champion_serves_whatever_lies_in_the_folder(project, bundle, register):
    in_folder(project, bundle(1))
    register(bundle(2), "champion")
    register(bundle(3), "challenger")
    for unpromoted in (False, True):
        found = incumbent(project, unpromoted=unpromoted)
        assert (found.bundle.model_hash, found.note) == (read_bundle(bundle(2)).model_hash, "")


def test_what_was_not_promoted_serves_only_when_told_to(project, bundle, register):
    """Promises F3 and F5, which promotion keeps, would be empty if the folder served in the champion's place."""
    in_folder(project, bundle(1))
    found = incumbent(project)
    assert (found.bundle, found.trouble) == (None, None)
    assert "models/response was never registered" in found.note
    told = incumbent(project, unpromoted=True)
    assert told.bundle.model_hash == read_bundle(bundle(1)).model_hash
    register(bundle(2), "challenger")
    assert "version 1 was not promoted (uncalibrated)" in incumbent(project).note
    assert incumbent(project).bundle is None
    told = incumbent(project, unpromoted=True)
    assert told.bundle.model_hash == read_bundle(bundle(2)).model_hash
    assert told.note == "--unpromoted: version 1 was not promoted (uncalibrated), and serves all the same"


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("harm", ["champion", "store", "gone"])
def test_what_can_not_be_read_is_told_and_the_last_champion_serves_on(project, bundle, register, harm, known):
    """Promises C2 and C5; the folder's bundle, which nobody promoted, never takes the champion's place."""
    in_folder(project, bundle(1))
    artefact = register(bundle(2), "champion")
    if known:
        incumbent(project)
    if harm == "champion":
        (artefact / "trees.txt").write_text("tree")
    elif harm == "store":
        (project.root / "mlruns" / "mlflow.db").write_bytes(b"not a database" * 100)
    else:
        shutil.rmtree(project.root / "mlruns")
    found = incumbent(load_project(project.root))
    if harm == "gone" and not known:  # then it looks like a project that never had an MLflow
        assert (found.bundle.model_hash, found.note) == (read_bundle(bundle(1)).model_hash, "")
        return
    assert isinstance(found.trouble, InputError)
    assert str(found.trouble) in found.note
    assert (found.bundle is not None) is known
    if known:
        assert found.bundle.model_hash == read_bundle(bundle(2)).model_hash
        assert found.note.startswith("the last champion that could be read serves on")


def test_a_reload_of_a_broken_champion_is_refused(project, bundle, register):
    register(bundle(1), "champion")
    site = open_site(project, incumbent=lambda: incumbent(project))
    first = site.service.engine
    assert first.scorer.version == read_bundle(bundle(1)).model_hash
    artefact = register(bundle(2), "champion")
    (artefact / "trees.txt").write_text("tree")
    with pytest.raises(InputError, match=r"trees\.txt"):
        site.reload()
    register(bundle(2), "champion")
    assert site.reload().scorer.version == read_bundle(bundle(2)).model_hash
    site.ledger.close()
    again = open_site(project, incumbent=lambda: incumbent(project, unpromoted=True))
    assert again.service.engine.note == ""
    again.ledger.close()


def test_scoring_without_a_champion_says_so_and_falls_back(project, bundle, register, rapport_cli, tmp_path):
    """Everybody known is decided on, the customer without events too; the standing trial splits them."""
    register(bundle(1), "challenger")
    out, told = tmp_path / "decisions.parquet", tmp_path / "told.json"
    base = ("score", "--project", project.root, "--out", out, "--json", told, "--at")
    ran = rapport_cli(*base, NOON.isoformat())
    assert ran.exit_code == 0, ran.stderr
    assert "version 1 was not promoted (uncalibrated)" in " ".join(ran.stdout.split())
    assert "No designed experiment runs, so the standing one does: static 10%, one_to_one 90%." in " ".join(
        ran.stdout.split()
    )
    table = pq.read_table(out).to_pandas()
    assert sorted(table["customer_id"]) == sorted(CUSTOMERS)
    assert set(table["experiment"]) == {"standing"}
    assert (table["degraded"] == (table["arm"] == "one_to_one")).all()
    arms = {each["arm"]: each["n"] for each in json.loads(told.read_text())["arms"]}
    assert arms == table["arm"].value_counts().to_dict()
    assert set(arms) == {"static", "one_to_one"}
    ran = rapport_cli(*base, (NOON + timedelta(days=40)).isoformat(), "--unpromoted")
    assert ran.exit_code == 0, ran.stderr
    assert "serves all the same" in " ".join(ran.stdout.split())
    after = pq.read_table(out).to_pandas()
    assert not after["degraded"].any()
    assert (after["probability"] > 0).all()
    kept = table.set_index("customer_id")["arm"]
    assert (after[after["customer_id"] != "later"].set_index("customer_id")["arm"] == kept).all()
    assert set(after["customer_id"]) == {*CUSTOMERS, "later"}


def test_ranking_wants_a_champion_too(project, bundle, register, rapport_cli, tmp_path):
    register(bundle(1), "challenger")
    base = ("score", "--project", project.root, "--out", tmp_path / "r.parquet", "--at", NOON.isoformat(), "--top", 2)
    ran = rapport_cli(*base)
    assert ran.exit_code == 2
    assert "there is no champion" in " ".join(ran.stderr.split())
    ran = rapport_cli(*base, "--unpromoted")
    assert ran.exit_code == 0, ran.stderr
