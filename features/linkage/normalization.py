"""Records in one form: from the columns of any tables to the same fields, in small letters, digits and dates alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import duckdb
import pyarrow as pa

from features.linkage.nicknames import short_forms
from features.linkage.roles import ColumnRole, Role, words_of
from features.linkage.values import NOTHING, Values, plain_column, text_column
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


# What is made of columns, by name, so that a saved model holds names and no SQL.
FORMS: dict[str, str] = {
    "words": "words({0})",
    "gender": "gender(words({0}))",
    "email": "nullif(regexp_replace(lower({0}), '\\s+', '', 'g'), '')",
    "phone": "phone(digits({0}))",
    "code": "signs({0})",
    "number": "lower(signs({0}))",
    "postcode": "postcode(signs({0}))",
    "age": "CAST(TRY_CAST(digits({0}) AS INTEGER) AS VARCHAR)",
    "date": "born({0}, NULL)",
    "date, day first": "born({0}, true)",
    "date, month first": "born({0}, false)",
    "year": "ymd(digits({0}), '00', '00')",
    "year and month": "ymd(digits({0}), coalesce(digits({1}), '00'), '00')",
    "year, month and day": "ymd(digits({0}), coalesce(digits({1}), '00'), coalesce(digits({2}), '00'))",
    "first of name": "CASE WHEN len(name_parts({0})) > 1 THEN name_parts({0})[1] END",
    "last of name": "name_parts({0})[-1]",
    "number of address": "house(words({0}))",
    "postcode of address": "ending(words({0}))",
    "words of address": "without_digits(words({0}))",
}
_FORM_OF: dict[Kind, str] = {
    "gender": "gender",
    "email": "email",
    "phone": "phone",
    "code": "code",
    "number": "number",
    "postcode": "postcode",
    "age": "age",
}


@dataclass(frozen=True, kw_only=True)
class Field:
    """One thing said of a person, of one kind, in every table that says it.

    ``columns`` and ``forms``: per table the columns it is made of, and what is made of them (``FORMS``); empty where
    a table doesn't say it.

    >>> Field(name="given", kind="given", columns=(("first_name",),), forms=("words",)).sql(0)
    'words("first_name")'
    """

    name: str
    kind: Kind
    columns: tuple[tuple[str, ...], ...]
    forms: tuple[str, ...]

    def sql(self, table: int) -> str:
        """The SQL that makes it of the columns of one of the tables."""
        if not self.columns[table]:
            return "NULL"
        return FORMS[self.forms[table]].format(*map(identifier, self.columns[table]))


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """A field as one table has it, before the tables are laid side by side."""

    kind: Kind
    columns: tuple[str, ...]
    form: str
    named: bool = True


def fields_of(tables: Sequence[pa.Table], roles: Sequence[Sequence[ColumnRole]]) -> tuple[Field, ...]:
    """The fields that the tables have, laid side by side: the same name first, else the same kind in order."""
    pieces = [sorted(_pieces(table, each), key=_order) for table, each in zip(tables, roles, strict=True)]
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
                forms=tuple(piece.form if piece else "" for piece in slot),
            )
        )
    return tuple(fields)


def _order(piece: _Piece) -> tuple[int, bool, str, str]:
    """An order of fields that the order of columns doesn't change; of one kind, what its name tells comes first."""
    return list(_KINDS.values()).index(piece.kind), not piece.named, " ".join(map(words_of, piece.columns)), piece.form


def _place(slots: Sequence[list[_Piece | None]], piece: _Piece, number: int) -> list[_Piece | None] | None:
    free = [slot for slot in slots if slot[number] is None and any(each and each.kind == piece.kind for each in slot)]
    names = {words_of(each) for each in piece.columns}
    same = [slot for slot in free if any(each and names & {words_of(c) for c in each.columns} for each in slot)]
    return next(iter(same or free), None)


def _pieces(table: pa.Table, roles: Sequence[ColumnRole]) -> Iterable[_Piece]:
    """The fields of one table, each with what is made of its columns."""
    has = {each.role for each in roles}
    born = {each.role: each.column for each in roles if each.role in ("birth_year", "birth_month", "birth_day")}
    if "birth_year" in born:
        parts = [born[part] for part in ("birth_year", "birth_month", "birth_day") if part in born]
        form = "year, month and day" if len(parts) == 3 else "year and month" if "birth_month" in born else "year"
        yield _Piece(kind="date", columns=tuple(parts), form=form)
    for each in roles:
        if each.role == "full_name":
            if "given_name" not in has:
                yield _Piece(kind="given", columns=(each.column,), form="first of name")
            if "surname" not in has:
                yield _Piece(kind="surname", columns=(each.column,), form="last of name")
        elif each.role == "street":
            yield from _address(table, each.column, has)
        elif each.role == "birth_date":
            yield _Piece(kind="date", columns=(each.column,), form=_date_form(table, each.column))
        elif each.role in _KINDS:
            kind = _KINDS[each.role]
            yield _Piece(kind=kind, columns=(each.column,), form=_FORM_OF.get(kind, "words"), named=each.named)


def _address(table: pa.Table, name: str, has: set[Role]) -> Iterable[_Piece]:
    """A street, or a whole address in one line: its house number, its words, and its postcode when it ends in one."""
    if Values.of(text_column(table, name)).with_digits <= 0.5:
        yield _Piece(kind="street", columns=(name,), form="words")
        return
    if "street_number" not in has:
        yield _Piece(kind="number", columns=(name,), form="number of address")
    if "postcode" not in has:
        yield _Piece(kind="postcode", columns=(name,), form="postcode of address")
    yield _Piece(kind="street", columns=(name,), form="words of address")


def _date_form(table: pa.Table, name: str) -> str:
    """Whether the column writes the day before the month, as its values above twelve tell, or the year first."""
    if pa.types.is_temporal(table.schema.field(name).type):
        return "date"
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
        return "date"
    return "date, day first" if days >= months else "date, month first"


def prepared(
    tables: Sequence[pa.Table],
    *,
    id_columns: Sequence[str],
    fields: Sequence[Field],
    connection: duckdb.DuckDBPyConnection,
) -> None:
    """Make the table ``records`` of ``connection``: record (a number), source (which table), id, and every field.

    Records are numbered by their content, then by table and id, so that the order of rows makes no difference.
    """
    connection.execute(MACROS)
    selects = []
    for number, table in enumerate(tables):
        plain = {
            name: plain_column(table.column(name)) for name in _needed(fields, number) | {id_columns[number]: None}
        }
        connection.register(f"input_{number}", pa.table(plain))
        read = ", ".join(f"raw({identifier(each)}) AS {identifier(each)}" for each in _needed(fields, number))
        made = ", ".join(f"CAST({each.sql(number)} AS VARCHAR) AS {each.name}" for each in fields)
        selects.append(
            f"SELECT {number} AS source, __id AS id, {made} FROM "
            f"(SELECT CAST({identifier(id_columns[number])} AS VARCHAR) AS __id, {read} FROM input_{number})"
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


def _needed(fields: Sequence[Field], table: int) -> dict[str, None]:
    """The columns of a table that fields are made of, each once, in their order."""
    return dict.fromkeys(column for field in fields for column in field.columns[table])
