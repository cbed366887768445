"""An experiment's design: what is compared, on whom, by which goals, and when it ends; fixed before the start."""

from __future__ import annotations

import hashlib
import json
import math
from bisect import bisect_right
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Literal

import msgspec

from experiments.measures import Goal, Guardrail, Measure
from experiments.naming import check, check_apart, check_key, check_prose, check_words
from experiments.results import IntervalKind, RungName
from experiments.rules import Ramp, StartRules, check_shares
from features.errors import unknown

Unit = Literal["customer", "household", "session"]
_CHANGEABLE = ("title", "ramp", "stopped")


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

    def __post_init__(self) -> None:
        check_words("the name of an arm", self.name)
        check_words(f"the policy of arm {self.name!r}", self.policy)
        check_prose(f"what arm {self.name!r} shows", self.shows)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """The design of an experiment, as ``experiments/<key>.toml`` of a project holds it.

    Parameters
    ----------
    unit: what is assigned: a customer, a whole household, or each session anew.
    control: the arm that the others are compared with, static or nothing.
    personalized: the arm of the headline; the one-to-one arm, else the last, when empty.
    goals: the first is the one that decides.
    parts: measures that are neither goal nor guardrail, but that a ratio is made of.
    audience: who may come in, as conditions in the words of scenarios, all of which must hold at the first decision.
    layer, slice: experiments of one layer share no unit: each takes those between two places of the layer's hash line.
    placements: the asks that are decided here, by where they show; empty for all that no other running one names.
    start_rules: what must hold before the first unit is assigned.
    stop_rule: ``fixed``: judged once, at ``end``, when its usual delays have passed; ``group_sequential``: any look may
        end it, within bounds that spend alpha until the end; ``anytime``: may be looked at and ended whenever, without
        a planned end. Not given, ``group_sequential`` where there is an end, else ``anytime`` (``interval_kind``).
    planned_units: how many units are planned, all arms together; what a look has of them is its information.
    largest_loss: what an arm may have cost so far, as estimated, in the unit of the first goal (cents for money);
        beyond it the experiment is to be stopped.
    ramp: new shares from a moment on, for units without an arm.
    stopped: when it was ended before its end.

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
    end: datetime | None = None
    stopped: datetime | None = None
    unit: Unit = "customer"
    audience: tuple[dict[str, Any], ...] = ()
    layer: str = "main"
    slice: tuple[float, float] = (0.0, 1.0)
    placements: tuple[str, ...] = ()
    personalized: str = ""
    guardrails: tuple[Guardrail, ...] = ()
    parts: tuple[Measure, ...] = ()
    start_rules: StartRules = field(default_factory=StartRules)
    stop_rule: IntervalKind | None = None
    planned_units: int | None = None
    largest_loss: float | None = None
    ramp: tuple[Ramp, ...] = ()
    alpha: float = 0.05

    def __post_init__(self) -> None:
        self._check_names()
        self._check_arms()
        self._check_measures()
        self._check_rules()
        self._check_dates()

    def _check_names(self) -> None:
        check_key("the key of an experiment", self.key)
        check_words("the layer", self.layer)
        for placement in self.placements:
            check_key("a placement", placement)
        check_prose("the title", self.title)
        check_prose("the hypothesis", self.hypothesis)

    def _check_rules(self) -> None:
        check(0 < self.alpha < 0.5, "alpha is not a small share", got=f"{self.alpha:g}", do="use 0.05")
        check(
            0 <= self.slice[0] < self.slice[1] <= 1,
            "the slice is no part of the layer's line",
            got=f"slice {list(self.slice)}",
            do="give two numbers from 0 to 1, such as [0, 0.5]",
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
            self.largest_loss is None or 0 < self.largest_loss < math.inf,
            "largest_loss is no loss",
            got=str(self.largest_loss),
            do="give an amount above 0, in the unit of the first goal (cents for money)",
        )

    def _check_dates(self) -> None:
        for name in ("end", "stopped"):
            moment = getattr(self, name)
            check(
                moment is None or aware(self.start) < aware(moment),
                "the experiment ends before it starts",
                got=f"start {self.start}, {name} {moment}",
                do="swap the dates",
            )
        for moment in (each for each in (self.start, self.end, self.stopped) if each is not None):
            check(
                1970 <= moment.year < 2200,
                "a date of the experiment can't be right",
                got=str(moment),
                do="write it as 2027-03-01",
            )
        moments = [moment for moment, _ in self.steps]
        check(
            all(before < after for before, after in pairwise(moments)),
            "the ramp is not in the order of time",
            got=", ".join(f"{moment:%Y-%m-%d %H:%M}" for moment in moments),
            do="date each [[ramp]] after the start and after the one before it",
        )
        check(
            not self.ramp or self.unit != "session",
            "the shares of sessions can't be ramped",
            got="unit 'session' with a [[ramp]]: a customer would have sessions under several shares",
            do="assign customers, or end this experiment and start one with a key of its own",
        )
        for ramp, (_, before) in zip(self.ramp, self.steps, strict=False):
            check_shares(ramp.shares, arms=self.arm_names, where=f"from {ramp.at:%Y-%m-%d %H:%M} on")
            check(
                ramp.shares != before,
                "a ramp changes nothing",
                got=f"from {ramp.at:%Y-%m-%d %H:%M} on the shares that were planned before",
                do="leave it out, or give other shares",
            )

    def _check_measures(self) -> None:
        check(bool(self.goals), "the experiment has no goal", got="an empty list of goals", do="add a [[goals]] table")
        named = {measure.name: measure for measure in (*self.measures, *self.parts)}
        # Columns of tables are told apart by their names without regard to case.
        check_apart("goal", (measure.name for measure in (*self.measures, *self.parts)), told_by=str.casefold)
        check_apart("goal", (measure.metric for measure in self.measures))
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
        check_apart("arm", (arm.name for arm in self.arms))
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
        check_shares(self.shares, arms=self.arm_names, where="of the arms")

    @property
    def arm_names(self) -> tuple[str, ...]:
        """The names of the arms, in the order of the design."""
        return tuple(arm.name for arm in self.arms)

    @property
    def shares(self) -> dict[str, float]:
        """The planned share of each arm at the start."""
        return {arm.name: arm.share for arm in self.arms}

    @property
    def steps(self) -> tuple[tuple[datetime, dict[str, float]], ...]:
        """From which moment (UTC) which shares are planned, the start first: one step, and one for each ramp."""
        return ((aware(self.start), self.shares), *((aware(ramp.at), ramp.shares) for ramp in self.ramp))

    def step_at(self, moment: datetime) -> int:
        """The place in ``steps`` of what is planned at a moment."""
        return max(bisect_right([since for since, _ in self.steps], aware(moment)) - 1, 0)

    def runs_at(self, moment: datetime) -> bool:
        """Whether units are assigned at a moment."""
        ends = [aware(each) for each in (self.end, self.stopped) if each is not None]
        return aware(self.start) <= aware(moment) and all(aware(moment) < end for end in ends)

    @property
    def told(self) -> dict[str, Any]:
        """The whole design as plain values, what the file left at its default too."""
        # msgspec leaves out of a dataclass what nobody set, so a default that was written out would seem a change.
        whole: dict[str, Any] = msgspec.to_builtins(asdict(self))
        return whole

    @property
    def fixed(self) -> dict[str, Any]:
        """What may not change once a unit has an arm: all but the title, the ramp and the moment of an early stop."""
        return {name: value for name, value in self.told.items() if name not in _CHANGEABLE}

    @property
    def digest(self) -> str:
        """A hash of what may not change, 16 hex digits."""
        return hashlib.sha256(json.dumps(self.fixed, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def headline_arm(self) -> str:
        """The arm that the headline compares with the control."""
        one_to_one = [arm.name for arm in self.arms if arm.rung == "one_to_one"]
        return self.personalized or (one_to_one or [self.arms[-1].name])[0]

    @property
    def interval_kind(self) -> IntervalKind:
        """The kind of interval that decides a look: the stop rule, or what follows from having an end or none."""
        return self.stop_rule or ("anytime" if self.end is None else "group_sequential")

    @property
    def judged_at(self) -> datetime | None:
        """When the last look is due, of a fixed design the only one: at the end and its usual delays; None without."""
        if self.interval_kind == "anytime" or self.end is None:
            return None
        return self.end + timedelta(days=max(measure.delay_days for measure in self.measures))

    def is_planned_look(self, as_of: datetime) -> bool:
        """Whether a look at that moment is the one that a fixed design was planned for, or a campaign's last."""
        return self.judged_at is not None and as_of >= self.judged_at

    def elapsed(self, as_of: datetime) -> float:
        """The share of the time from the start to the last look that has passed at a moment, above 0 and at most 1."""
        if self.judged_at is None or as_of >= self.judged_at:
            return 1.0
        return max((as_of - self.start) / (self.judged_at - self.start), 1e-9)

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


def aware(moment: datetime) -> datetime:
    """A moment with its time zone: UTC for one without."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
