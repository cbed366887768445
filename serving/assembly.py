"""A project folder made ready to decide: its rules, its experiment, its model, its ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from experiments.design import Experiment
from experiments.holdout import Holdout
from experiments.layers import check_together
from features import FeatureSet, History
from features.errors import InputError, unknown
from features.privacy.purposes import Purposes
from serving.book import Book
from serving.catalogue import Catalogue
from serving.contact_policy import Clock, ContactPolicy, now
from serving.customers import RecentCustomers
from serving.designs import check_on_file, keep_stops, last_assigned
from serving.desk import Desk
from serving.learned import as_learned
from serving.ledger import Ledger
from serving.masking import Masking
from serving.rules import RuleBook, Rules
from serving.scenarios import Scenarios
from serving.scoring import ResponseScorer, Scorer, items_of
from serving.service import Engine, Service
from serving.trial import STANDING, Trial, policies_of
from serving.trials import Trials
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

    @property
    def holdout(self) -> Holdout | None:
        """From whom all marketing is withheld."""
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


def trials_of(
    project: Project,
    ledger: Ledger,
    *,
    at: datetime,
    key: str | None = None,
    ready: Callable[[Experiment], str] | None = None,
) -> Trials:
    """What decides at ``at``: the experiments that run then, or ``key`` alone; the standing trial; the holdout.

    ``ready`` says in a sentence which start rule keeps an experiment without any assigned unit from starting, "" when
    none does. Until then, and while one of its policies isn't published, it waits, and the standing trial decides.

    Raises
    ------
    InputError
        When ``key`` is unknown or doesn't run, experiments that run would share units or asks, or the design of one
        that is under way is gone and no ``key`` says which is to decide.
    """
    designs = project.experiments
    running = [each for each in designs.values() if each.runs_at(at) and key in (None, each.key)]
    if key is not None and not running:
        if key not in designs:
            raise unknown("experiment", key, designs, do="add it as experiments/<key>.toml")
        raise InputError(
            f"experiment {key!r} doesn't run at {at:%Y-%m-%d %H:%M}",
            got=f"start {designs[key].start}, end {designs[key].end}, stopped {designs[key].stopped}",
            do="decide within its time, or leave --experiment out",
        )
    check_together(running)
    if any(each.stopped for each in designs.values()):
        with ledger.writing() as book:
            keep_stops(book, designs.values(), at=at)
    with ledger.reading() as book:
        if key is None:
            check_on_file(book, designs, at=at)
        waiting = {design.key: _unready(design, project=project, book=book, ready=ready) for design in running}
        starting = [design for design in running if not waiting[design.key]]
        named = {arm.policy for design in starting for arm in design.arms}
        policies = policies_of([*named, *STANDING], catalogue=project.catalogue, book=book)
        learned = {each.key: as_learned(policies, experiment=each.key, book=book) for each in starting}
    names = project.features.names
    return Trials(
        standing=Trial.standing(policies),
        designed=tuple(Trial.of_experiment(each, policies=learned[each.key], feature_names=names) for each in starting),
        holdout=project.holdout,
        waiting=tuple(sentence for sentence in waiting.values() if sentence),
    )


def _unready(design: Experiment, *, project: Project, book: Book, ready: Callable[[Experiment], str] | None) -> str:
    """Why an experiment can't start, in a sentence; "" for one that can, or that has begun."""
    if last_assigned(book, design.key) is not None:
        return ""
    try:
        policies_of([arm.policy for arm in design.arms], catalogue=project.catalogue, book=book)
    except InputError as error:
        return f"Experiment {design.key} waits: {error.wrong}; {error.do}."
    return "" if ready is None else ready(design)


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
    incumbent: Callable[[], Incumbent],
    experiment: str | None = None,
    ready: Callable[[Experiment], str] | None = None,
    reopened: Callable[[], Project] | None = None,
    clock: Clock = now,
) -> Site:
    """The site of a project; when its model can't be read, it starts with what stands in for it and says so.

    ``incumbent`` finds the model in force; it is called once here and again at each reload. ``reopened`` reads the
    project's files again for a reload; without it they stay as they were at the start. A reload is refused when the
    model that should serve can't, or the files are not sound: what is in force serves on.
    """
    ledger = Ledger(project.ledger)

    def engine(project: Project, rules: Rules, scorer: Scorer | None, note: str) -> Engine:
        trials = trials_of(project, ledger, at=clock(), key=experiment, ready=ready)
        version = scorer.version if scorer else ""
        desk = Desk(ledger, rules=rules, trials=trials, model=version, masking=masking_of(project))
        return Engine(desk=desk, scorer=scorer, note=note)

    def reload() -> Engine:
        anew = project if reopened is None else reopened()
        _check_features(project, anew)
        rules, found = rules_of(anew), incumbent()
        if found.trouble is not None:
            raise found.trouble
        scorer = scorer_of(found.bundle, project=anew, rules=rules, at=clock()) if found.bundle else None
        return engine(anew, rules, scorer, found.note)

    rules = rules_of(project)
    scorer, note = scoring(incumbent(), project=project, rules=rules, at=clock())
    service = Service(
        engine=engine(project, rules, scorer, note),
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


def _check_features(project: Project, anew: Project) -> None:
    """Raise where the files declare other features than those that the service computes."""
    if anew.features.fingerprint != project.features.fingerprint:
        raise InputError(
            "the features were changed, which a running service can't take over",
            got=f"features {anew.features.fingerprint} in the files, {project.features.fingerprint} in force",
            do="start the service again, with a model that was trained on them",
        )
