"""Every channel and campaign in one unit: what it brings per 1,000 customers, from holdouts that chance nested.

Each customer is withheld from each channel by a chance of its own, independent of the others, and some from everything.
So who was withheld from e-mail differs from who was not by e-mail alone: all else goes on for both. The pairs are a
factorial (Fisher 1935): they also tell what two channels bring together beyond the sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa

from experiments.channels.results import ChannelEffect, Channels, Pair
from experiments.channels.sentences import method, of_everything, of_pair, sentences
from experiments.estimation.cells import Cells, Mask
from experiments.estimation.entry import Entry, times_in, unnamed
from experiments.estimation.influence import Floats, Interval
from experiments.observations import codes, numbers, select
from features.errors import InputError, unknown

PER = 1000.0
_EVERYTHING = "everything"
_LEAST = 50
# Chance makes independent holdouts look like this once in a million pairs.
_HANG_TOGETHER = 1e-6


def channels(
    table: Any,
    *,
    outcome: str,
    held: Mapping[str, str],
    everything: str | None = None,
    matchback: Mapping[str, str] | None = None,
    contacts: Mapping[str, str] | None = None,
    cluster: str | None = None,
    time: str | None = None,
    alpha: float = 0.05,
) -> Channels:
    """What each channel brings per 1,000 customers, from a table with one row per customer.

    Parameters
    ----------
    table: an Arrow, pandas or polars table.
    outcome: what came of the customer in the period: profit net of the cost of contacts, or any other number.
    held: the column of each channel or campaign: 1 (true) where chance withheld the customer from it, else 0.
    everything: the column of who was withheld from everything; their 1 or 0 in other columns doesn't matter.
    matchback: of a channel, the column of what matching purchases to contacts credits the channel with.
    contacts: of a channel, the column of how many contacts a customer got there.
    cluster: the column of what chance withheld, where that isn't the customer (households).
    time: the column of when the customer entered, which tells whether the shares withheld changed meanwhile.
    alpha: 1 minus the confidence of the intervals, which hold together: those of channels, and those of pairs.

    Raises
    ------
    InputError
        For unknown columns and channels, a column that holds anything but 0 and 1, and a channel from which fewer than
        50 customers (or households) were withheld, or that fewer might get; for two channels whose holdouts hang
        together, as then what the one brings would be told of the other.
    """
    if not held:
        raise InputError("no channel is named", got="an empty mapping", do="name the column of each channel's holdout")
    if not 0 < alpha < 0.5:
        raise InputError("alpha is out of range", got=str(alpha), do="pass one between 0 and 0.5, such as 0.05")
    _check_names(held, {**(matchback or {}), **(contacts or {})})
    needed = [outcome, *held.values(), *(each for each in (everything, cluster, time) if each is not None)]
    times = times_in(table) if time is None else (time,)
    rows = select(table, [*needed, *(matchback or {}).values(), *(contacts or {}).values(), *times])
    rows, notes = _complete(rows, needed)
    cells = Cells(
        outcome=numbers(rows, outcome).astype(np.float64),
        cluster=None if cluster is None else codes(rows, cluster)[1].astype(np.int64),
    )
    masks = {channel: _flags(rows, column) for channel, column in held.items()}
    none = np.zeros(rows.num_rows, dtype=bool) if everything is None else _flags(rows, everything)
    _check_sizes(cells, {**masks, **({} if everything is None else {_EVERYTHING: none})}, none=none)
    _check_apart(cells, masks, among=~none)
    effects = tuple(
        _effect(cells, channel, mask=mask, among=~none, alpha=_each(alpha, len(masks)))
        for channel, mask in masks.items()
    )
    effects = tuple(_with_claims(each, rows, ~none, matchback or {}, contacts or {}) for each in effects)
    pairs, untold = _pairs(cells, masks, among=~none, alpha=alpha)
    whole = everything is not None
    everybody = np.ones_like(none)
    sides = {channel: (mask, ~none) for channel, mask in masks.items()} | (
        {_EVERYTHING: (none, everybody)} if whole else {}
    )
    doubts, asked = _over_time(rows, sides, cells=cells, time=time, times=times)
    together = _effect(cells, _EVERYTHING, mask=none, among=everybody, alpha=alpha) if whole else None
    gap = _gap(cells, masks, none=none, alpha=alpha) if whole and len(masks) > 1 else None
    return Channels(
        channels=effects,
        pairs=pairs,
        together=together,
        beyond_sum=gap,
        untold=untold,
        sentences=tuple(doubts or sentences(effects, pairs, gap)),
        notes=(*notes, *asked, *method(effects, pairs, untold, least=_LEAST, everything=whole, alpha=alpha)),
    )


def _over_time(
    rows: pa.Table, sides: Mapping[str, tuple[Mask, Mask]], *, cells: Cells, time: str | None, times: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Of each side (who is withheld, among whom) a doubt where its share changed with ``time``; else what to ask."""
    doubts: list[str] = []
    asked: list[str] = []
    for name, (mask, among) in sides.items():
        there, arm = rows.filter(pa.array(among)), mask[among].astype(np.int64)
        cluster = None if cells.cluster is None else cells.cluster[among]
        if time is None:
            asked += unnamed(there, times, arm=arm, cluster=cluster, option="--time")
        else:
            arms = (f"left in {name}", f"withheld from {name}")
            doubts += filter(None, [Entry.of(there, time, arm=arm, arms=arms, cluster=cluster).doubt])
    return doubts, [*dict.fromkeys(asked)]


def _check_names(held: Mapping[str, str], claims: Mapping[str, str]) -> None:
    if _EVERYTHING in held:
        raise InputError(
            f"no channel can be called {_EVERYTHING!r}",
            got="that name for a channel",
            do="who was withheld from all channels has an option of its own; else call it otherwise",
        )
    for channel in claims:
        if channel not in held:
            raise unknown("channel", channel, held)


def _complete(rows: pa.Table, needed: Sequence[str]) -> tuple[pa.Table, list[str]]:
    missing = np.zeros(rows.num_rows, dtype=bool)
    for name in needed:
        column = rows[name]
        missing |= column.is_null(nan_is_null=True).to_numpy()
    lost = int(missing.sum())
    if lost == rows.num_rows:
        raise InputError("no row is whole", got=f"{lost:,} rows", do="check the columns that are named")
    note = [f"{lost:,} of {rows.num_rows:,} rows left out: a value is missing."] if lost else []
    return (rows.filter(pa.array(~missing)) if lost else rows), note


def _flags(rows: pa.Table, name: str) -> Mask:
    values = numbers(rows, name).astype(np.float64)
    wrong = values[~np.isin(values, (0.0, 1.0))]
    if wrong.size:
        raise InputError(
            f"column {name!r} doesn't say who was withheld", got=f"{wrong[0]:g}", do="write 1 for withheld, 0 for not"
        )
    flags: Mask = values == 1.0
    return flags


def _check_sizes(cells: Cells, masks: Mapping[str, Mask], *, none: Mask) -> None:
    for name, mask in masks.items():
        whole = mask & none if name == _EVERYTHING else mask & ~none
        rest = ~mask & ~none
        for what, size in (("were withheld from", cells.size(whole)), ("were left in", cells.size(rest))):
            if size < _LEAST:
                raise InputError(
                    f"too few {what} {name!r}", got=f"{size}", do=f"withhold more by chance: {_LEAST} at the least"
                )


def _check_apart(cells: Cells, masks: Mapping[str, Mask], *, among: Mask) -> None:
    """Refuse two channels of which one chance withheld the same customers, more than chance alone would have it."""
    for first, second in combinations(masks, 2):
        one, two = masks[first], masks[second]
        together = np.where(among, (one - one[among].mean()) * (two - two[among].mean()), 0.0)
        found = cells.interval(together, alpha=_HANG_TOGETHER)
        if not found.low <= 0 <= found.high:
            of_held, of_rest = (float(two[among & side].mean()) for side in (one, ~one))
            raise InputError(
                f"the holdouts of {first!r} and {second!r} hang together",
                got=f"{second!r} withheld from {of_held:.1%} of those without {first!r}, from {of_rest:.1%} of others",
                do=f"withhold from each by a chance of its own; else tell of {second!r} among those who get {first!r}",
            )


def _each(alpha: float, many: int) -> float:
    """The level of each of ``many`` intervals that are to hold together (Sidak 1967)."""
    level: float = 1 - (1 - alpha) ** (1 / many)
    return level


def _effect(cells: Cells, channel: str, *, mask: Mask, among: Mask, alpha: float) -> ChannelEffect:
    found = _per_thousand(cells, cells.gain(mask, among=among), alpha=alpha, of=(among & mask, among & ~mask))
    return ChannelEffect(
        channel=channel,
        n=int((among & ~mask).sum()),
        n_held=int((among & mask).sum()),
        effect=found.value,
        ci_low=found.low,
        ci_high=found.high,
    )


def _per_thousand(cells: Cells, influence: Floats, *, alpha: float, of: Sequence[Mask]) -> Interval:
    found = cells.interval(influence, alpha=alpha, cells=of)
    return Interval(value=PER * found.value, low=PER * found.low, high=PER * found.high)


def _four(one: Mask, two: Mask, *, among: Mask) -> tuple[Mask, Mask, Mask, Mask]:
    return among & one & two, among & one & ~two, among & ~one & two, among & ~one & ~two


def _with_claims(
    found: ChannelEffect, rows: pa.Table, among: Mask, claims: Mapping[str, str], contacts: Mapping[str, str]
) -> ChannelEffect:
    """The effect beside what matchback claims, per 1,000 customers who might get the channel."""

    def total(column: str) -> float:
        return float(np.nansum(numbers(rows, column).astype(np.float64)[among]))

    claim, sent = claims.get(found.channel), contacts.get(found.channel)
    return ChannelEffect(
        channel=found.channel,
        n=found.n,
        n_held=found.n_held,
        effect=found.effect,
        ci_low=found.ci_low,
        ci_high=found.ci_high,
        matchback=None if claim is None else PER * total(claim) / found.n,
        contacts=None if sent is None else round(total(sent)),
    )


def _pairs(
    cells: Cells, masks: Mapping[str, Mask], *, among: Mask, alpha: float
) -> tuple[tuple[Pair, ...], tuple[tuple[str, str], ...]]:
    """What every two channels bring beyond the sum; and the pairs one of whose four cells holds too few to tell."""
    told: list[tuple[str, str]] = []
    untold: list[tuple[str, str]] = []
    for first, second in combinations(masks, 2):
        one, two = masks[first], masks[second]
        (told if min(map(cells.size, _four(one, two, among=among))) >= _LEAST else untold).append((first, second))
    level = _each(alpha, max(len(told), 1))
    return tuple(_pair(cells, masks, pair, among=among, alpha=level) for pair in told), tuple(untold)


def _pair(cells: Cells, masks: Mapping[str, Mask], pair: tuple[str, str], *, among: Mask, alpha: float) -> Pair:
    first, second = pair
    one, two = masks[first], masks[second]
    found = _per_thousand(cells, cells.beyond_sum(one, two, among=among), alpha=alpha, of=_four(one, two, among=among))
    return Pair(
        first=first,
        second=second,
        n_both=int((among & masks[first] & masks[second]).sum()),
        beyond_sum=found.value,
        ci_low=found.low,
        ci_high=found.high,
        sentence=of_pair(first, second, found),
    )


def _gap(cells: Cells, masks: Mapping[str, Mask], *, none: Mask, alpha: float) -> Pair:
    everybody = np.ones_like(none)
    whole = cells.gain(none, among=everybody)
    parts = sum((cells.gain(mask, among=~none) for mask in masks.values()), np.zeros_like(whole))
    held = [mask & ~none for mask in masks.values()]
    found = _per_thousand(cells, whole - parts, alpha=alpha, of=(none, ~none, *held))
    return Pair(
        first=_EVERYTHING,
        second="the sum of the channels",
        n_both=int(none.sum()),
        beyond_sum=found.value,
        ci_low=found.low,
        ci_high=found.high,
        sentence=of_everything(found),
    )
