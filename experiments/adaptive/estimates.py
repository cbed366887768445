"""The value of each action of a bandit, and of each against the control, from one log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from operator import add

import numpy as np
import pyarrow as pa

from experiments.adaptive.logs import BanditLog, codes_from_zero
from experiments.adaptive.models import expected_rewards
from experiments.adaptive.scores import Codes, Floats, arm_scores
from experiments.adaptive.sums import Sums
from experiments.adaptive.weights import of_arm, of_contrast
from experiments.analysis.readings import Variable


@dataclass(frozen=True, kw_only=True)
class ArmScores:
    """The scores of all arms in one goal, over the rows that have it.

    ``rows`` (n,) are places in the log; ``reward`` (c, n) its one column, or the two of a ratio; ``values`` (arms, c,
    n) the scores; ``missing`` rows of the log lack the goal.
    """

    goal: Variable
    log: BanditLog
    rows: Codes
    reward: Floats
    values: Floats
    cluster: Codes | None
    missing: int

    @classmethod
    def of(
        cls,
        log: BanditLog,
        goal: Variable,
        columns: Sequence[Floats],
        *,
        features: pa.Table | None = None,
        cluster: Codes | None = None,
    ) -> ArmScores:
        """The scores of ``goal`` from its ``columns``, arrays over the log's rows with NaN where missing."""
        reward = np.stack(columns)
        rows = np.flatnonzero(np.isfinite(reward).all(axis=0))
        reward, action = reward[:, rows], log.split.codes[rows]
        known = None if features is None else features.take(pa.array(rows))
        expected = np.stack(
            [expected_rewards(action, each, arms=len(log.arms), features=known) for each in reward], axis=1
        )
        values = np.stack(
            [
                arm_scores(action == arm, reward, chance=log.chances[arm, rows], expected=expected[arm])
                for arm in range(len(log.arms))
            ]
        )
        return cls(
            goal=goal,
            log=log,
            rows=rows,
            reward=reward,
            values=values,
            cluster=None if cluster is None else codes_from_zero(cluster[rows]),
            missing=log.split.codes.size - rows.size,
        )

    @cached_property
    def chances(self) -> Floats:
        """The chances (arms, n) of the rows that have the goal."""
        return self.log.chances[:, self.rows]

    @cached_property
    def known(self) -> Floats:
        """What was known of the chances before (arms, n); 0 where an arm had none."""
        return np.where(self.chances > 0, self.log.known[:, self.rows], 0.0)

    def pair(self, arm: int, within: Codes | None = None) -> Sums:
        """The sums of the control and ``arm``, over the rows at the places ``within`` where either could be chosen."""
        weight = of_contrast(self.known[0], self.known[arm])
        return self._sums([0, arm], np.stack([weight, weight]), within)

    def alone(self, arm: int, within: Codes | None = None) -> Sums:
        """The sums of one arm, for its own value."""
        return self._sums([arm], of_arm(self.known[[arm]]), within)

    def _sums(self, arms: list[int], weight: Floats, within: Codes | None) -> Sums:
        possible = np.all(weight > 0, axis=0)
        kept = np.flatnonzero(possible) if within is None else within[possible[within]]
        action = self.log.split.codes[self.rows[kept]]
        return Sums.of(
            self.values[arms][..., kept],
            weight=weight[:, kept],
            chance=self.chances[arms][:, kept],
            chosen=np.stack([action == arm for arm in arms]),
            reward=self.reward[:, kept],
            cluster=None if self.cluster is None else codes_from_zero(self.cluster[kept]),
        )

    def grown(self, arm: int, period: Codes, periods: int) -> Iterator[Sums]:
        """The sums of the control and ``arm`` by the end of each period; ``period`` (rows of the log,), -1 for none."""
        own = period[self.rows]
        if self.cluster is None:
            parts = (self.pair(arm, np.flatnonzero(own == each)) for each in range(periods))
            yield from accumulate(parts, add)
        else:
            yield from (self.pair(arm, np.flatnonzero((own >= 0) & (own <= each))) for each in range(periods))
