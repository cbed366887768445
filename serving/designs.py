"""The designs that experiments began with: what was fixed before the start stays so, and every change is on record."""

from __future__ import annotations

from datetime import datetime

import msgspec
from sqlalchemy import func, select

from experiments.design import Experiment, aware
from features.errors import InputError
from features.facts import micros
from serving import schema
from serving.book import Book, moment


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
