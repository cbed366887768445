"""Which customers gain from a contact, from any randomized table.

Three questions in turn. Do customers differ at all in what they gain? Two tests answer: whether an order that models of
other customers gave puts those first who gain more (``scores``, ``rate``), and whether the effect differs across any
cut of any column (``groups``); the evidence is that of the stronger one, corrected for their number. By how much? The
mean effect in each fifth of that order (Chernozhukov, Demirer, Duflo and Fernandez-Val 2018). And who are they?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from scipy import stats

from experiments.estimation.influence import Floats, Integers, mean_interval, mean_of
from experiments.heterogeneity.groups import Cut, cuts_of, group_effect, known_groups, traits_of
from experiments.heterogeneity.results import ArmGains, Gains, GroupEffect, KnownGroups
from experiments.heterogeneity.scores import FIFTHS, GainScores, fifth_of, order_p_value, rate_values, score
from experiments.heterogeneity.sentences import nothing_known, told
from experiments.ladder.units import Units, read_units
from experiments.wording import amount_words, unit_of
from features.errors import InputError

_TESTS = 2
_NAMED = 3
_TRAITS = 5
_FIFTH_NAMES = ("gain most", "second", "third", "fourth", "gain least")
_POWER = 0.8


def gains(
    table: pa.Table,
    *,
    arm: str,
    control: str,
    outcome: str,
    features: Sequence[str] | None = None,
    cluster: str | None = None,
    costs: Mapping[str, float] | None = None,
    exclude: Sequence[str] = (),
    probabilities: Mapping[str, float] | None = None,
    time: str | None = None,
    folds: int = 5,
    seed: int = 1,
    alpha: float = 0.05,
) -> Gains:
    """Who gains from each arm of a randomized table: rows are units, ``arm`` is what each was given by chance.

    Parameters
    ----------
    control: the arm that the others are held against.
    features: columns known before the contact; by default all that look it, see ``experiments.estimation.columns``.
    cluster: column of what was randomized, or whose rows belong together, such as a household.
    costs: cost of one contact per arm, in units of the outcome; 0 where not given.
    probabilities: planned share of each arm; by default the shares found.
    time: column of when units entered; the shares may then change over time, as in a ramp.
    folds: into how many parts the units are dealt; the first only teaches.
    alpha: the chance, over all arms, to find a difference where everybody gains alike.

    Columns are told by their names: give them names in words.

    Raises
    ------
    InputError
        For columns and arms that do not exist or do not fit; see ``experiments.ladder.units.read_units``.

    >>> rng = np.random.default_rng(1)
    >>> new, arm = rng.integers(0, 2, 4000), rng.choice(["none", "mail"], 4000)
    >>> spend = 10 + 2.0 * ((arm == "mail") & (new == 1)) + rng.normal(size=4000)
    >>> found = gains(pa.table({"new": new, "arm": arm, "spend": spend}), arm="arm", control="none", outcome="spend")
    >>> found.arms[0].differ, found.arms[0].groups[0].inside.group
    (True, 'new = 1')
    """
    _check(folds=folds, alpha=alpha)
    units = read_units(
        table, arm=arm, control=control, outcome=outcome, features=features, cluster=cluster, costs=costs,
        exclude=exclude, probabilities=probabilities, time=time,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    scores = score(units, folds=folds, rng=rng)
    cuts = cuts_of(units.known)
    found = [_gains_of(units, scores, cuts, arm=place, alpha=alpha, rng=rng) for place in range(len(units.arms) - 1)]
    unit, scale = unit_of(outcome, units.outcome, costs=units.cost)
    said = [_said(each, units, unit=unit, scale=scale) for each in found]
    return Gains(
        arms=tuple(replace(each, sentences=words) for each, words in zip(found, said, strict=True)),
        unit=unit,
        scale=scale,
        notes=(*units.notes, *units.learning_notes(folds=folds), *_notes(len(cuts), len(found), alpha=alpha)),
        trusted=not units.doubt,
    )


def _said(found: ArmGains, units: Units, *, unit: str, scale: float) -> tuple[str, ...]:
    if units.doubt:
        return (units.doubt,)
    if not units.known.num_columns:
        return nothing_known(found, unit=unit, amount=amount_words(scale))
    return told(found, unit=unit, amount=amount_words(scale))


def _check(*, folds: int, alpha: float) -> None:
    if not 2 <= folds <= 20:
        raise InputError("folds is out of range", got=str(folds), do="pass 2 to 20")
    if not 0 < alpha < 0.5:
        raise InputError("alpha is out of range", got=str(alpha), do="pass one between 0 and 0.5, such as 0.05")


def _gains_of(
    units: Units, scores: GainScores, cuts: list[Cut], *, arm: int, alpha: float, rng: np.random.Generator
) -> ArmGains:
    arms = len(units.arms) - 1
    effect = scores.effect[:, arm]
    groups = known_groups(cuts, effect=effect, cluster=units.cluster, alpha=alpha, arms=arms)
    evidence = min([order_p_value(scores, arm=arm), *(each.p_value for each in groups)])
    p_value = min(1.0, _TESTS * arms * evidence)
    fifth = fifth_of(scores, arm=arm, rng=rng)
    ends = None if fifth is None else (np.flatnonzero(fifth == 0), np.flatnonzero(fifth == FIFTHS - 1))
    ordered = scores.part(scores.ordered)
    autoc, qini = rate_values(scores, arm=arm)
    ranked = mean_interval(autoc, cluster=ordered, alpha=alpha)
    everybody = np.arange(effect.size)
    return ArmGains(
        arm=units.arms[arm + 1],
        control=units.arms[0],
        effect=group_effect("everybody", effect, rows=everybody, cluster=units.cluster, alpha=alpha),
        differ=p_value < alpha,
        p_value=p_value,
        autoc=ranked.value,
        autoc_ci_low=ranked.low,
        autoc_ci_high=ranked.high,
        qini=float(qini.mean()),
        fifths=() if fifth is None else _fifths(effect, fifth=fifth, cluster=units.cluster, alpha=alpha),
        groups=_clear(groups, level=alpha / (_TESTS * arms)),
        traits=tuple(traits_of(units.known, top=ends[0], bottom=ends[1])[:_TRAITS]) if ends else (),
        visible=_visible(effect, cluster=units.cluster, alpha=alpha),
    )


def _fifths(effect: Floats, *, fifth: Integers, cluster: Integers | None, alpha: float) -> tuple[GroupEffect, ...]:
    together = 1 - (1 - alpha) ** (1 / FIFTHS)
    return tuple(
        group_effect(name, effect, rows=np.flatnonzero(fifth == place), cluster=cluster, alpha=together)
        for place, name in enumerate(_FIFTH_NAMES)
    )


def _clear(groups: Sequence[KnownGroups], *, level: float) -> tuple[KnownGroups, ...]:
    """The clearest cut of each column whose sides differ beyond chance, at most three."""
    by_column: dict[str, KnownGroups] = {}
    for each in groups:
        if each.p_value < level:
            by_column.setdefault(each.column, each)
    return tuple(by_column.values())[:_NAMED]


def _visible(effect: Floats, *, cluster: Integers | None, alpha: float) -> float:
    """The difference between two fifths that would be seen with a chance of four in five."""
    error = mean_of(effect, cluster=cluster).error * np.sqrt(2 * FIFTHS)
    return float(error * (stats.norm.isf(alpha / 2) + stats.norm.ppf(_POWER)))


def _notes(cuts: int, arms: int, *, alpha: float) -> list[str]:
    over, sure = f", for {arms} arms" if arms > 1 else "", f"{100 * (1 - alpha):.4g}%"
    return [
        f"Fifths: by models that never saw the customers they order; the five intervals hold together at {sure}.",
        f"Groups: {cuts} cuts of single columns were tried; intervals and p allow for all of them{over}.",
    ]
