"""Survival with right censoring: Kaplan and Meier's curve, its restricted mean, the log-rank test; by household."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from experiments.estimation.influence import Floats, Integers

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Survival:
    """The curve of Kaplan and Meier (1958) of some units: how many were there at each time of an event.

    ``times`` (k,) are the distinct times of events, ``at_risk`` and ``events`` (k,) those watched until then and those
    whose event came then, ``share`` (k,) of units without event after each. ``place`` (n,) says how many of these times
    a unit was watched for, ``ended`` (n,) whether its event was seen.

    >>> curve = Survival.of(np.array([1.0, 2.0, 2.0, 3.0]), np.array([True, True, False, False]))
    >>> curve.share.tolist(), curve.mean_within(4.0)
    ([0.75, 0.5], 2.75)
    """

    times: Floats
    at_risk: Floats
    events: Floats
    share: Floats
    place: Integers
    ended: Mask

    @classmethod
    def of(cls, time: Floats, ended: Mask) -> Survival:
        """The curve of units watched for ``time`` (n,), at whose end the event was seen or not (n,)."""
        times, counts = np.unique(time[ended], return_counts=True)
        place = np.searchsorted(times, time, side="right")
        leaving = np.bincount(place, minlength=times.size + 1)
        at_risk = (time.size - np.cumsum(leaving)[:-1]).astype(np.float64)
        events = counts.astype(np.float64)
        share = np.cumprod(1 - events / at_risk).astype(np.float64)
        return cls(times=times, at_risk=at_risk, events=events, share=share, place=place.astype(np.int64), ended=ended)

    def share_at(self, time: float) -> float:
        """The share of units without event up to and at ``time``."""
        passed = int(np.searchsorted(self.times, time, side="right"))
        return float(self.share[passed - 1]) if passed else 1.0

    def mean_within(self, horizon: float) -> float:
        """The mean time without event within ``horizon``: the area under the curve."""
        return float(self._areas(horizon)[0])

    def share_influence(self, time: float) -> Floats:
        """Influence values (n,) of the share at ``time``; their mean is the share."""
        passed = int(np.searchsorted(self.times, time, side="right"))
        weight = np.zeros(self.times.size)
        weight[:passed] = -self.share_at(time)
        return self.share_at(time) + self._martingale(weight)

    def mean_influence(self, horizon: float) -> Floats:
        """Influence values (n,) of the mean within ``horizon`` (Andersen, Borgan, Gill and Keiding 1993, IV.3)."""
        areas = self._areas(horizon)
        weight = np.where(self.times <= horizon, -areas[1:], 0.0)
        values: Floats = areas[0] + self._martingale(weight)
        return values

    def _areas(self, horizon: float) -> Floats:
        """The area under the curve from 0, and from each time, to the horizon, (k + 1,)."""
        edges = np.minimum(np.concatenate([[0.0], self.times, [horizon]]), horizon)
        parts = np.concatenate([[1.0], self.share]) * np.diff(edges)
        areas: Floats = np.cumsum(parts[::-1])[::-1]
        return areas

    def _martingale(self, weight: Floats) -> Floats:
        """n times the sum over times of weight / at risk * (own event - own hazard), (n,); the tied are as they come.

        The weight of Greenwood's formula, 1 / (1 - hazard), makes the plain sum of squares Greenwood's variance.
        """
        hazard = self.events / self.at_risk
        rest = np.where(hazard < 1, 1 - hazard, 1.0)
        per_unit = weight * self.place.size / self.at_risk / rest
        passed = np.concatenate([[0.0], np.cumsum(per_unit * hazard)])
        own = np.zeros(self.place.size)
        own[self.ended] = per_unit[self.place[self.ended] - 1]
        values: Floats = own - passed[self.place]
        return values


def log_rank_parts(time: Floats, ended: Mask, *, arm: Mask) -> tuple[Floats, float]:
    """The log-rank test's parts: each unit's (n,), whose sum is observed less expected events of ``arm``; its variance.

    The variance is that of the counts (Mantel 1966). The parts allow for households instead: their sums by household
    are independent (Lin and Wei 1989).
    """
    both = Survival.of(time, ended)
    leaving = np.bincount(both.place[arm], minlength=both.times.size + 1)
    of_arm = (int(arm.sum()) - np.cumsum(leaving)[:-1]).astype(np.float64)
    share = of_arm / both.at_risk
    hazard = both.events / both.at_risk
    own = np.zeros(time.size)
    own[ended] = arm[ended] - share[both.place[ended] - 1]
    passed_arm = np.concatenate([[0.0], np.cumsum(hazard)])
    passed_share = np.concatenate([[0.0], np.cumsum(hazard * share)])
    parts = own - (arm * passed_arm[both.place] - passed_share[both.place])
    many = both.at_risk > 1
    spread = np.where(many, (both.at_risk - both.events) / np.maximum(both.at_risk - 1, 1), 0.0)
    return parts, float((both.events * share * (1 - share) * spread).sum())
