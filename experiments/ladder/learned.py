"""The ladder: what each step from contacting nobody to one-to-one is worth, and where it stops paying.

Each rung is a policy, learned on some folds and valued on the others by doubly robust influence values with models of
the same folds (Chernozhukov et al. 2018; Athey and Wager 2021). No unit ever helps to choose the policy that it
values: the best of several noisy policies looks better than it is on the data that chose it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import pyarrow as pa

from experiments.estimation.influence import Floats, Integers
from experiments.estimation.nuisance import LEARN_FROM, OutcomeModels, deal_folds
from experiments.ladder.recommendation import Climb, recommend, rungs_of
from experiments.ladder.rungs import Lesson, Policies, robust_scores
from experiments.ladder.units import Units, read_units
from experiments.results import Ladder, RungName
from experiments.wording import Wording, unit_of
from features.errors import InputError

RUNGS: tuple[RungName, ...] = get_args(RungName)

_STEADY_FROM = 100_000
# Shares add up over the fits, and rounding is no choice.
_NEVER = 1e-6


@dataclass(frozen=True, kw_only=True)
class Valued:
    """Influence values (repeats, n, rungs), and the share of units (rungs, arms) that a rung gives to an arm."""

    influence: Floats
    shares: Floats
    segments: tuple[str, ...]


def ladder(
    table: pa.Table,
    *,
    arm: str,
    control: str,
    outcome: str,
    features: Sequence[str] | None = None,
    segments: Sequence[str] = (),
    cluster: str | None = None,
    costs: Mapping[str, float] | None = None,
    exclude: Sequence[str] = (),
    folds: int = 2,
    repeats: int | None = None,
    groups: int = 5,
    seed: int = 1,
    alpha: float = 0.05,
    probabilities: Mapping[str, float] | None = None,
    time: str | None = None,
) -> Ladder:
    """The ladder from any randomized table: rows are units, ``arm`` is the contact each was given by chance.

    Parameters
    ----------
    control: the arm that was not contacted; the rung ``nothing`` gives it to everybody.
    features: columns known before the contact; by default all that look it, see ``experiments.estimation.columns``.
    segments: columns to segment by, one of which is chosen out of fold; by default the best single feature.
    cluster: column of the unit that was randomized or whose rows belong together, such as a household.
    costs: cost of one contact per arm, in units of the outcome; 0 where not given.
    repeats: how often the folds are dealt anew and averaged; by default 5 below 100,000 rows, else 3.
    groups: how many groups the rung ``few`` may form.
    probabilities: planned share of each arm; by default the shares found.
    time: column of when units entered; the shares may then change over time, as in a ramp.

    ``random`` gives each arm but the control with the same chance. Every rung above it may also choose the control.

    Raises
    ------
    InputError
        For columns and arms that do not exist or do not fit; see ``experiments.ladder.units.read_units``.
    """
    _check_options(folds=folds, groups=groups, alpha=alpha, repeats=repeats)
    units = read_units(
        table, arm=arm, control=control, outcome=outcome, features=features, segments=segments, cluster=cluster,
        costs=costs, exclude=exclude, probabilities=probabilities, time=time,
    )  # fmt: skip
    often = repeats if repeats is not None else (5 if units.arm.size < _STEADY_FROM else 3)
    valued = cross_fit(units, folds=folds, repeats=often, groups=groups, rng=np.random.default_rng(seed))
    climb = Climb(influence=valued.influence, cluster=units.cluster)
    rungs = rungs_of(RUNGS, climb, shares=valued.shares, arms=units.arms, alpha=alpha)
    unit, scale = unit_of(outcome, units.outcome, costs=units.cost)
    wording = Wording.of(rungs, unit=unit, scale=scale)
    recommended, sentence = (
        (RUNGS[0], units.doubt) if units.doubt else recommend(rungs, climb, alpha=alpha, wording=wording)
    )
    notes = (*units.notes, *_notes(valued, units, fits=often * folds, folds=folds))
    return Ladder(
        rungs=rungs,
        recommended=recommended,
        sentence=sentence,
        notes=notes,
        unit=unit,
        scale=scale,
        trusted=not units.doubt,
    )


def _check_options(*, folds: int, groups: int, alpha: float, repeats: int | None) -> None:
    for name, fits, given, do in (
        ("folds", 2 <= folds <= 20, folds, "pass 2 to 20"),
        ("groups", 2 <= groups <= 50, groups, "pass 2 to 50"),
        ("alpha", 0.0 < alpha < 1.0, alpha, "pass a number between 0 and 1, such as 0.05"),
        ("repeats", repeats is None or 1 <= repeats <= 100, repeats, "pass 1 to 100"),
    ):
        if not fits:
            raise InputError(f"{name} is out of range", got=str(given), do=do)


def cross_fit(units: Units, *, folds: int, repeats: int, groups: int, rng: np.random.Generator) -> Valued:
    """Influence values of every rung, in each repeat: learned on all folds but one, valued on that one.

    Two folds, dealt anew a few times, are the default with a reason. With many folds, all of them learn from nearly
    the same rows; where two policies are tied, the choice flips from fold to fold with the very noise that values it,
    and intervals from influence values are too short (true coverage .82 to .90 at five folds, .95 at two;
    benchmarks/ladder.py).
    """
    n = units.arm.size
    influence = np.zeros((repeats, n, len(RUNGS)))
    shares = np.zeros((len(RUNGS), len(units.arms)))
    segments: list[str] = []
    for repeat in range(repeats):
        fold = deal_folds(units.arm, cluster=units.cluster, folds=folds, rng=rng)
        for held in range(folds):
            apply_to, learn_on = np.flatnonzero(fold == held), np.flatnonzero(fold != held)
            part, given, by = _value_fold(units, learn_on=learn_on, apply_to=apply_to, groups=groups, rng=rng)
            influence[repeat, apply_to] = part
            shares += given / (n * repeats)
            segments += [by] if by else []
    return Valued(influence=influence, shares=shares, segments=tuple(segments))


def _value_fold(
    units: Units, *, learn_on: Integers, apply_to: Integers, groups: int, rng: np.random.Generator
) -> tuple[Floats, Floats, str | None]:
    if learn_on.size > LEARN_FROM:
        learn_on = np.sort(rng.choice(learn_on, LEARN_FROM, replace=False))
    arms = len(units.arms)
    models = units.models(learn_on, rng=rng)
    lesson, scores = _lesson(units, models, learn_on)
    policies = Policies.learn(lesson, scores=scores, groups=groups, rng=rng)
    lesson, scores = _lesson(units, models, apply_to)
    chosen = policies.apply(lesson)
    influence = np.column_stack([scores[:, 0], scores[:, 1:].mean(axis=1), np.take_along_axis(scores, chosen, axis=1)])
    uniform = np.where(np.arange(arms) > 0, apply_to.size / (arms - 1), 0.0)
    nobody = np.where(np.arange(arms) == 0, apply_to.size, 0.0)
    given = np.stack([nobody, uniform, *(np.bincount(column, minlength=arms) for column in chosen.T)])
    return influence, given, None if policies.column is None else units.segments[policies.column].name


def _lesson(units: Units, models: OutcomeModels, rows: Integers) -> tuple[Lesson, Floats]:
    """What is known of the units ``rows``, and their doubly robust values (n, arms), net of cost."""
    features = units.features[rows[:, None], models.kept]
    expected = units.expected(models, rows)
    scores = robust_scores(expected, arm=units.arm[rows], outcome=units.outcome[rows], chance=units.chance_at(rows))
    levels = [column.levels[rows] for column in units.segments]
    return Lesson(features=features, levels=levels, net=expected - units.cost), scores - units.cost


def _undecided(static: Mapping[str, float], *, fits: int) -> Iterator[str]:
    """A sentence where the fits chose several arms for everybody, from the share of them that chose each."""
    chosen = {arm: share for arm, share in sorted(static.items(), key=lambda each: -each[1]) if share > _NEVER}
    if len(chosen) > 1:
        told = ", ".join(f"{arm!r} in {share:.0%} of {fits} fits" for arm, share in chosen.items())
        yield (
            f"static: the best single contact isn't known ({told}), so static is worth less than the best of them, and "
            "part of the step beyond it is only that. Its shares of customers are shares of the fits."
        )


def _notes(valued: Valued, units: Units, *, fits: int, folds: int) -> list[str]:
    notes = [
        "random: each arm but the control with the same chance; higher rungs may also choose the control.",
        "few: groups of alike customers, learned as the leaves of a shallow tree over the effects that models expect.",
    ]
    if valued.segments:
        by, times = Counter(valued.segments).most_common(1)[0]
        notes.append(f"segment: by {by!r}, chosen in {times} of {fits} fits.")
    else:
        notes.append("segment: no column to segment by, so it is static.")
    notes += _undecided(dict(zip(units.arms, valued.shares[RUNGS.index("static")], strict=True)), fits=fits)
    return [*notes, *units.learning_notes(folds=folds)]
