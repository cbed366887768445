"""The finding in words that a marketer can use, with its numbers."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.heterogeneity.results import ArmGains, GroupEffect, KnownGroups
from experiments.wording import Amount


def told(found: ArmGains, *, unit: str, amount: Amount) -> tuple[str, ...]:
    """What one arm's gains say, in amounts of ``unit``: whether customers differ, by how much, and who they are."""
    return tuple(_differ(found, unit, amount) if found.differ else _alike(found, unit, amount))


def nothing_known(found: ArmGains, *, unit: str, amount: Amount) -> tuple[str, ...]:
    """What is left to say where no column may be used: the average, and that nobody was told apart."""
    return (
        f"Nothing was left to look at: no column tells customers apart, so only the average of {found.arm!r} is known: "
        f"it changes {unit or 'the outcome'} by {_or_nothing(found.effect, amount)}.",
    )


def _differ(found: ArmGains, unit: str, amount: Amount) -> Iterator[str]:
    chance = "p below 0.0001" if found.p_value < 0.0001 else f"p {found.p_value:.2g}"
    told = f", {unit}" if unit else ""
    yield f"Customers differ in what they gain from {found.arm!r} ({chance}, corrected). Gains{told}:"
    if found.fifths:
        first, last = found.fifths[0], found.fifths[-1]
        yield (
            f"The fifth that models expect to gain most gains {_gain(first, amount)}; "
            f"the fifth expected to gain least, {_or_nothing(last, amount)}."
        )
    for each in found.groups:
        more, less = _sides(each)
        yield (
            f"Customers with {_named(more)} gain {_gain(more, amount)}; "
            f"those with {_named(less)}, {_or_nothing(less, amount)}."
        )
    if not found.groups:
        yield "No single column tells who they are: it takes several together, as a model weighs them."


def _alike(found: ArmGains, unit: str, amount: Amount) -> Iterator[str]:
    yield (
        f"There is no evidence that anybody gains more from {found.arm!r} than others do: "
        f"on average it changes {unit or 'the outcome'} by {_or_nothing(found.effect, amount)}."
    )
    if found.visible > 0:
        yield (
            f"That doesn't show that all are alike: a difference below about {amount(found.visible, None, None)} "
            "between the fifths that gain most and least would probably not have been seen."
        )


def _gain(group: GroupEffect, amount: Amount) -> str:
    return amount(group.effect, group.ci_low, group.ci_high)


def _or_nothing(group: GroupEffect, amount: Amount) -> str:
    said = _gain(group, amount)
    if group.ci_low <= 0 <= group.ci_high:
        return f"{said}, which may be nothing"
    return f"{said}{', so they lose by it' if group.ci_high < 0 else ''}"


def _sides(each: KnownGroups) -> tuple[GroupEffect, GroupEffect]:
    both = (each.inside, each.outside)
    return both if each.inside.effect >= each.outside.effect else (each.outside, each.inside)


def _named(group: GroupEffect) -> str:
    return group.group.replace("_", " ")
