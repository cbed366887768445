"""The project folder: what a company writes down, and where Rapport keeps what it makes of it."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import cached_property
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.design import Experiment
from experiments.design_file import load_experiment
from experiments.holdout import Holdout
from features.configuration import read_config
from features.declaration import FeatureSet
from features.errors import InputError, unknown
from features.history import History
from features.identity import IdentityRules
from features.intake import Source
from features.library import DEFAULT_GROUPS, standard_features
from features.privacy.purposes import Purposes
from features.tracking import TrackingStore
from rapport.catalogue import OfferFacts, with_facts
from serving.catalogue import Catalogue, from_toml
from serving.contact_policy import ContactPolicy
from serving.scenarios import Scenarios
from serving.scoring import items_of

if TYPE_CHECKING:
    from training.dataset import Goal, TrainingSet


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who the project belongs to.

    Parameters
    ----------
    name: the company or brand, as reports show it.
    currency: ISO code of all money.
    margin: share of a purchase's amount that is earned, before discounts and contact costs.
    """

    name: str
    currency: str = "EUR"
    margin: float = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.margin <= 1:
            raise InputError("margin is a share", got=str(self.margin), do="give a number from 0 to 1, such as 0.3")

    @property
    def margin_bp(self) -> int:
        """The margin in basis points, so that cents stay whole numbers."""
        return round(10_000 * self.margin)


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """What the standard features count by: the company's channels, product categories, brands ...

    The keys are the parameters of ``features.standard_features``.
    """

    channels: tuple[str, ...] = ("web", "email", "mail", "call", "store")
    categories: tuple[str, ...] = ()
    brands: tuple[str, ...] = ()
    offers: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    groups: tuple[str, ...] = DEFAULT_GROUPS
    hours_from_utc: int = 0

    @property
    def vocabulary(self) -> dict[str, tuple[str, ...]]:
        """The words that features matching an offer are made for."""
        return {
            "channel": self.channels,
            "category": self.categories,
            "brand": self.brands,
            "offer": self.offers,
        }


@dataclass(frozen=True, kw_only=True)
class Response:
    """What counts as the response to a contact: one of these event kinds within the window after it.

    ``same_item`` and ``wave_size`` are those of ``training.dataset.Goal``. ``recorded_from`` and ``recorded_until`` say
    between which moments responses were recorded, where records begin later than contacts or ended in the past:
    contacts before the one and windows that end after the other have no known outcome, and are left out.
    """

    kinds: tuple[str, ...] = ("purchase",)
    window_days: float = 7.0
    delay_days: float = 0.0
    same_item: bool = False
    wave_size: int = 0
    recorded_from: datetime | None = None
    recorded_until: datetime | None = None

    def __post_init__(self) -> None:
        for moment in (self.recorded_from, self.recorded_until):
            if moment is not None and moment.tzinfo is None:
                raise InputError(
                    "a moment of [response] has no time zone",
                    got=moment.isoformat(),
                    do=f"write {moment.isoformat()}Z for UTC",
                )
        if not self.kinds or not all(self.kinds):
            raise InputError(
                "no kind of event counts as the response", got=str(list(self.kinds)), do="name at least one"
            )
        if not 0 < self.window_days < inf:
            raise InputError("window_days must be above 0", got=str(self.window_days), do="give a number of days")
        if not 0 <= self.delay_days < inf:
            raise InputError("delay_days can't be below 0", got=str(self.delay_days), do="give a number of days, or 0")
        if self.wave_size < 0:
            raise InputError(
                "wave_size can't be below 0", got=str(self.wave_size), do="give a number of contacts, or 0"
            )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What ``rapport.toml`` says."""

    project: Identity
    features: Vocabulary = Vocabulary()
    response: Response = Response()
    catalogue: OfferFacts | None = None
    source: tuple[Source, ...] = ()
    feature: tuple[dict[str, Any], ...] = ()
    purposes: dict[str, Any] = field(default_factory=dict)
    holdout: Holdout | None = None
    identity: IdentityRules = field(default_factory=IdentityRules)


@dataclass(frozen=True)
class Project:
    """A project folder, read when asked for.

    >>> from tempfile import mkdtemp
    >>> from rapport.init import create_project
    >>> folder = Path(mkdtemp()) / "shop"
    >>> _ = create_project(folder, name="Shop")
    >>> load_project(folder).settings.project.name
    'Shop'
    """

    root: Path
    settings: Settings = field(repr=False)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The systems whose files are taken in."""
        return self.settings.source

    @cached_property
    def history(self) -> History:
        """All facts that were taken in."""
        return History(self.root / "history")

    @property
    def identity(self) -> IdentityRules:
        """What tells that accounts of several systems are one person."""
        return self.settings.identity

    @property
    def quarantine(self) -> Path:
        """Where rows that were refused are kept."""
        return self.root / "quarantine"

    @property
    def models(self) -> Path:
        """Where model bundles are kept."""
        return self.root / "models"

    @property
    def ledger(self) -> Path:
        """The database of decisions, slots and consents."""
        return self.root / "ledger.db"

    @cached_property
    def tracking(self) -> TrackingStore:
        """The project's MLflow store."""
        return TrackingStore(self.root / "mlruns")

    @cached_property
    def features(self) -> FeatureSet:
        """The standard features for the company's channels and categories, and its own."""
        words = self.settings.features
        standard = standard_features(**{each.name: getattr(words, each.name) for each in fields(words)})
        features = standard.extended(self.settings.feature)
        self.purposes.require(features)
        return features

    @cached_property
    def purposes(self) -> Purposes:
        """What features may be used for without asking."""
        return Purposes.from_config(self.settings.purposes)

    @cached_property
    def catalogue(self) -> Catalogue:
        """Offers and their treatments: those of ``offers.toml``, and those that the facts about items tell of."""
        typed, facts = self._read("offers.toml"), self.settings.catalogue
        if facts is None:
            return from_toml(typed, Catalogue, where="offers.toml")
        told = with_facts(typed, facts, items_of(self.history.items()))
        return from_toml(told, Catalogue, where="offers.toml with [catalogue] of rapport.toml")

    @cached_property
    def scenarios(self) -> Scenarios:
        """Marketers' rules."""
        return from_toml(self._read("scenarios.toml"), Scenarios, where="scenarios.toml")

    @cached_property
    def contact_policy(self) -> ContactPolicy:
        """Limits on contacts."""
        return from_toml(self._read("contact_policy.toml"), ContactPolicy, where="contact_policy.toml")

    @property
    def goal(self) -> Goal:
        """What counts as the response, as training reads it."""
        from training.dataset import Goal

        told = asdict(self.settings.response)
        return Goal(**{each.name: told[each.name] for each in fields(Goal)})

    def contacts(self, *, until: datetime | None = None, most: int = 1_000_000) -> TrainingSet:
        """The mature contacts as known at ``until`` (default: at the history's last event), with features and response.

        Those whose responses nobody recorded are left out (``recorded_from`` and ``recorded_until`` of ``[response]``),
        and beyond ``most`` contacts others at random.
        """
        from training.dataset import last_known, training_set

        self._keep_consents()
        facts, recorded = self.settings.catalogue, self.settings.response
        found = training_set(
            self.history,
            self.features,
            goal=self.goal,
            until=min(until or last_known(self.history), recorded.recorded_until or datetime.max.replace(tzinfo=UTC)),
            vocabulary=self.settings.features.vocabulary,
            most=most,
            channels=facts.channels if facts else "",
            apart=facts.rules if facts else (),
            purposes=self.purposes,
            used_at=datetime.now(UTC),  # whatever the rows are known as of, an objection of today stops their use
        )
        return _since(found, recorded.recorded_from) if recorded.recorded_from else found

    def _keep_consents(self) -> None:
        """Take into the history what customers told the service since the last ingest: an objection counts at once."""
        if self.ledger.exists():
            from serving.inbox import keep_consents
            from serving.ledger import Ledger

            ledger = Ledger(self.ledger)
            try:
                with ledger.reading() as book:
                    keep_consents(book, self.history)
            finally:
                ledger.close()

    @cached_property
    def experiments(self) -> dict[str, Experiment]:
        """The designs in ``experiments/``, by key."""
        found: dict[str, Experiment] = {}
        for path in sorted((self.root / "experiments").glob("*.toml")):
            design = load_experiment(path)
            if design.key in found:
                raise InputError(
                    "two experiments have the same key",
                    got=f"{design.key!r} again in {path.name}",
                    do="give each design a key of its own",
                )
            found[design.key] = design
        return found

    @property
    def holdout(self) -> Holdout | None:
        """From whom all marketing is withheld, over all experiments."""
        return self.settings.holdout

    def experiment(self, key: str) -> Experiment:
        """The design of one experiment; the error names the near keys."""
        if key not in self.experiments:
            raise unknown("experiment", key, self.experiments, do="add it as experiments/<key>.toml")
        return self.experiments[key]

    def _read(self, name: str) -> dict[str, Any]:
        path = self.root / name
        return read_toml(path) if path.exists() else {}


def _since(found: TrainingSet, moment: datetime) -> TrainingSet:
    """The contacts of a training set from ``moment`` on."""
    kept = (found.times >= moment).to_numpy()
    rows = {
        each.name: getattr(found, each.name)[kept].reset_index(drop=True)
        for each in fields(found)
        if each.name != "censored"
    }
    return replace(found, **rows)


_PARTS = (
    ("project", Identity),
    ("features", Vocabulary),
    ("response", Response),
    ("catalogue", OfferFacts),
    ("holdout", Holdout),
)


def load_project(folder: str | Path = ".") -> Project:
    """The project in ``folder``.

    Raises
    ------
    InputError
        When the folder holds no valid ``rapport.toml``, or its holdout names a channel that nobody else does.
    """
    root = Path(folder).resolve()
    path = root / "rapport.toml"
    if not path.is_file():
        raise InputError(
            f"there is no project in {str(folder)!r}",
            got="no file rapport.toml there",
            do="make one with `rapport init DIR`, or name its folder with --project",
        )
    raw = read_toml(path)
    parts: dict[str, Any] = {
        name: read_config(raw.get(name, {}), kind, what=f"[{name}] of {path.name}")
        for name, kind in _PARTS
        if name in raw or name == "project"
    }
    tables = raw.get("source", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InputError("a source is declared wrongly", got=f"source = {tables!r:.60}", do="write it as [[source]]")
    sources = tuple(Source.from_config(table) for table in tables)
    parts["identity"] = IdentityRules.from_config(raw.get("identity", {}), what=f"[identity] of {path.name}")
    project = Project(root, read_config({**raw, **parts, "source": sources}, Settings, what=path.name))
    _check_channels(project)
    return project


def _check_channels(project: Project) -> None:
    """Raise for a holdout from a channel that nothing is ever sent on: it would withhold nothing, and never tell."""
    known = set(project.settings.features.channels)
    strange = [each for each in (project.holdout.channels if project.holdout else ()) if each not in known]
    if strange:  # only then are the offers read, which may be many
        known |= {each.channel for each in project.catalogue.treatments}
    for channel in strange:
        if channel not in known:
            do = "name a channel of [features] channels, or of an offer"
            raise unknown("channel in [holdout] channels", channel, sorted(known), do=do)


def read_toml(path: Path) -> dict[str, Any]:
    """What a TOML file holds."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path.name} can't be read as TOML", got=str(error), do="mend that place") from error
