"""What an analysis is asked for: checked, and as the rule that leads to its verdict."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from experiments.analysis.comparison import Levels
from experiments.analysis.verdict import Rule
from experiments.observations import named
from features.errors import InputError


def check_options(metrics: Sequence[str], *, alpha: float, expected: int, worth: float) -> None:
    """Refuse an analysis of nothing, and numbers out of range."""
    if not metrics:
        raise InputError("no metric is named", got="an empty list", do="pass at least one, the first decides")
    if not 0 < alpha < 0.5:
        raise InputError("alpha is out of range", got=str(alpha), do="pass one between 0 and 0.5, such as 0.05")
    if not expected >= 1:
        raise InputError("the expected number of units is out of range", got=str(expected), do="pass 1 or more")
    if not 0 <= worth < math.inf:
        raise InputError("the worth is out of range", got=str(worth), do="pass a difference of 0 or more")


def check_combination(*, ramp: str | None, exposed: str | None, money: Collection[str], currency: str) -> None:
    """Refuse what can't be said at once: the exposed of a ramp, a currency of nothing."""
    if ramp and exposed:
        raise InputError(
            "the exposed of a ramp can't be checked",
            got=f"exposed {exposed!r} with ramp {ramp!r}",
            do="leave out one: from step to step, arms and exposure both change by plan",
        )
    if currency and not money:
        raise InputError(
            "nothing is in that currency", got=f"{currency!r}", do="name the metrics in money: --money METRIC"
        )


def limits_of(given: Mapping[str, float], metrics: Sequence[str]) -> dict[str, float]:
    """The limits by metric, each known; the first metric, which decides, has none."""
    kept = {named("metric", each, metrics): limit for each, limit in given.items()}
    for name, limit in kept.items():
        if not math.isfinite(limit):
            raise InputError(f"the limit of {name!r} is no number", got=str(limit), do="pass the largest allowed rise")
        if name == metrics[0]:
            raise InputError(
                "the metric that decides has a limit", got=f"{name}={limit:g}", do="pass it as a further metric"
            )
    return kept


def rule_of(
    levels: Levels,
    names: Sequence[str],
    *,
    worth: float,
    lower_is_better: Collection[str],
    limits: Mapping[str, float],
) -> Rule:
    """What decides, of the metrics ``names``: of one with a limit, less is better."""
    return Rule(
        alpha=levels.alpha,
        kind=levels.kind,
        last=levels.plan is not None and levels.plan.last,
        worth=worth,
        lower_is_better=tuple(dict.fromkeys([*(named("metric", each, names) for each in lower_is_better), *limits])),
        rates=tuple(name for name in names if name in levels.rates),
        limits=limits,
    )
