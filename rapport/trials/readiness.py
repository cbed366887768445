"""Whether an experiment may start: its start rules, held against the project as it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from experiments.assignment import assign_all
from experiments.design import Experiment
from experiments.layers import in_slice
from features.errors import unknown
from features.sql import in_memory
from serving.batch import rows_of
from serving.trial import audience_of

if TYPE_CHECKING:
    from rapport.project import Project

UNEVEN = 0.001
"""Below this chance of a difference as large by luck alone, over all features, a split is not started."""


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """Something that must hold before the first unit is assigned, with what was found."""

    sentence: str
    held: bool


def readiness(project: Project, design: Experiment, *, at: datetime | None = None) -> str:
    """Why an experiment waits, "" when nothing keeps it from starting."""
    missing = [each.sentence for each in requirements(project, design, at=at or datetime.now(UTC)) if not each.held]
    return f"Experiment {design.key} waits: {'; '.join(missing)}." if missing else ""


def requirements(project: Project, design: Experiment, *, at: datetime) -> tuple[Requirement, ...]:
    """The start rules of a design, each with what was found at ``at``.

    Raises
    ------
    InputError
        When the audience or a rule names a feature that the project doesn't have, or one that is no number.
    """
    rules, found = design.start_rules, []
    if rules.history_days:
        reaches = history_days(project, at=at)
        told = f"the history reaches back {reaches:.0f} of at least {rules.history_days:g} days"
        found.append(Requirement(sentence=told, held=reaches >= rules.history_days))
    if rules.asks_of_customers:
        people = audience(project, design, at=at)
        told = f"the audience holds {people.num_rows:,} of at least {rules.audience_size:,} customers"
        found.append(Requirement(sentence=told, held=people.num_rows >= max(1, rules.audience_size)))
        found += [_balanced(people, design, name) for name in rules.balanced if people.num_rows]
    return tuple(found)


def history_days(project: Project, *, at: datetime) -> float:
    """How many days before ``at`` the first event of the history happened; 0 without any."""
    with in_memory() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        events = project.history.scan("events")
        told = f"SELECT epoch_us(min(occurred_at)) FROM {events} WHERE recorded_at < $at"
        (first,) = connection.execute(told, {"at": at}).fetchone() or (None,)
    return max(0.0, at.timestamp() - first / 1e6) / 86_400 if first is not None else 0.0


def audience(project: Project, design: Experiment, *, at: datetime) -> pa.Table:
    """The customers whom the design would take at ``at``, one row a person; with their features, if it asks for any."""
    from rapport.people.base import allowed, customer_base
    from serving.people import LinkedAccounts

    names = project.features.names
    admits = audience_of(design, feature_names=names)
    table = customer_base(project, None, at=at).spine
    if admits is not None or design.start_rules.balanced:
        shown = project.features.offline(project.history, table)
        table, _ = allowed(project, shown, people=LinkedAccounts(project.history))
    taken = [in_slice(each, layer=design.layer, slice=design.slice) for each in table["customer_id"].to_pylist()]
    if admits is not None:
        taken = [own and admits(row) for own, row in zip(taken, rows_of(table, names), strict=True)]
    return table.filter(pa.array(taken, pa.bool_()))


def _balanced(people: pa.Table, design: Experiment, name: str) -> Requirement:
    """An A/A of the split that is to come: the arms as the hash will make them don't differ in a feature yet."""
    from scipy import stats

    numbers = [
        each
        for each in people.column_names
        if pa.types.is_integer(people[each].type) or pa.types.is_floating(people[each].type)
    ]
    if name not in numbers:
        raise unknown("feature", name, numbers, do="name a feature that is a number")
    arms = assign_all(people["customer_id"], experiment=design.key, shares=design.shares)
    values = pc.fill_null(people[name], 0).to_numpy().astype(np.float64)
    groups = [values[arms.indices.to_numpy() == place] for place in range(len(arms.dictionary))]
    groups = [each for each in groups if len(each) > 1]
    varies = len(groups) > 1 and float(np.ptp(values)) > 0
    chance = float(stats.f_oneway(*groups, equal_var=False).pvalue) if varies else 1.0
    even = not chance < UNEVEN / len(design.start_rules.balanced)
    return Requirement(
        sentence=f"the arms {'are' if even else 'would not be'} alike in {name} before the start (p {chance:.2g})",
        held=even,
    )
