"""An experiment's design: what is compared, on whom, by which goals, and when it ends; fixed before the start."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec

from experiments.measures import Goal, Guardrail, Measure, check
from experiments.results import RungName
from features.errors import InputError, unknown

StopRule = Literal["fixed", "group_sequential", "anytime"]
Unit = Literal["customer", "household", "session"]
_SHARE_TOLERANCE = 1e-9


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
    unit: what is assigned: a customer, a whole household, or each session anew.
    control: the arm that the others are compared with, static or nothing.
    personalized: the arm of the headline; the one-to-one arm, else the last, when empty.
    goals: the first is the one that decides.
    stop_rule: ``fixed``: judged once, at ``end``, when its usual delays have passed; ``group_sequential``: any look may
        end it, within bounds that spend alpha until the end; ``anytime``: may be looked at and ended whenever, without
        a planned end. Not given, ``group_sequential`` where there is an end, else ``anytime`` (``interval_kind``).
    planned_units: how many units are planned, all arms together; what a look has of them is its information.
    parts: measures that are neither goal nor guardrail, but that a ratio is made of.
    holdout_share: customers withheld from all marketing, outside the arms.

    Raises
    ------
    InputError
        When names repeat, the control is no arm, or planned shares don't sum to 1.

    >>> arms = (Arm(name="static", shows="a letter", policy="static", share=0.5),
    ...         Arm(name="personal", shows="what fits", policy="one_to_one", share=0.5, rung="one_to_one"))
    >>> goal = Goal(name="bought", kind="any", events=("purchase",), window_days=14)
    >>> trial = Experiment(key="autumn", title="Autumn", hypothesis="what fits sells more", arms=arms, control="static",
    ...                    goals=(goal,), start=datetime(2026, 1, 5))
    >>> trial.headline_arm, trial.interval_kind
    ('personal', 'anytime')
    """

    key: str
    title: str
    hypothesis: str
    arms: tuple[Arm, ...]
    control: str
    goals: tuple[Goal, ...]
    start: datetime
    stop_rule: StopRule | None = None
    end: datetime | None = None
    unit: Unit = "customer"
    planned_units: int | None = None
    personalized: str = ""
    guardrails: tuple[Guardrail, ...] = ()
    parts: tuple[Measure, ...] = ()
    holdout_share: float = 0.0
    alpha: float = 0.05

    def __post_init__(self) -> None:
        self._check_arms()
        self._check_measures()
        check(bool(self.goals), "the experiment has no goal", got="an empty list of goals", do="add a [[goals]] table")
        check(0 < self.alpha < 0.5, "alpha is not a small share", got=f"{self.alpha:g}", do="use 0.05")
        check(
            0 <= self.holdout_share < 1,
            "holdout_share is not a share",
            got=f"{self.holdout_share:g}",
            do="use a number from 0 up to below 1",
        )
        check(
            self.end is not None or self.interval_kind == "anytime",
            "the stop rule needs an end",
            got=f"stop_rule {self.stop_rule!r} without end",
            do="give the end, or use 'anytime'",
        )
        check(
            self.planned_units is None or self.planned_units > 1,
            "planned_units is no number of units",
            got=str(self.planned_units),
            do="give what `rapport plan` says, all arms together",
        )
        check(
            self.end is None or self.start < self.end,
            "the experiment ends before it starts",
            got=f"start {self.start}, end {self.end}",
            do="swap the dates",
        )

    def _check_measures(self) -> None:
        named = {measure.name: measure for measure in (*self.measures, *self.parts)}
        _no_repeats("goal", (measure.name for measure in (*self.measures, *self.parts)))
        _no_repeats("goal", (measure.metric for measure in self.measures))
        for ratio in (each for each in named.values() if each.kind == "ratio"):
            for name in (ratio.numerator, ratio.denominator):
                if name not in named:
                    raise unknown("measure", name, named, do="add it as [[parts]]")
                part = named[name]
                check(
                    part.kind != "ratio" and (part.window, part.maturity) == (ratio.window, ratio.maturity),
                    f"{name!r} is no part for the ratio {ratio.name!r}",
                    got=f"kind {part.kind!r}, window {part.window_days:g} and delay {part.delay_days:g} days",
                    do=f"take one that is no ratio, with the same {ratio.window_days:g} and {ratio.delay_days:g} days",
                )

    def _check_arms(self) -> None:
        _no_repeats("arm", (arm.name for arm in self.arms))
        check(
            len(self.arms) > 1,
            "an experiment compares at least two arms",
            got=f"{len(self.arms)} arm",
            do="add an [[arms]] table",
        )
        for name in (self.control, self.headline_arm):
            if name not in self.arm_names:
                raise unknown("arm", name, self.arm_names)
        check(
            self.headline_arm != self.control,
            "the personalized arm is the control",
            got=repr(self.control),
            do="name another arm as personalized",
        )
        total = sum(arm.share for arm in self.arms)
        check(
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
    def interval_kind(self) -> StopRule:
        """The kind of interval that decides a look: the stop rule, or what follows from having an end or none."""
        return self.stop_rule or ("anytime" if self.end is None else "group_sequential")

    @property
    def judged_at(self) -> datetime | None:
        """When a fixed design's one look may be taken: at the end and its usual delays; None where any may decide."""
        if self.interval_kind != "fixed" or self.end is None:
            return None
        return self.end + timedelta(days=max(measure.delay_days for measure in self.measures))

    def is_planned_look(self, as_of: datetime) -> bool:
        """Whether a look at that moment is the one that a fixed design was planned for."""
        return self.judged_at is not None and as_of >= self.judged_at

    @property
    def limits(self) -> dict[str, float]:
        """The largest allowed rise of each guardrail, as ``experiments.analysis.analyze`` takes them."""
        return {guard.metric: guard.limit for guard in self.guardrails}

    @property
    def caps(self) -> dict[str, float]:
        """Above which value each capped column counts as it, as ``experiments.analysis.analyze`` takes them."""
        return {each.name: each.cap for each in self.columns if each.cap is not None}

    @property
    def measures(self) -> tuple[Goal | Guardrail, ...]:
        """Goals and guardrails: what is compared between arms."""
        return (*self.goals, *self.guardrails)

    @property
    def columns(self) -> tuple[Measure, ...]:
        """The measures that are columns of the table of outcomes: all but ratios, and the parts of ratios."""
        return tuple(each for each in (*self.measures, *self.parts) if each.kind != "ratio")


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
    for part, kind in (("arms", Arm), ("goals", Goal), ("guardrails", Guardrail), ("parts", Measure)):
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
        check(name not in seen, f"two {noun}s have the same name", got=repr(name), do="give each a name of its own")
        seen.add(name)
