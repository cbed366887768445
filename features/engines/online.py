"""Features of one customer, now: the same declarations evaluated over that customer's own facts in memory."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from features.facts import CustomerFacts, Event, ProfileFact, micros
from features.feature import WHOLE_NUMBER, Aggregate, Column, Feature

Value = int | str | None

_SECOND = 1_000_000
_HOUR = 3_600 * _SECOND
_whole = re.compile(WHOLE_NUMBER).fullmatch


class OnlinePlan:
    """Declared columns made ready for evaluation, many times, one customer at a time; safe to share among threads.

    Facts are walked once, latest first, so that the ages of the events that a feature matches come out ascending
    and each of its windows is a prefix of them, found by bisection.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        behaviour = {each.feature.name: each.feature for each in columns if each.feature.aggregate != "latest"}
        places = {name: place for place, name in enumerate(behaviour)}
        self._count = len(places)
        self._steps = [(each.name, _step(each, places.get(each.feature.name, 0))) for each in columns]
        self._attributes = {str(each.feature.of) for each in columns if each.feature.aggregate == "latest"}
        self._own, self._household = (
            _Matching({places[name]: each for name, each in behaviour.items() if each.scope == scope})
            for scope in ("customer", "household")
        )

    def evaluate(self, facts: CustomerFacts, as_of: datetime) -> dict[str, Value]:
        """The columns' values as of ``as_of``, from facts with both times strictly before it."""
        moment = micros(as_of)
        seen = _Seen([[] for _ in range(self._count)], [[] for _ in range(self._count)], {})
        self._own.collect(facts.latest_first, moment, into=seen)
        if self._household.features:
            self._household.collect(facts.household_latest_first, moment, into=seen)
        if self._attributes:
            seen.profile.update(_latest(facts.profile, self._attributes, as_of=moment))
        return {name: step(seen) for name, step in self._steps}


class _Matching:
    """Which features an event counts for, by their places; those of one scope."""

    def __init__(self, features: Mapping[int, Feature]) -> None:
        self.features = features
        named = tuple(dict.fromkeys(name for each in features.values() for name in each.filters if name != "hour"))
        self._tests = {
            place: tuple((named.index(name), frozenset(each.filters[name])) for name in each.filters if name != "hour")
            for place, each in features.items()
        }
        self._hours = {
            place: frozenset(map(int, each.filters.get("hour", range(24)))) for place, each in features.items()
        }
        self._fields = tuple(Event._fields.index(name) for name in named)
        # Customers' events repeat the same few combinations of kind, channel and category.
        self._by_hour = lru_cache(maxsize=8_192)(self._match)

    def collect(self, latest_first: list[tuple[int, int, Event]], moment: int, *, into: _Seen) -> None:
        """Add the ages and events that were known at ``moment`` to each feature that counts them."""
        fields, by_hour, ages, events = self._fields, self._by_hour, into.ages, into.events
        for occurred, recorded, event in latest_first:
            if occurred < moment and recorded < moment:
                age = moment - occurred
                for place in by_hour(tuple([event[field] for field in fields]))[occurred // _HOUR % 24]:
                    ages[place].append(age)
                    events[place].append(event)

    def _match(self, values: tuple[str | None, ...]) -> tuple[tuple[int, ...], ...]:
        fit = [
            place for place, tests in self._tests.items() if all(values[field] in allowed for field, allowed in tests)
        ]
        return tuple(tuple(place for place in fit if hour in self._hours[place]) for hour in range(24))


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


def _most_common(_: list[int], events: list[Event], within: int, of: str) -> str | None:
    counts = Counter(getattr(event, of) for event in events[:within])
    return min(counts, key=lambda value: (-counts[value], value), default=None)


_AGGREGATES: Mapping[Aggregate, Callable[[list[int], list[Event], int, str], Value]] = {
    "count": lambda ages, events, within, of: within,
    "sum": _sum,
    "distinct": _distinct,
    "most_common": _most_common,
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
