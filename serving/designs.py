"""The designs that experiments began with: what was fixed before the start stays so, and every change is on record."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

import msgspec
from sqlalchemy import func, select

from experiments.design import Experiment, aware
from features.errors import InputError
from features.facts import micros
from serving import schema
from serving.book import Book, moment


class _Span(msgspec.Struct, frozen=True):
    """From when to when an experiment on record runs: all that is read of one that has no file any more."""

    start: datetime
    end: datetime | None = None
    stopped: datetime | None = None

    def holds(self, moment: datetime) -> bool:
        ends = [aware(each) for each in (self.end, self.stopped) if each is not None]
        return aware(self.start) <= moment and all(moment < end for end in ends)


def recorded_design(book: Book, key: str) -> Experiment | None:
    """The design of an experiment as it was recorded last; None for one that nothing was decided in."""
    columns = schema.designs.c
    body = book.connection.scalar(
        select(columns.body).where(columns.experiment == key).order_by(columns.sequence.desc()).limit(1)
    )
    return None if body is None else msgspec.json.decode(body, type=Experiment)


def last_assigned(book: Book, key: str) -> datetime | None:
    """When a unit of an experiment was given an arm last; None before the first."""
    columns = schema.assignments.c
    stamp = book.connection.scalar(select(func.max(columns.assigned_at)).where(columns.experiment == key))
    return None if stamp is None else moment(stamp)


def keep_design(book: Book, design: Experiment, *, at: datetime) -> None:
    """Record a design before it decides.

    Once a unit has an arm, only the title, the ramp after the latest assignment, and an end that is earlier than
    planned may change; every such change is recorded with its time.

    Raises
    ------
    InputError
        When something else was changed.
    """
    recorded, last = recorded_design(book, design.key), last_assigned(book, design.key)
    if recorded is not None:
        if recorded.told == design.told:
            return
        if last is not None:
            _check_change(recorded, design, last=last, at=at)
    book.insert(
        schema.designs,
        [
            {
                "experiment": design.key,
                "digest": design.digest,
                "body": msgspec.json.encode(design.told, order="sorted"),
                "recorded_at": micros(at),
            }
        ],
    )


def keep_stops(book: Book, designs: Iterable[Experiment], *, at: datetime) -> None:
    """Record the stops that have passed, so that an experiment that is over may lose its file.

    One that is dated before a unit's arm is not recorded, nor that of a design which isn't the one decided by.
    """
    for design in designs:
        if design.stopped is None or aware(design.stopped) > at:
            continue
        recorded, last = recorded_design(book, design.key), last_assigned(book, design.key)
        known = recorded is not None and recorded.stopped is None and recorded.fixed == design.fixed
        if known and last is not None and last < aware(design.stopped):
            keep_design(book, design, at=at)


def check_on_file(book: Book, keys: Collection[str], *, at: datetime) -> None:
    """Refuse to decide while an experiment that is under way has no design among ``keys``.

    Its customers would fall to another experiment or the standing trial, and what they do there would count for the
    arms that they came from.

    Raises
    ------
    InputError
        For an experiment with units that was neither stopped nor has ended at ``at``.
    """
    columns = schema.designs.c
    newest = select(func.max(columns.sequence)).group_by(columns.experiment)
    found = book.connection.execute(
        select(columns.experiment, columns.body)
        .where(columns.sequence.in_(newest), columns.experiment.not_in(list(keys)))
        .order_by(columns.experiment)
    )
    for key, body in found.all():
        last = last_assigned(book, key)
        if last is not None and msgspec.json.decode(body, type=_Span).holds(at):
            raise InputError(
                f"experiment {key!r} is under way, and its design is gone",
                got=f"units with arms until {last:%Y-%m-%d %H:%M} UTC, and no file in experiments/ with that key",
                do=f'put the file back, with key = "{key}"; to end the experiment add `stopped = ...` there, dated '
                "from now on: once that has passed, the file may go",
            )


def check_kept(book: Book, design: Experiment) -> None:
    """Refuse to judge an experiment by a design other than the one that its units were assigned under.

    Goals, windows, alpha or the end that were chosen after seeing outcomes would make any result a finding.

    Raises
    ------
    InputError
        When a unit has an arm and something that was fixed before differs.
    """
    recorded = recorded_design(book, design.key)
    if recorded is not None and last_assigned(book, design.key) is not None:
        _check_fixed(recorded, design)


def _check_fixed(recorded: Experiment, design: Experiment) -> None:
    before, now = recorded.fixed, design.fixed
    changed = [name for name in before if before[name] != now[name]]
    if changed:
        raise InputError(
            f"the design of experiment {design.key!r} was changed after its first decision",
            got=f"other {', '.join(changed)} than what was recorded before it",
            do="put it back, or start the new design under a key of its own; shares may change by [[ramp]]",
        )


def _check_change(recorded: Experiment, design: Experiment, *, last: datetime, at: datetime) -> None:
    _check_fixed(recorded, design)
    steps = [[step for step in each.steps if step[0] <= last] for each in (recorded, design)]
    if steps[0] != steps[1]:
        raise InputError(
            f"the ramp of experiment {design.key!r} was changed for a time in which units were assigned",
            got=f"shares that differ at or before {last:%Y-%m-%d %H:%M:%S} UTC, the latest assignment",
            do="put it back, and date the new [[ramp]] from now on",
        )
    taken_back = recorded.stopped is not None and design.stopped != recorded.stopped and aware(recorded.stopped) <= at
    if taken_back or (design.stopped is not None and aware(design.stopped) <= last):
        raise InputError(
            f"the stop of experiment {design.key!r} doesn't fit what happened",
            got=f"stopped {design.stopped}, recorded {recorded.stopped}, units assigned until {last:%Y-%m-%d %H:%M:%S}",
            do="an experiment that was stopped stays so; date a stop from now on",
        )
