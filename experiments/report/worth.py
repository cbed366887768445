"""The parts that speak of money: channels, from revenue to profit, the ladder; None where there is no data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from experiments.channels.results import Pair
from experiments.money import OUTSIDE, ArmMoney, increment
from experiments.report import charts
from experiments.report.charts import Mark, Step
from experiments.report.panels import (
    Cell,
    Panel,
    Table,
    table_of,
    tone_of,
)
from experiments.report.parts import ChannelRow, Report
from experiments.report.words import (
    Scale,
    arm_words,
    count,
    day,
    money_scale,
    percent,
    sentence,
    tidy,
)
from experiments.results import Ladder, Rung

_RUNGS = {
    "nothing": "nothing",
    "random": "random",
    "static": "static",
    "segment": "segments",
    "few": "few groups",
    "one_to_one": "one-to-one",
}
_CHANNEL = ("Channel", "Contacts", "Profit per 1,000 customers", "Matchback would claim")
_STEPS = ("Step", "Value", "Gain over the step before", "Mostly sends")


def channels(report: Report) -> Panel | None:
    """All channels in one unit: incremental profit per 1,000 customers."""
    if not report.channels:
        return None
    scale = money_scale(report.currency)
    matched = any(row.matchback_per_1000 is not None for row in report.channels)
    width = len(_CHANNEL) if matched else len(_CHANNEL) - 1
    intro = "Profit that the contacts on each channel caused, per 1,000 customers, all in one unit."
    claim = " Matchback (the diamond) counts every purchase after a contact, also those that would have come anyway."
    return Panel(
        key="channels",
        title="Channels side by side",
        intro=intro + (claim if matched else ""),
        chart=charts.forest(
            [_channel_mark(row, scale) for row in report.channels],
            key="channels-chart",
            title="Profit caused, by channel",
            axis=f"{tidy(report.currency)} of profit per 1,000 customers",
            other="what matchback would claim" if matched else "",
        ),
        table=table_of(
            "Profit caused, by channel",
            _CHANNEL[:width],
            (_channel_cells(row, scale)[:width] for row in report.channels),
        ),
        after=" ".join(_overlap(pair, scale) for pair in report.overlaps),
    )


def _overlap(pair: Pair, scale: Scale) -> str:
    """What two channels bring together beyond the sum, with its range."""
    told = sentence(pair.sentence)
    return f"{told[:-1]} ({scale.span(pair.ci_low, pair.ci_high, signed=True)} per 1,000 customers)."


def _channel_mark(row: ChannelRow, scale: Scale) -> Mark:
    claimed = row.matchback_per_1000
    return Mark(
        label=tidy(row.channel),
        value=row.profit_per_1000 * scale.factor,
        low=row.ci_low * scale.factor,
        high=row.ci_high * scale.factor,
        text=scale.span(row.ci_low, row.ci_high, signed=True),
        tone=tone_of(row.ci_low, row.ci_high),
        other=None if claimed is None else claimed * scale.factor,
    )


def _channel_cells(row: ChannelRow, scale: Scale) -> tuple[Cell, ...]:
    claimed = row.matchback_per_1000
    return (
        Cell(text=tidy(row.channel)),
        Cell(text=count(row.contacts)),
        Cell(text=scale.span(row.ci_low, row.ci_high, signed=True), tone=tone_of(row.ci_low, row.ci_high)),
        Cell(text="" if claimed is None else scale.number(claimed, spread=claimed / 50)),
    )


def bridge(report: Report) -> Panel | None:
    """From more revenue to more profit, and the ledger that adds up to the history."""
    named = {money.arm for money in report.money}
    arm, control = report.experiment.headline_arm, report.experiment.control
    if arm not in named or control not in named:
        return None
    scale = money_scale(report.currency)
    more = increment(report.money, arm=arm, control=control)
    values = (
        ("More revenue", more.revenue, True),
        ("Goods and returns", more.margin - more.revenue, False),
        ("Discounts", more.discount, False),
        ("Contacts", more.contact_cost, False),
        ("More profit", more.profit, True),
    )
    spread = max(abs(value) for _, value, _ in values) / 20 or 1.0
    steps = [
        Step(label=label, value=value / 100, text=scale.number(value, spread=spread, signed=True), total=total)
        for label, value, total in values
    ]
    total = sum(money.revenue for money in report.money)
    places = {name: place for place, name in enumerate(report.experiment.arm_names)}
    return Panel(
        key="bridge",
        title="From revenue to profit",
        intro=f"{sentence(arm_words(arm))[:-1]} beyond {arm_words(control)}, per 1,000 customers, as booked by "
        f"{day(report.as_of)}. These sums carry chance with them: the ranges above say how much.",
        chart=charts.bridge(steps, title=f"From more revenue to more profit per 1,000 customers, {arm_words(arm)}"),
        table=_ledger(
            sorted(report.money, key=lambda money: places.get(money.arm, len(places))), currency=report.currency
        ),
        after=f"The arms and what lies outside the experiment add up to the revenue of the history, "
        f"{_cents(total, report.currency)}, to the cent.",
    )


def ladder(report: Report) -> Panel | None:
    """What each step from one-to-all to one-to-one adds."""
    found = report.ladder
    if found is None or not found.rungs:
        return None
    scale = money_scale(report.currency) if report.ladder_in_cents else Scale(factor=found.scale)
    unit = f"{tidy(report.currency)} per customer" if report.ladder_in_cents else tidy(found.unit)
    marks = [
        Mark(
            label=_RUNGS[rung.rung],
            value=rung.value * scale.factor,
            low=rung.ci_low * scale.factor,
            high=rung.ci_high * scale.factor,
            text=scale.number(rung.value, spread=(rung.ci_high - rung.ci_low) / 2),
        )
        for rung in found.rungs
    ]
    rows = [
        (
            Cell(text=_RUNGS[rung.rung]),
            Cell(text=scale.span(rung.ci_low, rung.ci_high)),
            Cell(text=_gain(rung, scale)),
            Cell(text=", ".join(f"{arm_words(key)} {percent(share)}" for key, share in _largest(rung.shares))),
        )
        for rung in found.rungs
    ]
    width = len(_STEPS) if any(rung.shares for rung in found.rungs) else len(_STEPS) - 1
    best = _RUNGS[found.recommended]
    return Panel(
        key="ladder",
        title="The ladder: where personalization stops paying",
        intro=(_ladder_words(found, scale) if report.ladder_in_cents else sentence(found.sentence))
        + _held_against(report, found),
        chart=charts.ladder(marks, best=best, axis=unit, title=f"Value of each step; recommended: {best}"),
        table=table_of(
            f"Value of each step, {unit}", _STEPS[:width], (row[:width] for row in rows), prose=_STEPS[3:width]
        ),
    )


def _ladder_words(found: Ladder, scale: Scale) -> str:
    names = [rung.rung for rung in found.rungs]
    best = _RUNGS[found.recommended]
    after = found.rungs[names.index(found.recommended) + 1 :] if found.recommended in names else ()
    if found.recommended == "nothing":
        return "No step surely earns more than sending nothing."
    if not after:
        return f"It pays to personalize all the way, to {best}{_surpassed(found)}."
    told = f"It pays to go as far as {best}: no later step surely earns more."
    low, high = after[0].gain_ci_low, after[0].gain_ci_high
    if low is None or high is None or not low <= 0 <= high:
        return told
    return f"{told} The next one, {_RUNGS[after[0].rung]}, adds {_gain(after[0], scale)} per customer."


def _held_against(report: Report, found: Ladder) -> str:
    """What the ladder compares, where the decision compares with something else, so that they can't seem to differ."""
    control = next(arm.rung for arm in report.experiment.arms if arm.name == report.experiment.control)
    if control in (None, "nothing") or "nothing" not in {rung.rung for rung in found.rungs}:
        return ""
    return (
        f" The ladder starts from sending nothing; the decision above holds the arms against "
        f"{arm_words(report.experiment.control)}, which stays until another arm surely beats it."
    )


def _surpassed(found: Ladder) -> str:
    """The steps whose whole interval lies below the recommended one's: what it surely beats, read off the chart."""
    top = next(rung for rung in found.rungs if rung.rung == found.recommended)
    names = [_RUNGS[rung.rung] for rung in found.rungs if rung.ci_high < top.ci_low]
    last = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
    return f": its whole range lies above that of {last}" if names else ""


def _gain(rung: Rung, scale: Scale) -> str:
    if rung.gain_ci_low is None or rung.gain_ci_high is None:
        return ""
    return scale.span(rung.gain_ci_low, rung.gain_ci_high, signed=True)


def _ledger(arms: Sequence[ArmMoney], *, currency: str) -> Table:
    names = ("revenue", "returned", "margin", "discount", "contact_cost", "profit")
    rows = [
        (
            Cell(text=arm_words(money.arm) if money.arm != OUTSIDE else OUTSIDE),
            Cell(text=count(money.units)),
            *(Cell(text=_cents(getattr(money, name), currency)) for name in names),
        )
        for money in arms
    ]
    totals = (Cell(text=_cents(sum(getattr(money, name) for money in arms), currency)) for name in names)
    rows.append((Cell(text="together"), Cell(text=""), *totals))
    heads = ("Revenue", "Returned", "Margin", "Discounts", "Contacts", "Profit")
    return table_of("Money by arm", ("Arm", "Customers", *heads), rows)


def _cents(value: int, currency: str) -> str:
    return money_scale(currency).number(value, spread=10)


def _largest(shares: dict[str, float]) -> Iterable[tuple[str, float]]:
    return [item for item in sorted(shares.items(), key=lambda item: -item[1]) if item[1] > 0][:3]
