"""What to do with an experiment, from its rows alone, in a sentence that a marketer understands."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from experiments.results import ArmCount, MetricRow, SampleRatio, Verdict


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What was fixed before the start: how sure, which look, what is worth having, which way is good.

    Parameters
    ----------
    alpha: the chance of a false roll-out that is accepted.
    final: this is the one look that was planned before the start. Then the fixed-horizon interval decides; otherwise
        the anytime-valid one does, so that looking every day costs nothing.
    worth: the smallest difference of the first metric that is worth having, in its unit, 0 or more.
    lower_is_better: metrics of which less is good.
    rates: metrics that are shares of units, told in percent.

    >>> Rule(alpha=0.05).points("visit", 0.0123)
    '+0.0123'
    >>> Rule(alpha=0.05, rates=("visit",)).points("visit", 0.0123)
    '+1.23 points'
    """

    alpha: float = 0.05
    final: bool = False
    worth: float = 0.0
    lower_is_better: Collection[str] = ()
    rates: Collection[str] = ()

    def sign(self, metric: str) -> int:
        """+1 where more is good, -1 where less is."""
        return -1 if metric in self.lower_is_better else 1

    def interval(self, row: MetricRow) -> tuple[float, float]:
        """The limits of the interval that decides, as they are."""
        return (row.ci_low, row.ci_high) if self.final else (row.anytime_ci_low, row.anytime_ci_high)

    def best_case(self, row: MetricRow) -> float:
        """The end of the deciding interval on the good side, good counted as positive."""
        return max(self.sign(row.metric) * limit for limit in self.interval(row))

    def level(self, metric: str, value: float) -> str:
        """A metric's mean in words."""
        return f"{value:.2%}" if metric in self.rates else f"{value:,.4g}"

    def points(self, metric: str, value: float) -> str:
        """A difference in words, signed."""
        return f"{100 * value:+,.2f} points" if metric in self.rates else f"{value:+,.4g}"

    def span(self, row: MetricRow) -> str:
        """A difference with the interval that decides."""
        low, high = self.interval(row)
        sure = f"{1 - self.alpha:.3g}".lstrip("0.").ljust(2, "0")
        how = "" if self.final else " at any look"
        between = f"{self.points(row.metric, low).removesuffix(' points')} to {self.points(row.metric, high)}"
        return f"{self.points(row.metric, row.difference)} ({sure}% sure{how}: {between})"


def verdict(
    rows: Sequence[MetricRow], *, arms: Sequence[ArmCount], srm: SampleRatio, rule: Rule | None = None
) -> Verdict:
    """What to do, decided by the first metric among ``rows``.

    - ``do_not_trust``: the split is red; no number is worth reading before the cause is found.
    - ``stop``: no arm can still be worth it: each one's interval ends below ``rule.worth``.
    - ``roll_out``: an arm is better after correction for all metrics and arms, the split is green, and no other metric
      of that arm is significantly worse. Of several, the one with the largest difference.
    - ``keep_running``: anything else, with what stands in the way.

    Better means an adjusted p-value below alpha and, unless the look is final, an anytime-valid p-value below alpha
    divided by the number of arms.
    """
    rule = rule or Rule()
    if srm.status == "red":
        return Verdict(code="do_not_trust", sentence=_distrust(arms, srm))
    primary = [row for row in rows if row.metric == rows[0].metric]
    known = [row for row in primary if rule.best_case(row) == rule.best_case(row)]
    known.sort(key=lambda row: -rule.sign(row.metric) * row.difference)
    if not known:
        text = f"Keep running: {rows[0].metric} can't be compared yet, as there are too few units or none differs."
        return Verdict(code="keep_running", sentence=text)
    hopeless = len(known) == len(primary) and all(rule.best_case(row) < rule.worth for row in known)
    winners = [] if hopeless else [row for row in known if _better(row, len(primary), rule)]
    if srm.status == "yellow":
        return Verdict(code="keep_running", sentence=_held(known[0], srm, rule))
    if hopeless:
        return Verdict(code="stop", sentence=_stop(known, rule))
    harmed = {row.arm: row for row in rows if row.metric != rows[0].metric and _worse(row, rule)}
    clean = [row for row in winners if row.arm not in harmed]
    if clean:
        return Verdict(code="roll_out", sentence=_roll_out(clean[0], known, rule))
    return Verdict(code="keep_running", sentence=_undecided(known[0], winners, harmed, rule))


def _better(row: MetricRow, arms: int, rule: Rule) -> bool:
    sure = row.adjusted_p_value < rule.alpha and (rule.final or row.anytime_p_value < rule.alpha / arms)
    return sure and rule.sign(row.metric) * row.difference > 0 and rule.best_case(row) >= rule.worth


def _worse(row: MetricRow, rule: Rule) -> bool:
    return row.adjusted_p_value < rule.alpha and rule.sign(row.metric) * row.difference < 0


def _sides(row: MetricRow, rule: Rule) -> str:
    arm, control = rule.level(row.metric, row.arm_mean), rule.level(row.metric, row.control_mean)
    return (
        f"{row.metric} is {arm} of {row.n_arm:,} with {row.arm!r} against {control} of {row.n_control:,} "
        f"with {row.control!r}, {rule.span(row)}"
    )


def _others(chosen: MetricRow, known: Sequence[MetricRow], rule: Rule) -> str:
    rest = [f"{row.arm!r} {rule.span(row)}" for row in known if row.arm != chosen.arm]
    if not rest:
        return ""
    more = f" and {len(rest) - 3} more" if len(rest) > 3 else ""
    return f" Beside it, each against {chosen.control!r}: {'; '.join(rest[:3])}{more}."


def _roll_out(chosen: MetricRow, known: Sequence[MetricRow], rule: Rule) -> str:
    return f"Roll out {chosen.arm!r}: {_sides(chosen, rule)}.{_others(chosen, known, rule)}"


def _stop(known: Sequence[MetricRow], rule: Rule) -> str:
    bar = f"worth {rule.points(known[0].metric, rule.worth)}" if rule.worth else f"better than {known[0].control!r}"
    return f"Stop: no arm is {bar} any more. {_sides(known[0], rule)}.{_others(known[0], known, rule)}"


def _held(best: MetricRow, srm: SampleRatio, rule: Rule) -> str:
    return (
        f"Keep running, and check the split first: the arms' sizes fit the plan poorly (p = {srm.p_value:.2g}), so a "
        f"difference may come from who is missing. As it stands, {_sides(best, rule)}."
    )


def _undecided(best: MetricRow, winners: Sequence[MetricRow], harmed: dict[str, MetricRow], rule: Rule) -> str:
    if winners:
        worse = harmed[winners[0].arm]
        return (
            f"Keep running: {_sides(winners[0], rule)}, but {worse.metric} is worse, {rule.span(worse)}. "
            "Weigh the two before you roll out."
        )
    return f"Keep running: {_sides(best, rule)}. That is not enough to tell whether it is better."


def _distrust(arms: Sequence[ArmCount], srm: SampleRatio) -> str:
    total = sum(arm.n for arm in arms)
    far = sorted(arms, key=lambda arm: -abs(arm.n - total * arm.planned_share))[:3]
    told = ", ".join(f"{arm.arm!r} {arm.n:,} instead of {total * arm.planned_share:,.0f}" for arm in far)
    chance = f"p = {srm.p_value:.2g}" if srm.p_value > 1e-9 else "p < 0.000000001"
    return (
        f"Do not trust these numbers: the arms don't hold the units that were planned ({told}; {chance}). "
        "Find out which units are missing before you read any difference."
    )
