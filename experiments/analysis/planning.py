"""Planning an experiment: how many units, how many days, or how small a lift can be told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import optimize, special

from experiments.analysis.campaign_power import LOOKS, needed_drift, outlook
from experiments.analysis.mixtures import mixture_rho
from experiments.analysis.readings import Reader, Variable
from experiments.analysis.statistics import sample, variance_kept
from experiments.observations import codes, column_names, select
from experiments.results import IntervalKind
from features.errors import InputError

_MOST = 1e12


@dataclass(frozen=True, kw_only=True)
class Design:
    """What is planned: the metric as it is today, and how sure the result shall be.

    Parameters
    ----------
    baseline: the control's mean; a share when ``std`` is None.
    std: standard deviation of one unit's value; None for a share of units, whose deviation follows from its mean.
    arms: arms with the control, all of one size.
    alpha: chance of a false alarm, over all arms together (divided among them).
    power: chance to see the difference when it is there.
    variance_kept: share of the variance that the covariates leave, 1 - rho squared (CUPED).
    design_effect: by how much clusters inflate the variance, 1 + (size - 1) x intraclass correlation; 1 without.
    interval: which looks may decide: the one at the end (``fixed``), any of ``looks`` until the end
        (``group_sequential``, bounds of O'Brien and Fleming's kind), or any at all (``anytime``, the asymptotic
        confidence sequence tuned to the planned size).
    looks: how many looks a campaign has until its end, evenly spread.
    shares: the planned shares of all units of the control and of the arm, where not all arms are of one size.

    >>> sample_size(Design(baseline=0.10), 0.02)
    3839
    >>> sample_size(Design(baseline=0.10, interval="group_sequential"), 0.02)
    3984
    >>> sample_size(Design(baseline=0.10, interval="anytime"), 0.02)
    7350
    """

    baseline: float
    std: float | None = None
    arms: int = 2
    alpha: float = 0.05
    power: float = 0.8
    variance_kept: float = 1.0
    design_effect: float = 1.0
    interval: IntervalKind = "fixed"
    looks: int = LOOKS
    shares: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        checks = (
            ("the baseline", self.baseline, math.isfinite(self.baseline), "a number"),
            (
                "the baseline of a share",
                self.baseline,
                self.std is not None or 0 < self.baseline < 1,
                "between 0 and 1, or --std beside it when the metric is a mean",
            ),
            ("the standard deviation", self.std, self.std is None or 0 < self.std < math.inf, "above 0"),
            ("the number of arms", self.arms, 2 <= self.arms <= 50, "from 2 to 50"),
            ("alpha", self.alpha, 0 < self.alpha < 0.5, "between 0 and 0.5"),
            ("the power", self.power, self.alpha < self.power < 1, "between alpha and 1"),
            ("the variance kept", self.variance_kept, 0 < self.variance_kept <= 1, "above 0, at most 1"),
            ("the design effect", self.design_effect, 0 < self.design_effect < math.inf, "above 0"),
            ("the number of looks", self.looks, 1 <= self.looks <= 100, "from 1 to 100"),
            (
                "a share",
                self.shares,
                self.shares is None or (min(self.shares) > 0 and sum(self.shares) <= 1 + 1e-9),
                "above 0, both at most 1 together",
            ),
        )
        for name, value, fits, do in checks:
            if not fits:
                raise InputError(f"{name} is out of range", got=str(value), do=f"pass one that is {do}")

    @property
    def reach(self) -> float:
        """How many standard errors a difference must measure to be seen with the power."""
        if self.interval == "group_sequential":
            return needed_drift(power=self.power, looks=self.looks, alpha=self.level)
        bound = -float(special.ndtri(self.level / 2))
        if self.interval == "anytime":
            mass = 1 / mixture_rho(1, alpha=self.alpha)
            bound = math.sqrt(2 * (mass + 1) / mass * (0.5 * math.log1p(mass) - math.log(self.level)))
        return bound + float(special.ndtri(self.power))

    @property
    def level(self) -> float:
        """The chance of a false alarm in one comparison."""
        return self.alpha / (self.arms - 1)

    @property
    def arm_share(self) -> float:
        """The planned share of all units of an arm."""
        return 1 / self.arms if self.shares is None else self.shares[1]

    @property
    def per_arm_unit(self) -> float:
        """Units of the control for each unit of an arm."""
        return 1.0 if self.shares is None else self.shares[0] / self.shares[1]

    @property
    def expected_share(self) -> float:
        """The part of the planned units that is needed on average when the difference is there."""
        if self.interval != "group_sequential":
            return 1.0
        return outlook(self.reach, looks=self.looks, alpha=self.level).share

    def total(self, units: float) -> int:
        """All units of the experiment when an arm has ``units``."""
        return math.ceil(units / self.arm_share - 1e-9)

    def variance(self, difference: float) -> float:
        """Variance of the difference from the control for one unit of the arm, which is at baseline + difference."""
        means = (self.baseline, self.baseline + difference)
        control, arm = (mean * (1 - mean) if self.std is None else self.std * self.std for mean in means)
        return (control / self.per_arm_unit + arm) * self.variance_kept * self.design_effect


def sample_size(design: Design, difference: float) -> int:
    """Units of an arm that show a true ``difference`` of means with the design's power (Welch, near the normal)."""
    if not 0 < abs(difference) < math.inf:
        raise InputError("the difference to find is out of range", got=str(difference), do="pass one that isn't 0")
    if design.std is None and not 0 <= design.baseline + difference <= 1:
        raise InputError(
            "the share would leave the range of shares",
            got=f"{design.baseline:g} {difference:+g}",
            do="pass a smaller difference, or --std when the metric is a mean",
        )
    errors = design.reach / difference
    units = design.variance(difference) * errors * errors
    if not units < _MOST:
        raise InputError(
            "nobody has so many units",
            got=f"{units:.3g} in each arm, to tell {difference:g} from {design.baseline:g}",
            do="pass a larger difference to find, or a smaller spread",
        )
    return max(2, math.ceil(units))


def detectable(design: Design, units: float) -> float:
    """The smallest increase of the mean that ``units`` per arm show with the design's power.

    Infinity where even the largest possible increase of a share needs more units.
    """
    if not 2 <= units < math.inf:
        raise InputError("the number of units per arm is out of range", got=str(units), do="pass 2 or more")
    if design.std is not None:
        return design.reach * math.sqrt(design.variance(0.0) / units)

    def short(difference: float) -> float:
        return design.reach * math.sqrt(design.variance(difference) / units) - difference

    most = 1 - design.baseline
    return float(optimize.brentq(short, 0.0, most, xtol=1e-15, rtol=1e-14)) if short(most) <= 0 else math.inf


def power_of(design: Design, difference: float, *, units: float) -> float:
    """The chance that ``units`` per arm show a true ``difference``; the design's own power plays no part.

    >>> round(power_of(Design(baseline=0.10), 0.02, units=3839), 3)
    0.8
    """
    drift = abs(difference) * math.sqrt(units / design.variance(difference))
    low, high = design.alpha + 1e-6, 1 - 1e-6

    def beyond(power: float) -> float:
        return replace(design, power=power).reach - drift

    if beyond(low) >= 0:
        return low
    return high if beyond(high) <= 0 else float(optimize.brentq(beyond, low, high, xtol=1e-6))


def days(units: int, *, daily: float) -> int:
    """Days until all ``units`` are in, when ``daily`` units a day enter all arms together."""
    if not 0 < daily < math.inf:
        raise InputError("the units per day are out of range", got=str(daily), do="pass a number above 0")
    return math.ceil(units / daily - 1e-9)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric as a table shows it: what a design needs to know of it."""

    baseline: float
    std: float | None
    variance_kept: float
    design_effect: float
    units: int


def measured(table: Any, *, metric: str, covariates: Sequence[str] = (), cluster: str | None = None) -> Metric:
    """The baseline, spread, covariates' worth and clusters' cost of a metric in a table with one row per unit.

    ``metric`` may be a ratio ``NUM/DEN``. The design effect is the measured one: the clustered variance of the mean
    over that of rows.
    """
    there = column_names(table)
    goal, adjusters = Variable.named(metric, there), [Variable.named(each, there) for each in dict.fromkeys(covariates)]
    wanted = [name for each in (goal, *adjusters) for name in each.columns]
    units = select(table, [*wanted, *([cluster] if cluster else [])])
    everyone = np.zeros(units.num_rows, dtype=np.int32)
    by_row = Reader.of(units, goals=[goal], covariates=adjusters, clusters=None)
    (row,) = by_row.read(everyone, groups=1)
    plain = sample(row.moments[0], row.quantity)
    effect, chosen = 1.0, row
    if cluster:
        (chosen,) = Reader.of(units, goals=[goal], covariates=adjusters, clusters=codes(units, cluster)[1]).read(
            everyone, groups=1
        )
        effect = sample(chosen.moments[0], chosen.quantity).error / plain.error if plain.error > 0 else math.nan
    if not (plain.variance > 0 and effect > 0):
        raise InputError(f"metric {metric!r} never varies", got=f"{plain.mean:g} in every row", do="pass another one")
    return Metric(
        baseline=plain.mean,
        std=None if by_row.rates() else math.sqrt(plain.variance),
        variance_kept=variance_kept(chosen.moments[0], quantity=chosen.quantity, covariates=chosen.covariates),
        design_effect=effect,
        units=row.moments[0].n,
    )
