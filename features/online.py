"""Features of one customer, now: the same declarations evaluated over that customer's own facts in memory."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from features.facts import CustomerFacts, Event, ProfileFact, micros
from features.feature import WHOLE_NUMBER, Aggregate, Column

Value = int | str | None

_SECOND = 1_000_000
_whole = re.compile(WHOLE_NUMBER).fullmatch


class OnlinePlan:
    """Declared columns made ready for evaluation, many times, one customer at a time; safe to share among threads.

    Facts are walked once, latest first, so that the ages of the events that a feature matches come out ascending
    and each of its windows is a prefix of them, found by bisection.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        behaviour = {each.feature.name: each.feature for each in columns if each.feature.aggregate != "latest"}
        places = {name: place for place, name in enumerate(behaviour)}
        self._steps = [(each.name, _step(each, places.get(each.feature.name, 0))) for each in columns]
        self._attributes = {str(each.feature.of) for each in columns if each.feature.aggregate == "latest"}
        filtered = tuple(dict.fromkeys(name for each in behaviour.values() for name in each.filters))
        self._filters = tuple(
            tuple((filtered.index(name), frozenset(values)) for name, values in each.filters.items())
            for each in behaviour.values()
        )
        self._fields = tuple(Event._fields.index(name) for name in filtered)
        # Customers' events repeat the same few combinations of kind, channel and category.
        self._matching = lru_cache(maxsize=8_192)(self._match)

    def evaluate(self, facts: CustomerFacts, as_of: datetime) -> dict[str, Value]:
        """The columns' values as of ``as_of``, from facts with both times strictly before it."""
        moment = micros(as_of)
        seen = _Seen([[] for _ in self._filters], [[] for _ in self._filters], {})
        fields, matching = self._fields, self._matching
        for occurred, recorded, event in facts.latest_first:
            if occurred < moment and recorded < moment:
                age = moment - occurred
                for place in matching(tuple([event[field] for field in fields])):
                    seen.ages[place].append(age)
                    seen.events[place].append(event)
        if self._attributes:
            seen.profile.update(_latest(facts.profile, self._attributes, as_of=moment))
        return {name: step(seen) for name, step in self._steps}

    def _match(self, values: tuple[str | None, ...]) -> tuple[int, ...]:
        return tuple(
            place
            for place, tests in enumerate(self._filters)
            if all(values[field] in allowed for field, allowed in tests)
        )


class _Seen(NamedTuple):
    """What was known: for each feature the ages (ascending) and events it matches, and the profile."""

    ages: list[list[int]]
    events: list[list[Event]]
    profile: dict[str, str | None]


def _step(column: Column, place: int) -> Callable[[_Seen], Value]:
    """The evaluation of one column, its windows and names looked up beforehand."""
    feature, window, of = column.feature, column.micros, column.feature.of or ""
    if feature.aggregate == "latest":
        return lambda seen: _whole_number(seen.profile.get(of)) if feature.integer else seen.profile.get(of)
    aggregate = _AGGREGATES[feature.aggregate]

    def step(seen: _Seen) -> Value:
        ages = seen.ages[place]
        within = len(ages) if window is None else bisect_right(ages, window)
        return aggregate(ages, seen.events[place], within, of)

    return step


def _whole_number(value: str | None) -> int | None:
    return int(value) if value is not None and _whole(value) else None


def _sum(_: list[int], events: list[Event], within: int, of: str) -> int:
    return sum([getattr(event, of) or 0 for event in events[:within]])


def _distinct(_: list[int], events: list[Event], within: int, of: str) -> int:
    return len({getattr(event, of) for event in events[:within]} - {None})


_AGGREGATES: Mapping[Aggregate, Callable[[list[int], list[Event], int, str], int | None]] = {
    "count": lambda ages, events, within, of: within,
    "sum": _sum,
    "distinct": _distinct,
    "seconds_since_last": lambda ages, events, within, of: ages[0] // _SECOND if within else None,
    "seconds_since_first": lambda ages, events, within, of: ages[within - 1] // _SECOND if within else None,
}


def _latest(facts: Sequence[ProfileFact], attributes: set[str], *, as_of: int) -> dict[str, str | None]:
    """The latest known value of each attribute; ties fall to the later record, then to the greater value."""
    newest: dict[str, tuple[int, int, bool, str]] = {}
    for fact in facts:
        if fact.attribute not in attributes:
            continue
        occurred, recorded = micros(fact.occurred_at), micros(fact.recorded_at)
        if occurred >= as_of or recorded >= as_of:
            continue
        rank = (occurred, recorded, fact.value is not None, fact.value or "")
        if fact.attribute not in newest or rank > newest[fact.attribute]:
            newest[fact.attribute] = rank
    return {attribute: value if given else None for attribute, (_, _, given, value) in newest.items()}
