"""What each action of a bandit was worth, for a report: its value, and what it is above the most chosen one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from experiments.adaptive.estimates import ArmScores
from experiments.adaptive.logs import read_bandit_log
from experiments.adaptive.scores import Floats
from experiments.adaptive.sums import arm_value, contrast
from experiments.analysis.comparison import Levels
from experiments.analysis.readings import Variable
from experiments.analysis.sequential import sequence_half_width
from experiments.observations import MOST_ARMS, codes, numbers


@dataclass(frozen=True, kw_only=True)
class ActionValue:
    """An action of a bandit arm: what a decision for it earns, in units of the reward.

    ``ci_*`` holds at every look, ``difference*`` is that to ``reference``, None for the reference itself. ``decisions``
    were for it; among those in which it could be chosen, its mean ``chance``, and the ``least`` one.
    """

    arm: str
    action: str
    reference: str
    decisions: int
    chance: float
    least: float
    value: float
    ci_low: float
    ci_high: float
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None


def action_values(
    table: pa.Table,
    *,
    arm: str,
    action: str,
    reward: str,
    reference: str | None = None,
    probabilities: str = "p_",
    cluster: str | None = None,
    time: str | None = None,
    levels: Levels | None = None,
) -> tuple[ActionValue, ...]:
    """The value of each action from the log of one arm's decisions, the action most often chosen first.

    Parameters
    ----------
    table: one row per decision of ``arm``, as ``experiments.adaptive.analyze_bandit`` reads it; without a reward (its
        window has not closed) it is left out.
    action, reward, cluster, time: the columns. ``reference``: the action that the others are held against; the one
        most often chosen if not given.

    Nothing where fewer than 2 or more than 50 actions were chosen, or the reference never was.

    Raises
    ------
    InputError
        When the chances don't fit the actions, see ``experiments.adaptive.logs.read_bandit_log``.
    """
    earned = table.filter(pc.is_valid(table[reward]))
    taken = Counter(each for each in earned[action].to_pylist() if each is not None)
    if not 2 <= len(taken) <= MOST_ARMS:
        return ()
    reference = taken.most_common(1)[0][0] if reference is None else reference
    if reference not in taken:
        return ()
    columns = [reward, *([cluster] if cluster else [])]
    log = read_bandit_log(
        earned, arm=action, control=reference, probabilities=probabilities, columns=columns, time=time
    )
    scores = ArmScores.of(
        log,
        Variable(name=reward, columns=(reward,)),
        [numbers(log.table, reward).astype(np.float64)],
        cluster=codes(log.table, cluster)[1] if cluster else None,
    )
    with np.errstate(all="ignore"):
        found = [_value(scores, place, arm=arm, levels=levels or Levels()) for place in range(len(log.arms))]
    return tuple(sorted(found, key=lambda each: -each.decisions))


def _value(scores: ArmScores, place: int, *, arm: str, levels: Levels) -> ActionValue:
    chance = scores.chances[place]
    alone = scores.alone(place)
    value, low, high = _around(*arm_value(alone), float(alone.rewards[-1, 0, 0]), levels)
    apart: Sequence[float | None] = (None, None, None)
    if place:
        sums = scores.pair(place)
        both = contrast(sums)
        apart = _around(both.difference, both.error, float(sums.rewards[-1, 0, 0]), levels)
    return ActionValue(
        arm=arm,
        action=scores.log.arms[place],
        reference=scores.log.arms[0],
        decisions=int((scores.log.split.codes[scores.rows] == place).sum()),
        chance=float(chance[chance > 0].mean()),
        least=float(chance[chance > 0].min(initial=1.0)),
        value=value,
        ci_low=low,
        ci_high=high,
        difference=apart[0],
        difference_low=apart[1],
        difference_high=apart[2],
    )


def _around(value: Floats, error: Floats, rows: float, levels: Levels) -> tuple[float, float, float]:
    half = sequence_half_width(float(error), rows, alpha=levels.alpha, units=levels.expected)
    return float(value), float(value - half), float(value + half)
