"""Doubly robust effects of every customer, and what models that never saw the customer expected.

The order is learned forward: fold k is ordered by models of the folds before it (Wager 2024, "Sequential validation of
treatment heterogeneity"). Models of all other folds would order each fold by the noise of the others, which they order
in turn: estimates of two folds then move together, and a test that adds them up is wrong twice as often as it says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from experiments.estimation.influence import Floats, Integers, mean_of
from experiments.estimation.nuisance import LEARN_FROM, deal_folds
from experiments.heterogeneity.rate import rate_influence
from experiments.ladder.rungs import robust_scores
from experiments.ladder.units import Units

FIFTHS = 5


@dataclass(frozen=True, kw_only=True)
class GainScores:
    """Of each unit (n,): its ``fold``; by arm (n, arms - 1) the doubly robust ``effect`` and the ``expected`` one.

    What was expected in fold 0, which nothing came before, orders nobody.
    """

    fold: Integers
    effect: Floats
    expected: Floats
    cluster: Integers | None

    @property
    def ordered(self) -> Integers:
        """The units that models of earlier folds put in order."""
        return np.flatnonzero(self.fold > 0)

    def part(self, rows: Integers) -> Integers | None:
        """The clusters of some units, coded anew."""
        if self.cluster is None:
            return None
        codes: Integers = np.unique(self.cluster[rows], return_inverse=True)[1].astype(np.int64)
        return codes


def score(units: Units, *, folds: int, rng: np.random.Generator) -> GainScores:
    """The scores of randomized units, dealt into ``folds``; clusters stay whole."""
    fold = deal_folds(units.arm, cluster=units.cluster, folds=folds, rng=rng)
    shape = (units.arm.size, len(units.arms) - 1)
    effect, expected = np.zeros(shape), np.zeros(shape)
    for number in range(folds):
        rows = np.flatnonzero(fold == number)
        learn_on = np.flatnonzero(fold < number if number else fold > 0)
        if learn_on.size > LEARN_FROM:
            learn_on = np.sort(rng.choice(learn_on, LEARN_FROM, replace=False))
        means = units.expected(units.models(learn_on, rng=rng), rows)
        values = robust_scores(means, arm=units.arm[rows], outcome=units.outcome[rows], chance=units.chance_at(rows))
        effect[rows] = values[:, 1:] - values[:, [0]] - (units.cost[1:] - units.cost[0])
        expected[rows] = means[:, 1:] - means[:, [0]]
    return GainScores(fold=fold, effect=effect, expected=expected, cluster=units.cluster)


def order_p_value(scores: GainScores, *, arm: int) -> float:
    """The one-sided p-value that the order of effects is no better than chance.

    Within each ordered fold the estimate over its standard error is normal, whatever came before; their sum over the
    root of their number is so too.
    """
    ratios = []
    for number in range(1, int(scores.fold.max()) + 1):
        rows = np.flatnonzero(scores.fold == number)
        influence = rate_influence(scores.expected[rows, arm], scores.effect[rows, arm])
        z = mean_of(influence, cluster=scores.part(rows)).z
        ratios.append(0.0 if _flat(scores.expected[rows, arm]) else z)
    return float(stats.norm.sf(sum(ratios) / np.sqrt(len(ratios)))) if any(ratios) else 1.0


def rate_values(scores: GainScores, *, arm: int) -> tuple[Floats, Floats]:
    """Influence values of AUTOC and QINI of the ordered units, in the order of ``scores.ordered``."""
    found = {"autoc": np.zeros(scores.fold.size), "qini": np.zeros(scores.fold.size)}
    for number in range(1, int(scores.fold.max()) + 1):
        rows = np.flatnonzero(scores.fold == number)
        priority, effect = scores.expected[rows, arm], scores.effect[rows, arm]
        found["autoc"][rows] = rate_influence(priority, effect, weighting="autoc")
        found["qini"][rows] = rate_influence(priority, effect, weighting="qini")
    return found["autoc"][scores.ordered], found["qini"][scores.ordered]


def fifth_of(scores: GainScores, *, arm: int, rng: np.random.Generator) -> Integers | None:
    """The fifth (n,) of each ordered unit within its fold, 0 for those expected to gain most; -1 in fold 0.

    None where the models expect the same of everybody, so that there is no order. Ties are broken by lot.
    """
    place = np.full(scores.fold.size, -1, dtype=np.int64)
    told = False
    for number in range(1, int(scores.fold.max()) + 1):
        rows = np.flatnonzero(scores.fold == number)
        priority = scores.expected[rows, arm]
        told |= not _flat(priority)
        order = np.lexsort((rng.random(rows.size), -priority))
        place[rows[order]] = np.arange(rows.size) * FIFTHS // rows.size
    return place if told else None


def _flat(expected: Floats) -> bool:
    """Whether the same is expected of everybody: what differs in its last digits only, does not differ."""
    return float(np.ptp(expected)) <= 1e-9 * float(np.abs(expected).max())
