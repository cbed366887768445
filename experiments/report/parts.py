"""What a lift report is made of: plain records; a part without data is left out of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from experiments.adaptive import ActionValue
from experiments.arrivals import Arrivals
from experiments.channels.results import Pair
from experiments.design import Experiment
from experiments.heterogeneity.results import ArmGains
from experiments.measures import Goal
from experiments.money import ArmMoney
from experiments.outcomes import OutcomeCounts
from experiments.results import Analysis, IntervalKind, Ladder, MetricRow, Verdict
from experiments.retention.results import LongRun, Retention
from features.errors import InputError, unknown

HealthStatus = Literal["green", "yellow", "red"]
_LATE_SHARE = 0.02
_FEW = 5
OPT_OUTS = "Opt-outs respected"
"""The check that tells of contacts after a no."""


@dataclass(frozen=True, kw_only=True)
class HealthCheck:
    """One thing that must be in order for the numbers to be trusted: ``name``, its colour, and a sentence.

    ``decisions``: the ids of a few to look at; they are for the terminal and the file of numbers, not for the page.
    """

    name: str
    status: HealthStatus
    sentence: str
    decisions: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LookPoint:
    """The result of one metric and arm against the control, at one look, with the ``kind`` of interval shown there."""

    as_of: datetime
    metric: str
    arm: str
    difference: float
    ci_low: float
    ci_high: float
    n_arm: int
    n_control: int
    kind: IntervalKind = "anytime"


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What the last look at a design with an end decided, and as of when."""

    as_of: datetime
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Change:
    """Something that changed while the experiment ran, marked in the chart over time."""

    at: datetime
    text: str


@dataclass(frozen=True, kw_only=True)
class AllocationPoint:
    """How a bandit shared its customers among actions (or arms) from a moment on; shares sum to 1."""

    at: datetime
    shares: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class ChannelRow:
    """Incremental profit of the contacts on one channel, in cents per 1,000 customers.

    ``matchback`` is what the usual matching of purchases to contacts would have claimed: it counts customers who would
    have bought anyway.
    """

    channel: str
    contacts: int
    profit_per_1000: float
    ci_low: float
    ci_high: float
    matchback_per_1000: float | None = None


@dataclass(frozen=True, kw_only=True)
class Driver:
    """What a model looked at, in plain words, and its share of the model's choices (0 to 1)."""

    words: str
    share: float
    effect: str = ""


@dataclass(frozen=True, kw_only=True)
class ReasonCount:
    """How many decisions ended in no contact for one reason: machine code, sentence, count."""

    code: str
    sentence: str
    count: int


@dataclass(frozen=True, kw_only=True)
class TruthRow:
    """An estimate beside the truth that only a simulation knows.

    ``metric`` names a goal or guardrail of the design, whose units the numbers have; any other is in cents.
    ``quantity`` says in words what is estimated.
    """

    metric: str
    arm: str
    quantity: str
    estimate: float
    ci_low: float
    ci_high: float
    truth: float

    @property
    def held(self) -> bool:
        """Whether the interval holds the truth."""
        return self.ci_low <= self.truth <= self.ci_high


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that one look at an experiment has to tell.

    Only ``experiment``, ``analysis`` and ``as_of`` are needed; every other part is left out of the page when empty.

    Parameters
    ----------
    experiment: the design.
    analysis: every goal and guardrail of every arm against ``experiment.control``; money in cents per unit.
    as_of: the moment of the look: what was not recorded by then is not in it.
    look: the number of this look, from 1.
    currency: ISO code of all money.
    company: whose report it is.
    audience: how many customers would get the contact: the money of the headline is what it would bring if they all
        did; all that the analysis counts, when None.
    simulated: whether the customers are simulated; the page says so at its top.
    health: further checks beside the balance of the arms, as :func:`health_checks` makes them; a red one replaces the
        headline.
    decided: of a look after the last one, what that decided, which stands: who acts on the better of several last looks
        errs more often than alpha.
    looks: this look and the earlier ones, from :func:`look_points` and ``ExperimentRecord.past_looks()``.
    changes: marks in the chart over time.
    allocation: the shares of a bandit over time, of the decisions in which it had a choice; ``unchosen`` counts those
        of its arm without one, since nothing had survived the checks or the static contact stood in.
    actions: what each action of a bandit was worth, from the chances that were logged; money in cents.
    money: the money of each arm, from ``experiments.money.money_by_arm``; sums to the history.
    ladder: the value of each step of personalization.
    ladder_in_cents: whether the ladder's values are cents; else they are told in the ladder's own unit.
    channels: all channels in one unit; ``overlaps`` what two of them bring together beyond the sum, in cents.
    gains: who gains from the arm of the headline, in cents where the deciding goal is money.
    retention: who stays how long, by arm; ``leaving`` says what it is to leave.
    long_run: what marketing as a whole is worth, period by period, in cents per customer.
    decisions, refusals: how many decisions were made, and why some ended in no contact.
    drivers: what the models used.
    standards: the personalized arm against other standards (random offer, response only): rows with another control.
    truths: estimates beside the simulator's truth.
    provenance: versions of data, code, policy, as label and value.
    notes: sentences to add to the method.
    waiting, waiting_until: how many units are in whose windows are still open, and when the last of them closes.
    """

    experiment: Experiment
    analysis: Analysis
    as_of: datetime
    look: int = 1
    currency: str = "EUR"
    company: str = ""
    audience: int | None = None
    simulated: bool = False
    health: tuple[HealthCheck, ...] = ()
    decided: Decided | None = None
    looks: tuple[LookPoint, ...] = ()
    changes: tuple[Change, ...] = ()
    allocation: tuple[AllocationPoint, ...] = ()
    unchosen: int = 0
    actions: tuple[ActionValue, ...] = ()
    money: tuple[ArmMoney, ...] = ()
    ladder: Ladder | None = None
    ladder_in_cents: bool = True
    channels: tuple[ChannelRow, ...] = ()
    overlaps: tuple[Pair, ...] = ()
    gains: ArmGains | None = None
    retention: Retention | None = None
    leaving: str = "left"
    long_run: LongRun | None = None
    decisions: int = 0
    refusals: tuple[ReasonCount, ...] = ()
    drivers: tuple[Driver, ...] = ()
    standards: tuple[MetricRow, ...] = ()
    truths: tuple[TruthRow, ...] = ()
    provenance: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    waiting: int = 0
    waiting_until: datetime | None = None

    def __post_init__(self) -> None:
        if self.main is None:
            raise InputError(
                "the analysis lacks the row of the headline",
                got=f"no {self.goal.metric!r} of {self.experiment.headline_arm!r} against {self.experiment.control!r}",
                do="analyze all goals of the design with its control",
            )

    @property
    def goal(self) -> Goal:
        """The goal that decides: the first of the design."""
        return self.experiment.goals[0]

    @property
    def main(self) -> MetricRow | None:
        """The row of the headline: the deciding goal, personalized against the control."""
        return self.row(self.goal.metric, arm=self.experiment.headline_arm)

    @property
    def headline_money(self) -> tuple[Goal, MetricRow] | None:
        """The first goal in money, and its row of the personalized arm."""
        for goal in self.experiment.goals:
            row = self.row(goal.metric, arm=self.experiment.headline_arm)
            if goal.money and row is not None:
                return goal, row
        return None

    @property
    def people(self) -> int:
        """How many customers the money of the headline is for, if they all got what the arm gives."""
        return self.audience if self.audience is not None else sum(arm.n for arm in self.analysis.arms)

    @property
    def checks(self) -> tuple[HealthCheck, ...]:
        """The balance of the arms, now and before the start, and every further check."""
        return (_balance(self.analysis), *_before(self.analysis), *self.health)

    @property
    def trusted(self) -> bool:
        """Whether no check is red."""
        return all(check.status != "red" for check in self.checks) and self.analysis.verdict.code != "do_not_trust"

    def row(self, metric: str, *, arm: str) -> MetricRow | None:
        """The row of a metric and arm against the design's control, if the analysis has it."""
        wanted = (metric, arm, self.experiment.control)
        return next((row for row in self.analysis.metrics if (row.metric, row.arm, row.control) == wanted), None)

    @property
    def planned_look(self) -> bool:
        """Whether this is the one look that a fixed design was planned for, or a campaign's last."""
        return self.experiment.is_planned_look(self.as_of)

    @property
    def early(self) -> bool:
        """Whether the one look of a fixed design is still to come, so that this one decides nothing."""
        return self.experiment.interval_kind == "fixed" and not self.planned_look

    def interval(self, row: MetricRow) -> tuple[float, float]:
        """The one interval that the page shows for a row: of the kind that decided the look."""
        return row.interval(self.analysis.kind)

    def sure(self, row: MetricRow) -> bool:
        """Whether a difference is beyond chance: after correction for many comparisons, and by the interval shown."""
        low, high = self.interval(row)
        return row.adjusted_p_value < self.experiment.alpha and (low > 0 or high < 0)


def look_points(analysis: Analysis, *, experiment: Experiment, as_of: datetime) -> tuple[LookPoint, ...]:
    """The points of one look for the chart over time, with the kind of interval that decided it."""
    return tuple(
        LookPoint(
            as_of=as_of,
            metric=row.metric,
            arm=row.arm,
            difference=row.difference,
            ci_low=row.interval(analysis.kind)[0],
            ci_high=row.interval(analysis.kind)[1],
            n_arm=row.n_arm,
            n_control=row.n_control,
            kind=analysis.kind,
        )
        for row in analysis.metrics
        if row.control == experiment.control
    )


def health_checks(
    *,
    counts: OutcomeCounts | None = None,
    arrivals: Arrivals | None = None,
    degraded: int | None = None,
    decisions: int = 0,
    contacts_to_opted_out: Sequence[str] | None = None,
    told_later: Sequence[str] = (),
) -> tuple[HealthCheck, ...]:
    """The standing checks beside the balance of the arms, from counts; those that are None are left out.

    A contact to an opted-out customer is red, and so is a feed of events that has stopped; more than 2% of late events
    or degraded decisions, any unit in two arms, or an opt-out that arrived after the contact, is yellow.

    Parameters
    ----------
    contacts_to_opted_out: the ids of the decisions to contact somebody whose opt-out was known by then.
    told_later: of those to contact somebody who had opted out by then, as was told only later.
    """
    checks: list[HealthCheck] = []
    if counts is not None:
        checks += _data_checks(counts)
    if arrivals is not None:
        checks.append(HealthCheck(name="Data arriving", status=arrivals.status, sentence=arrivals.sentence))
    if degraded is not None:
        share = degraded / decisions if decisions else 0.0
        checks.append(
            HealthCheck(
                name="Degraded decisions",
                status="yellow" if share > _LATE_SHARE else "green",
                sentence=f"{degraded:,} of {decisions:,} decisions fell back on the static contact; they count with "
                "their arm.",
            )
        )
    if contacts_to_opted_out is not None:
        checks.append(_opt_outs(contacts_to_opted_out, told_later))
    return tuple(checks)


def _opt_outs(known: Sequence[str], later: Sequence[str]) -> HealthCheck:
    """Contacts after a no: a breach where it was known, and the usual late file where nobody could know it."""
    late = (
        f"{_contacts(len(later))} went out before the opt-out had arrived: it was said earlier and came in later. The "
        "comparison of the arms is not touched. If this grows, have that file sent sooner; docs/intake.md tells how "
        "`delay` or `recorded_at` of its source says when it comes."
    )
    if known:
        told = (
            f"{_contacts(len(known))} went to customers who had opted out, which was known when it was decided: tell "
            "who answers for consent, and end the sending until the cause is found."
        )
        return HealthCheck(
            name=OPT_OUTS,
            status="red",
            sentence=f"{told} Beside these, {late}" if later else told,
            decisions=tuple(known[:_FEW]),
        )
    if later:
        return HealthCheck(name=OPT_OUTS, status="yellow", sentence=late, decisions=tuple(later[:_FEW]))
    return HealthCheck(name=OPT_OUTS, status="green", sentence="0 contacts went to customers who had opted out.")


def _contacts(number: int) -> str:
    return f"{number:,} contact{'' if number == 1 else 's'}"


def _data_checks(counts: OutcomeCounts) -> list[HealthCheck]:
    late = counts.late / counts.units if counts.units else 0.0
    return [
        HealthCheck(
            name="Windows closed",
            status="green",
            sentence=f"{counts.mature:,} of {counts.units:,} customers count; {counts.immature:,} are too recent.",
        ),
        HealthCheck(
            name="Late records",
            status="yellow" if late > _LATE_SHARE else "green",
            sentence=f"{counts.late:,} events arrived after their usual delay; {counts.duplicates:,} sent again were "
            "counted once.",
        ),
        HealthCheck(
            name="One arm each",
            status="yellow" if counts.two_arms else "green",
            sentence=f"{counts.two_arms:,} customers or households were seen in two arms and are left out.",
        ),
    ]


def _balance(analysis: Analysis) -> HealthCheck:
    seen = sum(arm.n for arm in analysis.arms)
    sentences = {
        "green": f"{seen:,} customers stand in the arms as planned.",
        "yellow": "The arms are a little out of their planned shares; watch this.",
        "red": "The arms do not hold the shares that were planned: some customers went missing on one side.",
    }
    return HealthCheck(name="Balance of arms", status=analysis.srm.status, sentence=sentences[analysis.srm.status])


def _before(analysis: Analysis) -> tuple[HealthCheck, ...]:
    """Whether the arms were alike before the start, where anything was known of it."""
    found = analysis.balance
    return (HealthCheck(name="Before the start", status=found.status, sentence=found.sentence),) if found else ()


def check_arms(report: Report) -> None:
    """Raise when the analysis speaks of an arm that the design does not have."""
    for arm in report.analysis.arms:
        if arm.arm not in report.experiment.arm_names:
            raise unknown("arm", arm.arm, report.experiment.arm_names)
