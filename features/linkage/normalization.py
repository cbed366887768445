"""Records in one form: from the columns of any tables to the same fields, in small letters, digits and dates alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import duckdb
import pyarrow as pa

from features.linkage.nicknames import short_forms
from features.linkage.roles import ColumnRole, Role, words_of
from features.linkage.values import NOTHING, Values, text_column
from features.sql import identifier, literals

Kind = Literal[
    "given", "surname", "date", "age", "gender", "email", "phone", "code",
    "number", "street", "city", "postcode", "region", "category", "text",
]  # fmt: skip

_KINDS: dict[Role, Kind] = {
    "given_name": "given",
    "surname": "surname",
    "birth_date": "date",
    "age": "age",
    "gender": "gender",
    "email": "email",
    "phone": "phone",
    "code": "code",
    "street_number": "number",
    "street": "street",
    "city": "city",
    "postcode": "postcode",
    "region": "region",
    "category": "category",
    "text": "text",
}

MACROS = f"""
CREATE OR REPLACE MACRO raw(v) AS (
  CASE WHEN lower(trim(CAST(v AS VARCHAR))) IN ({literals(sorted(NOTHING))}) THEN NULL
       ELSE regexp_replace(trim(CAST(v AS VARCHAR)), '^(\\d+)\\.0$', '\\1') END);
CREATE OR REPLACE MACRO words(v) AS (
  nullif(trim(regexp_replace(replace(replace(replace(replace(replace(strip_accents(lower(v)),
    'ß', 'ss'), 'ø', 'o'), 'ł', 'l'), 'æ', 'ae'), '''', ''), '[^\\p{{L}}\\p{{N}}]+', ' ', 'g')), ''));
CREATE OR REPLACE MACRO signs(v) AS (
  nullif(regexp_replace(upper(strip_accents(v)), '[^\\p{{L}}\\p{{N}}]+', '', 'g'), ''));
CREATE OR REPLACE MACRO digits(v) AS (nullif(regexp_replace(v, '\\D+', '', 'g'), ''));
CREATE OR REPLACE MACRO phone(d) AS (CASE WHEN length(d) >= 5 THEN right(d, 9) END);
CREATE OR REPLACE MACRO postcode(s) AS (
  nullif(ltrim(CASE WHEN regexp_matches(s, '^\\d{{9}}$') THEN left(s, 5) ELSE s END, '0'), ''));
CREATE OR REPLACE MACRO gender(w) AS (
  CASE WHEN w IN ('f', 'female', 'w', 'woman', 'mrs', 'ms', 'miss', 'frau', 'femme', 'mme', 'sra', '2') THEN 'f'
       WHEN w IN ('m', 'male', 'man', 'mr', 'h', 'herr', 'hombre', 'homme', 'sr', '1') THEN 'm'
       ELSE w END);
CREATE OR REPLACE MACRO year4(y) AS (
  CASE WHEN length(y) <> 2 THEN lpad(y, 4, '0') WHEN y > '26' THEN '19' || y ELSE '20' || y END);
CREATE OR REPLACE MACRO ymd(y, m, d) AS (year4(y) || lpad(left(m, 2), 2, '0') || lpad(left(d, 2), 2, '0'));
CREATE OR REPLACE MACRO spelled(v) AS (
  CASE WHEN regexp_matches(v, '[A-Za-z]{{3}}') THEN strftime(try_strptime(v, ['%d-%b-%Y', '%d %b %Y', '%d %B %Y',
    '%b %d, %Y', '%B %d, %Y', '%b %d %Y', '%B %d %Y', '%d-%b-%y']), '%Y%m%d') END);
CREATE OR REPLACE MACRO parts(v) AS (regexp_extract_all(regexp_replace(v, '[T ]\\d{{1,2}}:.*$', ''), '\\d+'));
CREATE OR REPLACE MACRO of_parts(p, day_first) AS (
  CASE WHEN len(p) <> 3 THEN NULL
       WHEN length(p[1]) = 4 THEN ymd(p[1], p[2], p[3])
       WHEN day_first THEN ymd(p[3], p[2], p[1])
       ELSE ymd(p[3], p[1], p[2]) END);
CREATE OR REPLACE MACRO of_digits(d, day_first) AS (
  CASE WHEN length(d) <> 8 OR day_first IS NULL THEN (CASE WHEN length(d) >= 4 THEN d END)
       WHEN day_first THEN right(d, 4) || substr(d, 3, 2) || left(d, 2)
       ELSE right(d, 4) || left(d, 4) END);
CREATE OR REPLACE MACRO born(v, day_first) AS (
  coalesce(spelled(v), of_parts(parts(v), day_first), of_digits(digits(v), day_first)));
CREATE OR REPLACE MACRO name_parts(v) AS (list_filter(string_split(words(
    CASE WHEN v LIKE '%,%' THEN split_part(v, ',', 2) || ' ' || split_part(v, ',', 1) ELSE v END), ' '),
  lambda x: x NOT IN ('mr', 'mrs', 'ms', 'miss', 'dr', 'prof', 'herr', 'frau', 'sir', 'jr', 'sr', 'ii', 'iii', 'mme')));
CREATE OR REPLACE MACRO house(w) AS (nullif(regexp_extract(w, '(?:^|.*? )(\\d+[a-z]?)(?: |$)', 1), ''));
CREATE OR REPLACE MACRO ending(w) AS (nullif(regexp_extract(w, '(?:^| )(\\d{{4,6}})(?: \\D*)?$', 1), ''));
CREATE OR REPLACE MACRO without_digits(w) AS (
  nullif(trim(regexp_replace(regexp_replace(w, '\\S*\\d\\S*', ' ', 'g'), ' +', ' ', 'g')), ''));
"""


@dataclass(frozen=True, kw_only=True)
class Field:
    """One thing said of a person, of one kind, in every table that says it.

    ``columns``: per table the columns it is made of, in words for people; ``expressions``: per table the SQL that
    makes it, ``NULL`` where the table doesn't say it.

    >>> Field(name="given", kind="given", columns=(("first_name",),), expressions=('words("first_name")',)).kind
    'given'
    """

    name: str
    kind: Kind
    columns: tuple[tuple[str, ...], ...]
    expressions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """A field as one table has it, before the tables are laid side by side."""

    kind: Kind
    columns: tuple[str, ...]
    expression: str


def fields_of(tables: Sequence[pa.Table], roles: Sequence[Sequence[ColumnRole]]) -> tuple[Field, ...]:
    """The fields that the tables have, laid side by side: the same name first, else the same kind in order."""
    pieces = [list(_pieces(table, each)) for table, each in zip(tables, roles, strict=True)]
    slots: list[list[_Piece | None]] = []
    for number, found in enumerate(pieces):
        for slot in slots:
            slot.append(None)
        for piece in found:
            place = _place(slots, piece, number)
            if place is None:
                slots.append([None] * number + [piece])
            else:
                place[number] = piece
    seen: dict[str, int] = {}
    fields = []
    for slot in slots:
        kind = next(piece.kind for piece in slot if piece)
        seen[kind] = seen.get(kind, 0) + 1
        fields.append(
            Field(
                name=kind if seen[kind] == 1 else f"{kind}_{seen[kind]}",
                kind=kind,
                columns=tuple(piece.columns if piece else () for piece in slot),
                expressions=tuple(piece.expression if piece else "NULL" for piece in slot),
            )
        )
    return tuple(fields)


def _place(slots: Sequence[list[_Piece | None]], piece: _Piece, number: int) -> list[_Piece | None] | None:
    free = [slot for slot in slots if slot[number] is None and any(each and each.kind == piece.kind for each in slot)]
    names = {words_of(each) for each in piece.columns}
    same = [slot for slot in free if any(each and names & {words_of(c) for c in each.columns} for each in slot)]
    return next(iter(same or free), None)


def _pieces(table: pa.Table, roles: Sequence[ColumnRole]) -> Iterable[_Piece]:
    """The fields of one table, each with the SQL that makes it of its columns."""
    has = {each.role for each in roles}
    born = {each.role: each.column for each in roles if each.role in ("birth_year", "birth_month", "birth_day")}
    if "birth_year" in born:
        year, month, day = (
            f"digits({identifier(born[role])})" if role in born else "'00'"
            for role in ("birth_year", "birth_month", "birth_day")
        )
        yield _Piece(
            kind="date",
            columns=tuple(born.values()),
            expression=f"ymd({year}, coalesce({month}, '00'), coalesce({day}, '00'))",
        )
    for each in roles:
        column = identifier(each.column)
        if each.role == "full_name":
            yield from _full_name(each.column, has)
        elif each.role == "street":
            yield from _address(table, each.column, has)
        elif each.role == "birth_date":
            first = _day_first(table, each.column)
            yield _Piece(kind="date", columns=(each.column,), expression=f"born({column}, {first})")
        elif each.role in _KINDS:
            kind = _KINDS[each.role]
            yield _Piece(kind=kind, columns=(each.column,), expression=_expression(kind, column))


def _expression(kind: Kind, column: str) -> str:
    made: dict[Kind, str] = {
        "gender": f"gender(words({column}))",
        "email": f"nullif(regexp_replace(lower({column}), '\\s+', '', 'g'), '')",
        "phone": f"phone(digits({column}))",
        "code": f"signs({column})",
        "number": f"lower(signs({column}))",
        "postcode": f"postcode(signs({column}))",
        "age": f"CAST(TRY_CAST(digits({column}) AS INTEGER) AS VARCHAR)",
    }
    return made.get(kind, f"words({column})")


def _full_name(name: str, has: set[Role]) -> Iterable[_Piece]:
    parts = f"name_parts({identifier(name)})"
    if "given_name" not in has:
        yield _Piece(kind="given", columns=(name,), expression=f"CASE WHEN len({parts}) > 1 THEN {parts}[1] END")
    if "surname" not in has:
        yield _Piece(kind="surname", columns=(name,), expression=f"{parts}[-1]")


def _address(table: pa.Table, name: str, has: set[Role]) -> Iterable[_Piece]:
    """A street, or a whole address in one line: its house number, its words, and its postcode when it ends in one."""
    column = identifier(name)
    if Values.of(text_column(table, name)).with_digits <= 0.5:
        yield _Piece(kind="street", columns=(name,), expression=f"words({column})")
        return
    if "street_number" not in has:
        yield _Piece(kind="number", columns=(name,), expression=f"house(words({column}))")
    if "postcode" not in has:
        yield _Piece(kind="postcode", columns=(name,), expression=f"ending(words({column}))")
    yield _Piece(kind="street", columns=(name,), expression=f"without_digits(words({column}))")


def _day_first(table: pa.Table, name: str) -> str:
    """Whether the column writes the day before the month, as its values above twelve tell; NULL: the year is first."""
    if pa.types.is_temporal(table.schema.field(name).type):
        return "NULL"
    days = months = years = 0
    for text in text_column(table, name):
        if len(text) == 8 and text.isdigit():
            if 1800 <= int(text[:4]) <= 2100 and int(text[4:6]) <= 12:
                years += 1
            else:
                days, months = days + (int(text[:2]) > 12), months + (int(text[2:4]) > 12)
        else:
            numbers = [int(each) for each in text.replace("-", "/").replace(".", "/").split("/") if each.isdigit()]
            if len(numbers) == 3 and numbers[0] <= 31:
                days, months = days + (numbers[0] > 12), months + (numbers[1] > 12)
    if years > days + months:
        return "NULL"
    return "true" if days >= months else "false"


def prepared(
    tables: Sequence[pa.Table], *, id_column: str, fields: Sequence[Field], connection: duckdb.DuckDBPyConnection
) -> None:
    """Make the table ``records`` of ``connection``: record (a number), source (which table), id, and every field.

    Records are numbered by their content, then by table and id, so that the order of rows makes no difference.
    """
    connection.execute(MACROS)
    selects = []
    for number, table in enumerate(tables):
        connection.register(f"input_{number}", table)
        read = ", ".join(
            f"raw({identifier(each)}) AS {identifier(each)}"
            for each in dict.fromkeys(column for field in fields for column in field.columns[number])
        )
        made = ", ".join(f"CAST({each.expressions[number]} AS VARCHAR) AS {each.name}" for each in fields)
        selects.append(
            f"SELECT {number} AS source, __id AS id, {made} FROM "
            f"(SELECT CAST({identifier(id_column)} AS VARCHAR) AS __id, {read} FROM input_{number})"
        )
    forms = short_forms()
    order = ", ".join(each.name for each in fields)
    connection.execute("CREATE OR REPLACE TEMP TABLE forms AS SELECT unnest($1) AS form, unnest($2) AS long",
                       [list(forms), list(forms.values())])  # fmt: skip
    helpers, joins = "", ""
    if any(each.name == "given" for each in fields):
        helpers = ", coalesce(forms.long, split_part(given, ' ', 1)) AS given_long"
        joins = "LEFT JOIN forms ON forms.form = split_part(given, ' ', 1)"
    if any(each.name == "email" for each in fields):
        helpers += ", nullif(regexp_replace(split_part(email, '@', 1), '[^a-z0-9]', '', 'g'), '') AS email_local"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE records AS "
        f"SELECT row_number() OVER (ORDER BY {order}, source, id) - 1 AS record, said.*{helpers} "
        f"FROM ({' UNION ALL '.join(selects)}) AS said {joins} ORDER BY record"
    )
    for number in range(len(tables)):
        connection.unregister(f"input_{number}")
