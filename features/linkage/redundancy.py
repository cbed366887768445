"""Fields that say what others say already, and fields beyond those that can be compared: both left out, and told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.linkage.normalization import Field, Kind
from features.linkage.roles import ColumnRole
from features.linkage.values import plain_column

# So many fields are compared at most; a pair of records costs what it compares.
MOST = 20
# Where two fields are equal, or two persons who agree in one agree in the other, in such a share, they are one.
_SAME = 0.95
# So many pairs of two persons must have been seen, and be such a share of the pairs that agree in a field.
_SEEN = 20
_TWO = 0.3
# Kinds whose meaning nobody told: that they hold for a person is only believed.
_UNKNOWN: frozenset[Kind] = frozenset(("text", "code", "category"))
# What tells two persons apart at a glance: another initial, another year of birth.
_GLANCES = {"given": "left({0}.given, 1) <> left({1}.given, 1)", "date": "left({0}.date, 4) <> left({1}.date, 4)"}


def telling_most(tables: Sequence[pa.Table], fields: Sequence[Field]) -> tuple[Field, ...]:
    """At most ``MOST`` of the fields: the first of each kind, then those that tell the most.

    What a field tells is the entropy of its columns in bits, times how many records hold it.
    """
    if len(fields) <= MOST:
        return tuple(fields)
    bits = {
        each.name: sum(
            _bits(table.column(column))
            for table, columns in zip(tables, each.columns, strict=True)
            for column in columns[:1]
        )
        for each in fields
    }
    ranked = sorted(fields, key=lambda each: (each.name != each.kind, -bits[each.name], each.name))
    kept = {each.name for each in ranked[:MOST]}
    return tuple(each for each in fields if each.name in kept)


def _bits(column: pa.ChunkedArray) -> float:
    """The entropy of the values that a column holds, for all its rows together."""
    held = plain_column(column).drop_null()
    counts = np.sort(pc.value_counts(held).field("counts").to_numpy()) if len(held) else np.ones(1)
    return round(float(-(counts * np.log2(counts / counts.sum())).sum()), 6)


def repeated(connection: duckdb.DuckDBPyConnection, fields: Sequence[Field]) -> dict[str, Field]:
    """The fields of ``records`` that repeat another one, by name, with the field that says it.

    A field that nobody named, or the second of a kind, repeats one before it that holds the same in nearly all records;
    or one in whose agreement two persons, told apart by initial and year of birth, nearly always agree in it too (a
    number of the surname, say). Such a field is no second witness: it would make one person of each family.
    """
    ordered = sorted(fields, key=_suspect)  # sorted keeps the order otherwise
    found: dict[str, Field] = {}
    for place, field in enumerate(ordered):
        later = [each for each in ordered[place + 1 :] if _suspect(each) and each.name not in found]
        if field.name in found or not later:
            continue
        for name in _equal(connection, field, later) | _implied(connection, field, later, among=fields):
            found[name] = field
    return found


def without(roles: Sequence[Sequence[ColumnRole]], fields: Sequence[Field], reasons: Mapping[str, str]) -> tuple[
    tuple[ColumnRole, ...], ...
]:  # fmt: skip
    """The roles of columns, those of the fields in ``reasons`` (by name) ignored because of them."""
    said = [
        {column: reasons[each.name] for each in fields if each.name in reasons for column in each.columns[table]}
        for table in range(len(roles))
    ]
    return tuple(
        tuple(
            replace(each, role="ignored", because=why[each.column]) if each.column in why else each for each in columns
        )
        for columns, why in zip(roles, said, strict=True)
    )


def _suspect(field: Field) -> bool:
    return field.kind in _UNKNOWN or field.name != field.kind


def _equal(connection: duckdb.DuckDBPyConnection, field: Field, later: Sequence[Field]) -> set[str]:
    """Those of ``later`` that hold the same as ``field`` wherever both hold anything."""
    shares = connection.execute(
        "SELECT " + ", ".join(f"avg(CAST({field.name} = {each.name} AS INT))" for each in later) + " FROM records"
    ).fetchone()
    return {each.name for each, share in zip(later, shares or (), strict=True) if share is not None and share >= _SAME}


def _implied(
    connection: duckdb.DuckDBPyConnection, field: Field, later: Sequence[Field], *, among: Sequence[Field]
) -> set[str]:
    """Those of ``later`` in which two persons nearly always agree who agree in ``field``."""
    glances = [_GLANCES[each.name].format("a", "b") for each in among if each.name in _GLANCES and each != field]
    if not glances:
        return set()
    counts = ", ".join(
        f"count(*) FILTER (two AND a.{each.name} IS NOT NULL AND b.{each.name} IS NOT NULL), "
        f"count(*) FILTER (two AND a.{each.name} = b.{each.name})"
        for each in later
    ).replace("two", f"({' AND '.join(glances)})")
    # Each record beside one that holds the same, whichever: neighbours in the order of records are too alike.
    met, *pairs = connection.execute(
        f"""WITH neighbour AS (
          SELECT record, lag(record) OVER (PARTITION BY {field.name} ORDER BY hash(record)) AS other
          FROM records WHERE {field.name} IS NOT NULL)
        SELECT count(*), {counts} FROM neighbour JOIN records AS a USING (record)
        JOIN records AS b ON b.record = neighbour.other"""
    ).fetchone() or (0,)
    seen = zip(later, pairs[::2], pairs[1::2], strict=True)
    return {each.name for each, two, same in seen if two >= max(_SEEN, _TWO * met) and same >= _SAME * two}
