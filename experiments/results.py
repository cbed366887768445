"""What analysis, ladder and off-policy evaluation return: plain records whose JSON keys are fixed."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

IntervalKind = Literal["fixed", "group_sequential", "anytime"]
SrmStatus = Literal["green", "yellow", "red"]
VerdictCode = Literal["roll_out", "stop", "keep_running", "do_not_trust"]
RungName = Literal["nothing", "random", "static", "segment", "few", "one_to_one"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What can be written as JSON."""

    def to_json(self) -> dict[str, Any]:
        """The record as plain dictionaries and lists, with the fixed keys."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class ArmCount:
    """How many units an arm holds, beside the share that was planned."""

    arm: str
    n: int
    planned_share: float


@dataclass(frozen=True, kw_only=True)
class SampleRatio:
    """The sample ratio check: whether the arms hold the shares that were planned."""

    p_value: float
    status: SrmStatus


@dataclass(frozen=True, kw_only=True)
class MetricRow:
    """One metric of one arm against the control.

    ``difference`` is arm minus control per unit, ``relative`` the same divided by the control's mean. ``ci_*`` hold at
    a single look planned before; ``anytime_*`` at every look, however often; ``sequential_*`` at every look of a
    campaign with an end, None where none was planned. ``highest`` is what a metric with a limit may have risen by, sure
    on that side alone, by the kind of interval that decides; None for other metrics. A value that can't be computed is
    None in JSON.
    """

    metric: str
    arm: str
    control: str
    arm_mean: float
    control_mean: float
    difference: float
    ci_low: float
    ci_high: float
    relative: float | None
    relative_ci_low: float | None
    relative_ci_high: float | None
    p_value: float
    anytime_ci_low: float
    anytime_ci_high: float
    anytime_p_value: float
    adjusted_p_value: float
    n_arm: int
    n_control: int
    sequential_ci_low: float | None = None
    sequential_ci_high: float | None = None
    sequential_p_value: float | None = None
    highest: float | None = None

    def interval(self, kind: IntervalKind) -> tuple[float, float]:
        """The limits of the interval of a kind; NaN where it can't be computed."""
        low, high = {
            "fixed": (self.ci_low, self.ci_high),
            "group_sequential": (self.sequential_ci_low, self.sequential_ci_high),
            "anytime": (self.anytime_ci_low, self.anytime_ci_high),
        }[kind]
        return _known(low), _known(high)

    def p(self, kind: IntervalKind) -> float:
        """The p-value of a kind, not corrected; NaN where it can't be computed."""
        values = {
            "fixed": self.p_value,
            "group_sequential": self.sequential_p_value,
            "anytime": self.anytime_p_value,
        }
        return _known(values[kind])


def _known(value: float | None) -> float:
    return math.nan if value is None else value


@dataclass(frozen=True, kw_only=True)
class SegmentRow(MetricRow):
    """A metric row within the units whose column ``segment`` holds ``value``.

    ``shrunk_*`` is the difference drawn towards that of the whole, as far as the segments' own are noise, with an
    interval of the kind that decides; None where it can't be told.
    """

    segment: str
    value: str
    shrunk_difference: float | None = None
    shrunk_ci_low: float | None = None
    shrunk_ci_high: float | None = None


@dataclass(frozen=True, kw_only=True)
class CovariateRow:
    """What one arm was like before the start, beside the control; ``standardized`` = difference in deviations."""

    covariate: str
    arm: str
    control: str
    arm_mean: float
    control_mean: float
    standardized: float


@dataclass(frozen=True, kw_only=True)
class Balance:
    """Whether the arms were alike before the start, in all covariates and strata together; and the same in words."""

    p_value: float
    status: SrmStatus
    sentence: str
    rows: tuple[CovariateRow, ...]


@dataclass(frozen=True, kw_only=True)
class Cap:
    """The largest value that rows of a metric count with, and how many of each arm lay above it.

    ``share`` is set where the cap was given as a share of the rows, such as 0.99.
    """

    metric: str
    cap: float
    share: float | None
    above: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Total:
    """A difference in money for all ``units``, had each been in the arm rather than in the control.

    The interval is of the kind that decides.
    """

    metric: str
    arm: str
    units: int
    difference: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True, kw_only=True)
class ExposedCount:
    """How many units of an arm reached what the arms do differently."""

    arm: str
    n: int
    exposed: int


@dataclass(frozen=True, kw_only=True)
class ExposedRow(MetricRow):
    """A metric row among the exposed, and its ``diluted`` difference: what it comes to per unit of all.

    The diluted interval is of the kind that decides. A ratio of sums has no diluted difference: None.
    """

    diluted: float | None
    diluted_ci_low: float | None
    diluted_ci_high: float | None


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """The analysis among the exposed, to be trusted only where being exposed did not depend on the arm."""

    column: str
    arms: tuple[ExposedCount, ...]
    p_value: float
    status: SrmStatus
    sentence: str
    metrics: tuple[ExposedRow, ...]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What to do, as a code for machines and a sentence for people."""

    code: VerdictCode
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Analysis(Result):
    """The whole result of one look at an experiment; ``kind`` is the one kind of interval that decides and is shown.

    ``caution`` is the end of the verdict's sentence where that is not to be acted on alone, else empty.
    """

    arms: tuple[ArmCount, ...]
    srm: SampleRatio
    metrics: tuple[MetricRow, ...]
    segments: tuple[SegmentRow, ...]
    verdict: Verdict
    kind: IntervalKind = "anytime"
    caution: str = ""
    notes: tuple[str, ...] = ()
    balance: Balance | None = None
    exposure: Exposure | None = None
    caps: tuple[Cap, ...] = ()
    totals: tuple[Total, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One step of the ladder: its value per unit net of contact cost, and its gain over the rung before."""

    rung: RungName
    value: float
    ci_low: float
    ci_high: float
    gain: float | None
    gain_ci_low: float | None
    gain_ci_high: float | None
    shares: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Ladder(Result):
    """The rungs from nothing to one-to-one, and where personalization stops paying.

    Values are per unit, in units of the outcome; times ``scale`` they are in ``unit``, the words for people. Where
    the arms were hardly given by chance ``trusted`` is false, ``sentence`` says why, and nothing is recommended beyond
    the lowest rung.
    """

    rungs: tuple[Rung, ...]
    recommended: RungName
    sentence: str
    notes: tuple[str, ...] = ()
    unit: str = ""
    scale: float = 1.0
    trusted: bool = True


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The value of a policy by one off-policy estimator, in units of the reward per decision."""

    estimator: str
    value: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True, kw_only=True)
class Earned:
    """What decisions earned each as they were made, in units of the reward."""

    value: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What a policy would have earned more per decision than another, on the same decisions.

    ``relative`` is the same over the value of the other; None where that is not clearly above 0.
    """

    estimator: str
    difference: float
    ci_low: float
    ci_high: float
    relative: float | None
    relative_ci_low: float | None
    relative_ci_high: float | None


@dataclass(frozen=True, kw_only=True)
class Against:
    """A policy held against another that could have run, ``name``: its ``estimates``, and the differences to them."""

    name: str
    estimates: tuple[Estimate, ...]
    differences: tuple[Difference, ...]
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Diagnostics:
    """How much the log can say of the policy."""

    effective_sample_size: float
    unsupported_share: float
    max_weight: float


@dataclass(frozen=True, kw_only=True)
class Evaluation(Result):
    """Off-policy value of a policy; ``refused`` holds the reason when the log can't tell.

    ``untried``: the share of what the policy would do that is each action, where the log never took it. ``logged`` is
    what the log itself earned, ``differences`` each estimate less that, paired by row, and ``sentence`` says the doubly
    robust one in words; ``control`` holds the policy against another one. ``features`` are the columns that the reward
    models used, ``left_out`` the others with reasons. Amounts times ``scale`` are in ``unit``, the words for people.
    """

    estimates: tuple[Estimate, ...]
    diagnostics: Diagnostics
    refused: str | None
    notes: tuple[str, ...] = ()
    untried: dict[str, float] = field(default_factory=dict)
    logged: Earned | None = None
    differences: tuple[Difference, ...] = ()
    sentence: str = ""
    control: Against | None = None
    features: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    unit: str = "per decision"
    scale: float = 1.0
