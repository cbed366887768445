"""Rank-weighted average effects: how much more the customers gain whom an order puts first (Yadlowsky et al. 2021).

TOC(q) is the mean effect among the share q that the order puts first, less that among all. AUTOC is its integral over
q, QINI that of q TOC(q): the definition of grf's ``rank_average_treatment_effect``. (A weight of 1/q before TOC, as in
causalml's ``rate_score``, rests on the first few customers alone, and loses its power.)
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from experiments.estimation.influence import Floats

Weighting = Literal["autoc", "qini"]


def rate_influence(priority: Floats, effect: Floats, *, weighting: Weighting = "autoc") -> Floats:
    """Influence values (n,) of a rank-weighted average effect, whose mean is the estimate.

    Both are sums of effects with weights that depend on the rank: u = k / n at rank k, of weight -log(u) - 1 (AUTOC) or
    1/2 - u (QINI). A customer also moves the ranks of all behind: the second part of its influence is the integral,
    over the ranks from its own on, of the weight's slope times the effect there. Customers of one priority share
    their ranks.

    Parameters
    ----------
    priority: (n,) the order, highest first; learned from other customers.
    effect: (n,) doubly robust effect of each customer.

    >>> order = np.arange(1000.0)
    >>> round(float(rate_influence(order, order / 1000, weighting="qini").mean()), 3)  # 1/12 for uniform effects
    0.083
    """
    n = priority.size
    _, tie, count = np.unique(-priority, return_inverse=True, return_counts=True)
    rank = np.arange(1, n + 1)
    slope = -1 / rank if weighting == "autoc" else np.full(n, -1 / n)
    weight = np.cumsum(-slope[::-1])[::-1]
    weight = weight - weight.mean()
    sorted_tie = np.repeat(np.arange(count.size), count)
    mean_effect = np.bincount(tie, weights=effect) / count
    behind = np.cumsum((slope * mean_effect[sorted_tie])[::-1])[::-1]
    own = np.bincount(sorted_tie, weights=weight) / count
    moved = np.bincount(sorted_tie, weights=behind) / count
    influence: Floats = own[tie] * effect + moved[tie] - float((moved * count).sum()) / n
    return influence
