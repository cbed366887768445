"""The ladder as it ran: each rung a live arm of an experiment, so that values are plain means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from experiments.estimation.columns import codes_of
from experiments.estimation.influence import Floats, few_clusters
from experiments.ladder.recommendation import Climb, recommend, rungs_of
from experiments.ladder.units import FEWEST, complete_rows, numeric_outcome
from experiments.observations import MOST_ARMS, labels, named
from experiments.results import Ladder, RungName
from experiments.wording import Wording, unit_of
from features.errors import InputError, listed, unknown
from features.tables import require_column

# The policy that `experiments.policies` fits; one made elsewhere says so where it is made.
_FEW = "few: groups of alike customers, learned as clusters (k-means) of what is known about them."


def ladder_of_arms(
    table: pa.Table,
    *,
    arm: str,
    outcome: str,
    rungs: Mapping[str, RungName],
    cost: str | None = None,
    action: str | None = None,
    cluster: str | None = None,
    alpha: float = 0.05,
    unit: str | None = None,
    scale: float = 1.0,
) -> Ladder:
    """The ladder from an experiment whose arms are its rungs: means of the arms, differences between neighbours.

    Parameters
    ----------
    rungs: which rung each arm is, for example ``{"holdout": "nothing", "batch": "static"}``; other arms are left out.
    cost: column of what was spent on the unit, in units of the outcome; subtracted.
    action: column of the contact that the unit got, for ``shares``; without it they are empty.
    cluster: column of the unit that was randomized, such as the household.
    unit, scale: words for a value times ``scale``; made from ``outcome`` when not given.

    >>> table = pa.table({"arm": ["a"] * 60 + ["b"] * 60, "won": [0, 1, 0] * 20 + [1, 1, 0] * 20})
    >>> ladder_of_arms(table, arm="arm", outcome="won", rungs={"a": "nothing", "b": "static"}).recommended
    'static'
    """
    for name in (arm, outcome, *(each for each in (cost, action, cluster) if each)):
        require_column(table, name)
    order = _in_order(rungs)
    known = labels(table, arm, most=MOST_ARMS)
    names = [named("arm", each, known.values) for each in order]
    table = table.filter(pa.array(np.isin(known.codes, [known.values.index(each) for each in names])))
    table, notes = complete_rows(table, [arm, outcome, *([cost] if cost else []), *([cluster] if cluster else [])])
    values = numeric_outcome(table, outcome)
    spent = numeric_outcome(table, cost, may_be_constant=True) if cost else np.zeros(values.size)
    codes = labels(table, arm, most=MOST_ARMS).arranged(names).codes
    sizes = np.bincount(codes, minlength=len(order))
    if sizes.min() < FEWEST:
        raise InputError(
            f"arm {order[int(sizes.argmin())]!r} is too small",
            got=f"{sizes.min()} units",
            do=f"leave it out, or wait for {FEWEST} units",
        )
    groups = None if cluster is None else codes_of(table.column(cluster))
    influence = arm_influence(values - spent, codes, arms=len(order))
    actions, shares = _shares(table, action, codes, arms=len(order))
    climb = Climb(influence=influence, cluster=groups, rung=codes.astype(np.int64))
    found = rungs_of([rungs[each] for each in order], climb, shares=shares, arms=actions, alpha=alpha)
    words, factor = (unit, scale) if unit else unit_of(outcome, values, costs=spent)
    wording = Wording.of(found, unit=words, scale=factor)
    recommended, sentence = recommend(found, climb, alpha=alpha, wording=wording)
    if "few" in rungs.values():
        notes = [*notes, _FEW]
    if groups is not None:
        notes = [*notes, *few_clusters(names, codes, cluster=groups)]
    return Ladder(rungs=found, recommended=recommended, sentence=sentence, notes=tuple(notes), unit=words, scale=factor)


def arm_influence(values: Floats, arm: np.ndarray, *, arms: int) -> Floats:
    """Influence values (n, arms) of the arms' means: the mean, plus what the units of the arm add to it.

    >>> arm_influence(np.array([1.0, 3.0, 5.0, 5.0]), np.array([0, 0, 1, 1]), arms=2).mean(axis=0)
    array([2., 5.])
    """
    inside = arm[:, None] == np.arange(arms)
    share = inside.mean(axis=0)
    mean = (values[:, None] * inside).sum(axis=0) / inside.sum(axis=0)
    influence: Floats = mean + inside * (values[:, None] - mean) / share
    return influence


def _in_order(rungs: Mapping[str, RungName]) -> list[str]:
    known = get_args(RungName)
    for rung in rungs.values():
        if rung not in known:
            raise unknown("rung", rung, known)
    if len(set(rungs.values())) < len(rungs) or len(rungs) < 2:
        raise InputError(
            "a ladder needs two rungs or more, each once",
            got=listed(f"{arm}: {rung}" for arm, rung in rungs.items()),
            do="name one arm for each rung",
        )
    return sorted(rungs, key=lambda each: known.index(rungs[each]))


def _shares(table: pa.Table, action: str | None, codes: np.ndarray, *, arms: int) -> tuple[list[str], Floats]:
    if action is None:
        return [], np.zeros((arms, 0))
    given = np.asarray(pc.cast(table.column(action), pa.string()).fill_null("nothing").to_pylist(), dtype=object)
    names = sorted(set(given))
    inside = codes[:, None] == np.arange(arms)
    counts = np.stack([(inside & (given == name)[:, None]).sum(axis=0) for name in names], axis=1)
    return names, counts / inside.sum(axis=0)[:, None]
