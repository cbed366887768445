"""A model as a folder: text, ``.npz`` and JSON, with the sha256 of each file in a manifest. No code, no pickle."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from features.errors import InputError, listed

FORMAT = 1
MANIFEST = "manifest.json"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}(\.[a-z0-9]{1,8}){1,2}")
_MOST_BYTES = 2 << 30
_MOST_TOLD = 3
_VERSIONS = ("lightgbm", "numpy", "pandas", "scikit-learn", "rapport")


class Features(Protocol):
    """What a feature set says of itself: ``features.FeatureSet`` is one."""

    @property
    def names(self) -> Sequence[str]:
        """The features' names, in the order of a row."""
        ...

    @property
    def fingerprint(self) -> str:
        """A digest of what is computed: another one is another model's input."""
        ...

    @property
    def declarations(self) -> Mapping[str, str]:
        """How each feature is declared, by its name."""
        ...


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """The files of a model, and what its manifest says of them.

    Parameters
    ----------
    kind: ``response``, ``offers`` or ``uplift``.
    features: names of the columns that the model reads, in order.
    fingerprint: sha256 of the declarations of the features.
    declarations: what each feature calculated, in words, so that a difference to today's can be named.
    files: content of each file, by name; small lower-case names with an ending.
    card: the model card.
    about: what goes beside the model (the card as Markdown, hashes of what it has seen); hashed, but no part of it.

    >>> import tempfile
    >>> bundle = Bundle(kind="response", features=("visits",), fingerprint="f0", files={"trees.txt": b"tree"})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = bundle.write(Path(folder) / "model")
    ...     read_bundle(Path(folder) / "model", kind="response").files
    {'trees.txt': b'tree'}
    """

    kind: str
    features: tuple[str, ...]
    fingerprint: str
    files: Mapping[str, bytes]
    declarations: Mapping[str, str] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, bytes] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=lambda: {name: version(name) for name in _VERSIONS})

    @property
    def model_hash(self) -> str:
        """Sha256 over the kind, the features and the model's own files: equal for equal models (promise F4)."""
        parts = [self.kind, self.fingerprint, *self.features]
        parts += [f"{name} {_sha256(content)}" for name, content in sorted(self.files.items())]
        return _sha256("\n".join(parts).encode())

    def write(self, folder: str | Path) -> Path:
        """Write the bundle to ``folder``, whole or not at all; one that is there is replaced.

        Raises
        ------
        InputError
            When something else than a bundle stands at ``folder``.
        """
        target = Path(folder)
        if target.exists() and not (target / MANIFEST).is_file() and (not target.is_dir() or any(target.iterdir())):
            raise InputError(
                "the model can't be written there", got=f"{target.name!r} holds something else", do="name a new folder"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        try:
            for name, content in self.contents().items():
                _write_durable(scratch / name, content)
            scratch.chmod(0o755)
            _replace(target, scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return target

    def json(self, name: str) -> Any:
        """The content of the JSON file ``name``."""
        try:
            return json.loads(self._file(name))
        except (ValueError, RecursionError) as error:
            raise _broken(name, str(error)) from error

    def text(self, name: str) -> str:
        """The content of the text file ``name``."""
        try:
            return self._file(name).decode()
        except UnicodeDecodeError as error:
            raise _broken(name, str(error)) from error

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """The arrays of the ``.npz`` file ``name``; an array of objects would need pickle and is refused."""
        try:
            with np.load(io.BytesIO(self._file(name)), allow_pickle=False) as held:
                return {key: held[key] for key in held.files}
        except Exception as error:  # zipfile, zlib and numpy each raise their own on broken input
            raise _broken(name, str(error)) from error

    def _file(self, name: str) -> bytes:
        held = {**self.about, **self.files}
        if name not in held:
            raise _broken(name, "no such file in the manifest")
        return held[name]

    def contents(self) -> dict[str, bytes]:
        """Every file that ``write`` writes, by name: those of the model, the card and the manifest."""
        contents = {**self.files, **self.about, "card.json": to_json(self.card)}
        for name in contents:
            _require_name(name)
        manifest = {
            "format": FORMAT,
            "kind": self.kind,
            "features": list(self.features),
            "declarations": dict(self.declarations),
            "fingerprint": self.fingerprint,
            "model_hash": self.model_hash,
            "model": sorted(self.files),
            "files": {name: {"sha256": _sha256(content), "bytes": len(content)} for name, content in contents.items()},
            "versions": dict(self.versions),
        }
        return {**contents, MANIFEST: to_json(manifest)}


def read_bundle(folder: str | Path, *, kind: str | None = None, features: Features | None = None) -> Bundle:
    """The bundle in ``folder``; each file is read once, checked against its hash, and only then looked into.

    Parameters
    ----------
    kind: the kind of model that is wanted.
    features: the feature set that will feed the model; another fingerprint is refused, naming the difference.

    Raises
    ------
    InputError
        When the folder is no bundle; a file is missing, changed, linked or named with a path; kind or fingerprint
        differ.
    """
    root = Path(folder)
    manifest = _manifest(root)
    try:
        names = [str(name) for name in manifest["files"]]
        contents = {name: _verified(root, name, manifest["files"][name]) for name in names}
        bundle = Bundle(
            kind=str(manifest["kind"]),
            features=tuple(map(str, manifest["features"])),
            fingerprint=str(manifest["fingerprint"]),
            declarations={str(name): str(told) for name, told in manifest.get("declarations", {}).items()},
            files={str(name): contents[name] for name in manifest["model"]},
            about={
                name: content
                for name, content in contents.items()
                if name not in manifest["model"] and name != "card.json"
            },
            card=json.loads(contents["card.json"]),
            versions={str(name): str(number) for name, number in manifest["versions"].items()},
        )
        expected = str(manifest["model_hash"])
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _broken(MANIFEST, f"{type(error).__name__} {error}") from error
    if bundle.model_hash != expected:
        raise _broken(MANIFEST, "a model hash that is not that of the files")
    if kind is not None and bundle.kind != kind:
        raise InputError("the bundle holds another kind of model", got=bundle.kind, do=f"pass a bundle of kind {kind}")
    if features is not None:
        _require_features(bundle, features)
    return bundle


def to_json(content: Any) -> bytes:
    """``content`` as JSON with sorted keys, so that equal content has equal bytes; NaN is refused."""
    return (json.dumps(content, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n").encode()


def to_npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """``arrays`` as ``.npz``; equal arrays have equal bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **dict(sorted(arrays.items())))
    return buffer.getvalue()


def _require_features(bundle: Bundle, features: Features) -> None:
    if bundle.fingerprint == features.fingerprint:
        return
    raise InputError(
        "the model was trained on other features",
        got=f"{_difference(bundle, features)} "
        f"(fingerprint {bundle.fingerprint[:12]}, features now {features.fingerprint[:12]})",
        do="train anew on the features of today, or load the feature set that the model was trained on",
    )


def _difference(bundle: Bundle, features: Features) -> str:
    """What was added, left out, or declared otherwise since the model was trained."""
    now, then = set(features.names), set(bundle.features)
    changed = [
        f"{name!r} was {told!r} and is {features.declarations[name]!r}"
        for name, told in bundle.declarations.items()
        if features.declarations.get(name, told) != told
    ]
    parts = (
        f"the model also reads {listed(sorted(then - now))}" if then - now else "",
        f"it never saw {listed(sorted(now - then))}" if now - then else "",
        "; ".join(changed[:_MOST_TOLD]),
        f"{len(changed) - _MOST_TOLD} more are declared otherwise" if len(changed) > _MOST_TOLD else "",
    )
    told = "; ".join(part for part in parts if part)
    return told or (
        "the same features in another order" if bundle.declarations else "the same names, declared otherwise"
    )


def _manifest(root: Path) -> dict[str, Any]:
    path = root / MANIFEST
    if not path.is_file() or path.is_symlink():
        raise InputError(
            f"there is no model bundle at {str(root)!r}",
            got="no manifest.json",
            do="name a folder that `rapport train` wrote",
        )
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise _broken(MANIFEST, str(error)) from error
    if not isinstance(content, dict):
        raise _broken(MANIFEST, "no JSON object")
    if content.get("format") != FORMAT:
        raise InputError(
            "the bundle has another format",
            got=repr(content.get("format")),
            do=f"train anew, this reads format {FORMAT}",
        )
    return content


def _verified(root: Path, name: str, told: Mapping[str, Any]) -> bytes:
    _require_name(name)
    path = root / name
    if path.is_symlink() or not path.is_file():
        raise _broken(name, "no such file, or a link")
    if path.stat().st_size != told["bytes"] or told["bytes"] > _MOST_BYTES:
        raise _broken(name, f"{path.stat().st_size} bytes where the manifest says {told['bytes']}")
    content = path.read_bytes()
    if _sha256(content) != told["sha256"]:
        raise _broken(name, "another sha256 than in the manifest")
    return content


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name == MANIFEST:
        raise InputError(
            "a file of the bundle has a name that is refused", got=repr(name)[:100], do="fetch the bundle anew"
        )


def _broken(name: str, got: str) -> InputError:
    return InputError(
        f"the bundle's {name} is broken", got=got or "unreadable content", do="fetch or train the model anew"
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write_durable(path: Path, content: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _replace(target: Path, scratch: Path) -> None:
    """Put ``scratch`` in the place of ``target``; a folder can't be renamed over another, so that is moved aside."""
    if not target.exists():
        scratch.rename(target)
        return
    aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.old."))
    target.rename(aside / "old")
    try:
        scratch.rename(target)
    except OSError:
        (aside / "old").rename(target)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
