"""Whether the columns can tell one person from another, before anything is linked."""

from __future__ import annotations

import math
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from features.errors import InputError
from features.linkage.comparisons import comparison_of
from features.linkage.normalization import Field, Kind, prepared
from features.linkage.redundancy import MOST, repeated, telling_most
from features.linkage.roles import ColumnRole

# One of these alone names a person.
_NAMING: frozenset[Kind] = frozenset(("email", "phone", "code"))


def usable_fields(
    connection: duckdb.DuckDBPyConnection,
    tables: Sequence[pa.Table],
    *,
    id_columns: Sequence[str],
    fields: Sequence[Field],
) -> tuple[tuple[Field, ...], dict[str, str]]:
    """The fields to compare, and why the others are left out, by name; ``records`` of ``connection`` is made of them.

    Left out is what holds one value, repeats another field, or is more than can be compared. Beside each field
    ``often_<field>`` says how many records hold its value.
    """
    if not fields:
        return (), {}
    compared = telling_most(tables, fields)
    prepared(tables, id_columns=id_columns, fields=compared, connection=connection)
    counts = connection.execute(
        f"SELECT {', '.join(f'count(DISTINCT {each.name})' for each in compared)} FROM records"
    ).fetchone()
    several = tuple(each for each, distinct in zip(compared, counts or (), strict=True) if distinct > 1)
    again = repeated(connection, several)
    kept = tuple(each for each in several if each.name not in again)
    reasons = {each.name: f"{MOST} fields tell more" for each in fields if each not in compared}
    reasons |= {name: f"{_columns(by)} says it" for name, by in again.items()}
    often = "".join(f", count(*) OVER (PARTITION BY {each.name}) AS often_{each.name}" for each in kept)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE records AS SELECT *{often} FROM records ORDER BY record")
    return kept, reasons


def _columns(field: Field) -> str:
    return " and ".join(dict.fromkeys(column for each in field.columns for column in each))


def check_evidence(fields: Sequence[Field], roles: Sequence[Sequence[ColumnRole]], *, records: int) -> None:
    """Refuse fields in which two persons could well agree: then links would be invented.

    Two persons must be less likely to agree in all fields than one record in ten is to have a double.
    """
    kinds = {each.kind for each in fields}
    told = sum(-math.log(comparison_of(each).levels[0].other) for each in fields)
    enough = kinds & _NAMING or (len(fields) > 1 and kinds & {"given", "surname", "date", "text"})
    if enough and told > math.log(10 * records):
        return
    said = ", ".join(f"{each.column!r} ({each.role})" for table in roles for each in table if each.role != "id")
    raise InputError(
        "the columns can't tell one person from another",
        got=said[:600] or "no column beside the id",
        do="pass a table with names and dates of birth, addresses, e-mails or phones, or say --role COLUMN=ROLE",
    )
