"""What a look tells beyond its goals: who gains, who stays, what each channel and marketing as a whole is worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
from scipy import stats

from experiments.analysis.sequential import sequence_half_width
from experiments.channels import ChannelEffect, Channels, channels, matchback
from experiments.heterogeneity import ArmGains, gains
from experiments.holdout import Holdout, Period
from experiments.money import unit_money
from experiments.outcomes import by_person, query
from experiments.record import ExperimentRecord
from experiments.report import ChannelRow, Report
from experiments.retention import LongRun, Retention, departures, long_run, retention
from features.errors import InputError
from features.facts import TIMESTAMP
from features.privacy.purposes import masked
from rapport.people.persons import persons_known
from rapport.project import Project
from rapport.trials.decided import all_decided, decided_so_far
from rapport.trials.looks import Look, record_look, report_of, take_look, units_of

_ARM, _GOAL, _HOME = "the arm", "the goal", "the household"
_LEAST = 400
_FEWEST_LEAVING = 20
_FEWEST_HELD = 50
_MOST_PERIODS = 12
_LEAVING, _LEFT = ("opt_out",), "opted out"
# Whom the history knew when a period began, by the links that were known then: a link that was found later may come of
# what somebody did in the period. A household is the one that was decided for, else the one that links or facts tell.
_POPULATION = """
    WITH seen AS (
        SELECT customer_id FROM events WHERE recorded_at < $start AND occurred_at < $start
        UNION SELECT customer_id FROM profile WHERE recorded_at < $start AND occurred_at < $start),
    told AS (
        SELECT customer_id AS account_id, arg_max(value, (occurred_at, recorded_at)) AS home FROM profile
        WHERE attribute = 'household_id' AND recorded_at < $start AND occurred_at < $start GROUP BY ALL),
    decided AS (
        SELECT customer_id AS account_id, arg_max(household_id, (decided_at, decision_id)) AS home FROM decisions
        WHERE decided_at < $start GROUP BY ALL)
    SELECT coalesce(people.customer_id, seen.customer_id) AS customer_id,
        coalesce(max(decided.home), max(homes.customer_id), max(told.home)) AS household_id
    FROM seen LEFT JOIN people ON people.account_id = seen.customer_id
        LEFT JOIN decided ON decided.account_id = seen.customer_id
        LEFT JOIN homes ON homes.account_id = seen.customer_id
        LEFT JOIN told ON told.account_id = seen.customer_id
    GROUP BY ALL ORDER BY ALL
"""


def record_insight(project: Project, key: str, *, as_of: datetime) -> str:
    """Take a look at an experiment as of a moment, with all that it tells, and record it; the id of the run.

    Only what was decided, recorded and looked at before ``as_of`` is in it, so it is the same whenever it is taken.
    It is taken alone (:func:`rapport.turn.look_turn`), so that the next one knows of it.
    """
    design = project.experiment(key)
    decisions = decided_so_far(project, key, until=as_of)
    record = ExperimentRecord(project.tracking, design)
    points = record.past_looks(before=as_of)
    look = take_look(
        project, design, units=units_of(decisions, design), decisions=decisions, as_of=as_of, earlier=points
    )
    report = report_of(look, project=project, number=look.number, points=points)
    if design.is_planned_look(as_of):
        report = replace(report, decided=record.decided(before=as_of))
    return record_look(project, with_insight(report, look, project=project), outcomes=look.outcomes)


def with_insight(report: Report, look: Look, *, project: Project) -> Report:
    """The report with who gains, who stays and the long run, each where there is enough to tell."""
    found, when = channels_of(project, as_of=look.as_of) or (None, "")
    return replace(
        report,
        channels=tuple(map(_channel_row, found.channels)) if found else report.channels,
        overlaps=(*found.pairs, *([found.beyond_sum] if found.beyond_sum else [])) if found else report.overlaps,
        notes=(*report.notes, *([f"Channels: {when}. {found.notes[0]}"] if found else [])),
        gains=gains_of(project, look),
        retention=retention_of(project, look),
        leaving=_LEFT,
        long_run=long_run_of(project, as_of=look.as_of),
    )


def level_of(look: Look, *, units: int) -> float:
    """The level at which a plain interval is as wide as the page's: that of one look, or one that holds at every look.

    ``alpha`` itself at the one look of a fixed design. Else that whose quantile is the reach of the asymptotic
    confidence sequence after so many ``units``.
    """
    design = look.design
    if design.interval_kind == "fixed" and design.is_planned_look(look.as_of):
        return design.alpha
    reach = sequence_half_width(1.0, units, alpha=design.alpha)
    return float(2 * stats.norm.sf(reach))


def gains_of(project: Project, look: Look) -> ArmGains | None:
    """Who gains from the arm of the headline, by the project's features as of each assignment; None where too few are.

    What customers don't allow to be used is not used. Under a ramp the arms' customers came at different times.
    """
    design = look.design
    goal = design.goals[0]
    if goal.kind == "ratio" or design.unit == "session" or look.ramped:
        return None
    pair = (design.control, design.headline_arm)
    units = look.outcomes.filter(pc.is_in(look.outcomes["arm"], pa.array(pair)))
    if min(pc.sum(pc.equal(units["arm"], arm)).as_py() or 0 for arm in pair) < _LEAST:
        return None
    spine = units.select(["customer_id"]).append_column("as_of", units["assigned_at"].cast(TIMESTAMP))
    known = masked(
        project.features.offline(project.history, spine), project.features, project.history, purposes=project.purposes
    )
    meanings = {each.name: each.feature.meaning for each in project.features.columns}
    names = [name for name in known.column_names if name in meanings]
    table = known.select(names).rename_columns(_words(names, meanings))
    table = table.append_column(_ARM, units["arm"]).append_column(_GOAL, units[goal.name])
    household = design.unit == "household"
    if household:
        homes = pc.coalesce(units["household_id"], units["customer_id"])
        table = table.append_column(_HOME, homes)
    try:
        found = gains(
            table,
            arm=_ARM,
            control=design.control,
            outcome=_GOAL,
            cluster=_HOME if household else None,
            alpha=level_of(look, units=units.num_rows),
        )
    except InputError:
        return None  # A goal that never varies tells nothing of anybody.
    return found.arms[0] if found.trusted else None


def _words(names: Sequence[str], meanings: Mapping[str, str]) -> list[str]:
    """What columns mean, each meaning once: a second one keeps its name beside it."""
    words: list[str] = []
    for name in names:
        meant = meanings[name] or name
        words.append(meant if meant not in words else f"{meant} ({name})")
    return words


def retention_of(project: Project, look: Look) -> Retention | None:
    """How long customers stay reachable, by arm; None where hardly anybody has opted out, or shares changed."""
    design = look.design
    if design.unit == "session" or look.ramped:
        return None
    people = persons_known(project, as_of=look.as_of)
    events = by_person(project.history.events(until=look.as_of, since=design.start), people)
    table = departures(
        by_person(look.units, people), events, kinds=_LEAVING, as_of=look.as_of, unit=f"{design.unit}_id"
    )
    arms = pc.value_counts(table["arm"]).to_pylist()
    if (pc.sum(table["gone"]).as_py() or 0) < _FEWEST_LEAVING or min(each["counts"] for each in arms) < _FEWEST_HELD:
        return None
    if design.unit == "household":
        homes = pc.coalesce(table["household_id"], table["customer_id"])
        table = table.append_column(_HOME, homes)
    return retention(
        table,
        arm="arm",
        control=design.control,
        time="days",
        event="gone",
        cluster=_HOME if design.unit == "household" else None,
        alpha=level_of(look, units=table.num_rows),
    )


def long_run_of(project: Project, *, as_of: datetime) -> LongRun | None:
    """What marketing as a whole is worth, over the whole periods of the project's holdout since its first decision.

    Who is withheld follows from the published hash, as whoever decided asked it; so those whom nobody decided on are
    counted, too. A person counts once, by the accounts that were known to be theirs when a period began.
    """
    holdout = project.holdout
    if holdout is None or not holdout.share or not project.ledger.exists():
        return None
    decisions = all_decided(project, until=as_of)
    if decisions.num_rows == 0:
        return None
    parts = [
        _period(project, holdout, each, decisions=decisions, as_of=as_of) for each in _ended(holdout, decisions, as_of)
    ]
    told = [part for part in parts if min(_sides(part)) >= _FEWEST_HELD]
    if not told:
        return None
    return long_run(
        pa.concat_tables(told), customer="customer_id", period="period", held="held", value="profit", cluster="unit"
    )


def channels_of(project: Project, *, as_of: datetime) -> tuple[Channels, str] | None:
    """What each channel brought in the last whole period, from the holdout's channels; and when that was.

    Profit is in cents per 1,000 customers. None where no channel has a holdout or too few were withheld to tell.
    """
    holdout = project.holdout
    if holdout is None or not holdout.channels or not project.ledger.exists():
        return None
    decisions = all_decided(project, until=as_of)
    period = next(reversed(list(_ended(holdout, decisions, as_of))), None) if decisions.num_rows else None
    if period is None:
        return None
    table = _period(project, holdout, period, decisions=decisions, as_of=as_of)
    people = persons_known(project, as_of=period.start)
    own = decisions.filter(
        pc.and_(
            pc.greater_equal(decisions["decided_at"], pa.scalar(period.start, TIMESTAMP)),
            pc.less(decisions["decided_at"], pa.scalar(period.end, TIMESTAMP)),
        )
    )
    credit = matchback(
        by_person(own, people),
        by_person(project.history.events(until=as_of, since=period.start), people),
        as_of=as_of,
        window=timedelta(days=project.settings.response.window_days),
        margin_bp=project.settings.project.margin_bp,
    )
    for channel in holdout.channels:
        held = holdout.withheld_from(channel, table["unit"].to_pylist(), at=period.start)
        claims = credit.filter(pc.equal(credit["channel"], channel))
        place = pc.index_in(table["customer_id"], claims["customer_id"])
        table = table.append_column(f"held {channel}", pa.array(held))
        for name in ("claimed", "contacts"):
            table = table.append_column(f"{name} {channel}", claims[name].take(place))
    try:
        found = channels(
            table,
            outcome="profit",
            held={channel: f"held {channel}" for channel in holdout.channels},
            everything="held" if holdout.share else None,
            matchback={channel: f"claimed {channel}" for channel in holdout.channels},
            contacts={channel: f"contacts {channel}" for channel in holdout.channels},
            cluster="unit",
        )
    except InputError:
        return None  # Too few were withheld from a channel to tell.
    return found, period.name


def _channel_row(each: ChannelEffect) -> ChannelRow:
    return ChannelRow(
        channel=each.channel,
        contacts=each.contacts or 0,
        profit_per_1000=each.effect,
        ci_low=each.ci_low,
        ci_high=each.ci_high,
        matchback_per_1000=each.matchback,
    )


def _sides(part: pa.Table) -> tuple[int, int]:
    held = pc.sum(part["held"]).as_py() or 0
    return held, part.num_rows - held


def _ended(holdout: Holdout, decisions: pa.Table, as_of: datetime) -> Iterator[Period]:
    """The periods that were whole: from the first that began after the first decision, to the last that has ended."""
    period = holdout.period(pc.min(decisions["decided_at"]).as_py())
    for _ in range(_MOST_PERIODS):
        period = holdout.period(period.end)
        if period.end > as_of:
            return
        yield period


def _period(project: Project, holdout: Holdout, period: Period, *, decisions: pa.Table, as_of: datetime) -> pa.Table:
    """One row per person known when a period began: ``customer_id, unit, period, held, profit`` (cents)."""
    history = project.history
    events = history.events(until=as_of)
    people = persons_known(project, as_of=period.start)
    who = query(
        _POPULATION,
        values={"start": period.start},
        events=events,
        profile=history.profile(until=as_of),
        decisions=decisions,
        people=people,
        homes=persons_known(project, as_of=period.start, strength="household"),
    )
    unit = who["customer_id"]
    if holdout.unit == "household":
        unit = pc.coalesce(who["household_id"], who["customer_id"])
    held = pa.array(holdout.withheld(unit.to_pylist(), at=period.start))
    begun = pa.repeat(pa.scalar(period.start, TIMESTAMP), who.num_rows)
    sides = pc.if_else(held, "held", "in")
    money = unit_money(
        pa.table({"customer_id": who["customer_id"], "arm": sides, "assigned_at": begun}),
        by_person(events, people),
        by_person(decisions, people),
        as_of=as_of,
        margin_bp=project.settings.project.margin_bp,
        since=period.start,
        window=period.end - period.start - timedelta(microseconds=1),
    )
    own = money.filter(pc.is_valid(money["arm"])).select(["customer_id", "profit"])
    table = pa.table({"customer_id": who["customer_id"], "unit": unit, "held": held})
    named = table.append_column("period", pa.repeat(period.name, who.num_rows))
    return named.join(own, "customer_id").sort_by("customer_id")
