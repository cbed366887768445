"""What the report says in words: the headline, the line below it, the decision."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from experiments.analysis.limits import standing
from experiments.measures import Goal, Guardrail, Measure
from experiments.report.parts import Decided, Report
from experiments.report.words import (
    Scale,
    arm_words,
    count,
    day,
    difference_scale,
    level_scale,
    money_scale,
    percent,
    plural,
    sentence,
    tidy,
)
from experiments.results import MetricRow, VerdictCode

_LONG_DAYS = 365
_DECISIONS = {
    "roll_out": "Roll out",
    "stop": "Stop",
    "keep_running": "Keep running",
    "do_not_trust": "Do not trust",
}


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The sentence on top, the one below, and its tone: good, bad, open or red."""

    text: str
    below: str
    tone: str


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to do: its code, its word, the sentence, and what was fixed before the start, as label and text."""

    code: VerdictCode
    word: str
    sentence: str
    criteria: tuple[tuple[str, str], ...]


def headline(report: Report) -> Headline:
    """What the page says first: a range in money where there is one, or that the numbers can't be trusted."""
    row, goal = report.main, report.goal
    if row is None or not report.trusted:
        reds = [check.sentence for check in report.checks if check.status == "red"]
        return Headline(
            text="Do not trust these numbers yet",
            below=" ".join(map(sentence, reds)) or sentence(report.analysis.verdict.sentence),
            tone="red",
        )
    low, high = report.interval(row)
    arm, control = arm_words(row.arm), arm_words(row.control)
    name = arm[:1].upper() + arm[1:]
    brought, whole = ("would bring", f", if {_everybody(report)} got it") if goal.money else ("brought", "")
    if low > 0:
        text, tone = f"{name} {brought} {_gain(report, goal, low, high)} than {control}{whole}", "good"
    elif high < 0:
        text, tone = f"{name} {brought} {_gain(report, goal, -high, -low, less=True)} than {control}{whole}", "bad"
    elif low <= high:
        between = _either_way(report, goal, low, high)
        when = "at the end" if report.planned_look else "yet"
        text, tone = f"Not clear {when}: {between} with {arm} than with {control}{whole}", "open"
    else:
        text, tone = f"Too few customers yet to compare {arm} with {control}", "open"
    return Headline(text=text, below=_below(report), tone=tone)


def decision(report: Report) -> Decision:
    """The decision box: the verdict of the analysis, told in this page's units; before the planned look, to wait.

    After the last look, what that decided, unless the numbers can't be trusted any more.
    """
    code: VerdictCode = (
        "do_not_trust" if not report.trusted else "keep_running" if report.early else report.analysis.verdict.code
    )
    tell = {"roll_out": _roll_out, "stop": _stop, "keep_running": _keep_running, "do_not_trust": _distrust}
    told = f"{tell[code](report)} {report.analysis.caution}".strip()
    if report.decided and report.trusted:
        code, told = report.decided.verdict.code, _decided(report.decided)
    open_end = code == "keep_running" and report.planned_look
    word = "No clear answer" if open_end else _DECISIONS[code]
    return Decision(code=code, word=word, sentence=told, criteria=_criteria(report))


def interval_words(report: Report) -> str:
    """The one kind of interval on the page, and what it is valid for."""
    sure = f"{100 * (1 - report.experiment.alpha):g}%"
    kind = report.analysis.kind
    if kind == "fixed":
        if report.decided:
            return f"Ranges are {sure} sure for one look, which was that on {day(report.decided.as_of)}, not this one."
        return f"Ranges are {sure} sure for this one look, planned before the start."
    if kind == "group_sequential":
        until = "of which this is the last" if report.planned_look else f"until the last on {_planned_day(report)}"
        if report.decided:
            until = f"until the last on {day(report.decided.as_of)}, which decided: this page is for the record"
        return f"Ranges are {sure} sure over all looks at this campaign together, {until}."
    always = f"Ranges are {sure} sure, and stay so however often this page is looked at."
    if report.early:
        return f"{always} They are a preview: the one look that decides is planned for {_planned_day(report)}."
    return always


def best_arm(report: Report, *, harmless: bool = False) -> MetricRow | None:
    """The row of the arm that raised the deciding goal most, beyond chance after correction for many looks.

    ``harmless``: only among the arms that nothing else speaks against.
    """
    rows = [row for row in report.analysis.metrics if row.metric == report.goal.metric]
    sure = [row for row in rows if report.sure(row) and row.difference > 0]
    kept = [row for row in sure if not (harmless and _harms(report, row.arm))]
    return max(kept, key=lambda row: row.difference, default=None)


def span(report: Report, goal: Goal, row: MetricRow) -> str:
    """The difference of a row as a signed range per customer."""
    return difference_scale(goal, currency=report.currency).span(*report.interval(row), signed=True)


def _gain(report: Report, goal: Goal, low: float, high: float, *, less: bool = False) -> str:
    if goal.money:
        total = money_scale(report.currency).span(low * report.people, high * report.people)
        return f"{total} {'less' if less else 'more'}"
    among = Scale(factor=1000, finest=0).span(low, high)
    return f"{among} {'fewer' if less else 'more'} {_noun(goal)} per 1,000 customers"


def _either_way(report: Report, goal: Goal, low: float, high: float) -> str:
    scale = money_scale(report.currency) if goal.money else Scale(factor=1000, finest=0)
    times = report.people if goal.money else 1
    spread = (high - low) / 2 * times
    less, more = scale.number(-low * times, spread=spread), scale.number(high * times, spread=spread)
    if goal.money:
        return f"{less} less to {more} more"
    return f"{less} fewer to {more} more {_noun(goal)} per 1,000 customers"


def _noun(goal: Goal) -> str:
    return f"{tidy(goal.unit) or 'response'}s"


def _below(report: Report) -> str:
    row, goal = report.main, report.goal
    found = report.headline_money
    if row is None:
        return ""
    texts: list[str] = []
    if goal.money:
        texts += _each_and_own(report, goal, row)
    elif found is not None:
        money, other = found
        low, high = report.interval(other)
        total = money_scale(report.currency).span(low * report.people, high * report.people, signed=True)
        texts.append(f"In money, if {_everybody(report)} got it: {total} of {money.words}.")
    return " ".join([*texts, interval_words(report)])


def _each_and_own(report: Report, goal: Goal, row: MetricRow) -> tuple[str, ...]:
    """The gain of one customer, and of those who did get it: the headline is about all."""
    low, high = report.interval(row)
    if not low <= high:
        return ()
    own = money_scale(report.currency).span(low * row.n_arm, high * row.n_arm, signed=True)
    within = plural(goal.window_days, "day")
    return (
        f"That is {span(report, goal, row)} of {_short(goal)} per customer within {within}.",
        f"Among the {count(row.n_arm)} customers who did get it, it brought {own} beyond {arm_words(row.control)}.",
    )


def _short(goal: Goal) -> str:
    """The goal's words where "per customer" follows anyway."""
    return goal.words.removesuffix(" per customer")


def _everybody(report: Report) -> str:
    return f"all {count(report.people)} customers"


def _planned_day(report: Report) -> str:
    return day(report.experiment.judged_at or report.as_of)


def _roll_out(report: Report) -> str:
    best = best_arm(report, harmless=True) or best_arm(report)
    if best is None:
        return sentence(report.analysis.verdict.sentence)
    arm, control = arm_words(best.arm), arm_words(best.control)
    told = f"{arm} beat {control} in {_short(report.goal)}, by {span(report, report.goal, best)} per customer."
    if best.arm == report.experiment.headline_arm or report.main is None:
        return sentence(told)
    mine = f"{arm_words(report.main.arm)} with {span(report, report.goal, report.main)}"
    if best.difference > report.main.difference:
        return sentence(f"{told[:-1]}, more than {mine}")
    return sentence(
        f"{told[:-1]}; not {mine}: {', and '.join(_harms(report, report.main.arm)) or 'not yet sure enough'}"
    )


def _stop(report: Report) -> str:
    row = report.main
    control = arm_words(report.experiment.control)
    if row is None:
        return f"No arm can still beat {control}."
    return (
        f"No arm can still beat {control} by enough to matter: {arm_words(row.arm)} lies at "
        f"{span(report, report.goal, row)} per customer."
    )


def _keep_running(report: Report) -> str:
    watch = [check for check in report.checks if check.status == "yellow" and check.name == "Balance of arms"]
    if watch:
        return sentence(watch[0].sentence)
    best, row = best_arm(report), report.main
    if row is None:
        return sentence(report.analysis.verdict.sentence)
    between = f"{span(report, report.goal, row)} per customer"
    if report.early:
        return (
            f"One look was planned, for {_planned_day(report)}; this earlier one decides nothing. So far, "
            f"{arm_words(row.arm)} against {arm_words(row.control)} lies at {between}."
        )
    if best is not None and (harms := _harms(report, best.arm)):
        if unclear := _unclear(report, best.arm, among=len(harms)):
            return _goal_alone(report, best, unclear)
        return f"{sentence(arm_words(best.arm))[:-1]} is ahead, but {', and '.join(harms)}."
    if report.interval(row)[0] > 0:
        ahead = f"{sentence(arm_words(row.arm))[:-1]} is ahead ({between}), but"
        if report.interval(row)[0] < report.goal.worth:
            worth = _limit(report, report.goal, report.goal.worth)
            return f"{ahead} it may still bring less than the {worth} that would be worth acting on."
        others = len({each.arm for each in report.analysis.metrics})
        return f"{ahead} with {others} arms to choose from that is not yet sure enough."
    if report.interval(row)[1] < 0:
        behind = f"{sentence(arm_words(row.arm))[:-1]} brings less than {arm_words(row.control)} ({between})."
        return f"{behind} Of the other arms, one may still bring more; none is sure to."
    open_range = f"The range of {_short(report.goal)} still holds both loss and gain ({between})."
    return f"{open_range}{_over(report) if report.planned_look else _more_days(report, row)}"


def _decided(decided: Decided) -> str:
    return (
        f"That was decided by the last look, on {day(decided.as_of)}, and stands, whatever has come in since. It said: "
        f"{decided.verdict.sentence}"
    )


def _over(report: Report) -> str:
    return (
        f" The experiment ends here, so {arm_words(report.experiment.control)} stays: a smaller gain takes a larger "
        "experiment to show."
    )


def _harms(report: Report, arm: str) -> list[str]:
    """What speaks against an arm: a goal that got worse, a guardrail that isn't known to be kept; in words."""
    told = []
    for measure in report.experiment.measures:
        row = report.row(measure.metric, arm=arm)
        if row is None or measure is report.goal:
            continue
        if isinstance(measure, Guardrail):
            against = standing(row, interval=report.interval(row), limit=measure.limit)
            words = {"over": f"{measure.words} rose above the limit", "open": f"{measure.words} may be above the limit"}
            told += [words[against]] if against in words else []
        elif report.sure(row) and row.difference < 0:
            told.append(f"{measure.words} got worse")
    return told


def _unclear(report: Report, arm: str, *, among: int) -> list[str]:
    """The guardrails whose limit may be passed, where nothing else is ``among`` what speaks against an arm."""
    told = [
        guard.words
        for guard in report.experiment.guardrails
        if (row := report.row(guard.metric, arm=arm)) is not None
        and standing(row, interval=report.interval(row), limit=guard.limit) == "open"
    ]
    return told if len(told) == among else []


def _goal_alone(report: Report, best: MetricRow, unclear: list[str]) -> str:
    """That the goal is clear and a guardrail isn't, so that the headline stands and the arm doesn't win by it."""
    gain = f"The gain of {arm_words(best.arm)} in {_short(report.goal)} is clear"
    until = f", so {arm_words(best.control)} stays" if report.planned_look else " yet"
    limit = f"{' and '.join(unclear)} {'stays within its limit' if len(unclear) == 1 else 'stay within their limits'}"
    by = f"{span(report, report.goal, best)} per customer"
    return f"{gain} ({by}), but whether {limit} can't be told{until}."


def _more_days(report: Report, row: MetricRow) -> str:
    """How long until the range clears zero if the difference stays.

    Its width falls with the root of the units, and that of a campaign with an end with the units themselves: its bound
    falls as well, about with the root (O'Brien and Fleming 1979). Those who are in already only have to mature.
    """
    low, high = report.interval(row)
    so_far = (report.as_of - report.experiment.start).total_seconds() / 86_400
    if not (row.difference > 0 and so_far > 0 and low <= high):
        return ""
    campaign, end = report.analysis.kind == "group_sequential", report.experiment.judged_at
    factor = ((high - low) / 2 / row.difference) ** (1 if campaign else 2) - 1
    counted = sum(arm.n for arm in report.analysis.arms)
    more = so_far * factor * counted / max(counted + report.waiting, 1)
    if report.waiting_until is not None and counted * factor <= report.waiting:
        more = min(more, (report.waiting_until - report.as_of) / timedelta(days=1))
    if campaign and end is not None and report.as_of + timedelta(days=min(more, _LONG_DAYS)) > end:
        return f" If the difference stays, it will not be clear by the end on {day(end)} either."
    if more > _LONG_DAYS:
        return " At this pace and this difference it would stay so for more than a year."
    return f" If the difference stays, about {plural(max(1, round(more)), 'more day')} would clear it."


def _distrust(report: Report) -> str:
    reds = [sentence(check.sentence) for check in report.checks if check.status == "red"]
    return " ".join(reds) or sentence(report.analysis.verdict.sentence)


def _criteria(report: Report) -> tuple[tuple[str, str], ...]:
    design, goal = report.experiment, report.goal
    worth = f", worth acting on from {_limit(report, goal, goal.worth)} per customer" if goal.worth else ""
    end = f" to {day(design.end)}" if design.end else ", without a planned end"
    stop = {
        "anytime": "may be ended at any look, with ranges that allow for it",
        "group_sequential": "any look may end it, with ranges that allow for looking until then",
        "fixed": "judged once, at the planned end",
    }[design.interval_kind]
    limits = "; ".join(f"{each.words} at most {_limit(report, each, each.limit)}" for each in design.guardrails)
    capped = "; ".join(
        f"{each.words} counts up to {_level(report, each, each.cap)}" for each in design.columns if each.cap
    )
    planned = f"{plural(design.planned_units, design.unit)}, all arms together" if design.planned_units else ""
    loss = (
        f"an arm that has cost more than {_loss(report, design.largest_loss)}, as estimated"
        if design.largest_loss
        else ""
    )
    rows = [
        ("Hypothesis", sentence(design.hypothesis)),
        ("Decides", sentence(f"{goal.words} within {plural(goal.window_days, 'day')} of assignment{worth}")),
        ("Cap", sentence(capped)),
        ("Runs", sentence(f"{day(design.start)}{end}; {stop}")),
        ("Planned", sentence(planned)),
        ("Shares", sentence(f"{steps_words(report)} (steps may be added on the way)") if design.ramp else ""),
        ("Must not rise", sentence(limits)),
        ("To be stopped", sentence(loss)),
    ]
    return tuple(row for row in rows if row[1])


def steps_words(report: Report) -> str:
    """The planned shares of all arms, step by step of the ramp: ``a 90%, b 10%; from 20 April 2026 a 50%, b 50%``."""
    told = [
        ", ".join(f"{arm_words(arm)} {percent(share)}" for arm, share in shares.items())
        for _, shares in report.experiment.steps
    ]
    since = [f"from {day(moment)} " for moment, _ in report.experiment.steps[1:]]
    return "; ".join(f"{when}{shares}" for when, shares in zip(["", *since], told, strict=True))


def _level(report: Report, measure: Measure, value: float) -> str:
    return level_scale(measure, currency=report.currency).exact(value)


def _loss(report: Report, value: float) -> str:
    """A loss of all units of an arm together: money, or so many of what the goal counts."""
    return _level(report, report.goal, value) if report.goal.money else f"{value:,.4g} of {report.goal.words}"


def _limit(report: Report, measure: Measure, value: float) -> str:
    return difference_scale(measure, currency=report.currency).exact(value, signed=True)
