"""A project folder made ready to decide: its rules, its experiment, its model, its ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from experiments.design import Experiment
from features import FeatureSet, History
from features.errors import InputError, unknown
from features.privacy.purposes import Purposes
from serving.catalogue import Catalogue
from serving.contact_policy import Clock, ContactPolicy, now, utc
from serving.customers import RecentCustomers
from serving.desk import Desk
from serving.ledger import Ledger
from serving.masking import Masking
from serving.rules import RuleBook, Rules
from serving.scenarios import Scenarios
from serving.scoring import ResponseScorer, Scorer, items_of
from serving.service import Engine, Service
from serving.trial import STANDING, Trial, policies_of
from serving.web import Site
from training.models import ResponseModel
from training.models.bundle import MANIFEST, Bundle, read_bundle

RESPONSE = "response"
"""The folder of the response model in force, under the project's models."""


class Project(Protocol):
    """What deciding reads of a project."""

    @property
    def ledger(self) -> Path:
        """The ledger's file."""
        ...

    @property
    def models(self) -> Path:
        """Where model bundles are kept."""
        ...

    @property
    def history(self) -> History:
        """All facts."""
        ...

    @property
    def features(self) -> FeatureSet:
        """The declared features."""
        ...

    @property
    def purposes(self) -> Purposes:
        """What features may be used for without asking."""
        ...

    @property
    def catalogue(self) -> Catalogue:
        """Offers and treatments."""
        ...

    @property
    def contact_policy(self) -> ContactPolicy:
        """Limits on contacts."""
        ...

    @property
    def scenarios(self) -> Scenarios:
        """Marketers' rules."""
        ...

    @property
    def experiments(self) -> Mapping[str, Experiment]:
        """Designs by key."""
        ...


def rules_of(project: Project) -> Rules:
    """The project's rules, compiled; a condition on a feature that it does not have is refused."""
    return Rules(
        RuleBook(
            catalogue=project.catalogue,
            contact_policy=project.contact_policy,
            scenarios=project.scenarios,
            feature_names=project.features.names,
            features=project.features.fingerprint,
        )
    )


def masking_of(project: Project) -> Masking:
    """What of the project's features may be used of whom."""
    return Masking(project.features, project.purposes)


def trial_of(project: Project, ledger: Ledger, *, at: datetime, key: str | None = None) -> Trial:
    """The trial of the experiment ``key``, or of the only one that runs at ``at``; without any, the standing one.

    Raises
    ------
    InputError
        When several run and none was named, or ``key`` is unknown.
    """
    designs = project.experiments
    if key is not None and key not in designs:
        raise unknown("experiment", key, designs, do="add it as experiments/<key>.toml")
    running = [design for design in designs.values() if _runs(design, at)] if key is None else [designs[key]]
    if len(running) > 1:
        raise InputError(
            "several experiments run at once",
            got=", ".join(design.key for design in running),
            do="name the one that decides with --experiment",
        )
    names = [arm.policy for arm in running[0].arms] if running else list(STANDING)
    with ledger.reading() as book:
        policies = policies_of(names, catalogue=project.catalogue, book=book)
    return Trial.of_experiment(running[0], policies=policies) if running else Trial.standing(policies)


def scorer_of(bundle: Bundle, *, project: Project, rules: Rules, at: datetime) -> Scorer:
    """The response model of a bundle as what gives values."""
    return ResponseScorer(
        ResponseModel.from_bundle(bundle),
        rules=rules,
        version=bundle.model_hash,
        items=items_of(project.history.items(at)),
    )


@dataclass(frozen=True, kw_only=True)
class Incumbent:
    """The response model that serves.

    ``bundle`` is None when none may serve. ``note`` says what a person should know: why there is none, or why this one
    is not simply the champion. ``trouble`` is what stood in the way of the one that should serve.

    >>> Incumbent(note="none was trained yet").bundle is None
    True
    """

    bundle: Bundle | None = None
    note: str = ""
    trouble: InputError | None = None


def scoring(found: Incumbent, *, project: Project, rules: Rules, at: datetime) -> tuple[Scorer | None, str]:
    """The incumbent's scorer, None without one, and what a person should know about it."""
    if found.bundle is None:
        return None, found.note
    try:
        return scorer_of(found.bundle, project=project, rules=rules, at=at), found.note
    except InputError as error:
        return None, str(error)


def bundle_of(project: Project) -> Bundle | None:
    """The response model in the project's folder of models, None when there is none.

    Raises
    ------
    InputError
        When the bundle is broken, or was trained on other features than the project has now.
    """
    folder = project.models / RESPONSE
    held = (folder / MANIFEST).is_file()
    return read_bundle(folder, kind=RESPONSE, features=project.features) if held else None


def open_site(
    project: Project,
    *,
    at: datetime,
    incumbent: Callable[[], Incumbent],
    experiment: str | None = None,
    clock: Clock = now,
) -> Site:
    """The site of a project; when its model can't be read, it starts with what stands in for it and says so.

    ``incumbent`` finds the model in force; it is called once here and again at each reload, which is refused when the
    model that should serve can't: the one in force serves on.
    """
    ledger = Ledger(project.ledger)

    def engine(rules: Rules, scorer: Scorer | None, note: str) -> Engine:
        trial = trial_of(project, ledger, at=at, key=experiment)
        version = scorer.version if scorer else ""
        desk = Desk(ledger, rules=rules, trial=trial, model=version, masking=masking_of(project))
        return Engine(desk=desk, scorer=scorer, note=note)

    def reload() -> Engine:
        rules, found = rules_of(project), incumbent()
        if found.trouble is not None:
            raise found.trouble
        scorer = scorer_of(found.bundle, project=project, rules=rules, at=clock()) if found.bundle else None
        return engine(rules, scorer, found.note)

    rules = rules_of(project)
    scorer, note = scoring(incumbent(), project=project, rules=rules, at=clock())
    service = Service(
        engine=engine(rules, scorer, note),
        customers=RecentCustomers(project.history),
        features=project.features,
        clock=clock,
    )
    return Site(
        service=service,
        ledger=ledger,
        reload=reload,
        links=tuple(f"rapport report {key}" for key in project.experiments),
    )


def _runs(design: Experiment, at: datetime) -> bool:
    start, end = _aware(design.start), None if design.end is None else _aware(design.end)
    return start <= at and (end is None or at < end)


def _aware(moment: datetime) -> datetime:
    return utc(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
