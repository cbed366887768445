"""The demo told in steps: from the simulated customers' behaviour to the lift report."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pyarrow.compute as pc

from experiments.market import Market, MarketSpec
from experiments.market.exports import sources_toml, write_exports
from experiments.report import Driver, Report, render
from features.errors import InputError
from features.intake import ingest
from features.matching import matched
from features.tables import write_table
from rapport.demo.campaign import Campaign, run_campaign
from rapport.demo.findings import look_after, reports_of
from rapport.demo.setting import HISTORY_WEEKS, tried, write_offers, write_project
from rapport.project import Project
from rapport.trials.looks import record_look
from serving.scoring import ResponseScorer
from training.dataset import interactions
from training.models import ResponseModel
from training.pipeline import train_offers, train_response
from training.registry import Registration, register
from training.trained import Plan, Trained

Step = Callable[[str], AbstractContextManager[None]]
_MARK = ".rapport-demo"
_CONTACTS = 300_000
_DRIVERS = 8


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the demo ends with."""

    project: Project
    report: Report
    page: Path
    campaign: Campaign
    registered: tuple[Registration, ...]

    @property
    def example(self) -> str:
        """The id of a decision worth a look: a contact that was chosen for this very customer."""
        decisions = self.campaign.decisions
        chosen = pc.and_(pc.equal(decisions["arm"], "one_to_one"), pc.not_equal(decisions["action"], "nothing"))
        decision_id: str = decisions["decision_id"].filter(chosen)[0].as_py()
        return decision_id


def tell(
    folder: Path, *, customers: int, weeks: int, seed: int, trials: int, step: Step, progress: Callable[[int], None]
) -> Told:
    """Run the whole loop in ``folder``; a folder that holds an earlier demo is made anew, any other is refused."""
    root = _clear(folder)
    with step(f"simulating a year of {customers:,} customers over five channels"):
        market = Market(MarketSpec(customers=customers, seed=seed))
        write_exports(market, root / "exports", weeks=HISTORY_WEEKS)
        project = write_project(root, market, sources=sources_toml(), weeks=weeks)
    with step("taking the exports of seven systems in as dated facts"):
        for source in project.sources:
            ingest(
                source,
                data=root,
                history=project.history,
                quarantine=project.quarantine,
                now=market.begin(HISTORY_WEEKS) + timedelta(days=14),
            )
        earned = tried(project, market)
        write_offers(project, market, earned)
    response, offers = _train(project, market, trials=trials, seed=seed, step=step)
    with step("registering both models in MLflow"):
        registered = (_registered(project, response), _registered(project, offers))
        model = ResponseModel.load(project.models / response.card.name, features=project.features)
    with step(f"running {weeks} weeks of contacts in seven arms"):
        campaign = run_campaign(
            project,
            market,
            scorer=lambda rules: ResponseScorer(model, rules=rules, version=response.card.model_hash[:16]),
            tried=earned,
            weeks=weeks,
            progress=progress,
        )
    with step(f"looking at the experiment after each of the {weeks} weeks, and writing the report"):
        report = _look(project, market, campaign, weeks=weeks, drivers=_drivers(response, project))
        page = root / "lift-report.html"
        page.write_text(render(report), encoding="utf-8")
    return Told(project=project, report=report, page=page, campaign=campaign, registered=registered)


def _train(project: Project, market: Market, *, trials: int, seed: int, step: Step) -> tuple[Trained, Trained]:
    now = market.begin(HISTORY_WEEKS)
    with step("features as of each past contact"):
        contacts = project.contacts(until=now, most=_CONTACTS)
    with step(f"response model: {len(contacts.label):,} contacts, {trials} Optuna trials"):
        response = train_response(
            contacts.frame,
            contacts.label,
            label_name="took the offer within a week",
            times=contacts.times,
            groups=contacts.customers,
            features=project.features,
            plan=Plan(trials=trials, seed=seed),
        )
    with step("offer model, from the discounts that customers took"):
        taken = interactions(project.history, kinds=("discount",), until=now, purposes=project.purposes)
        offers = train_offers(taken, k=3, repeats=True, plan=Plan(seed=seed))
    return response, offers


def _registered(project: Project, trained: Trained) -> Registration:
    card = trained.card
    return register(trained, tracking=project.tracking, name=card.name, out=project.models / card.name)


def _drivers(trained: Trained, project: Project) -> tuple[Driver, ...]:
    """What the response model looked at most, in the words of the features."""
    meanings = {column.name: column.feature.meaning for column in project.features.columns}
    total = sum(trained.card.importances.values()) or 1.0
    ranked = sorted(trained.card.importances.items(), key=lambda each: -each[1])[:_DRIVERS]
    words = project.settings.features.vocabulary
    return tuple(Driver(words=_in_words(name, meanings, words), share=gain / total) for name, gain in ranked)


def _in_words(name: str, meanings: Mapping[str, str], vocabulary: Mapping[str, Sequence[str]]) -> str:
    """What a column of the model means; one that matches the offer, by what it means for the first word."""
    for mark, words in vocabulary.items():
        source = matched(name, {mark: words[0]}) if words else None
        if source is not None:
            return meanings[source].replace(words[0], f"the offer's own {mark}")
    return meanings.get(name, name)


def _look(project: Project, market: Market, campaign: Campaign, *, weeks: int, drivers: tuple[Driver, ...]) -> Report:
    looks = [look_after(week, project=project, campaign=campaign, final=week == weeks) for week in range(1, weeks + 1)]
    reports = reports_of(looks, project=project, campaign=campaign, drivers=drivers, market=market)
    for look, report in zip(looks, reports, strict=True):
        record_look(project, report, outcomes=look.outcomes)
    write_table(looks[-1].outcomes, project.root / "outcomes.parquet")
    moments = campaign.units.select(["customer_id", "assigned_at"]).rename_columns(["customer_id", "as_of"])
    write_table(moments.slice(0, 1_000), project.root / "moments.csv")
    return reports[-1]


def _clear(folder: Path) -> Path:
    root = folder.resolve()
    if root.exists() and any(root.iterdir()):
        if not (root / _MARK).exists():
            raise InputError(
                f"{str(folder)!r} is not empty", got="files that are not a demo's", do="name a new folder with --out"
            )
        shutil.rmtree(root)
    root.mkdir(parents=True, exist_ok=True)
    (root / _MARK).write_text("made by rapport demo; it is deleted when the demo runs here again\n", encoding="utf-8")
    return root
