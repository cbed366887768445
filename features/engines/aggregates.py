"""What each aggregate computes, in Ibis: of one feature over one window, from the join of spine and facts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import and_

import ibis
import ibis.expr.types as ir

from features.feature import WHOLE_NUMBER, Column, Feature

_SECOND = 1_000_000
_HOUR = 3_600 * _SECOND
_DAY = 24 * _HOUR


def matches(table: ir.Table, feature: Feature) -> ir.BooleanValue:
    """Whether an event of ``table`` is one that the feature counts."""
    return reduce(and_, (_among(table, column, values) for column, values in feature.filters.items()))


def _among(table: ir.Table, column: str, values: tuple[str, ...]) -> ir.BooleanValue:
    if column == "hour":
        return _hour(table).isin([int(each) for each in values])
    return table[column] == values[0] if len(values) == 1 else table[column].isin(values)


def _hour(table: ir.Table) -> ir.IntegerValue:
    """The hour of the day of each event; the remainder of a time before 1970 is made positive first."""
    occurred = table["as_of"] - table["age"]
    return (occurred % _DAY + _DAY) % _DAY // _HOUR


def plain(column: Column, table: ir.Table, matched: ir.BooleanValue) -> ir.Scalar:
    """The aggregate of one column by itself."""
    chosen = matched & _within(column, table["age"])
    match column.feature.aggregate:
        case "count":
            return chosen.ifelse(1, 0).sum()
        case "sum":
            return chosen.ifelse(table[str(column.feature.of)], 0).sum()
        case "distinct":
            return chosen.ifelse(table[str(column.feature.of)], ibis.null("string")).nunique()
        case "most_common":
            return _most_common(column.feature, table, chosen)
        case "seconds_since_last":
            return chosen.ifelse(table["age"], ibis.null("int64")).min() // _SECOND
        case _:
            return chosen.ifelse(table["age"], ibis.null("int64")).max() // _SECOND


def _most_common(feature: Feature, table: ir.Table, chosen: ir.BooleanValue) -> ir.Scalar:
    """The first of the named values, in the order of the alphabet, that no other is more common than."""
    of = str(feature.of)
    counts = {each: (chosen & (table[of] == each)).ifelse(1, 0).sum() for each in feature.filters[of]}
    most = ibis.greatest(1, *counts.values())  # at least one, so that nothing is not the most common
    return ibis.cases(*((count == most, value) for value, count in counts.items()))


def _within(column: Column, age: ir.IntegerValue) -> ir.BooleanValue:
    return age > 0 if column.micros is None else age <= column.micros


def latest(features: Sequence[Feature], *, spine: ir.Table, profile: ir.Table) -> ir.Table:
    """The latest known value of each attribute; ties fall to the later record, then to the greater value."""
    facts = profile.filter(profile["attribute"].isin(sorted({str(each.of) for each in features})))
    known = [facts["occurred"] < spine["as_of"], facts["recorded"] < spine["as_of"]]
    joined = spine.join(facts, [spine["customer_id"] == facts["customer_id"], *known])
    order = [
        joined["occurred"].desc(),
        joined["recorded"].desc(),
        joined["value"].isnull().ifelse(1, 0).asc(),
        joined["value"].desc(),
    ]
    place = ibis.row_number().over(group_by=[joined["row"], joined["attribute"]], order_by=order)
    ranked = joined.mutate(place=place)
    newest = ranked.filter(ranked["place"] == 0)
    values = {
        each.name: (newest["attribute"] == each.of).ifelse(newest["value"], ibis.null("string")).max()
        for each in features
    }
    result = newest.group_by("row").aggregate(**values)
    return result.mutate(**{each.name: _whole(result[each.name]) for each in features if each.integer})


def _whole(value: ir.StringValue) -> ir.IntegerValue:
    # Not ^ and $: to Spark a value that ends in a line break would fit.
    return value.re_search(rf"\A{WHOLE_NUMBER}\z").ifelse(value, ibis.null("string")).cast("int64")
