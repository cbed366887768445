"""What an analysis of retention returns: plain records with fixed JSON keys."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.results import Result


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """The share of an arm's customers still there after ``time``; ``at_risk`` of them were watched so long."""

    time: float
    share: float
    ci_low: float
    ci_high: float
    at_risk: int


@dataclass(frozen=True, kw_only=True)
class RetentionArm:
    """How long the customers of an arm stay: ``mean_time`` is the mean within the horizon (restricted mean)."""

    arm: str
    n: int
    events: int
    mean_time: float
    ci_low: float
    ci_high: float
    curve: tuple[CurvePoint, ...]


@dataclass(frozen=True, kw_only=True)
class RetentionDifference:
    """An arm against the control: time gained within the horizon, the share gained at its end, the log-rank test."""

    arm: str
    control: str
    difference: float
    ci_low: float
    ci_high: float
    share_difference: float
    share_ci_low: float
    share_ci_high: float
    p_value: float
    adjusted_p_value: float
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Retention(Result):
    """Retention by arm, up to ``horizon`` in the table's own unit of time, whose name is ``unit``.

    ``doubt`` says why the arms can't be compared; empty where nothing says so.
    """

    arms: tuple[RetentionArm, ...]
    differences: tuple[RetentionDifference, ...]
    horizon: float
    unit: str
    notes: tuple[str, ...] = ()
    doubt: str = ""


@dataclass(frozen=True, kw_only=True)
class PeriodValue:
    """A period of a holdout: what those not withheld were worth beyond those withheld, per customer, and the sum.

    ``ci_*`` hold for this period alone, ``total_ci_*`` for the sums at the ends of all periods together, however many
    will come.
    """

    period: str
    n: int
    n_held: int
    mean: float
    mean_held: float
    difference: float
    ci_low: float
    ci_high: float
    total: float
    total_ci_low: float
    total_ci_high: float


@dataclass(frozen=True, kw_only=True)
class LongRun(Result):
    """The value of all marketing, period by period, against those withheld from it."""

    periods: tuple[PeriodValue, ...]
    sentence: str
    notes: tuple[str, ...] = ()
