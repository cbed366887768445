"""Which records are compared at all: those that share a key, where keys never make more pairs than they may."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import duckdb

from features.linkage.normalization import Field, Kind

# Below this many records all pairs are compared.
ALL_PAIRS = 1500
# Pairs per record that one key may make, by how many atoms it is of.
_BUDGETS = (5.0, 1.0, 0.5)
# Records on each side that are compared where even the narrowest key is shared by too many.
_NEIGHBOURS = 3


@dataclass(frozen=True, kw_only=True)
class Atom:
    """A piece of a field that records can share; ``alone``: whether it is a key by itself.

    >>> Atom(field="date", sql="left(date, 4)", alone=False).alone
    False
    """

    field: str
    sql: str
    alone: bool = True


def atoms_of(fields: Sequence[Field]) -> tuple[Atom, ...]:
    """The pieces of each field that survive a typing error somewhere else."""
    names = {field.name for field in fields}
    found = [atom for field in fields for atom in _atoms(field.name, field.kind)]
    if {"given", "surname"} <= names:
        both = "concat_ws(' ', least(given, surname), greatest(given, surname))"
        found.append(Atom(field="names", sql=f"CASE WHEN given IS NOT NULL AND surname IS NOT NULL THEN {both} END"))
    return tuple(found)


def _atoms(name: str, kind: Kind) -> Iterable[Atom]:
    if kind in ("gender", "region", "age", "category", "number"):
        yield Atom(field=name, sql=name, alone=False)
        return
    yield Atom(field=name, sql="given_long" if name == "given" else name)
    if kind in ("given", "surname", "street", "city", "text"):
        yield Atom(field=name, sql=f"left({name}, 4)", alone=False)
    if kind == "date":
        yield Atom(field=name, sql=f"left({name}, 6)", alone=False)
        yield Atom(field=name, sql=f"left({name}, 4)", alone=False)
        yield Atom(field=name, sql=f"right({name}, 4)", alone=False)
    if kind in ("code", "phone"):
        yield Atom(field=name, sql=f"left({name}, 5)", alone=False)
        yield Atom(field=name, sql=f"right({name}, 5)", alone=False)
    if name == "email":
        yield Atom(field=name, sql="email_local")


def make_keys(connection: duckdb.DuckDBPyConnection, *, fields: Sequence[Field]) -> None:
    """Make the table ``keys`` of ``connection`` (record, key) from its table ``records``.

    A key is one atom; where an atom is shared by too many, it is a key only together with a second one, and where
    both together still are, with a third. Of each kind of key the smallest blocks are taken first, until their pairs
    reach the budget: so no name, placeholder or town makes pairs without end. What is still too common is compared
    with its neighbours in order of content.
    """
    (rows,) = connection.execute("SELECT count(*) FROM records").fetchone() or (0,)
    if rows <= ALL_PAIRS:
        connection.execute("CREATE OR REPLACE TEMP TABLE keys AS SELECT record, CAST(0 AS BIGINT) AS key FROM records")
        return
    atoms = atoms_of(fields)
    pieces = " UNION ALL ".join(
        f"SELECT record, {number} AS atom, {_field_number(atoms, atom)} AS field, {atom.alone} AS alone, "
        f"hash({number}, {atom.sql}) AS value FROM records WHERE {atom.sql} IS NOT NULL"
        for number, atom in enumerate(atoms)
    )
    connection.execute(f"CREATE OR REPLACE TEMP TABLE pieces AS {pieces}")
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE level_1 AS "
        "SELECT record, atom, field, atom AS last, atom AS rule, value, alone FROM pieces"
    )
    kept = []
    for depth, budget in enumerate(_BUDGETS, start=1):
        kept.append(_keep(connection, depth, budget * rows))
        if depth < len(_BUDGETS):
            connection.execute(
                f"""CREATE OR REPLACE TEMP TABLE level_{depth + 1} AS
                SELECT record, b.atom, b.field, b.atom AS last, a.rule * 1000 + b.atom AS rule,
                       hash(a.value, b.value) AS value, true AS alone
                FROM wide_{depth} AS a JOIN wide_1 AS b USING (record)
                WHERE b.atom > a.last AND b.field > a.field"""
            )
    neighbours = _neighbours(connection, len(_BUDGETS))
    connection.execute(f"CREATE OR REPLACE TEMP TABLE keys AS {' UNION ALL '.join(kept)} UNION ALL {neighbours}")


def _field_number(atoms: Sequence[Atom], atom: Atom) -> int:
    return list(dict.fromkeys(each.field for each in atoms)).index(atom.field)


def _keep(connection: duckdb.DuckDBPyConnection, depth: int, budget: float) -> str:
    """Split the keys of a depth: ``wide_<depth>`` holds those shared by too many; the SQL of the others comes back."""
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE blocks_{depth} AS
        SELECT rule, value, size, coalesce(pairs <= {budget} AND alone, false) AS kept FROM (
          SELECT rule, value, size, alone, sum(size * (size - 1) / 2) OVER (PARTITION BY rule ORDER BY size) AS pairs
          FROM (SELECT rule, value, bool_and(alone) AS alone, count(*) AS size FROM level_{depth} GROUP BY ALL)
          WHERE size > 1)"""
    )
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE wide_{depth} AS SELECT l.record, l.atom, l.field, l.last, l.rule, l.value "
        f"FROM level_{depth} AS l JOIN blocks_{depth} USING (rule, value) WHERE NOT kept"
    )
    return (
        f"SELECT record, CAST(hash({depth}, rule, value) >> 1 AS BIGINT) AS key FROM level_{depth} "
        f"JOIN blocks_{depth} USING (rule, value) WHERE kept"
    )


def _neighbours(connection: duckdb.DuckDBPyConnection, depth: int) -> str:
    """Keys of small overlapping groups of neighbours, inside the blocks that are too large at the last depth."""
    width = 2 * _NEIGHBOURS
    return f"""SELECT record, CAST(hash(rule, value, shift, (place + shift * {_NEIGHBOURS}) // {width}) >> 1 AS BIGINT)
        FROM (SELECT record, rule, value, row_number() OVER (PARTITION BY rule, value ORDER BY record) AS place
              FROM wide_{depth} JOIN (SELECT rule, value, size FROM blocks_{depth}) USING (rule, value)),
             (SELECT unnest([0, 1]) AS shift)"""


PAIRS = """SELECT DISTINCT a.record AS join_key_l, b.record AS join_key_r
FROM {keys} AS a JOIN {keys} AS b ON a.key = b.key AND a.record < b.record"""
