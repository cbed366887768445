"""Models in MLflow: a run with card, curves and bundle, versions with the aliases champion and challenger."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np

from features.errors import InputError, unknown
from features.tracking import TrackingStore
from training.models import OfferRecommender, ResponseModel, UpliftModel
from training.models.bundle import Bundle, Features, read_bundle, to_json
from training.promotion import Promotion, promotion_of
from training.trained import Model, Trained

CHAMPION, CHALLENGER = "champion", "challenger"
_log = logging.getLogger(__name__)
_LOADERS: Mapping[str, Any] = {
    "response": ResponseModel.from_bundle,
    "uplift": UpliftModel.from_bundle,
    "offers": OfferRecommender.from_bundle,
}


@dataclass(frozen=True, kw_only=True)
class Registration:
    """Where a model went: name, version and run in MLflow (None where MLflow was out of reach), and its bundle."""

    name: str
    promotion: Promotion
    version: str | None = None
    run_id: str | None = None
    folder: Path | None = None
    warning: str = ""

    def to_json(self) -> dict[str, Any]:
        """The record as a dictionary, paths as text."""
        return {**asdict(self), "folder": None if self.folder is None else str(self.folder)}


def register(
    trained: Trained, *, tracking: TrackingStore, name: str, out: Path | None = None, tolerance: float = 0.005
) -> Registration:
    """Log a trained model, register it as ``name``, and make it champion or challenger.

    ``out``: a folder that gets the bundle too. With MLflow out of reach the bundle is written there, or beside the
    store's folder, and a warning says so; the model is not promoted.
    """
    bundle = trained.bundle()
    folder = None if out is None else bundle.write(out)
    try:
        return _register(trained, bundle, tracking=tracking, name=name, folder=folder, tolerance=tolerance)
    except Exception as error:  # whatever fails inside MLflow and its database must not lose the training
        kept = folder or bundle.write(tracking.folder.parent / f"unregistered-{slug(name)}-{bundle.model_hash[:12]}")
        warning = f"MLflow could not be reached ({type(error).__name__}: {str(error)[:200]}); the bundle is in {kept}"
        _log.warning(warning)
        promotion = Promotion(promoted=False, reason="not registered, as MLflow could not be reached")
        return Registration(name=name, promotion=promotion, folder=kept, warning=warning)


def load_champion(
    tracking: TrackingStore, name: str, *, alias: str = CHAMPION, features: Features | None = None
) -> Bundle:
    """The bundle of the model ``name`` under ``alias``, each file checked against its hash."""
    try:
        version = tracking.client.get_model_version_by_alias(name, alias)
    except Exception as error:  # MLflow's own exceptions stay behind its edge
        raise InputError(
            f"model {name!r} has no {alias}", got=str(error)[:200], do="train one with `rapport train`"
        ) from error
    return read_bundle(_local(str(version.source)), features=features)


def load_model(bundle: Bundle) -> Model:
    """The model of any kind that ``bundle`` holds."""
    if bundle.kind not in _LOADERS:
        raise unknown("kind of model", bundle.kind, _LOADERS)
    model: Model = _LOADERS[bundle.kind](bundle)
    return model


def slug(name: str) -> str:
    """``name`` with what MLflow or a file system might refuse replaced by a dash."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") or "model"


def _register(
    trained: Trained, bundle: Bundle, *, tracking: TrackingStore, name: str, folder: Path | None, tolerance: float
) -> Registration:
    card = trained.card
    promotion = promotion_of(trained, champion=_champion(tracking, name), tolerance=tolerance)
    run_id = tracking.log_run(
        f"train-{card.kind}",
        name=name,
        params={**card.params, "split": card.split, "rows": card.rows, "features": card.features, "label": card.label},
        metrics={_metric(key): value for key, value in card.metrics.items() if np.isfinite(value)},
        tags={
            "calibration": card.calibration,
            "promoted": str(promotion.promoted).lower(),
            "promotion_reason": promotion.reason,
            "model_hash": card.model_hash,
        },
        artifacts={
            "card.md": card.to_markdown(),
            "card.json": to_json(card.to_json()),
            "importances.json": to_json(dict(card.importances)),
            **{f"curves/{file}": text for file, text in trained.curves.items()},
            **{f"bundle/{file}": content for file, content in bundle.contents().items()},
        },
    )
    version = _new_version(tracking, name, run_id=run_id)
    tracking.client.set_registered_model_alias(name, CHAMPION if promotion.promoted else CHALLENGER, version)
    _log.info("%s version %s: %s", name, version, promotion.reason)
    return Registration(name=name, version=version, run_id=run_id, promotion=promotion, folder=folder)


def _new_version(tracking: TrackingStore, name: str, *, run_id: str) -> str:
    client = tracking.client
    if not client.search_registered_models(filter_string=f"name = '{name}'"):
        client.create_registered_model(name)
    source = f"{client.get_run(run_id).info.artifact_uri}/bundle"
    return str(client.create_model_version(name, source=source, run_id=run_id).version)


def _champion(tracking: TrackingStore, name: str) -> Bundle | None:
    found = tracking.client.search_registered_models(filter_string=f"name = '{name}'")
    if not found or CHAMPION not in found[0].aliases:
        return None
    return load_champion(tracking, name)


def _local(source: str) -> Path:
    parts = urlparse(source)
    return Path(unquote(parts.path)) if parts.scheme == "file" else Path(source)


def _metric(name: str) -> str:
    """``name`` with what MLflow refuses in a metric's name replaced."""
    return re.sub(r"[^A-Za-z0-9_\-. :/]", "_", name)
