"""The query that computes features of many rows: one join of spine and facts, in Ibis, for any engine.

The windows of a count share one number. An event's age puts it into one of the disjoint age bands between the window
lengths; three bands of 17 bits lie side by side in the 53 bits that a float64 holds exactly, so one sum counts three
windows, and the counts of the windows are the running totals of the bands. (A sum of int64 takes DuckDB 128 bits and
more time; one of such floats is as exact.) Times are compared as whole microseconds. So every engine finds the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import ibis
import ibis.expr.types as ir

from features.engines.aggregates import latest, matches, plain
from features.feature import Column, Feature

#: Bits of one band of a packed count. More events than that in one row would run over into the next band.
BITS = 17
_BANDS = 3


_WHO = {"row": "int64", "customer_id": "string", "as_of": "int64"}
_TIMES = {"occurred": "int64", "recorded": "int64"}


class Tables:
    """The tables a compiled query reads, by these names on any engine; times are int64 microseconds of the epoch.

    ``own`` and ``household`` are as the spine, with a row for each account whose facts a row of the spine sees
    (``features.engines.owners``); where nobody is linked to anybody they are the spine itself. ``customer_id`` of
    facts is an account.
    """

    spine = ibis.table(_WHO, name="spine")
    own = ibis.table(_WHO, name="own")
    household = ibis.table(_WHO, name="household")
    events = ibis.table(
        dict.fromkeys(("customer_id", "kind", "channel", "item", "category", "brand", "source"), "string")
        | dict.fromkeys(("amount", "quantity"), "int64")
        | _TIMES,
        name="events",
    )
    profile = ibis.table(dict.fromkeys(("customer_id", "attribute", "value"), "string") | _TIMES, name="profile")
    members = ibis.table(
        dict.fromkeys(("strength", "account_id", "customer_id"), "string") | {"since": "int64", "until": "int64"},
        name="members",
    )


def compile_features(columns: Sequence[Column], *, bits: int | None = BITS) -> ir.Table:
    """The query for ``columns`` of ``Tables``: one row for each row of the spine, in no order.

    Its columns are ``row``, the features, and ``n_events``: how many events of a row were seen. Where that reaches
    ``2 ** bits`` packed counts can't be trusted; ``bits = None`` counts each window by itself.
    """
    lasting = {each.feature.name: each.feature for each in columns if each.feature.aggregate == "latest"}
    groups = [
        _Group(columns=tuple(behaviour), owners=owners, seen=f"n_{scope}", bits=bits)
        for scope, owners in (("customer", Tables.own), ("household", Tables.household))
        if (behaviour := [each for each in columns if each.feature.scope == scope and each.feature.name not in lasting])
    ]
    result = Tables.spine.select("row")
    for group in groups:
        result = _beside(result, group.aggregated(Tables.events))
    if lasting:
        result = _beside(result, latest(list(lasting.values()), spine=Tables.own, profile=Tables.profile))
    counts: dict[str, ir.Value] = {}
    for group in groups:
        for pack in group.packs:  # unpacked last: a third of the columns goes through the join
            pack.unpack(result, into=counts)
    values = {each.name: counts[each.name] if each.name in counts else _filled(result, each) for each in columns}
    seen = [ibis.coalesce(result[each.seen], 0) for each in groups]
    return result.select("row", **values, n_events=ibis.greatest(0, *seen).cast("int64"))


def longest_window(columns: Sequence[Column]) -> int | None:
    """Microseconds before its moment that a row looks back for events; None: to the beginning."""
    lengths = [each.micros for each in columns if each.feature.aggregate != "latest"]
    return None if None in lengths else max((each for each in lengths if each is not None), default=0)


def _filled(table: ir.Table, column: Column) -> ir.Value:
    value = table[column.name]
    if column.feature.aggregate in ("count", "sum", "distinct"):
        value = ibis.coalesce(value, 0)
    return value.cast("string" if str(column.type) == "string" else "int64")


def _beside(left: ir.Table, right: ir.Table) -> ir.Table:
    return left.left_join(right, "row").drop("row_right")


@dataclass(frozen=True, kw_only=True)
class _Group:
    """The columns of behaviour that are computed from the events of the same accounts."""

    columns: tuple[Column, ...]
    owners: ir.Table
    seen: str
    bits: int | None

    @cached_property
    def features(self) -> list[Feature]:
        return list({each.feature.name: each.feature for each in self.columns}.values())

    @cached_property
    def packs(self) -> list[_Pack]:
        return _packs(self.features, bits=self.bits)

    def aggregated(self, events: ir.Table) -> ir.Table:
        joined = _joined(self.owners, events, longest=longest_window(self.columns))
        marked = joined.mutate(**{f"is_{each.name}": matches(joined, each) for each in self.features if each.where})
        banded = marked.mutate(**{pack.band: pack.weight(marked["age"]) for pack in self.packs})

        def matched(feature: Feature) -> ir.BooleanValue:
            return banded[f"is_{feature.name}"] if feature.where else banded["age"] > 0

        sums = {pack.name: matched(pack.feature).ifelse(banded[pack.band], 0.0).sum() for pack in self.packs}
        packed = {column.name for pack in self.packs for column in pack.columns}
        others = {
            each.name: plain(each, banded, matched(each.feature)) for each in self.columns if each.name not in packed
        }
        return banded.group_by("row").aggregate(**sums, **others, **{self.seen: banded.count()})


def _joined(owners: ir.Table, events: ir.Table, *, longest: int | None) -> ir.Table:
    known = [events["occurred"] < owners["as_of"], events["recorded"] < owners["as_of"]]
    joined = owners.join(events, [owners["customer_id"] == events["customer_id"], *known])
    joined = joined.mutate(age=joined["as_of"] - joined["occurred"])
    return joined if longest is None else joined.filter(joined["age"] <= longest)


@dataclass(frozen=True, kw_only=True)
class _Pack:
    """Up to three neighbouring windows of one count, in one number.

    ``below`` is the length of the window before the first (0: none); ``before`` the column that holds its count.
    """

    feature: Feature
    columns: tuple[Column, ...]
    below: int
    before: str | None
    bits: int

    @property
    def name(self) -> str:
        return f"pack_{self.columns[0].name}"

    @property
    def band(self) -> str:
        """Packs of the same windows share their column of weights."""
        return "band_" + "_".join([str(self.below), *(str(each.window) for each in self.columns)])

    def weight(self, age: ir.IntegerValue) -> ir.FloatingValue:
        cases = [(age <= self.below, 0.0)] if self.below else []
        cases += [
            (age <= (each.micros or 0), float(1 << (self.bits * place))) for place, each in enumerate(self.columns)
        ]
        return ibis.cases(*cases, else_=0.0)

    def unpack(self, table: ir.Table, *, into: dict[str, ir.Value]) -> None:
        total = None if self.before is None else into[self.before]
        packed = ibis.coalesce(table[self.name], 0.0).cast("int64")
        for place, column in enumerate(self.columns):
            band = (packed >> (self.bits * place)) & ((1 << self.bits) - 1)
            total = band if total is None else total + band
            into[column.name] = total


def _packs(features: Sequence[Feature], *, bits: int | None) -> list[_Pack]:
    if bits is None:
        return []
    packs = []
    for feature in features:
        if feature.aggregate != "count" or not feature.windows:
            continue
        columns = feature.columns
        for start in range(0, len(columns), _BANDS):
            before = columns[start - 1] if start else None
            packs.append(
                _Pack(
                    feature=feature,
                    columns=columns[start : start + _BANDS],
                    below=0 if before is None else before.micros or 0,
                    before=None if before is None else before.name,
                    bits=bits,
                )
            )
    return packs
