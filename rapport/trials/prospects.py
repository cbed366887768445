"""What a designed experiment can expect, measured in the project's own history: its goals as they are without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from experiments.analysis.planning import Metric, measured
from experiments.design import Experiment
from experiments.measures import EVENT_KINDS, Measure
from experiments.money import unit_money, with_profit
from experiments.outcomes import by_person, join_outcomes
from features.errors import InputError
from features.facts import TIMESTAMP
from rapport.people.persons import persons_known
from rapport.trials.decided import EARNING
from rapport.trials.readiness import audience
from training.dataset import last_known

if TYPE_CHECKING:
    from rapport.project import Project

_RECENT = timedelta(days=28)
_BEFORE = "_before"


@dataclass(frozen=True, kw_only=True)
class Prospect:
    """A goal or guardrail of a design as the history shows it: ``metric`` is None where it never varied."""

    measure: Measure
    metric: Metric | None
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Prospects:
    """What a design can expect.

    ``since`` and ``until`` bound the window that was measured; ``customers`` are those whom the audience would take
    now, ``active`` how many of all customers did something in the last 28 days, ``arriving`` how many of those a day.
    """

    since: datetime
    until: datetime
    customers: int
    active: int
    found: tuple[Prospect, ...]

    @property
    def daily(self) -> float:
        """Customers who come by a day, each counted on the first day of the last 28."""
        return self.active / (_RECENT / timedelta(days=1))


def prospects(project: Project, design: Experiment) -> Prospects:
    """The goals and guardrails of a design over the last closed window of the history, without any experiment.

    Customers are those whom the audience would have taken when the window opened; the covariate of each goal is the
    same goal in the window before.

    Raises
    ------
    InputError
        For sessions, which the history doesn't keep, and for a history shorter than two windows.
    """
    if design.unit == "session":
        raise InputError(
            "sessions can't be planned from the history",
            got=f"unit 'session' of {design.key!r}; the history keeps no sessions",
            do="make a table with a row per session, and plan by it: rapport plan TABLE --metric COL --cluster "
            "customer_id, with --lift (or --units), and --daily for the sessions a day",
        )
    now = last_known(project.history)
    span = max(each.maturity for each in design.columns)
    cut = now - span - timedelta(microseconds=1)
    taken = audience(project, design, at=cut)
    if not taken.num_rows:
        raise InputError(
            f"nobody was in the audience of {design.key!r} when the last window of {span.days} days opened",
            got=f"no customer at {cut:%Y-%m-%d}, the history ends at {now:%Y-%m-%d}",
            do="take in more of the history, or widen the audience",
        )
    table = _table(project, design, people=taken["customer_id"], cut=cut, now=now)
    return Prospects(
        since=cut,
        until=now,
        customers=audience(project, design, at=now).num_rows,
        active=_active(project, now),
        found=tuple(_prospect(each, table, design=design) for each in design.measures),
    )


def _prospect(measure: Measure, table: pa.Table, *, design: Experiment) -> Prospect:
    before = f"{measure.numerator}{_BEFORE}" if measure.kind == "ratio" else f"{measure.name}{_BEFORE}"
    covariates = [before] if before in table.column_names and pc.count_distinct(table[before]).as_py() > 1 else []
    cluster = "household_id" if design.unit == "household" else None
    try:
        return Prospect(
            measure=measure,
            metric=measured(table, metric=measure.metric, covariates=covariates, cluster=cluster),
        )
    except InputError as error:
        return Prospect(measure=measure, metric=None, why=error.wrong)


def _table(project: Project, design: Experiment, *, people: pa.ChunkedArray, cut: datetime, now: datetime) -> pa.Table:
    """One row per customer: the columns of the design in the window, and in the one before it."""
    links = persons_known(project, as_of=now)
    events = by_person(project.history.events(until=now), links)
    units = pa.table(
        {
            "customer_id": people.combine_chunks(),
            "arm": pa.repeat(pa.scalar("all"), len(people)),
            "assigned_at": pa.repeat(pa.scalar(cut, TIMESTAMP), len(people)),
        }
    )
    units = by_person(units, links)
    if design.unit == "household":
        homes = persons_known(project, as_of=now, strength="household")
        home = by_person(units.select(["customer_id"]), homes)["customer_id"]
        units = units.append_column("household_id", home)
    after = _measured(project, units, events, design.columns, as_of=now, since=cut)
    longest = max(each.window for each in design.columns)
    earlier = units.set_column(2, "assigned_at", pc.subtract(units["assigned_at"], pa.scalar(longest)).cast(TIMESTAMP))
    early = [replace(each, name=f"{each.name}{_BEFORE}") for each in design.columns]
    before = _measured(project, earlier, events, early, as_of=now, since=cut - longest)
    for each in early:
        after = after.append_column(each.name, before[each.name])
    return after


def _measured(
    project: Project, units: pa.Table, events: pa.Table, columns: Sequence[Measure], *, as_of: datetime, since: datetime
) -> pa.Table:
    """The columns, capped, of units in the order of their ids; profit is that without contacts."""
    made = [each for each in columns if each.kind in EVENT_KINDS]
    window = max(each.window for each in columns)
    table = join_outcomes(units, events, made, as_of=as_of) if made else units.sort_by("customer_id")
    if len(made) < len(columns):
        nobody = EARNING.empty_table()
        money = unit_money(
            units, events, nobody, as_of=as_of, margin_bp=project.settings.project.margin_bp, since=since, window=window
        )
        for each in columns:
            table = with_profit(table, money, name=each.name) if each.kind == "given" else table
    for each in columns:
        if each.cap is not None:
            place = table.column_names.index(each.name)
            table = table.set_column(place, each.name, pc.min_element_wise(table[each.name], each.cap))
    return table


def _active(project: Project, now: datetime) -> int:
    events = project.history.events(until=now, since=now - _RECENT)
    return int(pc.count_distinct(events["customer_id"]).as_py())
