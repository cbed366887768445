"""How beliefs become chances: Thompson sampling, top-two, greedy with or without exploration, upper bounds.

Each rule answers with exact chances, and draws by them where rewards are simulated by the million.
"""

from __future__ import annotations

import msgspec
import numpy as np

from experiments.policies.beliefs import Marginals
from experiments.policies.choice import choose, require_share
from experiments.policies.posteriors import Gaussian, best_probabilities
from features.errors import InputError

# Below it the chance that anybody but the leader is the best is the error of the integral, not a number to divide by.
_NOBODY_ELSE = 1e-12


class Thompson(msgspec.Struct, frozen=True, kw_only=True, tag="thompson"):
    """Each action with the chance that it is the best one (Thompson 1933).

    >>> from experiments.policies.posteriors import Beta
    >>> Thompson().chances((Beta(), Beta(a=2.0))).round(3)
    array([0.333, 0.667])
    """

    def chances(self, beliefs: Marginals) -> np.ndarray:
        """The exact chance that each action's draw is the largest."""
        return np.array(best_probabilities(beliefs))

    def drawn(self, means: np.ndarray, sds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One place per row of normal beliefs (..., actions): where the largest of their draws is."""
        found: np.ndarray = (means + sds * rng.standard_normal(means.shape)).argmax(axis=-1)
        return found


class TopTwo(msgspec.Struct, frozen=True, kw_only=True, tag="top_two"):
    """Thompson sampling that plays its first choice with chance ``leader``, else another one (Russo 2016).

    The other one is drawn until it is not the first choice. So the runner-up is learned about as long as it may be the
    best: for an experiment that is to *find* the best action rather than to earn with it.

    >>> sure, doubtful = Gaussian(mean=1.0, sd=0.1), Gaussian(mean=0.0, sd=0.1)
    >>> TopTwo().chances((sure, doubtful)).round(3)
    array([0.5, 0.5])
    """

    leader: float = 0.5

    def __post_init__(self) -> None:
        require_share("leader", self.leader)

    def chances(self, beliefs: Marginals) -> np.ndarray:
        """By conditioning on the first choice: leader * p_i + (1 - leader) * sum over j of p_j * p_i / (1 - p_j)."""
        best = np.array(best_probabilities(beliefs))
        if len(best) == 1:
            return best
        others = np.where(np.eye(len(best), dtype=bool), 0.0, best)
        for first in np.flatnonzero(others.sum(axis=1) < _NOBODY_ELSE):
            rest = np.array(best_probabilities((*beliefs[:first], *beliefs[first + 1 :])))
            others[first] = np.insert(rest, first, 0.0)
        second = others / others.sum(axis=1, keepdims=True)
        found: np.ndarray = self.leader * best + (1 - self.leader) * best @ second
        return found

    def drawn(self, means: np.ndarray, sds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One place per row of normal beliefs (..., actions), by their exact chances."""
        rows = zip(means.reshape(-1, means.shape[-1]), sds.reshape(-1, sds.shape[-1]), strict=True)
        beliefs = (tuple(Gaussian(mean=m, sd=s) for m, s in zip(*each, strict=True)) for each in rows)
        places = [choose(self.chances(each), rng.random()) for each in beliefs]
        return np.array(places).reshape(means.shape[:-1])


class Greedy(msgspec.Struct, frozen=True, kw_only=True, tag="greedy"):
    """The action of the highest expected reward; with ``epsilon``, that share is spread evenly over all of them.

    Equally good actions share: before anything was learned, nobody is favoured.

    >>> from experiments.policies.posteriors import Beta
    >>> Greedy(epsilon=0.1).chances((Beta(), Beta(a=2.0)))
    array([0.05, 0.95])
    """

    epsilon: float = 0.0

    def __post_init__(self) -> None:
        require_share("epsilon", self.epsilon)

    def chances(self, beliefs: Marginals) -> np.ndarray:
        """All on the highest mean, but for epsilon."""
        return _mixed(np.array([belief.mean for belief in beliefs]), self.epsilon)

    def drawn(self, means: np.ndarray, sds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One place per row of beliefs (..., actions)."""
        return _explored(means, self.epsilon, rng)


class UpperBound(msgspec.Struct, frozen=True, kw_only=True, tag="upper_bound"):
    """The action of the highest upper bound, mean + ``width`` standard deviations; LinUCB where beliefs are linear.

    Upper bounds alone leave nothing to chance, and what was left out can't be judged afterwards, so the share
    ``mixing`` is spread evenly (Li et al. 2010, with mixing).

    >>> UpperBound(width=2.0).chances((Gaussian(mean=1.0, sd=0.1), Gaussian(mean=0.0, sd=1.0)))
    array([0.05, 0.95])
    """

    width: float = 1.0
    mixing: float = 0.1

    def __post_init__(self) -> None:
        require_share("mixing", self.mixing)
        if not 0 <= self.width < np.inf:
            raise InputError("the width of an upper bound is no length", got=str(self.width), do="use 1 or 2")

    def chances(self, beliefs: Marginals) -> np.ndarray:
        """All on the highest bound, but for the mixing."""
        return _mixed(np.array([belief.mean + self.width * belief.sd for belief in beliefs]), self.mixing)

    def drawn(self, means: np.ndarray, sds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One place per row of beliefs (..., actions)."""
        return _explored(means + self.width * sds, self.mixing, rng)


Rule = Thompson | TopTwo | Greedy | UpperBound


def _mixed(scores: np.ndarray, share: float) -> np.ndarray:
    best = scores == scores.max()
    chances: np.ndarray = (1 - share) * best / best.sum() + share / len(scores)
    return chances


def _explored(scores: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """The place of the highest score, of equals one at random, or any with chance ``share``."""
    top = np.maximum.reduce(scores, axis=-1, keepdims=True)
    best = scores == top
    tied = np.count_nonzero(best) > top.size
    places: np.ndarray = (np.where(best, rng.random(scores.shape), -1.0) if tied else best).argmax(axis=-1)
    if share == 0:
        return places
    # One die says whether to explore, and by how far it stays below the share also where.
    dice = np.asarray(rng.random(places.shape))
    return np.where(dice < share, (dice * (scores.shape[-1] / share)).astype(np.intp), places)
