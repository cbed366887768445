"""An experiment's design: what is compared, on whom, by which goals, and when it ends; fixed before the start."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec

from experiments.results import RungName
from features.errors import InputError, unknown

MeasureKind = Literal["any", "count", "sum", "given"]
StopRule = Literal["fixed", "anytime"]
_SHARE_TOLERANCE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number per unit: from its events of some kinds within a window after assignment.

    Parameters
    ----------
    name: the column it becomes in the table of outcomes.
    kind: ``any`` (0 or 1), ``count``, ``sum`` (of the amounts, in cents), or ``given``: a column that another step
        brings, as profit is (``experiments.money``).
    events: the event kinds that count, such as ``("purchase",)``; none for ``given``.
    window_days: the attribution window, ``(assigned_at, assigned_at + window]``.
    delay_days: how long after the window events usually still arrive; only then is the row mature.
    unit: what one of it is called, such as ``purchase``.
    money: whether the values are cents.
    shown: the name for readers; the column's name when empty.
    """

    name: str
    kind: MeasureKind
    window_days: float
    events: tuple[str, ...] = ()
    delay_days: float = 0.0
    unit: str = ""
    money: bool = False
    shown: str = ""

    def __post_init__(self) -> None:
        _check(bool(self.name.strip()), "a goal has no name", got=repr(self.name), do="give it a short name")
        _check(
            self.window_days > 0 and self.delay_days >= 0,
            f"the window of {self.name!r} is not a positive number of days",
            got=f"window_days {self.window_days:g}, delay_days {self.delay_days:g}",
            do="say how many days after assignment an outcome counts",
        )
        _check(
            bool(self.events) != (self.kind == "given"),
            f"the events of {self.name!r} don't fit its kind",
            got=f"kind {self.kind!r} with events {list(self.events)}",
            do="name the event kinds that count; a given column names none",
        )

    @property
    def words(self) -> str:
        """The name for readers."""
        return self.shown or self.name.replace("_", " ")

    @property
    def window(self) -> timedelta:
        """The attribution window."""
        return timedelta(days=self.window_days)

    @property
    def maturity(self) -> timedelta:
        """The time from assignment until a row counts: window and usual delay."""
        return timedelta(days=self.window_days + self.delay_days)


@dataclass(frozen=True, kw_only=True)
class Goal(Measure):
    """A measure that the experiment is to raise.

    ``worth`` is the smallest difference per unit that would be worth acting on, in the measure's own units (cents for
    money).

    >>> Goal(name="bought", kind="any", events=("purchase",), window_days=14).maturity.days
    14
    """

    worth: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Guardrail(Measure):
    """A measure that must not rise: by at most ``limit`` per unit over the control (cents for money).

    >>> Guardrail(name="opt_outs", kind="any", events=("opt_out",), window_days=14, limit=0.002).words
    'opt outs'
    """

    limit: float


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One side of an experiment.

    ``shows`` says in words what its customers see, ``policy`` names the policy that decides, ``share`` is planned,
    ``rung`` its place on the ladder, where it has one.

    >>> Arm(name="static", shows="the autumn letter, to everybody", policy="static", share=0.5).rung is None
    True
    """

    name: str
    shows: str
    policy: str
    share: float
    rung: RungName | None = None


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """The design of an experiment, as ``experiments/<key>.toml`` of a project holds it.

    Parameters
    ----------
    unit: what is assigned, a customer or a whole household.
    control: the arm that the others are compared with, static or nothing.
    personalized: the arm of the headline; the one-to-one arm, else the last, when empty.
    goals: the first is the one that decides.
    stop_rule: ``fixed``: judged once, at ``end``, when its usual delays have passed; ``anytime``: may be looked at and
        ended whenever.
    holdout_share: customers withheld from all marketing, outside the arms.

    Raises
    ------
    InputError
        When names repeat, the control is no arm, or planned shares don't sum to 1.

    >>> arms = (Arm(name="static", shows="a letter", policy="static", share=0.5),
    ...         Arm(name="personal", shows="what fits", policy="one_to_one", share=0.5, rung="one_to_one"))
    >>> goal = Goal(name="bought", kind="any", events=("purchase",), window_days=14)
    >>> trial = Experiment(key="autumn", title="Autumn", hypothesis="what fits sells more", arms=arms, control="static",
    ...                    goals=(goal,), start=datetime(2026, 1, 5), stop_rule="anytime")
    >>> trial.headline_arm
    'personal'
    """

    key: str
    title: str
    hypothesis: str
    arms: tuple[Arm, ...]
    control: str
    goals: tuple[Goal, ...]
    start: datetime
    stop_rule: StopRule
    end: datetime | None = None
    unit: Literal["customer", "household"] = "customer"
    personalized: str = ""
    guardrails: tuple[Guardrail, ...] = ()
    holdout_share: float = 0.0
    alpha: float = 0.05

    def __post_init__(self) -> None:
        self._check_arms()
        _no_repeats("goal", (measure.name for measure in self.measures))
        _check(bool(self.goals), "the experiment has no goal", got="an empty list of goals", do="add a [[goals]] table")
        _check(0 < self.alpha < 0.5, "alpha is not a small share", got=f"{self.alpha:g}", do="use 0.05")
        _check(
            0 <= self.holdout_share < 1,
            "holdout_share is not a share",
            got=f"{self.holdout_share:g}",
            do="use a number from 0 up to below 1",
        )
        fits = self.end is not None or self.stop_rule == "anytime"
        _check(
            fits,
            "a fixed stop rule needs an end",
            got="stop_rule 'fixed' without end",
            do="give the end, or use 'anytime'",
        )
        _check(
            self.end is None or self.start < self.end,
            "the experiment ends before it starts",
            got=f"start {self.start}, end {self.end}",
            do="swap the dates",
        )

    def _check_arms(self) -> None:
        _no_repeats("arm", (arm.name for arm in self.arms))
        _check(
            len(self.arms) > 1,
            "an experiment compares at least two arms",
            got=f"{len(self.arms)} arm",
            do="add an [[arms]] table",
        )
        for name in (self.control, self.headline_arm):
            if name not in self.arm_names:
                raise unknown("arm", name, self.arm_names)
        _check(
            self.headline_arm != self.control,
            "the personalized arm is the control",
            got=repr(self.control),
            do="name another arm as personalized",
        )
        total = sum(arm.share for arm in self.arms)
        _check(
            all(arm.share > 0 for arm in self.arms) and abs(total - 1) <= _SHARE_TOLERANCE,
            "the planned shares of the arms don't sum to 1",
            got=" + ".join(f"{arm.share:g}" for arm in self.arms) + f" = {total:g}",
            do="mend them so that each is above 0 and the sum is 1 (the holdout stands apart, in holdout_share)",
        )

    @property
    def arm_names(self) -> tuple[str, ...]:
        """The names of the arms, in the order of the design."""
        return tuple(arm.name for arm in self.arms)

    @property
    def shares(self) -> dict[str, float]:
        """The planned share of each arm."""
        return {arm.name: arm.share for arm in self.arms}

    @property
    def headline_arm(self) -> str:
        """The arm that the headline compares with the control."""
        one_to_one = [arm.name for arm in self.arms if arm.rung == "one_to_one"]
        return self.personalized or (one_to_one or [self.arms[-1].name])[0]

    @property
    def judged_at(self) -> datetime | None:
        """When the one planned look may be taken: at the end and its usual delays; None where any look may decide."""
        if self.stop_rule == "anytime" or self.end is None:
            return None
        return self.end + timedelta(days=max(measure.delay_days for measure in self.measures))

    def is_planned_look(self, as_of: datetime) -> bool:
        """Whether a look at that moment is the one that the design was planned for."""
        return self.judged_at is not None and as_of >= self.judged_at

    @property
    def limits(self) -> dict[str, float]:
        """The largest allowed rise of each guardrail, as ``experiments.analysis.analyze`` takes them."""
        return {guard.name: guard.limit for guard in self.guardrails}

    @property
    def measures(self) -> tuple[Goal | Guardrail, ...]:
        """Goals and guardrails: every column of the table of outcomes."""
        return (*self.goals, *self.guardrails)


def load_experiment(path: str | Path) -> Experiment:
    """The design in a TOML file.

    Raises
    ------
    InputError
        When the file is missing, is no TOML, or a field is missing, unknown or of the wrong kind.
    """
    source = Path(path)
    try:
        raw = tomllib.loads(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{source.name} can't be read as TOML", got=str(error), do="mend that place") from error
    _known_fields(raw, Experiment)
    for part, kind in (("arms", Arm), ("goals", Goal), ("guardrails", Guardrail)):
        for entry in raw.get(part, ()):
            _known_fields(entry, kind)
    try:
        return msgspec.convert(raw, Experiment)
    except msgspec.ValidationError as error:
        raise InputError(
            f"{source.name} is no experiment", got=str(error), do="compare it with the example of `rapport init`"
        ) from error


def _known_fields(entry: Any, kind: type[Experiment] | type[Arm] | type[Measure]) -> None:
    names = [field.name for field in fields(kind)]
    for name in entry if isinstance(entry, Mapping) else ():
        if name not in names:
            raise unknown(f"field of {kind.__name__.lower()}", name, names)


def _no_repeats(noun: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        _check(name not in seen, f"two {noun}s have the same name", got=repr(name), do="give each a name of its own")
        seen.add(name)


def _check(fine: bool, wrong: str, *, got: str, do: str) -> None:
    if not fine:
        raise InputError(wrong, got=got, do=do)
