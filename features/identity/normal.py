"""The normal form of an identifier: two spellings of one value become equal, and what is no value becomes none."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from features.privacy.suppression import normal_email, phone_numbers

#: Written where a value was asked for and there was none.
_NOBODY = re.compile(
    r"-*|\.+|x+|[0\- ]+|9+|n/?\.?a\.?|none|null|nil|nan|unknown|unbekannt|test\d*|dummy|guest|anonymous|keine?"
)
_NOBODY_AT = re.compile(r"(test\d*|none|null|na|unknown|nobody|no-?e?-?mail|no-?reply|dummy|x+|keine?)@.*")
_LONGEST = 320  # an e-mail address has at most so many characters
_STREETS = tuple(
    (re.compile(long), short)
    for long, short in ((r"strasse\b", "str"), (r"\bstreet\b", "st"), (r"\broad\b", "rd"), (r"\bavenue\b", "ave"))
)


def normal(text: str, *, kind: str, country: str = "") -> str | None:
    """The normal form of a value of a kind; None for what identifies nobody, such as ``n/a`` or ``test@test.com``.

    E-mail addresses are as `features.privacy.suppression` knows them again: small letters, no blanks, no tag after
    ``+``, no dots in a name at Gmail. Phone numbers are country and national number; ``country`` is that of one that
    names none. In card numbers blanks and dashes make no difference; in log-ins and everything else only capitals
    make none.

    >>> normal("Anna.Lee+news@Gmail.com", kind="email"), normal("test@test.com", kind="email")
    ('annalee@gmail.com', None)
    >>> normal("0170 / 123 45 67", kind="phone", country="49"), normal("+49 170 1234567", kind="phone")
    ('49 1701234567', '49 1701234567')
    >>> normal("0000 000", kind="phone"), normal("AB-12 34", kind="card"), normal(" Anna.Lee", kind="login")
    (None, 'ab1234', 'anna.lee')
    """
    plain = unicodedata.normalize("NFKC", text).strip().casefold()
    if _NOBODY.fullmatch(plain) or len(plain) > _LONGEST:
        return None
    return _FORMS.get(kind, _as_it_is)(plain, country)


def normal_words(text: str) -> str | None:
    """The normal form of what a household has in common, such as an address: words without accents, streets short.

    >>> normal_words("12, High Street "), normal_words("Hauptstraße 5a"), normal_words("n/a")
    ('12 high st', 'hauptstr 5a', None)
    """
    plain = unicodedata.normalize("NFKD", text).strip().casefold()
    if _NOBODY.fullmatch(plain):
        return None
    plain = "".join(each for each in plain if not unicodedata.combining(each))
    for long, short in _STREETS:
        plain = long.sub(short, plain)
    return " ".join(re.findall(r"\w+", plain)) or None


def _email(plain: str, _: str) -> str | None:
    found = normal_email(plain)
    return None if found is None or _NOBODY_AT.fullmatch(found) else found


def _phone(plain: str, country: str) -> str | None:
    """One reading of a number: as it says itself, else that of the country, else the national number alone."""
    read = sorted(phone_numbers(plain))
    if not read or len(set(read[-1][1][-6:])) == 1 or read[-1][1] in "01234567890":
        return None
    known = next((each for each in read if each[0] == country), None) if country else None
    code, number = known or read[0]
    return f"{code or country} {number}".strip()


def _card(plain: str, _: str) -> str | None:
    return re.sub(r"[\s\-]", "", plain) or None


def _as_it_is(plain: str, _: str) -> str | None:
    return plain


_FORMS: dict[str, Callable[[str, str], str | None]] = {"email": _email, "phone": _phone, "card": _card}
