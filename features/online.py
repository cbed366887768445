"""Features of one customer, now: the same declarations evaluated over that customer's own facts in memory."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache

from features.declaration import WHOLE_NUMBER, Aggregate, Column
from features.facts import CustomerFacts, Event, ProfileFact, micros

Value = int | str | None

_SECOND = 1_000_000
_whole = re.compile(WHOLE_NUMBER).fullmatch


class OnlinePlan:
    """Declared columns made ready for evaluation, many times, one customer at a time; safe to share among threads.

    Facts are walked once, latest first, so that the ages of the events that a feature matches come out ascending
    and each of its windows is a prefix of them, found by bisection.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = tuple(columns)
        features = list(
            {each.feature.name: each.feature for each in columns if each.feature.aggregate != "latest"}.values()
        )
        self._places = {each.name: place for place, each in enumerate(features)}
        self._attributes = {str(each.feature.of) for each in columns if each.feature.aggregate == "latest"}
        self._filtered = tuple(dict.fromkeys(name for each in features for name in each.filters))
        self._filters = tuple(
            tuple((self._filtered.index(name), frozenset(values)) for name, values in each.filters.items())
            for each in features
        )
        self._fields = tuple(Event._fields.index(name) for name in self._filtered)
        # Customers' events repeat the same few combinations of kind, channel and category.
        self._matching = lru_cache(maxsize=8_192)(self._match)

    def evaluate(self, facts: CustomerFacts, as_of: datetime) -> dict[str, Value]:
        """The columns' values as of ``as_of``, from facts with both times strictly before it."""
        moment = micros(as_of)
        ages: list[list[int]] = [[] for _ in self._filters]
        events: list[list[Event]] = [[] for _ in self._filters]
        fields, matching = self._fields, self._matching
        for occurred, recorded, event in facts.latest_first:
            if occurred < moment and recorded < moment:
                age = moment - occurred
                for place in matching(tuple([event[field] for field in fields])):
                    ages[place].append(age)
                    events[place].append(event)
        profile = _latest(facts.profile, self._attributes, as_of=moment) if self._attributes else {}
        return {each.name: self._value(each, ages, events, profile) for each in self._columns}

    def _match(self, values: tuple[str | None, ...]) -> tuple[int, ...]:
        return tuple(
            place
            for place, tests in enumerate(self._filters)
            if all(values[field] in allowed for field, allowed in tests)
        )

    def _value(
        self, column: Column, ages: list[list[int]], events: list[list[Event]], profile: Mapping[str, str | None]
    ) -> Value:
        feature = column.feature
        if feature.aggregate == "latest":
            value = profile.get(str(feature.of))
            return (int(value) if value and _whole(value) else None) if feature.integer else value
        place = self._places[feature.name]
        window = column.micros
        within = len(ages[place]) if window is None else bisect_right(ages[place], window)
        return _AGGREGATES[feature.aggregate](ages[place][:within], events[place][:within], feature.of or "")


def _sum(_: list[int], events: list[Event], of: str) -> int:
    return sum(getattr(event, of) or 0 for event in events)


def _distinct(_: list[int], events: list[Event], of: str) -> int:
    return len({getattr(event, of) for event in events} - {None})


_AGGREGATES: Mapping[Aggregate, Callable[[list[int], list[Event], str], int | None]] = {
    "count": lambda ages, events, of: len(ages),
    "sum": _sum,
    "distinct": _distinct,
    "seconds_since_last": lambda ages, events, of: ages[0] // _SECOND if ages else None,
    "seconds_since_first": lambda ages, events, of: ages[-1] // _SECOND if ages else None,
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
