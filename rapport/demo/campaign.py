"""The experiment of the demo, week by week: decide, let the market answer, learn from what has arrived."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from experiments.market import Market
from experiments.policies import (
    AnyPolicy,
    ArmBeliefs,
    Bandit,
    Beta,
    Gaussian,
    Nothing,
    OneToOne,
    RandomEligible,
    Static,
)
from features.facts import TIMESTAMP
from rapport.demo.setting import CLUSTERS, HISTORY_WEEKS, Tried
from rapport.people.base import allowed
from rapport.project import Project
from rapport.trials.learning import learn
from rapport.trials.publishing import Valued, few_policy, segment_policy
from serving.assembly import masking_of, rules_of
from serving.batch import decide_all
from serving.book import Consent
from serving.desk import Desk
from serving.ledger import Ledger
from serving.people import LinkedAccounts
from serving.rules import Rules
from serving.scoring import Scorer
from serving.trial import Trial
from serving.trials import Trials

SEGMENT, COVARIATE = "age_band", "spend_90d"
_REWARD = timedelta(days=7)
# The bandit starts from the history as if it had seen a twentieth of it, so that it can still be taught better.
_TRUST = 20


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """What an experiment of some weeks left behind.

    ``units`` has one row per customer: ``customer_id, household_id, arm, assigned_at`` and what was known at the start.
    ``decisions`` are in the columns of ``serving.batch.DECISIONS``; ``incremental`` is the truth that only the market
    knows: the profit in cents that each customer's contacts are expected to cause, over all weeks.
    """

    units: pa.Table
    decisions: pa.Table
    incremental: np.ndarray
    model: str


def opening_policies(found: Valued, *, seed: int) -> dict[str, AnyPolicy]:
    """The policy of each arm that does not learn, by name, from what is known before the first week."""
    interests = [name for name in found.numbers if name.startswith("interest_")]
    return {
        "nothing": Nothing(),
        "random": RandomEligible(),
        "static": Static(treatment=found.rules.book.catalogue.static[0]),
        "segment": segment_policy(found, by=SEGMENT),
        "few": few_policy(found, names=interests, clusters=CLUSTERS, seed=seed),
        "one_to_one": OneToOne(),
    }


def opening_bandit(rules: Rules, tried: Mapping[str, Tried]) -> Bandit:
    """A bandit that believes a part of what the history says each action earned."""
    beliefs: dict[str, Beta | Gaussian] = {}
    for action, cost in zip(rules.actions, rules.costs, strict=True):
        if (found := tried.get(action)) is not None:
            width = found.sd * (_TRUST / found.n) ** 0.5
            beliefs[action] = Gaussian(mean=found.mean - cost, sd=width, noise_sd=found.sd)
    prior = Gaussian(mean=0.0, sd=100.0, noise_sd=300.0)
    # The floor is what makes the log of the arm usable: with the market's 21 actions a fifth of its contacts is chance.
    return Bandit(beliefs=ArmBeliefs(prior=prior, arms=beliefs))


def run_campaign(
    project: Project,
    market: Market,
    *,
    scorer: Callable[[Rules], Scorer],
    tried: Mapping[str, Tried],
    weeks: int,
    progress: Callable[[int], None],
) -> Campaign:
    """So many Mondays on which every customer is decided on, and the market's answers, which arrive late."""
    rules = rules_of(project)
    values_of = scorer(rules)
    ledger = Ledger(project.ledger)
    _opening_consents(ledger, project, market)
    design, people, masking = (
        project.experiment("personalization"),
        LinkedAccounts(project.history),
        masking_of(project),
    )
    policies: dict[str, AnyPolicy] = {}
    kept: list[pa.Table] = []
    incremental = np.zeros(market.spec.customers)
    for week in range(HISTORY_WEEKS, HISTORY_WEEKS + weeks):
        moment = market.begin(week)
        table, masks = allowed(project, _customers(project, market, moment), people=people)
        if not policies:
            opening, units = values_of.values_of(table), table
            known = Valued(table=table, values=opening, rules=rules, at=moment)
            policies = opening_policies(known, seed=market.spec.seed)
            _publish(ledger, policies | {"bandit": opening_bandit(rules, tried)}, at=moment)
        (bandit,) = learn(project, design, as_of=moment, window=_REWARD)
        trial = Trial.of_experiment(design, policies=policies | {"bandit": bandit.policy})
        desk = Desk(ledger, rules=rules, trials=Trials.only(trial), model=values_of.version, masking=masking)
        values = values_of.values_of(table)
        decided = decide_all(
            table, desk=desk, at=moment, seed=f"week-{week}", values=values, people=people, masks=masks
        )
        kept.append(decided)
        incremental += _answer(project, market, ledger, week, decided)
        progress(week - HISTORY_WEEKS + 1)
    ledger.close()
    return Campaign(
        units=_units(units, kept[0]),
        decisions=pa.concat_tables(kept),
        incremental=incremental,
        model=values_of.version,
    )


def _publish(ledger: Ledger, policies: Mapping[str, AnyPolicy], *, at: datetime) -> None:
    with ledger.writing() as book:
        for name, policy in policies.items():
            book.publish(name, policy, at=at)


def _units(table: pa.Table, decided: pa.Table) -> pa.Table:
    """One row per customer of the experiment, from the first week's features and decisions (same rows)."""
    known = table.select(["customer_id", "household_id", COVARIATE, SEGMENT])
    return known.append_column("arm", decided["arm"]).append_column("assigned_at", decided["decided_at"])


def _customers(project: Project, market: Market, moment: datetime) -> pa.Table:
    """Every customer with the features of this moment."""
    count = market.spec.customers
    spine = pa.table(
        {
            "customer_id": market.customer_ids,
            "household_id": market.household_ids,
            "as_of": pa.repeat(pa.scalar(moment, TIMESTAMP), count),
        }
    )
    return project.features.offline(project.history, spine)


def _answer(project: Project, market: Market, ledger: Ledger, week: int, decided: pa.Table) -> np.ndarray:
    """Let the market answer to a week's decisions; returns the profit that they are expected to cause (customers,)."""
    places = pc.index_in(decided["action"], value_set=pa.array(market.actions)).to_numpy()
    actions = np.zeros(market.spec.customers, dtype=np.int64)
    actions[market.places(decided["customer_id"])] = places
    events = market.week(week, actions, log_contacts=True)
    project.history.append(events, part=f"week-{week}")
    _opt_outs(ledger, events)
    untouched = market.expected(week, np.zeros_like(actions))
    return np.asarray(market.expected(week, actions).profit - untouched.profit)


def _opening_consents(ledger: Ledger, project: Project, market: Market) -> None:
    """Every customer agreed to marketing when they joined; some said no in the year since."""
    joined = market.spec.start
    with ledger.writing() as book:
        book.consent(
            [
                Consent(
                    customer_id=customer_id,
                    channel="all",
                    granted=True,
                    source="import",
                    wording="joined the (simulated) loyalty programme",
                    occurred_at=joined,
                    recorded_at=joined,
                )
                for customer_id in market.customer_ids.to_pylist()
            ]
        )
    _opt_outs(ledger, project.history.events())


def _opt_outs(ledger: Ledger, events: pa.Table) -> None:
    """Take the opt-outs among ``events`` down as a no to every channel."""
    said = events.filter(pc.equal(events["kind"], "opt_out"))
    rows = zip(*(said[name].to_pylist() for name in ("customer_id", "occurred_at", "recorded_at")), strict=True)
    with ledger.writing() as book:
        book.consent(
            [
                Consent(
                    customer_id=customer_id,
                    channel="all",
                    granted=False,
                    source="customer",
                    wording="please stop",
                    occurred_at=occurred_at.astimezone(UTC),
                    recorded_at=recorded_at.astimezone(UTC),
                )
                for customer_id, occurred_at, recorded_at in rows
            ]
        )
