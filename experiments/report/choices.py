"""The parts on how contacts were chosen: by a bandit, by models, or not at all; None where there is no data."""

from __future__ import annotations

from experiments.report import charts
from experiments.report.panels import (
    Cell,
    Panel,
    table_of,
    tone_of,
)
from experiments.report.parts import Report
from experiments.report.words import (
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

_MOST_ACTIONS = 20
_SEES, _WAY = "What its customers see", "Which way"


def allocation(report: Report) -> Panel | None:
    """How the bandit moved its customers."""
    if len(report.allocation) < 2:
        return None
    names = list(dict.fromkeys(name for point in report.allocation for name in point.shares))
    last = report.allocation[-1].shares
    names.sort(key=lambda name: -last.get(name, 0.0))
    kept, rest = (names, []) if len(names) <= 9 else (names[:8], names[8:])
    shares = {arm_words(name): [point.shares.get(name, 0.0) for point in report.allocation] for name in kept}
    if rest:
        shares["all others"] = [sum(point.shares.get(name, 0.0) for name in rest) for point in report.allocation]
    days = [point.at for point in report.allocation]
    until = days[-1] + (days[-1] - days[-2])
    rows = [
        (Cell(text=day(at)), *(Cell(text=percent(values[place])) for values in shares.values()))
        for place, at in enumerate(days)
    ]
    return Panel(
        key="allocation",
        title="How the bandit shared its customers",
        intro="The bandit moved its own customers towards what worked. Who is in its arm was left to chance, and the "
        "arm is compared as a whole: what it learned on the way counts with what it earned later."
        + _without_choice(report.unchosen),
        chart=charts.allocation(
            [*days, until], shares=shares, title="Share of the bandit's customers by action over time"
        ),
        table=table_of("Share of the bandit's customers", ("From", *(tidy(name) for name in shares)), rows),
    )


def _without_choice(unchosen: int) -> str:
    if not unchosen:
        return ""
    return (
        f" Left out of the picture: {plural(unchosen, 'decision')} in which it had no choice, as no treatment had "
        "survived the checks or the static contact stood in."
    )


def actions(report: Report) -> Panel | None:
    """What each action of a bandit was worth, with unequal chances made up for."""
    if not report.actions:
        return None
    worth = level_scale(report.goal, currency=report.currency)
    apart = difference_scale(report.goal, currency=report.currency)
    several = len({each.arm for each in report.actions}) > 1
    rows = [
        (
            Cell(text=arm_words(each.action), note=arm_words(each.arm) if several else ""),
            Cell(text=count(each.decisions), note=f"chance {percent(each.chance)}, at least {percent(each.least)}"),
            Cell(text=worth.span(each.ci_low, each.ci_high)),
            Cell(
                text=apart.span(each.difference_low, each.difference_high, signed=True),
                tone=tone_of(each.difference_low, each.difference_high),
            )
            if each.difference_low is not None and each.difference_high is not None
            else Cell(text="the most chosen"),
        )
        for each in report.actions[:_MOST_ACTIONS]
    ]
    reference = arm_words(report.actions[0].reference)
    return Panel(
        key="actions",
        title="What each action of the bandit was worth",
        intro="The chances of an action rose and fell with what the bandit had seen, so plain averages would mislead: "
        "an action that began badly was hardly tried again. Here each outcome counts by one over the chance that its "
        "action had at that moment, which was kept with the decision. The ranges hold however often one looks.",
        table=table_of(
            f"{report.goal.words.removesuffix(' per customer').capitalize()} of a decision, by action",
            ("Action", "Decisions", "Worth, from and to", f"Against {reference}"),
            rows,
        ),
    )


def drivers(report: Report) -> Panel | None:
    """What the models looked at, in plain words."""
    if not report.drivers:
        return None
    rows = [
        (Cell(text=sentence(each.words)[:-1]), Cell(text=percent(each.share)), Cell(text=sentence(each.effect)))
        for each in report.drivers
    ]
    columns = ("What it looked at", "Share", _WAY)
    width = len(columns) if any(each.effect for each in report.drivers) else len(columns) - 1
    return Panel(
        key="drivers",
        title="What the models looked at",
        intro="Share of the model's distinctions. It says what was used, not what causes a purchase.",
        table=table_of("What the models looked at", columns[:width], (row[:width] for row in rows), prose=(_WAY,)),
    )


def refusals(report: Report) -> Panel | None:
    """Who got nothing, and why."""
    if not report.refusals:
        return None
    total = sum(reason.count for reason in report.refusals)
    whole = report.decisions or total
    rows = [
        (
            Cell(text=sentence(reason.sentence).removesuffix(".")),
            Cell(text=count(reason.count)),
            Cell(text=percent(reason.count / whole)),
        )
        for reason in sorted(report.refusals, key=lambda reason: -reason.count)
    ]
    return Panel(
        key="refusals",
        title="Who got nothing, and why",
        intro=f"{count(total)} of {count(whole)} decisions ended without a contact.",
        table=table_of("Reasons for no contact", ("Reason", "Decisions", "Of all"), rows),
    )


def method(report: Report) -> tuple[str, ...]:
    """Sentences on how the numbers were made."""
    notes = (*report.analysis.notes, *(report.ladder.notes if report.ladder else ()), *report.notes)
    own = (
        "Customers count in the arm that they were assigned to, whatever they then received.",
        "A customer counts once the attribution window and the usual delay of records have passed.",
    )
    return (*own, *(sentence(_in_money(note, report)) for note in dict.fromkeys(notes)))


def _in_money(note: str, report: Report) -> str:
    """A note of the analysis with the cap of an amount of money in money: the analysis has cents and no currency."""
    money = {each.name for each in report.experiment.columns if each.money}
    for cap in report.analysis.caps:
        if cap.metric in money and note.startswith(f"{cap.metric}: "):
            amount = money_scale(report.currency).exact(cap.cap)
            note = note.replace(f"declared cap of {cap.cap:,.6g}", f"declared cap of {amount}")
    return note
