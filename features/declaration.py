"""A set of declared features: their names, their fingerprint, and their values offline and online."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import pyarrow as pa

from features.configuration import read_config
from features.engines.online import OnlinePlan, Value
from features.errors import InputError, listed, unknown
from features.facts import CustomerFacts
from features.feature import Aggregate, Column, Feature
from features.history import History

if TYPE_CHECKING:
    from features.engines.offline import Engine


@dataclass(frozen=True, kw_only=True)
class FeatureSet:
    """Declared columns of features, in order.

    ``offline`` gives them for the rows of a spine from the history, ``online`` for one customer from facts in
    memory: the same values, to the last digit.

    >>> features = FeatureSet.of(Feature(name="visits", where={"kind": "visit"}, windows=("7d", "30d")))
    >>> features.names
    ('visits_7d', 'visits_30d')
    >>> features.online(CustomerFacts(customer_id="anna"), datetime(2024, 5, 1))
    {'visits_7d': 0, 'visits_30d': 0}
    """

    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        twice = sorted(name for name, times in Counter(each.name for each in self.columns).items() if times > 1)
        declared = {each.feature.name: each.feature for each in self.columns}
        twice += sorted({each.feature.name for each in self.columns if declared[each.feature.name] != each.feature})
        if twice:
            raise InputError(
                "two features have the same name", got=listed(dict.fromkeys(twice)), do="rename one of them"
            )

    @classmethod
    def of(cls, *features: Feature) -> FeatureSet:
        """The set of all columns of ``features``."""
        return cls(columns=tuple(column for feature in features for column in feature.columns))

    @classmethod
    def from_config(cls, tables: Iterable[Mapping[str, Any]]) -> FeatureSet:
        """The set that a project declares in its ``[[feature]]`` tables, whose keys are Feature's parameters."""
        return cls.of(*(_declared(table) for table in tables))

    def extended(self, tables: Iterable[Mapping[str, Any]]) -> FeatureSet:
        """This set and, after it, the features that a project declares itself."""
        return self + FeatureSet.from_config(tables)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(each.name for each in self.columns)

    @property
    def schema(self) -> pa.Schema:
        """Arrow types of the columns: int64, or string for attributes."""
        return pa.schema([(each.name, each.type) for each in self.columns])

    @property
    def declarations(self) -> dict[str, str]:
        """What each column calculates, in words: what a model bundle keeps, so that a difference can be named."""
        return {each.name: each.declaration for each in self.columns}

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of all that determines the values, as hex; what a model was trained on must match it."""
        return hashlib.sha256(msgspec.json.encode([each.calculation for each in self.columns])).hexdigest()

    def select(self, names: Iterable[str]) -> FeatureSet:
        """The columns called ``names``, in that order."""
        known = {each.name: each for each in self.columns}
        wanted = tuple(names)
        for name in wanted:
            if name not in known:
                raise unknown("feature", name, known)
        return FeatureSet(columns=tuple(known[name] for name in wanted))

    def __add__(self, other: FeatureSet) -> FeatureSet:
        return FeatureSet(columns=self.columns + other.columns)

    def offline(self, history: History, spine: pa.Table, *, engine: Engine | None = None) -> pa.Table:
        """``spine`` (columns ``customer_id``, ``as_of``, any others) with the features added: same rows, same order.

        Each row sees the facts whose ``occurred_at`` and ``recorded_at`` are both strictly before its ``as_of``, of all
        the accounts that were known at its ``as_of`` to be the customer's. ``engine``: DuckDB, where none is given, or
        ``features.engines.spark.Spark(session)``; every engine finds the same.
        """
        from features.engines.offline import offline  # Ibis is not wanted where decisions are served

        return offline(self.columns, history, spine, engine=engine)

    def online(self, facts: CustomerFacts, as_of: datetime) -> dict[str, Value]:
        """The features of one customer as of a moment (naive: UTC), from that customer's facts."""
        return self._plan.evaluate(facts, as_of)

    @cached_property
    def _plan(self) -> OnlinePlan:
        return OnlinePlan(self.columns)


def _declared(table: Mapping[str, Any]) -> Feature:
    name, windows, aggregate = table.get("name", "?"), table.get("windows"), table.get("aggregate", "count")
    if aggregate not in get_args(Aggregate):
        raise unknown("aggregate", aggregate, get_args(Aggregate))
    one = {"windows": (windows,)} if isinstance(windows, str) else {}
    feature = read_config({**table, **one}, Feature, what=f"feature {name!r}")
    if not table.keys() - {"name", "meaning", "unit", "purpose", "sensitive"}:
        raise InputError(
            f"feature {feature.name!r} says nothing of what it computes",
            got=listed(table),
            do="add aggregate, where, of or windows",
        )
    return feature
