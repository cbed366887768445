"""Policies that marketers publish: fitted where they must be, told before they decide, put into the ledger.

What an arm shows is what the policy under its name says. The lower rungs of the ladder are fitted from the expected
incremental profit of every treatment for every customer, by the model in force; a bandit opens with what the goal is
like in the history, and learns from there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import func, select

from experiments.design import Experiment, aware
from experiments.policies import NOTHING, AnyPolicy, Few, Segment, Static
from experiments.policies.fitting import fit_few, fit_segment, fit_static
from features.errors import InputError, listed, unknown
from rapport.incumbent import incumbent
from rapport.people.base import allowed, customer_base
from rapport.project import Project
from serving import schema
from serving.ask import Ask
from serving.assembly import rules_of, scoring
from serving.batch import rows_of
from serving.book import Book, policy_version
from serving.catalogue import CONTACT_CLASSES, check_id
from serving.conditions import Row
from serving.consent import EVERY, Permission, scope
from serving.contact_policy import ContactPolicy
from serving.decision import Assignment, Decision, decide
from serving.ledger import Ledger
from serving.people import LinkedAccounts
from serving.rules import Rules
from serving.trial import standing_policies

_OWN = "segment"
_MOST_SEGMENTS = 200
_LOOKED_AT = 2_000  # customers by whom the chances of a policy that learns are shown: each takes an integral
_YES = Permission(granted=tuple(scope(EVERY, each) for each in CONTACT_CLASSES))
_MARKS = 2  # features that a cluster is described by


@dataclass(frozen=True, kw_only=True)
class Valued:
    """The customers that a policy is fitted on.

    Parameters
    ----------
    table: a row per customer, with a column per feature that may be used of them, and maybe their ``segment``.
    values: expected incremental profit in cents, (customers, actions); None where no model serves.
    rules: what may be offered to whom.
    note: what a person should know of the model.
    """

    table: pa.Table
    values: np.ndarray | None
    rules: Rules
    at: datetime
    model: str = ""
    note: str = ""

    @cached_property
    def worth(self) -> np.ndarray:
        """The values, 0 where the customer may not have the treatment: they would get nothing.

        Raises
        ------
        InputError
            When no model serves.
        """
        if self.values is None:
            raise InputError(
                "there is no model in force to fit a policy by",
                got=self.note,
                do="run `rapport train response --project DIR`, or fit by one that was not promoted with --unpromoted",
            )
        open_to = np.zeros(self.values.shape, dtype=bool)
        for place, decision in enumerate(self.decided(Static(treatment=NOTHING), range(self.table.num_rows))):
            open_to[place, list(decision.survivors)] = True
        worth: np.ndarray = np.where(open_to, self.values, 0.0)
        return worth

    @cached_property
    def rows(self) -> list[Row]:
        """The feature rows, in the order of the rules."""
        return list(rows_of(self.table, self.rules.book.feature_names))

    @cached_property
    def segments(self) -> list[str | None]:
        """The marketers' segment of each customer, where it is known."""
        return self.table[_OWN].to_pylist() if _OWN in self.table.column_names else [None] * self.table.num_rows

    @property
    def texts(self) -> tuple[str, ...]:
        """The features that are texts."""
        names = self.rules.book.feature_names
        return tuple(name for name in names if pa.types.is_string(self.table.schema.field(name).type))

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """The features that are numbers, and differ between customers."""
        bounds = {
            name: pc.min_max(self.table[name])
            for name in self.rules.book.feature_names
            if not pa.types.is_string(self.table.schema.field(name).type)
        }
        return tuple(name for name, each in bounds.items() if each["min"].as_py() != each["max"].as_py())

    def columns(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """The numeric features ``names``, NaN where missing, (customers,) each; the error names the near ones."""
        for name in names:
            if name not in self.numbers:
                raise unknown("numeric feature", name, self.numbers)
        return {name: self.table[name].cast(pa.float64()).to_numpy() for name in names}

    def decided(self, policy: AnyPolicy, places: Sequence[int]) -> Iterator[Decision]:
        """What the policy would do for the customers at ``places``, if all had said yes and no limit were reached."""
        # Limits and quiet hours pass; what conditions, scenarios and dates leave is what the policy chooses from.
        rules = Rules(msgspec.structs.replace(self.rules.book, contact_policy=ContactPolicy()))
        assignment = Assignment(experiment="", arm="", policy=policy, version="")
        ids = self.table["customer_id"].to_pylist()
        for place in places:
            ask = Ask(customer_id=ids[place], moment=self.at, seed="", segment=self.segments[place])
            yield decide(
                ask,
                permission=_YES,
                contacts=(),
                row=self.rows[place],
                values=None if self.values is None else self.values[place],
                assignment=assignment,
                rules=rules,
            )


def valued(project: Project, customers: Path | None, *, at: datetime, unpromoted: bool) -> Valued:
    """The people of the table ``customers``, or all of the history, with what each treatment is worth for them."""
    rules = rules_of(project)
    base = customer_base(project, customers, at=at)
    people = LinkedAccounts(project.history)
    table, _ = allowed(project, project.features.offline(project.history, base.spine), people=people)
    scorer, note = scoring(incumbent(project, unpromoted=unpromoted), project=project, rules=rules, at=at)
    values = scorer.values_of(table) if scorer else None
    return Valued(table=table, values=values, rules=rules, at=at, model=scorer.version if scorer else "", note=note)


def static_policy(found: Valued, *, treatment: str | None) -> Static:
    """The one contact that is worth most over all customers, or the ``treatment`` that is named."""
    if treatment is None:
        return fit_static(found.worth, actions=found.rules.actions)
    found.rules.book.catalogue.index(treatment)
    return Static(treatment=treatment)


def segment_policy(found: Valued, *, by: str | None) -> Segment:
    """The contact that is worth most for each segment: the marketers' own, or the values of the text feature ``by``."""
    if by is not None and by not in found.texts:
        raise unknown(
            "text feature", by, found.texts, do="declare it with aggregate = 'latest', or fit `few` on numbers"
        )
    segments = found.segments if by is None else found.table[by].to_pylist()
    names = {each for each in segments if each is not None}
    if not names:
        raise InputError(
            "no customer's segment is known",
            got=f"{found.table.num_rows:,} customers without one",
            do=f"pass --by with a text feature ({listed(found.texts) or 'none yet'}), or --customers with a table that "
            "has a column segment",
        )
    if len(names) > _MOST_SEGMENTS:
        raise InputError(
            "there are too many segments to have a contact each",
            got=f"{len(names):,} values, such as {listed(sorted(names)[:3])}",
            do=f"take a feature with at most {_MOST_SEGMENTS} values",
        )
    return fit_segment(found.worth, actions=found.rules.actions, segments=segments, by=by)


def few_policy(found: Valued, *, names: Sequence[str] = (), clusters: int, seed: int) -> Few:
    """The contact that is worth most for each of a few groups of customers who are alike in ``names``.

    Without names, in all numeric features that differ between customers.
    """
    looks = found.columns(names or found.numbers)
    if not looks:
        raise InputError(
            "no numeric feature differs between customers", got=f"{found.table.num_rows:,} customers", do="ingest more"
        )
    return fit_few(
        found.worth,
        actions=found.rules.actions,
        features=np.column_stack(list(looks.values())),
        names=list(looks),
        clusters=clusters,
        seed=seed,
    )


@dataclass(frozen=True, kw_only=True)
class Group:
    """What a policy would do for some customers: ``shares`` of them by action, the largest first.

    ``name`` is the segment, what marks the cluster, or ``everybody``.

    >>> Group(name="north", customers=80, shares={"coats-new@email": 0.9, "nothing": 0.1}).customers
    80
    """

    name: str
    customers: int
    shares: Mapping[str, float]


def would_do(policy: AnyPolicy, found: Valued) -> tuple[Group, ...]:
    """What the policy would do by segment or cluster, by the chances it gives; the largest group first.

    A policy that learns is asked about some thousand customers, spread evenly; ``customers`` are those who were asked.
    """
    count = found.table.num_rows
    step = max(1, count // _LOOKED_AT) if policy.learns else 1
    places = range(0, count, step)
    name_of = _group_names(policy, found)
    sizes: Counter[str] = Counter()
    chances: dict[str, dict[str, float]] = {}
    for place, decision in zip(places, found.decided(policy, places), strict=True):
        group = name_of[place]
        sizes[group] += 1
        own = chances.setdefault(group, {})
        for survivor, chance in zip(decision.survivors, decision.probabilities, strict=True):
            action = found.rules.actions[survivor]
            own[action] = own.get(action, 0.0) + chance
    return tuple(Group(name=name, customers=n, shares=_shares(chances[name], n)) for name, n in sizes.most_common())


def _shares(totals: Mapping[str, float], customers: int) -> dict[str, float]:
    """Each action's share of the customers, the largest first; those that nobody gets are left out."""
    ordered = sorted(totals.items(), key=lambda each: -each[1])
    return {action: total / customers for action, total in ordered if total}


def alike(policy: AnyPolicy) -> bool:
    """Whether a policy for segments or clusters has the same contact for all of them, and so is a static one."""
    if isinstance(policy, Segment):
        return len({*policy.table.values(), policy.default}) == 1
    return isinstance(policy, Few) and len(set(policy.treatments)) == 1


def _group_names(policy: AnyPolicy, found: Valued) -> Sequence[str]:
    if isinstance(policy, Segment):
        told = found.segments if policy.by is None else found.table[policy.by].to_pylist()
        return [each if each in policy.table else "none of these" for each in told]
    if isinstance(policy, Few):
        names = [_marks(policy, cluster) for cluster in range(len(policy.centroids))]
        return [names[each] for each in _clusters(policy, found)]
    return ["everybody"] * found.table.num_rows


def _clusters(policy: Few, found: Valued) -> np.ndarray:
    """The cluster of each customer, as :meth:`Few.cluster` tells it for one."""
    columns = np.column_stack([found.table[name].cast(pa.float64()).to_numpy() for name in policy.names])
    scaled = np.nan_to_num((columns - policy.means) / policy.scales)
    centroids = np.array(policy.centroids)
    distances = np.array([np.linalg.norm(scaled - centroid, axis=1) for centroid in centroids])
    nearest: np.ndarray = distances.argmin(axis=0)
    return nearest


def _marks(policy: Few, cluster: int) -> str:
    """What marks a cluster: the features in which it is farthest from the average customer."""
    centroid = np.array(policy.centroids[cluster])
    marked = [place for place in np.argsort(-np.abs(centroid)).tolist()[:_MARKS] if centroid[place]]
    told = ", ".join(f"{'high' if centroid[place] > 0 else 'low'} {policy.names[place]}" for place in marked)
    return f"{cluster + 1}: {told}" if told else f"{cluster + 1}"


@dataclass(frozen=True, kw_only=True)
class Use:
    """An arm of an experiment whose contacts the policy chooses.

    ``units`` have that arm already; ``before`` is the version that decided for it until now, "" for none.

    >>> use = Use(experiment="always-on", arm="segment", start=datetime(2027, 1, 4, tzinfo=UTC), running=True,
    ...           over=False, units=312, before="8a1f")
    >>> use.replaces("8a1f"), use.replaces("77c0")
    (False, True)
    """

    experiment: str
    arm: str
    start: datetime
    running: bool
    over: bool
    units: int
    before: str

    def replaces(self, version: str) -> bool:
        """Whether units of a running arm are decided by another version than before from now on."""
        return self.running and bool(self.units) and self.before not in ("", version)

    def sentence(self, version: str) -> str:
        """From when the version decides there, and what that means."""
        where = f"{self.experiment}, arm {self.arm}"
        if self.over:
            return f"{where}: has ended, and nothing decides there any more."
        if not self.running:
            return f"{where}: from its start on {self.start:%d %B %Y}."
        when = "from the next `rapport score` on, in a running service from its next reload"
        if not self.replaces(version):
            return f"{where}: {when}."
        return (
            f"{where}: {when}. {self.units:,} units have this arm, decided by version {self.before} until now: each "
            "decision says by which one, and the report compares the arm over both. To compare them, give the new one "
            "an experiment of its own."
        )


def uses(project: Project, book: Book, name: str, *, at: datetime) -> tuple[Use, ...]:
    """The arms of the project's experiments that name a policy."""
    return tuple(
        _use(book, design, arm.name, name=name, at=at)
        for design in project.experiments.values()
        for arm in design.arms
        if arm.policy == name
    )


def _use(book: Book, design: Experiment, arm: str, *, name: str, at: datetime) -> Use:
    columns = schema.assignments.c
    units = book.connection.scalar(select(func.count()).where(columns.experiment == design.key, columns.arm == arm))
    held = book.policy(name) or book.policy(f"{design.key}/{arm}")
    ends = [aware(each) for each in (design.end, design.stopped) if each is not None]
    return Use(
        experiment=design.key,
        arm=arm,
        start=aware(design.start),
        running=design.runs_at(at),
        over=any(end <= at for end in ends),
        units=units or 0,
        before=held[0] if held else "",
    )


@dataclass(frozen=True, kw_only=True)
class Published:
    """A policy under its name: ``changed`` is whether another one, or none, was in force there before."""

    policy: AnyPolicy
    version: str
    changed: bool
    uses: tuple[Use, ...]


def publish(project: Project, name: str, policy: AnyPolicy, *, dry_run: bool = False) -> Published:
    """Put ``policy`` in force under ``name``, as a version of the ledger; ``dry_run`` only tells what that would do.

    What stands under its name anyway is not written.
    """
    check_id("the policy's name", name)
    now = datetime.now(UTC)
    ledger = Ledger(project.ledger)
    try:
        with ledger.reading() as book:
            held, used = book.policy(name), uses(project, book, name, at=now)
        in_force = held[1] if held else standing_policies(project.catalogue).get(name)
        if not dry_run and policy != in_force:
            with ledger.writing() as book:
                book.publish(name, policy, at=now)
    finally:
        ledger.close()
    return Published(policy=policy, version=policy_version(policy), changed=policy != in_force, uses=used)
