"""What to do with an experiment, from its rows alone, in a sentence that a marketer understands."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

from experiments.analysis.limits import Standing, standing
from experiments.results import ArmCount, Balance, IntervalKind, MetricRow, SampleRatio, Verdict

# A limit that is 0 but for so few digits more is told with them: whether it lies above 0 decides.
_MORE_DIGITS = 3
_HOLDS: dict[IntervalKind, str] = {
    "fixed": "",
    "group_sequential": " over all looks of the campaign",
    "anytime": " however often you look",
}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What was fixed before the start: how sure, by which kind of interval, what is worth having, which way is good.

    Parameters
    ----------
    alpha: the chance of a false roll-out that is accepted.
    kind: the kind of interval that decides: of the one look that was planned (``fixed``), of each look of a campaign
        with an end (``group_sequential``), or of any look whatever (``anytime``).
    last: no look is to follow. A fixed one is the last by itself.
    worth: the smallest difference of the first metric that is worth having, in its unit, 0 or more.
    lower_is_better: metrics of which less is good.
    rates: metrics that are shares of units, told in percent.
    limits: metric to the largest rise over the control that is allowed, in its unit: its guardrail.
    weighted: means are estimates over all decisions of a bandit, not those of the units that an arm was chosen for.
    units: metric to what it is counted in, such as a currency.

    >>> row = MetricRow(metric="spend", arm="mail", control="none", arm_mean=1.42262, control_mean=0.65279,
    ...     difference=0.76983, ci_low=0.4851, ci_high=1.0545, relative=None, relative_ci_low=None,
    ...     relative_ci_high=None, p_value=1e-7, anytime_ci_low=0.3021, anytime_ci_high=1.2376, anytime_p_value=8e-6,
    ...     adjusted_p_value=1e-7, n_arm=21307, n_control=21306)
    >>> Rule().mean(row, row.arm_mean), Rule().difference(row)
    ('1.4226', '+0.77 (+0.30 to +1.24)')
    """

    alpha: float = 0.05
    kind: IntervalKind = "anytime"
    last: bool = False
    worth: float = 0.0
    lower_is_better: tuple[str, ...] = ()
    rates: tuple[str, ...] = ()
    limits: Mapping[str, float] = field(default_factory=dict)
    weighted: bool = False
    units: Mapping[str, str] = field(default_factory=dict)

    def sign(self, metric: str) -> int:
        """+1 where more is good, -1 where less is."""
        return -1 if metric in self.lower_is_better else 1

    def interval(self, row: MetricRow) -> tuple[float, float]:
        """The limits of the interval that decides."""
        return row.interval(self.kind)

    @property
    def over(self) -> bool:
        """Whether the experiment ends with this look."""
        return self.last or self.kind == "fixed"

    def best_case(self, row: MetricRow) -> float:
        """The good end of the interval that decides, counted so that more is better."""
        return max(self.sign(row.metric) * limit for limit in self.interval(row))

    def worst_case(self, row: MetricRow) -> float:
        """The bad end of the interval that decides, counted so that more is better."""
        return min(self.sign(row.metric) * limit for limit in self.interval(row))

    def standing(self, row: MetricRow) -> Standing | None:
        """Where a metric with a limit stands against it; None for one without."""
        limit = self.limits.get(row.metric)
        return None if limit is None else standing(row, interval=self.interval(row), limit=limit)

    @property
    def confidence(self) -> str:
        """How sure the interval that decides is, as a percentage."""
        return f"{100 * (1 - self.alpha):.4g}%"

    @property
    def waiting(self) -> str:
        """What to do where nothing is shown: the experiment's own end closes it without an answer."""
        return "No clear answer at the end" if self.over else "Keep running"

    def mean(self, row: MetricRow, value: float) -> str:
        """A mean in words: a rate in percent, any other with two digits more than its difference is known to."""
        if row.metric in self.rates:
            return f"{value:.{max(_digits(row, self, 100), 2)}%}"
        return f"{value:z,.{_digits(row, self, 1) + 2}f}"

    def amount(self, row: MetricRow, value: float) -> str:
        """A difference in words, signed: in percentage points for a rate."""
        return self._signed(row, value, small=False)

    def limit(self, row: MetricRow, value: float) -> str:
        """A limit of an interval, likewise; one that would round to zero shows on which side of it."""
        return self._signed(row, value, small=True)

    def _signed(self, row: MetricRow, value: float, *, small: bool) -> str:
        rate = row.metric in self.rates
        value, digits = (100 * value, max(_digits(row, self, 100), 2)) if rate else (value, _digits(row, self, 1))
        if small and 10.0 ** -(digits + _MORE_DIGITS) <= abs(value) < 0.5 * 10.0**-digits:
            digits = math.ceil(-math.log10(abs(value)))
        return f"{value:+z,.{digits}f}"

    def difference(self, row: MetricRow) -> str:
        """The difference with the interval that decides."""
        low, high = self.interval(row)
        if low != low:
            return self.amount(row, row.difference) if row.difference == row.difference else "not known"
        return f"{self.amount(row, row.difference)} ({self.limit(row, low)} to {self.limit(row, high)})"

    def unit(self, metric: str) -> str:
        """What a difference counts."""
        return " points" if metric in self.rates else self.counted(metric)

    def counted(self, metric: str) -> str:
        """What a mean is counted in, if that is known."""
        return f" {self.units[metric]}" if metric in self.units else ""


def _digits(row: MetricRow, rule: Rule, scale: float) -> int:
    """Decimals that show two digits of the interval's half width: more of them are noise."""
    low, high = rule.interval(row)
    half = scale * (high - low) / 2
    return min(max(1 - math.floor(math.log10(half)), 0), 12) if 0 < half < math.inf else 2


def verdict(
    rows: Sequence[MetricRow],
    *,
    arms: Sequence[ArmCount],
    srm: SampleRatio,
    rule: Rule | None = None,
    balance: Balance | None = None,
    missing: str = "",
    chances: bool = False,
    assumed: bool = False,
) -> Verdict:
    """What to do, decided by the first metric among ``rows``.

    - ``do_not_trust``: the split is red, or what was known before the start is, or the metric is missing by arm, as
      the sentence ``missing`` says; no number is worth reading before the cause is found.
    - ``stop``: no arm can still be worth it: each one's interval ends below ``rule.worth``.
    - ``roll_out``: an arm is better after correction for all metrics and arms, its interval lies at or above
      ``rule.worth``, the split is green, and no other metric of that arm stands in the way. Of several, the one with
      the largest difference.
    - ``keep_running``: anything else, with what stands in the way.

    With ``chances`` the table has a column ``p_<arm>`` for each arm, as a bandit logs them: its arms hold no planned
    share, and where the split is red, the sentence says how such a log is read. ``assumed`` says that nobody named the
    planned shares: equal ones stand for them, and the sentence asks for the true ones.

    Better means an adjusted p-value below alpha, which allows for all metrics, and the p-value of the kind that decides
    below alpha divided by the number of arms: what other metrics show is no reason to believe more of the first. So
    does the interval that is held against a worth allow for the arms. A metric with a limit stands in the way until it
    is within: what may still be broken is not known to be kept. One without stands in the way when significantly worse.
    """
    rule = rule or Rule()
    if srm.status == "red":
        return Verdict(
            code="do_not_trust", sentence=_distrust(arms, srm, assumed=assumed) + _of_a_bandit(arms) * chances
        )
    if balance and balance.status == "red":
        return Verdict(code="do_not_trust", sentence=f"Do not trust these numbers: {_uncapitalized(balance.sentence)}")
    if missing:
        return Verdict(code="do_not_trust", sentence=f"Do not trust these numbers: {missing}")
    primary = [row for row in rows if row.metric == rows[0].metric]
    known = [row for row in primary if rule.best_case(row) == rule.best_case(row)]
    known.sort(key=lambda row: -rule.sign(row.metric) * row.difference)
    if not known:
        return Verdict(code="keep_running", sentence=f"{rule.waiting}: {_incomparable(primary, rule)}")
    hopeless = len(known) == len(primary) and all(rule.best_case(row) < rule.worth for row in known)
    ahead = [] if hopeless else [row for row in known if _better(row, len(primary), rule)]
    if srm.status == "yellow":
        return Verdict(code="keep_running", sentence=_held(known[0], srm, rule))
    if hopeless:
        return Verdict(code="stop", sentence=_stop(known, rule))
    harms = _harms((row for row in rows if row.metric != rows[0].metric), rule)
    clean = [row for row in ahead if row.arm not in harms and _worth_it(row, len(primary), rule)]
    if clean:
        return Verdict(code="roll_out", sentence=_roll_out(clean[0], known, rule))
    return Verdict(code="keep_running", sentence=_undecided(known[0], ahead, harms, rule, among=rows))


def _incomparable(primary: Sequence[MetricRow], rule: Rule) -> str:
    """Why no arm has an interval; with the one of a single look, where that can be told."""
    best = max(primary, key=lambda row: rule.sign(row.metric) * row.difference)
    if best.ci_low != best.ci_low or rule.kind == "fixed":
        return f"{best.metric} can't be compared, as there are too few units or none differs."
    single = Rule(alpha=rule.alpha, kind="fixed", rates=rule.rates, units=rule.units)
    return (
        f"{best.metric} has too few units for an interval that holds at every look. Of a single look that was planned "
        f"before the start (--final), {_sides(best, single)}."
    )


def _uncapitalized(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _better(row: MetricRow, arms: int, rule: Rule) -> bool:
    sure = row.adjusted_p_value < rule.alpha and row.p(rule.kind) < rule.alpha / arms
    return sure and rule.sign(row.metric) * row.difference > 0


def _worth_it(row: MetricRow, arms: int, rule: Rule) -> bool:
    """Whether the bad end lies at or above the worth: with several arms, of an interval as wide as for all of them."""
    if not rule.worth:
        return rule.worst_case(row) >= 0
    quantile = NormalDist().inv_cdf
    wider = quantile(rule.alpha / 2 / arms) / quantile(rule.alpha / 2)
    told = rule.sign(row.metric) * row.difference
    return told - wider * (told - rule.worst_case(row)) >= rule.worth


def _harms(rows: Iterable[MetricRow], rule: Rule) -> dict[str, MetricRow]:
    """Of each arm that something stands in the way of, the metric that does: one over its limit before any other."""
    found = [row for row in rows if _harmful(row, rule)]
    return {row.arm: row for row in sorted(found, key=lambda row: rule.standing(row) == "over")}


def _harmful(row: MetricRow, rule: Rule) -> bool:
    against = rule.standing(row)
    if against is not None:
        return against != "within"
    return row.adjusted_p_value < rule.alpha and rule.sign(row.metric) * row.difference < 0


def told_difference(row: MetricRow, rule: Rule) -> str:
    """The difference with its interval, how sure it is and over which looks, in words."""
    low, high = rule.interval(row)
    when = _HOLDS[rule.kind]
    return (
        f"{rule.amount(row, row.difference)}{rule.unit(row.metric)} "
        f"({rule.confidence} sure{when}: between {rule.limit(row, low)} and {rule.limit(row, high)})"
    )


def _sides(row: MetricRow, rule: Rule) -> str:
    if rule.weighted:
        return (
            f"{row.metric}, estimated over all decisions, is {rule.mean(row, row.arm_mean)} with {row.arm!r} (chosen "
            f"{row.n_arm:,} times) against {rule.mean(row, row.control_mean)} with {row.control!r} (chosen "
            f"{row.n_control:,} times), {told_difference(row, rule)}"
        )
    counted = rule.counted(row.metric)
    return (
        f"{row.metric} is {rule.mean(row, row.arm_mean)}{counted} of {row.n_arm:,} with {row.arm!r} against "
        f"{rule.mean(row, row.control_mean)}{counted} of {row.n_control:,} with {row.control!r}, "
        f"{told_difference(row, rule)}"
    )


def _others(chosen: MetricRow, known: Sequence[MetricRow], rule: Rule) -> str:
    rest = [f"{row.arm!r} {rule.difference(row)}" for row in known if row.arm != chosen.arm]
    if not rest:
        return ""
    more = f", and {len(rest) - 3} more" if len(rest) > 3 else ""
    return f" The others against {chosen.control!r}: {', '.join(rest[:3])}{more}."


def _roll_out(chosen: MetricRow, known: Sequence[MetricRow], rule: Rule) -> str:
    return f"Roll out {chosen.arm!r}: {_sides(chosen, rule)}.{_others(chosen, known, rule)}"


def _stop(known: Sequence[MetricRow], rule: Rule) -> str:
    best = known[0]
    bar = f"bring the {_worth(best, rule)} that would be worth it" if rule.worth else f"beat {best.control!r}"
    return f"Stop: no arm can still {bar}. At best, {_sides(best, rule)}.{_others(best, known, rule)}"


def _worth(row: MetricRow, rule: Rule) -> str:
    return f"{rule.amount(row, rule.sign(row.metric) * rule.worth)}{rule.unit(row.metric)}"


def _held(best: MetricRow, srm: SampleRatio, rule: Rule) -> str:
    first = "Check the split first" if rule.over else "Keep running, but check the split first"
    return (
        f"{first}: the arms' sizes fit the plan poorly (p = {srm.p_value:.2g}), so a "
        f"difference may come from who is missing. As it stands, {_sides(best, rule)}."
    )


def _undecided(
    best: MetricRow,
    ahead: Sequence[MetricRow],
    harms: Mapping[str, MetricRow],
    rule: Rule,
    *,
    among: Sequence[MetricRow],
) -> str:
    if not ahead:
        return f"{rule.waiting}: {_sides(best, rule)}. {_unsure(best, among, rule)}"
    first = ahead[0]
    told = f"{rule.waiting}: {_sides(first, rule)}"
    if first.arm in harms:
        return f"{told}, but {_harm(harms[first.arm], rule)}"
    arms = ", allowing for the arms compared" if rule.worst_case(first) >= rule.worth else ""
    worth = _worth(first, rule)
    return f"{told}. That is a gain, but it may still be less than the {worth} that would be worth it{arms}."


def _unsure(best: MetricRow, among: Sequence[MetricRow], rule: Rule) -> str:
    """Why a difference is not enough: a range of its own that leaves out 0 was not corrected for what was compared."""
    if not rule.worst_case(best) > 0:
        return "That is not enough to tell."
    compared = sum(row.p_value == row.p_value for row in among)
    if best.adjusted_p_value >= rule.alpha:
        why = f"corrected for {compared} comparisons p = {best.adjusted_p_value:.2g} in a single look"
    else:
        arms = sum(row.metric == best.metric for row in among)
        why = f"p = {best.p(rule.kind):.2g} is not below {rule.alpha / arms:.2g}, as {arms} arms allow"
    if best.p_value != best.p_value:
        why = "within the arms nothing varies, so it can't be tested"
    return f"The range leaves out 0, but {why}: that is not enough to tell."


def _harm(row: MetricRow, rule: Rule) -> str:
    against = rule.standing(row)
    if against is None:
        worse = "is worse" if rule.best_case(row) < 0 else "looks worse, which is not sure"
        return f"{row.metric} {worse}, {told_difference(row, rule)}. Weigh the two before you roll out."
    limit = f"{rule.amount(row, rule.limits[row.metric])}{rule.unit(row.metric)}"
    change = f"{rule.difference(row)}{rule.unit(row.metric)}"
    if against == "over":
        return f"{row.metric} rose by more than the {limit} that is allowed: {change}."
    if row.highest is not None and row.highest == row.highest:
        change = f"{rule.amount(row, row.difference)}, at most {rule.amount(row, row.highest)}{rule.unit(row.metric)}"
    elif math.isnan(rule.best_case(row)):
        change += ", and how much more it may be isn't known"
    return f"{row.metric} may have risen by more than the {limit} that is allowed: {change}."


def _distrust(arms: Sequence[ArmCount], srm: SampleRatio, *, assumed: bool) -> str:
    total = sum(arm.n for arm in arms)
    far = sorted(arms, key=lambda arm: -abs(arm.n - total * arm.planned_share))[:3]
    told = ", ".join(f"{arm.arm!r} {arm.n:,} instead of {total * arm.planned_share:,.0f}" for arm in far)
    chance = f"p = {srm.p_value:.2g}" if srm.p_value > 1e-9 else "p < 0.000000001"
    if assumed:
        return (
            f"Do not trust these numbers: the arms don't hold equal shares ({told}; {chance}). If other shares were "
            "planned, name each arm's with --split ARM=SHARE; if not, find out which units are missing before you read "
            "any difference."
        )
    return (
        f"Do not trust these numbers: the arms don't hold the units that were planned ({told}; {chance}). "
        "Find out which units are missing before you read any difference."
    )


def _of_a_bandit(arms: Sequence[ArmCount]) -> str:
    names = ", ".join(f"p_{each.arm}" for each in arms[:3])
    return f" Or did a bandit choose? The table holds chances ({names}): then read them, with --probabilities p_."
