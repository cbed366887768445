"""The response model in force: MLflow's champion, or what stands in for it and why."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from features.errors import InputError
from serving.assembly import RESPONSE, Incumbent, bundle_of
from training.models.bundle import MANIFEST, Bundle, read_bundle
from training.registry import CHALLENGER, CHAMPION, load_champion

if TYPE_CHECKING:
    from rapport.project import Project

KEPT = "champion"
"""The folder, under the project's models, of the last champion that was read whole."""


def incumbent(project: Project, *, unpromoted: bool = False) -> Incumbent:
    """The response model that may serve now; never raises.

    - The champion of the project's MLflow store serves, and a copy of it is kept in ``models/champion``.
    - While MLflow can't be read, or its champion is broken or of other features, that copy serves on (promises C2, C5).
    - Where MLflow holds no champion no model serves, unless ``unpromoted`` lets the newest one: the challenger, else
      the bundle in ``models/response``.
    - Where nothing was ever registered, as there is no store, the bundle in ``models/response`` serves.
    """
    try:
        if not (project.tracking.folder / "mlflow.db").is_file():
            return _without_registry(project)
        aliases = _aliases(project)
        if CHAMPION in aliases:
            bundle = load_champion(project.tracking, RESPONSE, features=project.features)
            _keep(bundle, project)
            return Incumbent(bundle=bundle)
    except InputError as error:
        return _last_good(project, error)
    return _unpromoted(project, aliases) if unpromoted else Incumbent(note=_verdict(project, aliases))


def _without_registry(project: Project) -> Incumbent:
    if (project.models / KEPT / MANIFEST).is_file():
        raise InputError("MLflow's store is missing", got="no mlruns/mlflow.db", do="restore it, or train again")
    bundle = bundle_of(project)
    return Incumbent(bundle=bundle, note="" if bundle else "none was trained yet")


def _aliases(project: Project) -> dict[str, str]:
    """The aliases of the response model in MLflow with their versions; none when it was never registered."""
    try:
        found = project.tracking.client.search_registered_models(filter_string=f"name = '{RESPONSE}'")
    except Exception as error:  # MLflow and its database each raise their own
        raise InputError(
            "MLflow can't be read", got=f"{type(error).__name__}", do="repair or restore mlruns/mlflow.db"
        ) from error
    return dict(found[0].aliases) if found else {}


def _keep(bundle: Bundle, project: Project) -> None:
    folder = project.models / KEPT
    with contextlib.suppress(InputError):
        if read_bundle(folder).model_hash == bundle.model_hash:
            return
    with contextlib.suppress(OSError):  # a full disk must not keep the champion from serving
        bundle.write(folder)


def _last_good(project: Project, trouble: InputError) -> Incumbent:
    try:
        kept = read_bundle(project.models / KEPT, kind=RESPONSE, features=project.features)
    except InputError:
        return Incumbent(note=str(trouble), trouble=trouble)
    return Incumbent(bundle=kept, note=f"the last champion that could be read serves on: {trouble}", trouble=trouble)


def _unpromoted(project: Project, aliases: dict[str, str]) -> Incumbent:
    try:
        bundle = _newest(project, aliases)
    except InputError as error:
        return Incumbent(note=str(error), trouble=error)
    if bundle is None:
        return Incumbent(note=_verdict(project, aliases))
    return Incumbent(bundle=bundle, note=f"--unpromoted: {_why(project, aliases)}, and serves all the same")


def _newest(project: Project, aliases: dict[str, str]) -> Bundle | None:
    if CHALLENGER not in aliases:
        return bundle_of(project)
    return load_champion(project.tracking, RESPONSE, alias=CHALLENGER, features=project.features)


def _verdict(project: Project, aliases: dict[str, str]) -> str:
    if CHALLENGER not in aliases and not (project.models / RESPONSE / MANIFEST).is_file():
        return "none was trained yet"
    return (
        f"there is no champion: {_why(project, aliases)}; train again on more or newer outcomes, or with --trials, "
        "and it may be; --unpromoted lets it serve all the same"
    )


def _why(project: Project, aliases: dict[str, str]) -> str:
    """Why the newest model was not promoted, as its run says."""
    if CHALLENGER not in aliases:
        return "the one in models/response was never registered in MLflow"
    reason = ""
    with contextlib.suppress(Exception):  # what is told about a model must not keep it from serving
        client = project.tracking.client
        run_id = client.get_model_version(RESPONSE, aliases[CHALLENGER]).run_id
        reason = client.get_run(run_id).data.tags["promotion_reason"]
    return f"version {aliases[CHALLENGER]} was not promoted" + (f" ({reason})" if reason else "")
