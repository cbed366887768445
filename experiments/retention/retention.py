"""Who stays longer: every arm against the control, from how long each customer was watched and whether they left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import stats

from experiments.analysis.statistics import benjamini_hochberg
from experiments.estimation.entry import Entry, times_in, unnamed
from experiments.estimation.influence import (
    Floats,
    Integers,
    Interval,
    Mean,
    few_clusters,
    mean_of,
    share_interval,
)
from experiments.observations import Labels, arms_of, codes, numbers, select
from experiments.retention.results import CurvePoint, Retention, RetentionArm, RetentionDifference
from experiments.retention.survival import Mask, Survival, log_rank_parts
from features.errors import InputError

_LEAST = 50
_POINTS = 24


@dataclass(frozen=True, kw_only=True)
class Watched:
    """The units (n,): arm, time watched, whether they left, household or None."""

    arms: Labels
    time: Floats
    left: Mask
    cluster: Integers | None

    def of_arm(self, arm: int) -> Mask:
        """Which units are in an arm."""
        own: Mask = self.arms.codes == arm
        return own

    def spread(self, arm: int, influence: Floats) -> Floats:
        """An arm's influence values as values of all units (n,): those of the others stand at the mean."""
        own = self.of_arm(arm)
        values = np.full(own.size, influence.mean())
        values[own] += (influence - influence.mean()) / own.mean()
        return values

    def mean(self, influence: Floats, *, arms: Sequence[int]) -> Mean:
        """The mean of influence values (n,) made of those of ``arms``, with its error."""
        part = np.where(np.isin(self.arms.codes, arms), self.arms.codes, -1).astype(np.int64)
        return mean_of(influence, cluster=self.cluster, part=part)

    def size(self, rows: Mask) -> int:
        """How many independent parts some rows have: households where there are any, else customers."""
        return int(rows.sum()) if self.cluster is None else int(np.unique(self.cluster[rows]).size)


def retention(
    table: Any,
    *,
    arm: str,
    control: object,
    time: str,
    event: str,
    cluster: str | None = None,
    entered: str | None = None,
    horizon: float | None = None,
    unit: str = "days",
    alpha: float = 0.05,
) -> Retention:
    """Retention by arm, from a table with one row per customer.

    Parameters
    ----------
    table: an Arrow, pandas or polars table.
    arm, control: the column of arms, and the arm that the others are held against.
    time: the column of how long a customer was watched, from assignment to leaving or to the last we know of them.
    event: the column that is 1 (true) where they left then; 0 where they were still there: who entered late was watched
        for a shorter time, and counts for as long as they were.
    cluster: the column of what was assigned, where that isn't the row (households).
    entered: the column of when customers were assigned, which tells whether the arms' shares changed meanwhile.
    horizon: the time within which customers are compared; by default as far as 50 customers of each arm were watched.
    unit: what the times are in.

    Raises
    ------
    InputError
        For unknown columns or arms, an event other than 0 and 1, a time below 0, a horizon that nobody was watched for.

    >>> import pyarrow as pa
    >>> rng = np.random.default_rng(1)
    >>> left, entered = rng.exponential([60] * 900 + [90] * 900), rng.uniform(0, 100, 1800)
    >>> table = pa.table({"arm": ["static"] * 900 + ["personal"] * 900, "days": np.minimum(left, 120 - entered),
    ...     "gone": left <= 120 - entered})
    >>> found = retention(table, arm="arm", control="static", time="days", event="gone", horizon=90)
    >>> found.differences[0].ci_low > 0
    True
    """
    if not 0 < alpha < 0.5:
        raise InputError("alpha is out of range", got=str(alpha), do="pass one between 0 and 0.5, such as 0.05")
    watched, notes, doubt = _read(
        table, arm=arm, control=control, time=time, event=event, cluster=cluster, entered=entered
    )
    until = _horizon(watched, given=horizon)
    curves = [
        Survival.of(watched.time[watched.of_arm(place)], watched.left[watched.of_arm(place)])
        for place in range(len(watched.arms.values))
    ]
    rows = [
        _difference(watched, curves, place, horizon=until, unit=unit, alpha=alpha) for place in range(1, len(curves))
    ]
    adjusted = benjamini_hochberg([row.p_value for row in rows])
    return Retention(
        arms=tuple(_arm(watched, curve, place, horizon=until, alpha=alpha) for place, curve in enumerate(curves)),
        differences=tuple(replace(row, adjusted_p_value=p) for row, p in zip(rows, adjusted, strict=True)),
        horizon=until,
        unit=unit,
        notes=(*notes, *_notes(watched, rows)),
        doubt=doubt,
    )


def _read(
    table: Any, *, arm: str, control: object, time: str, event: str, cluster: str | None, entered: str | None
) -> tuple[Watched, list[str], str]:
    times = [each for each in times_in(table) if each not in (arm, time, event)] if entered is None else [entered]
    rows = select(table, [arm, time, event, *([cluster] if cluster else []), *times])
    split = arms_of(rows, arm, control=control)
    length, left = numbers(rows, time).astype(np.float64), numbers(rows, event).astype(np.float64)
    whole = (split.codes >= 0) & np.isfinite(length) & np.isfinite(left)
    if cluster is not None:
        whole &= codes(rows, cluster)[1] >= 0
    if entered is not None:
        whole &= rows[entered].is_valid().to_numpy()
    length, left = length[whole], left[whole]
    if length.size and length.min() < 0:
        raise InputError(
            f"{time!r} is below 0 in places", got=f"{length.min():g}", do="pass the time from assignment on"
        )
    if not np.isin(left, (0.0, 1.0)).all():
        raise InputError(f"{event!r} doesn't say who left", got="values other than 0 and 1", do="write 1 for left")
    arms = Labels(values=split.values, codes=split.codes[whole])
    for name, count in zip(arms.values, arms.counts(), strict=True):
        if count < 2:
            raise InputError(f"arm {name!r} is too small", got=f"{count} whole rows", do="leave it out, or wait")
    if not left.any():
        raise InputError("nobody left", got=f"{event!r} is 0 in every row", do="wait, or name another event")
    groups = None
    if cluster is not None:
        groups = np.unique(codes(rows, cluster)[1][whole], return_inverse=True)[1].astype(np.int64)
    lost = int((~whole).sum())
    note = [f"{lost:,} of {whole.size:,} rows left out: a value is missing."] if lost else []
    place, there = arms.codes.astype(np.int64), rows.filter(pa.array(whole))
    watched = Watched(arms=arms, time=length, left=left == 1.0, cluster=groups)
    if entered is None:
        return watched, [*note, *unnamed(there, times, arm=place, cluster=groups, option="--entered")], ""
    return watched, note, Entry.of(there, entered, arm=place, arms=arms.values, cluster=groups).doubt


def _horizon(watched: Watched, *, given: float | None) -> float:
    """The time within which customers are compared; by default where 50 of each arm (or a tenth) are still watched."""
    reach = []
    for place in range(len(watched.arms.values)):
        times = np.sort(watched.time[watched.of_arm(place)])
        reach.append(float(times[-min(_LEAST, max(times.size // 10, 1))]))
    if given is None:
        found = min(reach)
        return float(np.floor(found)) if found >= 2 else found
    longest = min(float(watched.time[watched.of_arm(place)].max()) for place in range(len(watched.arms.values)))
    if not 0 < given <= longest:
        raise InputError(
            "the horizon is out of range", got=f"{given:g}", do=f"pass one above 0 and up to {longest:g}, so far in"
        )
    return given


def _arm(watched: Watched, curve: Survival, place: int, *, horizon: float, alpha: float) -> RetentionArm:
    own = watched.of_arm(place)
    mean = watched.mean(watched.spread(place, curve.mean_influence(horizon)), arms=[place]).interval(alpha=alpha)
    times = np.linspace(0, horizon, _POINTS + 1)
    return RetentionArm(
        arm=watched.arms.values[place],
        n=int(own.sum()),
        events=int(watched.left[own].sum()),
        mean_time=mean.value,
        ci_low=mean.low,
        ci_high=mean.high,
        curve=tuple(_point(watched, curve, place, time=float(time), alpha=alpha) for time in times),
    )


def _point(watched: Watched, curve: Survival, place: int, *, time: float, alpha: float) -> CurvePoint:
    found = watched.mean(watched.spread(place, curve.share_influence(time)), arms=[place])
    there = watched.of_arm(place) & (watched.time >= time)
    low, high = (1.0, 1.0) if time == 0 else share_interval(found, parts=watched.size(there), alpha=alpha)
    return CurvePoint(time=time, share=found.value, ci_low=low, ci_high=high, at_risk=int(there.sum()))


def _difference(
    watched: Watched, curves: Sequence[Survival], place: int, *, horizon: float, unit: str, alpha: float
) -> RetentionDifference:
    means = [watched.spread(at, curves[at].mean_influence(horizon)) for at in (place, 0)]
    shares = [watched.spread(at, curves[at].share_influence(horizon)) for at in (place, 0)]
    longer = watched.mean(means[0] - means[1], arms=[place, 0]).interval(alpha=alpha)
    more = watched.mean(shares[0] - shares[1], arms=[place, 0]).interval(alpha=alpha)
    p_value = _log_rank(watched, place)
    names = watched.arms.values[place], watched.arms.values[0]
    return RetentionDifference(
        arm=names[0],
        control=names[1],
        difference=longer.value,
        ci_low=longer.low,
        ci_high=longer.high,
        share_difference=more.value,
        share_ci_low=more.low,
        share_ci_high=more.high,
        p_value=p_value,
        adjusted_p_value=p_value,
        sentence=_sentence(
            names, longer, share=(float(shares[0].mean()), float(shares[1].mean())), horizon=horizon, unit=unit
        ),
    )


def _log_rank(watched: Watched, place: int) -> float:
    """The two-sided p-value of the log-rank test of an arm and the control, allowing for households."""
    rows = np.flatnonzero(watched.of_arm(place) | watched.of_arm(0))
    if not watched.left[rows].any():
        return float("nan")
    parts, variance = log_rank_parts(watched.time[rows], watched.left[rows], arm=watched.arms.codes[rows] == place)
    if watched.cluster is not None:
        sides = (watched.arms.codes[rows] == place).astype(np.int64)
        return float(2 * stats.norm.sf(abs(mean_of(parts, cluster=watched.cluster[rows], part=sides).z)))
    return float(2 * stats.norm.sf(abs(parts.sum()) / np.sqrt(variance))) if variance > 0 else float("nan")


def _sentence(
    names: tuple[str, str], longer: Interval, *, share: tuple[float, float], horizon: float, unit: str
) -> str:
    from experiments.wording import amount_words, timed

    said = amount_words(1.0)(longer.value, longer.low, longer.high)
    after = timed(f"{horizon:g}", unit)
    still = f"after {after} {share[0]:.1%} are still there, against {share[1]:.1%} with {names[1]!r}"
    if longer.low <= 0 <= longer.high:
        told = f"Whether customers stay longer with {names[0]!r} can't be told"
    else:
        told = f"Customers stay {'longer' if longer.low > 0 else 'less long'} with {names[0]!r}"
    return f"{told}: by {said} {unit} within {horizon:g}; {still}."


def _notes(watched: Watched, rows: Sequence[RetentionDifference]) -> Iterator[str]:
    there = int((~watched.left).sum())
    yield f"{there:,} of {watched.left.size:,} customers were still there when last seen: they count until then."
    if watched.cluster is not None:
        yield "Intervals and the log-rank test are by household."
        yield from few_clusters(watched.arms.values, watched.arms.codes, cluster=watched.cluster)
    if len(rows) > 1:
        yield f"p is adjusted for {len(rows)} arms (Benjamini-Hochberg); intervals are not."
