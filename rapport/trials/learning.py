"""What the bandits of a project's experiment learn: matured outcomes of the ledger's decisions, replayed as one.

A learned state is never stepped forward: it is computed anew from the opening policy and from all decisions whose
windows have closed, as known at one moment. So learning twice changes nothing, an outcome that came late is in its
place the next time, nothing is lost with a process that was killed, and any past state can be computed again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import func, select

from experiments.arrivals import BEFORE, Arrivals, KindArrivals, arrivals_by_kind
from experiments.design import Experiment, aware
from experiments.offpolicy.rewards import decision_rewards
from experiments.outcomes import by_person
from experiments.policies import Bandit
from features.errors import InputError
from features.facts import micros
from rapport.people.base import allowed
from rapport.people.persons import persons_known
from rapport.project import Project
from rapport.trials.decided import EARNING, as_table
from serving import schema
from serving.book import Book, policy_version
from serving.decision import Decision
from serving.designs import check_kept
from serving.learned import LearnedFrom, learned_from, learned_name
from serving.ledger import Ledger
from serving.people import LinkedAccounts
from serving.reasons import Reason
from serving.trial import policies_of

# Decisions in which the policy had a choice: where nothing but nothing was left, nothing can be learned of it.
_CHOSEN = (int(Reason.CHOSEN), int(Reason.NOTHING_CHOSEN))
_decoder = msgspec.msgpack.Decoder(Decision)


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What one policy of an experiment has become.

    Parameters
    ----------
    name: of the policy, as the arms name it; ``arms`` are those that it decides in.
    policy: the state at the moment that was asked for; ``version`` is its own.
    matured: decisions that it has learned from; ``open``: those whose windows have not closed.
    rewards: action -> matured decisions and their mean reward.
    published: whether this state is new in the ledger, and in force from the next reload on.

    >>> from experiments.policies import ArmBeliefs, Beta
    >>> policy = Bandit(beliefs=ArmBeliefs(prior=Beta()))
    >>> learned = Learned(name="bandit", arms=("bandit",), policy=policy, version=policy_version(policy), matured=0,
    ...                   open=9, rewards={}, published=False)
    >>> learned.open
    9
    """

    name: str
    arms: tuple[str, ...]
    policy: Bandit
    version: str
    matured: int
    open: int
    rewards: Mapping[str, tuple[int, float]]
    published: bool


def learn(
    project: Project, design: Experiment, *, as_of: datetime, window: timedelta | None = None, anew: bool = False
) -> tuple[Learned, ...]:
    """Learn what is known at ``as_of``, and put the new states of the experiment's bandits into the ledger.

    A decision's reward is the goal that decides the experiment, in the window after that very decision. A state older
    than the one in force is computed and not published.

    Parameters
    ----------
    window: in place of the goal's own window; it should end before the customer's next decision.
    anew: put a state in force that was learned with another window or margin than the one that is.

    Raises
    ------
    InputError
        When no arm's policy learns, the goal is a ratio, the design is not the one that was decided by, the state in
        force was learned otherwise, or events have stopped arriving: their absence is no zero.
    """
    ledger = Ledger(project.ledger)
    try:
        with ledger.reading() as book:
            names = [arm.policy for arm in design.arms]
            policies = policies_of(names, catalogue=project.catalogue, book=book)
            check_kept(book, design)
        bandits = {name: policy for name, policy in policies.items() if isinstance(policy, Bandit)}
        if not bandits:
            raise InputError(
                f"no arm of {design.key!r} learns",
                got=", ".join(sorted(set(names))),
                do="publish a Bandit in the ledger under the policy's name",
            )
        _check_arriving(project, design, as_of=as_of, window=window)
        replay = _Replay(
            project=project,
            ledger=ledger,
            design=design,
            as_of=as_of,
            window=window or design.goals[0].window,
            anew=anew,
        )
        with ledger.reading() as book:
            for opening in bandits.values():
                replay.check_alike(book, learned_name(design.key, opening))
        return tuple(replay.learned(name, opening) for name, opening in bandits.items())
    finally:
        ledger.close()


def _check_arriving(project: Project, design: Experiment, *, as_of: datetime, window: timedelta | None) -> None:
    """Raise where the feed of events has stopped, or that of those that are the reward."""
    events = project.history.events(until=as_of, since=aware(design.start) - BEFORE)
    goal = design.goals[0]
    delay = goal.maturity - goal.window
    found = Arrivals.of(events["recorded_at"], as_of=as_of, window=window or goal.window, delay=delay)
    feeds: tuple[Arrivals | KindArrivals, ...] = (found, *arrivals_by_kind(events, [goal], as_of=as_of))
    for each in feeds:
        if each.status == "red":
            raise InputError(
                each.sentence.removesuffix("."),
                got=f"nothing until {as_of:%Y-%m-%d %H:%M} UTC",
                do="learn again once what happened since is ingested",
            )


@dataclass(frozen=True, kw_only=True)
class _Replay:
    """Where the decisions of a policy are read, and up to when."""

    project: Project
    ledger: Ledger
    design: Experiment
    as_of: datetime
    window: timedelta
    anew: bool

    @property
    def made_from(self) -> LearnedFrom:
        """By what it learns."""
        profit = self.design.goals[0].kind == "given"
        margin_bp = self.project.settings.project.margin_bp if profit else None
        return LearnedFrom(window_days=self.window / timedelta(days=1), margin_bp=margin_bp)

    def check_alike(self, book: Book, name: str) -> None:
        """Raise where the state in force was learned by something else, and nobody said that it may be replaced."""
        held = learned_from(book, name)
        if self.anew or held is None or held == self.made_from:
            return
        raise InputError(
            f"what {self.design.key!r} has learned so far was learned otherwise",
            got=f"{self.made_from.words} now, and {held.words} in the state that is in force",
            do=f"pass --window {held.window_days:g} again, or --anew to learn all outcomes again, as a new version"
            if held.margin_bp == self.made_from.margin_bp
            else "put the margin in rapport.toml back, or pass --anew to learn all outcomes again, as a new version",
        )

    def learned(self, name: str, opening: Bandit) -> Learned:
        arms = tuple(arm.name for arm in self.design.arms if arm.policy == name)
        decisions, features = self._decided(arms, opening.names)
        rewards = self._rewards(decisions)
        mature = ~np.isnan(rewards)
        actions = np.array(decisions["action"].to_pylist(), dtype=str)
        policy = opening.aged(max(0.0, _days(aware(self.design.start), self.as_of))).update(
            actions,
            rewards,
            features=features,
            mature=mature,
            days_ago=np.array([_days(each, self.as_of) for each in decisions["decided_at"].to_pylist()]),
        )
        earned = {each: rewards[mature & (actions == each)] for each in np.unique(actions[mature]).tolist()}
        return Learned(
            name=name,
            arms=arms,
            policy=policy,
            version=policy_version(policy),
            matured=int(mature.sum()),
            open=int((~mature).sum()),
            rewards={each: (found.size, float(found.mean())) for each, found in earned.items()},
            published=self._publish(learned_name(self.design.key, opening), policy),
        )

    def _publish(self, name: str, policy: Bandit) -> bool:
        """Whether the policy is new and, in the ledger, newer than what it has under that name."""
        columns = schema.policies.c
        with self.ledger.writing() as book:
            newest = book.connection.scalar(select(func.max(columns.published_at)).where(columns.name == name))
            self.check_alike(book, name)
            held, made_from = book.policy(name), learned_from(book, name)
            known = held is not None and held[0] == policy_version(policy) and made_from in (None, self.made_from)
            if known or (newest or 0) > micros(self.as_of):
                return False
            book.publish(name, policy, at=self.as_of, made_from=self.made_from.to_json())
            return True

    def _decided(self, arms: Sequence[str], names: Sequence[str]) -> tuple[pa.Table, dict[str, np.ndarray]]:
        """The decisions that the policy took, oldest first, and the features ``names`` that each one saw."""
        columns = schema.decisions.c
        wanted = (
            select(*(columns[name] for name in EARNING.names), columns.record)
            .where(columns.experiment == self.design.key, columns.arm.in_(arms), columns.reason.in_(_CHOSEN))
            .where(columns.decided_at < micros(self.as_of))
            .order_by(columns.decided_at, columns.decision_id)
        )
        with self.ledger.reading() as book:
            rows = [tuple(row) for row in book.connection.execute(wanted)]
            seen = _seen(book, [row[-1] for row in rows]) if names else []
        decisions = as_table([row[:-1] for row in rows], columns=EARNING)
        return decisions, self._permitted(decisions, {name: [each.get(name) for each in seen] for name in names})

    def _permitted(self, decisions: pa.Table, features: Mapping[str, list[Any]]) -> dict[str, np.ndarray]:
        """Numbers by feature, without what the customers do not allow to be used any more."""
        if not features or decisions.num_rows == 0:
            return {name: np.empty(0) for name in features}
        known = {
            each: pa.array([_number(value) for value in features[each]], pa.float64())
            if each in features
            else pa.nulls(decisions.num_rows, pa.float64())
            for each in self.project.features.names
        }
        table = pa.table({"customer_id": decisions["customer_id"], **known})
        table, _ = allowed(self.project, table, people=LinkedAccounts(self.project.history))
        return {name: table[name].to_numpy() for name in features}

    def _rewards(self, decisions: pa.Table) -> np.ndarray:
        """What each decision earned; NaN where its window has not closed."""
        if decisions.num_rows == 0:
            return np.empty(0)
        goal = self.design.goals[0]
        people = persons_known(self.project, as_of=self.as_of)
        found = decision_rewards(
            by_person(decisions, people),
            by_person(self.project.history.events(until=self.as_of, since=aware(self.design.start)), people),
            measure=goal,
            window=self.window,
            as_of=self.as_of,
            margin_bp=self.project.settings.project.margin_bp,
        )
        place = pc.index_in(decisions["decision_id"], value_set=found["decision_id"])
        rewards: np.ndarray = found["reward"].take(place).cast(pa.float64()).to_numpy()
        return rewards


def _seen(book: Book, records: Sequence[bytes]) -> list[dict[str, Any]]:
    """The row that each decision saw, by the names of the rules that it was taken by."""
    decided = [_decoder.decode(record) for record in records]
    rules = {fingerprint: book.rules(fingerprint) for fingerprint in {each.rules for each in decided}}
    names = {fingerprint: held.feature_names if held else () for fingerprint, held in rules.items()}
    return [dict(zip(names[each.rules], each.row or (), strict=False)) for each in decided]


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _days(since: datetime, until: datetime) -> float:
    return (until - since) / timedelta(days=1)
