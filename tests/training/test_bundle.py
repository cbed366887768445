"""A bundle comes back as it was written, and whatever was done to it is seen before anything of it is used."""

import io
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from features import Feature, FeatureSet
from features.errors import InputError
from training.models import ResponseModel, boosting
from training.models.bundle import Bundle, read_bundle, to_json, to_npz

FEATURES = {
    mark: SimpleNamespace(
        names=("visits", "channel"),
        fingerprint=mark,
        declarations={"visits": f"count, within {days}d", "channel": "latest of channel"},
    )
    for mark, days in (("f00d", 7), ("beef", 9))
}


@pytest.fixture(scope="module")
def table() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"visits": rng.poisson(3, 3000), "channel": rng.choice(["web", "mail", "store"], 3000)})
    chance = 0.1 + 0.1 * (frame["channel"] == "web") + 0.04 * frame["visits"].clip(upper=8)
    return frame, rng.random(3000) < chance.to_numpy()


@pytest.fixture(scope="module")
def model(table) -> ResponseModel:
    return ResponseModel(rounds=20).fit(*table)


@pytest.fixture
def folder(model, tmp_path) -> Path:
    return model.save(tmp_path / "model", features=FEATURES["f00d"])


def test_a_saved_model_predicts_the_same_bits(model, folder, table):
    again = ResponseModel.load(folder)
    assert again.predict_proba(table[0]).tobytes() == model.predict_proba(table[0]).tobytes()
    assert again.bundle(features=FEATURES["f00d"]).model_hash == read_bundle(folder).model_hash


def test_a_bundle_is_text_json_and_npz_only(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "manifest.json", "model.json", "trees.txt"]
    assert "parameters" not in (folder / "trees.txt").read_text()


@pytest.mark.parametrize("name", ["trees.txt", "model.json", "card.json"])
def test_one_changed_byte_is_seen(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(bytes(content))
    with pytest.raises(InputError, match="another sha256"):
        ResponseModel.load(folder)


@pytest.mark.parametrize("name", ["trees.txt", "model.json", "card.json"])
def test_a_missing_file_is_seen(folder, name):
    (folder / name).unlink()
    with pytest.raises(InputError, match="no such file"):
        ResponseModel.load(folder)


def test_a_linked_file_is_refused(folder, tmp_path):
    (folder / "trees.txt").rename(tmp_path / "elsewhere.txt")
    (folder / "trees.txt").symlink_to(tmp_path / "elsewhere.txt")
    with pytest.raises(InputError, match="or a link"):
        ResponseModel.load(folder)


@pytest.mark.parametrize(
    "name",
    [
        "../x.txt",
        "/etc/passwd",
        "a/b.txt",
        "..",
        "a\\b.txt",
        "%2e%2e/x.txt",
        "x.txt\n",
        "X.txt",
        ".hidden.txt",
        "x",
        "a\0.txt",
    ],
)
def test_names_that_lead_elsewhere_are_refused(folder, name):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = {"sha256": "0", "bytes": 1}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="a name that is refused"):
        read_bundle(folder)
    with pytest.raises(InputError, match="a name that is refused"):
        Bundle(kind="response", features=(), fingerprint="", files={name: b""}).write(folder.parent / "other")


@pytest.mark.parametrize(
    "manifest",
    [b"", b"[]", b"{", b"[" * 100_000, b'{"format": 2}', b'{"format": 1}', b'{"format": 1, "files": {"a.txt": 3}}'],
)
def test_a_broken_manifest_is_refused(folder, manifest):
    (folder / "manifest.json").write_bytes(manifest)
    with pytest.raises(InputError):
        read_bundle(folder)


def test_other_features_are_refused_naming_the_difference(folder):
    declared = {"visits": "count, within 7d", "orders": "count"}
    today = SimpleNamespace(names=("visits", "orders"), fingerprint="beef", declarations=declared)
    with pytest.raises(InputError) as caught:
        ResponseModel.load(folder, features=today)
    assert "the model also reads 'channel'" in caught.value.got
    assert "it never saw 'orders'" in caught.value.got
    ResponseModel.load(folder, features=FEATURES["f00d"])


def test_features_declared_anew_under_the_same_names_are_refused(folder):
    with pytest.raises(InputError, match="'visits' was 'count, within 7d' and is 'count, within 9d'"):
        ResponseModel.load(folder, features=FEATURES["beef"])


def test_a_model_that_was_written_without_declarations_says_only_that_they_differ(folder):
    manifest = json.loads((folder / "manifest.json").read_bytes())
    del manifest["declarations"]
    (folder / "manifest.json").write_bytes(to_json(manifest))
    with pytest.raises(InputError, match="the same names, declared otherwise"):
        ResponseModel.load(folder, features=FEATURES["beef"])


def test_the_difference_of_real_features_is_named(model, tmp_path):
    def features(*windows, channel="web", order=1):
        declared = (
            Feature(name="visits", where={"kind": "visit", "channel": channel}, windows=windows),
            Feature(name="age", aggregate="latest", of="age"),
        )
        return FeatureSet.of(*declared[::order])

    folder = model.save(tmp_path / "real", features=features("7d", "30d"))
    for today, told in (
        (features("7d", "90d"), "the model also reads 'visits_30d'; it never saw 'visits_90d'"),
        (features("7d", "30d", channel="app"), "'visits_7d' was 'count, channel web, kind visit, within 7d' and is"),
        (features("7d", "30d", order=-1), "the same features in another order"),
    ):
        with pytest.raises(InputError) as caught:
            read_bundle(folder, features=today)
        assert told in caught.value.got


def test_another_kind_is_refused(folder):
    with pytest.raises(InputError, match="another kind"):
        read_bundle(folder, kind="uplift")


def test_writing_replaces_a_bundle_and_nothing_else(model, folder, tmp_path):
    model.save(folder, features=FEATURES["beef"])
    assert read_bundle(folder).fingerprint == "beef"
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(InputError, match="holds something else"):
        model.save(tmp_path / "photos")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "photos"], "no scratch folder is left"


def test_a_write_that_fails_leaves_the_old_bundle(folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        Bundle(kind="response", features=(), fingerprint="", files={"trees.txt": b"tree"}).write(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


class _Spell:
    def __reduce__(self):
        return os.system, ("echo harm",)


def _malicious(folder: Path, name: str, content: bytes) -> Path:
    """A bundle whose hashes are right and whose file ``name`` is harmful: an attacker can compute hashes too."""
    held = read_bundle(folder)
    files = {**held.files, name: content}
    return Bundle(kind="response", features=held.features, fingerprint="f00d", files=files).write(folder)


def test_loading_a_malicious_bundle_runs_nothing(folder):
    """D5: an audit hook sees no unpickling, exec, import or process while bundles with harmful files are loaded."""
    pickled = pickle.dumps(_Spell())
    buffer = io.BytesIO()
    np.savez(buffer, fine=np.zeros(2), harm=np.array([_Spell()], dtype=object))
    objects = buffer.getvalue()
    # numpy parses an array's header as a literal: a "compile" that runs nothing; running it would be an "exec".
    watched = ("pickle.find_class", "exec", "import", "os.system", "subprocess.Popen", "os.exec")
    seen: list[str] = []
    armed = False

    def hook(event: str, _: object) -> None:
        if armed and event in watched:
            seen.append(event)

    sys.addaudithook(hook)
    pickle.loads(pickle.dumps(os.getcwd))  # the hook must be able to see the fault
    armed = True
    pickle.loads(pickle.dumps(os.getcwd))
    armed = False
    assert seen == ["pickle.find_class"]
    seen.clear()
    ResponseModel.load(folder)  # lazy imports of the libraries happen once, before the watch
    Bundle(kind="response", features=(), fingerprint="", files={"a.npz": to_npz({"a": np.zeros(2)})}).arrays("a.npz")
    for name, content in (
        ("trees.txt", pickled),
        ("model.json", pickled),
        ("factors.npz", objects),
        ("factors.npz", pickled),
    ):
        broken = _malicious(folder.parent / folder.name, name, content)
        armed = True
        try:
            read_bundle(broken).arrays("factors.npz") if name == "factors.npz" else ResponseModel.load(broken)
            raise AssertionError("a harmful file was taken")
        except InputError:
            pass
        finally:
            armed = False
    assert seen == []


_FUZZ = """
import sys, numpy as np
from features.errors import InputError
from training.models import boosting
text = sys.stdin.read()
rng = np.random.default_rng(3)
rows = rng.normal(size=(50, 2))
taken = refused = 0
for trial in range(400):
    place, width = int(rng.integers(len(text))), int(rng.integers(1, 40))
    head, tail = text[:place], text[place + width:]
    noise = "".join(rng.choice(list("0123456789 -=.en\\n"), width))
    mutants = (head, head + tail, head + noise + tail)
    try:
        boosting.from_text(mutants[trial % 3], features=2).predict(rows, num_threads=1)
        taken += 1
    except InputError:
        refused += 1
print(taken, refused)
"""


def test_broken_trees_are_refused_and_never_end_the_process(model):
    """C2: LightGBM's reader aborts on some truncated texts; the check before it must not let them through."""
    done = subprocess.run(
        [sys.executable, "-c", _FUZZ],
        input=boosting.as_text(model.booster_),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-500:]
    taken, refused = map(int, done.stdout.split()[-2:])
    assert taken + refused == 400
    assert refused > 300


def test_json_refuses_what_json_has_not():
    with pytest.raises(ValueError, match="JSON"):
        to_json({"auc": float("nan")})
