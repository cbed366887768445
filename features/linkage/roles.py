"""What each column of a table of people says of a person, told from its name and its values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from features.linkage.values import Values, is_plain, text_column

Role = Literal[
    "id",
    "given_name",
    "surname",
    "full_name",
    "birth_date",
    "birth_year",
    "birth_month",
    "birth_day",
    "age",
    "gender",
    "email",
    "phone",
    "code",
    "street_number",
    "street",
    "city",
    "postcode",
    "region",
    "category",
    "text",
    "ignored",
]


@dataclass(frozen=True, kw_only=True)
class ColumnRole:
    """The role that a column plays, and what told it: its name, its values, or the reason why it is ignored.

    >>> ColumnRole(column="dob", role="birth_date", because="its name").role
    'birth_date'
    """

    column: str
    role: Role
    because: str

    @property
    def named(self) -> bool:
        """Whether somebody said what the column is, by its name or by a declaration."""
        return self.because in ("its name", "declared")


# In order: the first that is found in the name, as words in small letters, decides, when the values can be that.
_NAMES: tuple[tuple[str, Role], ...] = (
    (r"cluster|label|entity( id)?|ent id|truth|"
     r"true (id|person)|match id|group id|duplicate( of)?|is dup\w*", "ignored"),
    (r"created|updated|modified|inserted|registered|signup|sign up|last (order|visit|login|seen|update|contact)|since|"
     r"timestamp|purchase|order|visit", "ignored"),
    (r"e ?mail|mail( address)?|courriel|correo", "email"),
    (r"phone|telephone|tel|telefon|mobile|cell|handy|fax|gsm|telefono|msisdn", "phone"),
    (r"birth ?year|year (of )?birth|yob|by|geburtsjahr", "birth_year"),
    (r"birth ?month|month (of )?birth|mob|bm", "birth_month"),
    (r"birth ?day|day (of )?birth|bd", "birth_day"),
    (r"dob|d o b|birth|birth ?date|date ?of ?birth|born|geburtsdatum|geb|naissance|nacimiento|nascita", "birth_date"),
    (r"age|alter|edad", "age"),
    (r"sex|gender|geschlecht|sexe|sexo|title|salutation|anrede|mr mrs", "gender"),
    (r"(soc(ial)? ?sec\w*|ssn|nino|nhs|tax|passport|licen[cs]e|driver|medicare|insurance|nif|dni|tfn|sin|pesel|cpf|"
     r"national|loyalty|card|account|member(ship)?|iban|vat)( \w+)*", "code"),
    (r"post ?code|zip( ?code)?|postal( code)?|plz|cp|code postal|pincode|postleitzahl|cap", "postcode"),
    (r"(street|house|building|str|st) ?(number|num|no|nr)|number|hausnummer|house|numero|nr", "street_number"),
    (r"full ?name|(customer|client|person|contact|complete|display) ?name|name full", "full_name"),
    (r"(given|first|fore|christian|fname|f) ?names?( \w+)?|fname( \w+)?|given|first|vorname|prenom|"
     r"nombre|nome", "given_name"),
    (r"(sur|last|family|second|maiden|l) ?names?( \w+)?|lname( \w+)?|surname|last|family|nachname|"
     r"familienname|apellidos?|cognome|sobrenome", "surname"),
    (r"middle ?names?|middle( initial)?", "text"),
    (r"(address|addr|adresse|direccion|indirizzo|street|strasse|str|rue|calle|via|road|line)( ?(line|name|address))?"
     r"( ?\d)?|(home|postal|full|mailing|residential|billing) (address|addr)", "street"),
    (r"city|town|suburb|locality|place|ort|stadt|ville|ciudad|citta|municipality|village|gemeente|"
     r"(city|town) name|birth ?place|place of birth", "city"),
    (r"state|province|county|region|country|bundesland|land|canton|nation(ality)?|territory|prov|provincia|pays",
     "region"),
    (r"name|nom|naam", "full_name"),
    (r"amount|price|total|revenue|spend|score|balance|count|quantity|qty|row( number| num| no)?|index|idx|seq\w*|"
     r"notes?|comments?|remarks?|description|uuid|guid|hash|unnamed( \w+)?|source|file|channel|segment|"
     r"status|flag", "ignored"),
)  # fmt: skip
_PATTERNS = tuple((re.compile(rf"(?:^|.* )(?:{pattern})(?:$| .*)|(?:{pattern})"), role) for pattern, role in _NAMES)


def words_of(name: str) -> str:
    """A column's name as words in small letters.

    >>> words_of(" DateOfBirth_1")
    'date of birth 1'
    """
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.strip())
    return re.sub(r"[^a-z0-9]+", " ", _ascii(apart).lower()).strip()


def column_roles(
    table: pa.Table, *, id_column: str, declared: Mapping[str, Role] | None = None
) -> tuple[ColumnRole, ...]:
    """The role of each column of ``table``, in the table's order; ``declared`` roles are taken as they are."""
    said = declared or {}
    found = [
        ColumnRole(column=name, role="id", because="named as the id")
        if name == id_column
        else ColumnRole(column=name, role=said[name], because="declared")
        if name in said
        else _role(name, Values.of(text_column(table, name)))
        if is_plain(table.schema.field(name).type) or pa.types.is_null(table.schema.field(name).type)
        else ColumnRole(column=name, role="ignored", because="lists, parts or bytes")
        for name in table.column_names
    ]
    return tuple(_settled(found))


def _role(name: str, values: Values) -> ColumnRole:
    if values.distinct <= 1:
        return ColumnRole(column=name, role="ignored", because="empty" if values.distinct == 0 else "constant")
    words = words_of(name)
    for pattern, role in _PATTERNS:
        if pattern.fullmatch(words) and (fitting := _fits(role, values)):
            because = "its name: not of the person" if fitting == "ignored" else "its name"
            return ColumnRole(column=name, role=fitting, because=because)
    return _by_values(name, words, values)


def _fits(role: Role, values: Values) -> Role | None:
    """``role``, or the one that the values make of it; None when they can't be that."""
    checks: dict[Role, bool] = {
        "email": values.emails > 0.5,
        "phone": values.long_numbers > 0.5,
        "birth_date": values.dates > 0.5,
        "birth_year": values.years > 0.5,
        "birth_month": values.digits > 0.5,
        "birth_day": values.digits > 0.5,
        "age": values.digits > 0.5 and values.length < 4,
        "gender": values.distinct <= 30,
        "code": not values.row_number and values.variety > 0.05 and values.length >= 4,
        "postcode": values.length <= 10 and values.with_digits > 0.5,
        "street_number": values.with_digits > 0.5 and values.length <= 8,
        "given_name": values.letters > 0.5,
        "surname": values.letters > 0.5,
        "full_name": values.letters > 0.5,
        "city": values.letters > 0.5,
    }
    if not checks.get(role, True):
        return None
    if role == "full_name" and values.words < 1.5:
        return "given_name" if values.given_names > 0.2 else "surname"
    return role


def _by_values(name: str, words: str, values: Values) -> ColumnRole:
    role, because = _value_role(words, values)
    return ColumnRole(column=name, role=role, because=because)


def _value_role(words: str, values: Values) -> tuple[Role, str]:
    """The role that the values alone tell, and what told it."""
    told = "its values"
    if values.emails > 0.6:
        return "email", told
    if values.row_number:
        return "ignored", "a running number"
    if values.dates > 0.8:
        born = values.year_spread > 15 and values.first_year < 1995
        return ("birth_date", told) if born else ("ignored", "a date, not of birth")
    if values.uuids > 0.6:
        return "ignored", "a key of its own"
    if values.decimals > 0.3:
        return "ignored", "an amount"
    if values.digits > 0.8 or values.long_numbers > 0.8:
        return _number_role(words, values)
    if values.gendered:
        return "gender", told
    return _text_role(values)


def _number_role(words: str, values: Values) -> tuple[Role, str]:
    if values.unique and re.search(r"\bid\b|\bkey\b|\brec\b", words):
        return "ignored", "a key of its own"
    if values.phone_like > 0.5:
        return "phone", "its values"
    if values.same_length and 4 <= values.length < 5.5 and values.variety < 0.98 and values.distinct > 20:
        return "postcode", "its values"
    if values.length >= 5.5 and values.variety > 0.3:
        return "code", "its values"
    return "ignored", "a number that tells no person"


def _text_role(values: Values) -> tuple[Role, str]:
    told = "its values"
    if values.with_digits > 0.8 and values.words < 1.3:
        return ("code", told) if values.variety > 0.3 and values.length >= 5 else ("ignored", "short codes")
    if values.addresses > 0.4 and values.words < 14:
        return "street", told
    if values.words >= 5:
        return "ignored", "free text"
    if values.given_names > 0.2:
        return ("full_name" if values.words > 1.6 else "given_name"), told
    if values.distinct <= 40 and values.variety < 0.2:
        return "ignored", "few values, of unknown meaning"
    return "text", told


def _settled(found: Sequence[ColumnRole]) -> list[ColumnRole]:
    """Roles that only make sense together, or only once, settled over the whole table."""
    roles = {each.role for each in found}
    settled = []
    for each in found:
        if each.role == "age" and "birth_date" in roles:
            each = ColumnRole(column=each.column, role="ignored", because="the date of birth says it")
        elif each.role in ("birth_month", "birth_day") and "birth_year" not in roles:
            each = ColumnRole(column=each.column, role="ignored", because="no year of birth beside it")
        elif each.role in ("birth_year", "birth_month", "birth_day") and "birth_date" in roles:
            each = ColumnRole(column=each.column, role="ignored", because="the date of birth says it")
        elif each.role == "full_name" and {"given_name", "surname"} <= roles:
            each = ColumnRole(column=each.column, role="ignored", because="given name and surname say it")
        settled.append(each)
    return settled


def _ascii(text: str) -> str:
    import unicodedata

    return "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
