"""What columns say, told from names and values, and the one form in which records are compared."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from features.linkage.normalization import MACROS
from features.linkage.roles import column_roles, words_of

GIVEN = ("Anna", "Robert", "Maria", "James", "Emma", "David", "Laura", "Peter", "Julia", "Thomas")
SURNAMES = ("Bergström", "O'Hara", "Lindqvist", "Tanaka", "Moreau", "Okafor", "Petrov", "Silva", "Ngata", "Weiss")


def column(kind: str, rows: int = 60) -> list[object]:
    """Values of one kind, as a retailer's tables have them."""
    rng = np.random.default_rng(len(kind))
    given = [GIVEN[int(each)] for each in rng.integers(10, size=rows)]
    surname = [SURNAMES[int(each)] for each in rng.integers(10, size=rows)]
    days = [np.datetime64("1940-01-01") + int(each) for each in rng.integers(0, 22000, rows)]
    made: dict[str, list[object]] = {
        "id": [f"id {each}" for each in range(rows)],
        "given": list(given),
        "surname": list(surname),
        "full": [f"{one} {other}" for one, other in zip(given, surname, strict=True)],
        "iso": [str(day) for day in days],
        "plain": [str(day).replace("-", "") for day in days],
        "german": [".".join(reversed(str(day).split("-"))) for day in days],
        "email": [f"{one.lower()}{each}@shop.example" for each, one in enumerate(given)],
        "phone": [f"+44 20 {each} {each + 1}" for each in rng.integers(1000, 9000, rows)],
        "postcode": [f"{each:05d}" for each in rng.integers(100, 130, rows) * 7],
        "address": [
            f"{each} {one} street, Leeds" for each, one in zip(rng.integers(1, 99, rows), surname, strict=True)
        ],
        "code": [str(each) for each in rng.integers(10**6, 10**7, rows)],
        "row": list(range(rows)),
        "amount": [round(float(each), 2) for each in rng.gamma(2, 30, rows)],
        "note": [f"called on order {each} and was glad to be told" for each in range(rows)],
        "empty": [None] * rows,
        "same": ["GB"] * rows,
        "flag": [bool(each) for each in rng.integers(0, 2, rows)],
        "sex": ["m" if each else "f" for each in rng.integers(0, 2, rows)],
        "signup": [f"2024-03-{1 + int(each):02d}" for each in rng.integers(0, 28, rows)],
        "tier": ["gold" if each else "silver" for each in rng.integers(0, 2, rows)],
    }
    return made[kind]


def role_of(name: str, kind: str) -> str:
    table = pa.table({"key": column("id"), name: column(kind)})
    return column_roles(table, id_column="key")[1].role


@pytest.mark.parametrize(
    ("name", "kind", "role"),
    [
        ("first_name", "given", "given_name"),
        ("Vorname", "given", "given_name"),
        ("lastName", "surname", "surname"),
        ("Nachname", "surname", "surname"),
        ("Last Name", "surname", "surname"),
        ("name", "full", "full_name"),
        ("customer_name", "full", "full_name"),
        ("name", "surname", "surname"),
        ("dob", "iso", "birth_date"),
        ("Geburtsdatum", "german", "birth_date"),
        ("BirthDate", "plain", "birth_date"),
        ("E-Mail", "email", "email"),
        ("mobile_phone", "phone", "phone"),
        ("ZIP", "postcode", "postcode"),
        ("PLZ", "postcode", "postcode"),
        ("address", "address", "street"),
        ("loyalty_card", "code", "code"),
        ("loyalty_tier", "tier", "ignored"),
        ("gender", "sex", "gender"),
        ("last_updated", "signup", "ignored"),
        ("cluster", "code", "ignored"),
        ("amount", "amount", "ignored"),
    ],
)
def test_the_name_of_a_column_tells_its_role(name: str, kind: str, role: str) -> None:
    assert role_of(name, kind) == role


@pytest.mark.parametrize(
    ("kind", "role"),
    [
        ("given", "given_name"),
        ("full", "full_name"),
        ("iso", "birth_date"),
        ("german", "birth_date"),
        ("plain", "birth_date"),
        ("email", "email"),
        ("phone", "phone"),
        ("postcode", "postcode"),
        ("address", "street"),
        ("code", "code"),
        ("sex", "gender"),
        ("row", "ignored"),
        ("amount", "ignored"),
        ("note", "ignored"),
        ("empty", "ignored"),
        ("same", "ignored"),
        ("flag", "ignored"),
        ("signup", "ignored"),
        ("tier", "ignored"),
    ],
)
def test_values_tell_the_role_where_the_name_does_not(kind: str, role: str) -> None:
    assert role_of("c7", kind) == role


def test_a_name_that_the_values_contradict_is_not_believed() -> None:
    assert role_of("email", "phone") == "phone"
    assert role_of("phone", "email") == "email"


def test_a_declared_role_is_taken() -> None:
    table = pa.table({"key": column("id"), "x": column("tier")})
    assert column_roles(table, id_column="key", declared={"x": "category"})[1].role == "category"


def test_names_of_columns_are_read_as_words() -> None:
    assert words_of(" DateOfBirth ") == "date of birth"
    assert words_of("prénom") == "prenom"


@pytest.mark.parametrize(
    ("sql", "form"),
    [
        ("words('  O''Hara-Müller  ')", "ohara muller"),
        ("words('Straße')", "strasse"),
        ("raw(' N/A ')", None),
        ("raw('4011.0')", "4011"),
        ("phone(digits('+44 (0)20 7946 0958'))", "079460958"),
        ("phone(digits('020 7946 0958'))", "079460958"),
        ("postcode(signs('sw1a 1aa'))", "SW1A1AA"),
        ("postcode(signs('0822'))", "822"),
        ("born('1908-12-09', NULL)", "19081209"),
        ("born('19081209', NULL)", "19081209"),
        ("born('09.12.1908', true)", "19081209"),
        ("born('12/9/1908', false)", "19081209"),
        ("born('9 December 1908', NULL)", "19081209"),
        ("born('1908-12-09 00:00:00', NULL)", "19081209"),
        ("born('09/12/08', true)", "20081209"),
        ("name_parts('Dr. Anna M. Berg')[1]", "anna"),
        ("name_parts('BERG, Anna')[-1]", "berg"),
        ("house(words('12b High Street, Leeds LS1 4AP'))", "12b"),
        ("ending(words('6 Tullaroop Street, St James 4011'))", "4011"),
        ("without_digits(words('6 Tullaroop Street, 4011'))", "tullaroop street"),
    ],
)
def test_values_are_brought_into_one_form(sql: str, form: str | None) -> None:
    with duckdb.connect() as connection:
        connection.execute(MACROS)
        assert connection.execute(f"SELECT {sql}").fetchone() == (form,)
