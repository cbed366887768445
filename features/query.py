"""The query that computes features of many rows: one join of spine and facts, in Ibis, for any engine.

The windows of a count share one integer. An event's age puts it into one of the disjoint age bands between the
window lengths; three bands of 21 bits lie side by side in an int64, so one sum counts three windows, and the counts
of the windows are the running totals of the bands. Times are compared as whole microseconds, so the compiled query
holds integer arithmetic only, which every engine does alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir

from features.aggregates import latest, matches, plain
from features.feature import Column, Feature

#: Bits of one band of a packed count. More events than that in one row would run over into the next band.
BITS = 21
_BANDS = 3


@dataclass(frozen=True, kw_only=True)
class FactTables:
    """The tables a compiled query reads, on one engine; times are int64 microseconds of the epoch.

    spine: row (int64, unique), customer_id, as_of.
    events: customer_id, kind, channel, item, category, source, amount, quantity, occurred, recorded.
    profile: customer_id, attribute, value, occurred, recorded.
    """

    spine: ir.Table
    events: ir.Table
    profile: ir.Table


def compile_features(columns: Sequence[Column], tables: FactTables, *, bits: int | None = BITS) -> ir.Table:
    """The query for ``columns``: one row for each row of the spine, in no order.

    Its columns are ``row``, the features, and ``n_events``: how many events of a row were seen. Where that reaches
    ``2 ** bits`` packed counts can't be trusted; ``bits = None`` counts each window by itself.
    """
    features = list({each.feature.name: each.feature for each in columns}.values())
    behaviour = [each for each in features if each.aggregate != "latest"]
    lasting = [each for each in features if each.aggregate == "latest"]
    packs = _packs(behaviour, bits=bits)
    result = tables.spine.select("row")
    if behaviour:
        result = _beside(result, _aggregated(behaviour, columns, tables, packs=packs))
    if lasting:
        result = _beside(result, latest(lasting, spine=tables.spine, profile=tables.profile))
    counts: dict[str, ir.Value] = {}
    for pack in packs:  # unpacked last: a third of the columns goes through the join
        pack.unpack(result, into=counts)
    seen = ibis.coalesce(result["n_events"], 0) if behaviour else ibis.literal(0)
    values = {each.name: counts[each.name] if each.name in counts else _filled(result, each) for each in columns}
    return result.select("row", **values, n_events=seen.cast("int64"))


def _filled(table: ir.Table, column: Column) -> ir.Value:
    value = table[column.name]
    if column.feature.aggregate in ("count", "sum", "distinct"):
        value = ibis.coalesce(value, 0)
    return value.cast("string" if str(column.type) == "string" else "int64")


def _beside(left: ir.Table, right: ir.Table) -> ir.Table:
    return left.left_join(right, "row").drop("row_right")


def _aggregated(
    features: Sequence[Feature], columns: Sequence[Column], tables: FactTables, *, packs: Sequence[_Pack]
) -> ir.Table:
    wanted = [each for each in columns if each.feature.aggregate != "latest"]
    joined = _joined(tables, longest=_longest(wanted))
    marked = joined.mutate(**{f"is_{each.name}": matches(joined, each) for each in features if each.where})
    banded = marked.mutate(**{pack.band: pack.weight(marked["age"]) for pack in packs})

    def matched(feature: Feature) -> ir.BooleanValue:
        return banded[f"is_{feature.name}"] if feature.where else banded["age"] > 0

    sums = {pack.name: matched(pack.feature).ifelse(banded[pack.band], 0).sum().cast("int64") for pack in packs}
    packed = {column.name for pack in packs for column in pack.columns}
    others = {each.name: plain(each, banded, matched(each.feature)) for each in wanted if each.name not in packed}
    return banded.group_by("row").aggregate(**sums, **others, n_events=banded.count())


def _joined(tables: FactTables, *, longest: int | None) -> ir.Table:
    spine, events = tables.spine, tables.events
    known = [events["occurred"] < spine["as_of"], events["recorded"] < spine["as_of"]]
    joined = spine.join(events, [spine["customer_id"] == events["customer_id"], *known])
    joined = joined.mutate(age=joined["as_of"] - joined["occurred"])
    return joined if longest is None else joined.filter(joined["age"] <= longest)


def _longest(columns: Sequence[Column]) -> int | None:
    lengths = [each.micros for each in columns]
    return None if None in lengths else max(each for each in lengths if each is not None)


@dataclass(frozen=True, kw_only=True)
class _Pack:
    """Up to three neighbouring windows of one count, in one integer.

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

    def weight(self, age: ir.IntegerValue) -> ir.IntegerValue:
        cases = [(age <= self.below, 0)] if self.below else []
        cases += [(age <= (each.micros or 0), 1 << (self.bits * place)) for place, each in enumerate(self.columns)]
        return ibis.cases(*((test, ibis.literal(value, "int64")) for test, value in cases), else_=0)

    def unpack(self, table: ir.Table, *, into: dict[str, ir.Value]) -> None:
        total = None if self.before is None else into[self.before]
        packed = ibis.coalesce(table[self.name], ibis.literal(0, "int64"))
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
