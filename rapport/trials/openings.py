"""How a bandit opens: in the unit of its experiment's goal, from the goal's level in the history, and maybe a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from experiments.design import Experiment
from experiments.policies import AnyPolicy, ArmBeliefs, Bandit, Beta, Gaussian, LinearBeliefs, LogisticBeliefs
from experiments.policies.bandits import Beliefs
from experiments.policies.rules import Rule, Thompson
from features.errors import InputError
from rapport.project import Project
from rapport.trials.prospects import prospects
from rapport.trials.publishing import Valued

_MUCH = 0.1  # of all decisions, given to chance

BeliefKind = Literal["arms", "linear", "logistic"]


@dataclass(frozen=True, kw_only=True)
class Level:
    """What a decision usually brings without any bandit: mean and standard deviation of the goal, in its unit.

    ``rate`` is whether it is 0 or 1, ``profit`` whether it is profit in cents, as a model's values are.

    >>> Level(words="profit per customer", mean=450.0, sd=1200.0, rate=False, profit=True).mean
    450.0
    """

    words: str
    mean: float
    sd: float
    rate: bool
    profit: bool


@dataclass(frozen=True, kw_only=True)
class Opening:
    """How a bandit is to open; see ``experiments.policies.Bandit``.

    Parameters
    ----------
    names: the features that ``linear`` and ``logistic`` beliefs look at.
    trust: how many outcomes per action the model's word is worth; None to start from the goal's level alone.

    >>> Opening(beliefs="linear", names=("visits_30d",)).floor
    0.01
    """

    beliefs: BeliefKind = "arms"
    rule: Rule = field(default_factory=Thompson)
    names: tuple[str, ...] = ()
    trust: float | None = None
    floor: float = 0.01
    half_life_days: float | None = None

    def __post_init__(self) -> None:
        if (self.beliefs == "arms") == bool(self.names):
            raise InputError(
                "the beliefs don't fit the features",
                got=f"{self.beliefs} beliefs with {len(self.names)} features",
                do="name the features of linear or logistic beliefs with --feature; those of arms have none",
            )


def experiment_of(project: Project, name: str, *, key: str | None) -> Experiment:
    """The experiment whose goal the bandit called ``name`` is to learn: ``key``, or the one that has it in an arm."""
    if key is not None:
        return project.experiment(key)
    found = [each for each in project.experiments.values() if name in {arm.policy for arm in each.arms}]
    if len(found) != 1:
        raise InputError(
            f"which goal the bandit {name!r} is to learn is open",
            got=f"{len(found)} experiments with an arm of that policy",
            do=f'add an arm with policy = "{name}" to one of experiments/*.toml, or name it with --experiment',
        )
    return found[0]


def level_of(project: Project, design: Experiment, *, window_days: float | None) -> Level:
    """The level of the goal that decides ``design``, over the last closed window of the project's history.

    Raises
    ------
    InputError
        When the goal is a ratio, or an amount that the history is too short to tell.
    """
    goal = design.goals[0]
    if goal.kind == "ratio":
        raise InputError(
            f"{goal.name!r} is a ratio, which no single decision earns", got=goal.metric, do="put another goal first"
        )
    goal = goal if window_days is None else replace(goal, window_days=window_days)
    if goal.kind == "any":
        return Level(words=goal.words, mean=0.5, sd=0.5, rate=True, profit=False)
    (found,) = prospects(project, replace(design, goals=(goal,), guardrails=(), parts=())).found
    if found.metric is None or not found.metric.std:
        raise InputError(
            f"the level of {goal.words!r} is not known", got=found.why or "no spread", do="take in more of the history"
        )
    return Level(
        words=goal.words,
        mean=found.metric.baseline,
        sd=found.metric.std,
        rate=False,
        profit=goal.kind == "given" and goal.money,
    )


def bandit_policy(found: Valued, opening: Opening, *, level: Level) -> Bandit:
    """The bandit before its first outcome.

    A model's values are what an action brings beyond nothing; the level is what nothing brings, so their sum is what
    is believed of an outcome.
    """
    columns = found.columns(opening.names)
    policy = Bandit(
        beliefs=_beliefs(opening, level, columns),
        rule=opening.rule,
        floor=opening.floor,
        half_life_days=opening.half_life_days,
    )
    if opening.trust is None:
        return policy
    if not level.profit:
        raise InputError(
            f"the model can't open a bandit that learns {level.words!r}",
            got="values that are profit in cents",
            do="leave --trust out, or learn an experiment whose first goal is profit",
        )
    worth = level.mean + found.worth
    return policy.believing(worth, actions=found.rules.actions, trust=opening.trust, features=columns)


def _beliefs(opening: Opening, level: Level, columns: Mapping[str, np.ndarray]) -> Beliefs:
    if opening.beliefs == "arms":
        # An action without outcomes is thought to be as good as the level, on the word of a single one.
        return ArmBeliefs(prior=Beta() if level.rate else Gaussian(mean=level.mean, sd=level.sd, noise_sd=level.sd))
    means = tuple(float(np.nanmean(column)) for column in columns.values())
    scales = tuple(float(np.nanstd(column)) for column in columns.values())
    if opening.beliefs == "linear":
        return LinearBeliefs(names=opening.names, means=means, scales=scales, noise_sd=level.sd)
    if not level.rate:
        raise InputError(
            "logistic beliefs are of a yes or no", got=level.words, do="use --beliefs linear, or a goal of kind 'any'"
        )
    return LogisticBeliefs(names=opening.names, means=means, scales=scales)


def remark(policy: AnyPolicy, *, actions: Sequence[str]) -> str:
    """What a bandit's floor costs; nothing about other policies."""
    if not isinstance(policy, Bandit):
        return ""
    share = policy.floor * len(actions)
    told = f"Its floor gives {policy.floor:.2%} to each of {len(actions)} actions, {share:.0%} of its decisions in all"
    if share <= _MUCH:
        return f"{told}: what is never tried can't be found out to have become good."
    return f"{told}, whatever they look like: fewer treatments in the catalogue, or a lower --floor, leave it more."
