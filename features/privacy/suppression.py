"""Suppression: people who must not be contacted or taken in again, known by keyed hashes however they are written.

What is kept of an erased person are HMAC-SHA256 digests of their accounts and addresses in a normal form. The key lies
outside the database, so that whoever copies the database alone can't try addresses against it (a plain hash of an
e-mail address or phone number is found by trying them all).

Normal forms err towards finding the same person, as an address that is held by mistake costs a contact, and one
that is missed costs a promise:

- An **account**, or a kind of a company's own, such as a log-in: without blanks around it, in small letters.
- A **card**: the same, and its blanks and dashes make no difference.
- An **e-mail address**: what stands in angle brackets or after ``mailto:``, without blanks, compatibility forms of
  Unicode resolved, in small letters, the domain as DNS spells it; a tag from ``+`` on is left out everywhere, dots
  in the name only at Gmail (``googlemail.com`` is ``gmail.com``), where they make no difference.
- A **phone number**: its digits as country and national number, zeros before them left out (ITU-T E.164). Where one
  of two numbers doesn't say its country, the national number decides alone.
"""

from __future__ import annotations

import hmac
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

#: A kind of identifier: account, email, phone, card, or one that a company declares, such as login.
Kind = str

#: The reason code with which intake counts rows of an erased person.
ERASED_PERSON = "erased_person"

_NAMES: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("email", re.compile(r"mail", re.IGNORECASE)),
    ("phone", re.compile(r"phone|mobile|msisdn|(^|[_ .-])(tel|cell|handy|sms|fax)", re.IGNORECASE)),
    ("card", re.compile(r"(card|loyalty|member)([_ .-]?(id|no|nr|number|code))?$", re.IGNORECASE)),
)
_BRACKETS = re.compile(r"<([^<>]*)>")
_BLANK = re.compile(r"[\s\u200b\u2060\ufeff]+")
_EMAIL = re.compile(r"[^@]+@[^@.]+(\.[^@.]+)*\.[^@.\d]+")
_GMAIL = ("gmail.com", "googlemail.com")
_TRUNK = re.compile(r"\(\s*0+\s*\)")
_EXTENSION = re.compile(r"(?:ext|extension|durchwahl|x|#|;).*$", re.IGNORECASE)
_PHONE = re.compile(r"\+?[\d\s()./\-\u2010-\u2015]+")
_FEWEST, _MOST = 6, 15  # digits of a number: E.164 has at most 15
_BARE = 11  # so many digits without a zero or a plus before them may begin with a country's code
# Country codes of one and of two digits; all others have three (ITU-T E.164, list of assigned codes).
_COUNTRY = re.compile(r"[17]|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|\d{3}")
_MARKS = re.compile(r"[\s\-]+")
_CARD = re.compile(r"(?:.*\d){4}")


def kind_of(attribute: str) -> Kind | None:
    """What kind of identifier an attribute of a profile holds, by its name; None for what identifies nobody.

    >>> kind_of("e-mail"), kind_of("mobile_phone"), kind_of("loyalty_card"), kind_of("age_group")
    ('email', 'phone', 'card', None)
    """
    return next((kind for kind, name in _NAMES if name.search(attribute)), None)


@dataclass(frozen=True, kw_only=True)
class Kinds:
    """What holds which kind of identifier: as a project declares it, and what the names of attributes tell anyway.

    Parameters
    ----------
    attributes: attribute of a profile -> the kinds it is declared to hold.
    namespaces: an account called ``<namespace>:<value>`` holds a value of that kind by its name.

    >>> kinds = Kinds(attributes={"kontakt": ("email",)}, namespaces={"till": "card"})
    >>> kinds.of("kontakt"), kinds.of("work_email"), kinds.within("till:4711 2233"), kinds.within("anna@shop.example")
    (('email',), ('email',), [('card', '4711 2233')], [('email', 'anna@shop.example')])
    """

    attributes: Mapping[str, tuple[Kind, ...]] = field(default_factory=dict)
    namespaces: Mapping[str, Kind] = field(default_factory=dict)

    def of(self, attribute: str) -> tuple[Kind, ...]:
        """The kinds of identifier that an attribute may hold, none for what identifies nobody."""
        named = kind_of(attribute)
        return tuple(dict.fromkeys((*self.attributes.get(attribute, ()), *([named] if named else []))))

    def within(self, account: str) -> list[tuple[Kind, str]]:
        """The identifiers that the name of an account holds, as kind and text."""
        space, _, value = account.partition(":")
        held = [(self.namespaces[space], value)] if value and space in self.namespaces else []
        return [*held, *([("email", account)] if "@" in account else [])]

    @property
    def every(self) -> tuple[Kind, ...]:
        """All kinds there are."""
        declared = [each for kinds in self.attributes.values() for each in kinds]
        return tuple(dict.fromkeys(("account", "email", "phone", "card", *declared, *self.namespaces.values())))


def normal_email(text: str) -> str | None:
    """The normal form of an e-mail address; None for what is none.

    >>> normal_email(" Anna.Lee+news@GoogleMail.com "), normal_email("<anna.lee@shop.example>"), normal_email("anna")
    ('annalee@gmail.com', 'anna.lee@shop.example', None)
    """
    bracketed = _BRACKETS.search(text)
    plain = unicodedata.normalize("NFKC", bracketed[1] if bracketed else text)
    plain = _BLANK.sub("", plain).casefold().removeprefix("mailto:").strip("\"'.,;")
    if not _EMAIL.fullmatch(plain):
        return None
    name, _, domain = plain.rpartition("@")
    name = name.partition("+")[0] or name
    if domain in _GMAIL:
        name, domain = name.replace(".", "") or name, _GMAIL[0]
    return f"{name}@{_dns(domain)}"


def phone_numbers(text: str) -> frozenset[tuple[str, str]]:
    """The ways to read a phone number, as (country code, "" where it names none; national number); none for no number.

    >>> sorted(phone_numbers("+49 (0)170 / 123-4567")), sorted(phone_numbers("0170 1234567"))
    ([('49', '1701234567')], [('', '1701234567')])
    """
    plain = _EXTENSION.sub("", unicodedata.normalize("NFKC", text).strip().casefold().removeprefix("tel:"))
    plain = _TRUNK.sub("", plain)
    if not _PHONE.fullmatch(plain):
        return frozenset()
    digits = re.sub(r"\D", "", plain)
    if plain.startswith("+") or digits.startswith("00"):
        return frozenset(_numbers([_international(digits.lstrip("0"))]))
    told = [("", digits.lstrip("0"))]
    if digits.startswith("011"):  # what is dialled abroad from North America
        told.append(_international(digits[3:]))
    if not digits.startswith("0") and len(digits) >= _BARE:
        told.append(_international(digits))
    if len(digits) == _BARE and digits.startswith("8"):  # what is dialled within Russia and Kazakhstan
        told.append(("7", digits[1:]))
    return frozenset(_numbers(told))


def _numbers(told: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [each for each in told if len(each[1]) >= _FEWEST and len(each[0]) + len(each[1]) <= _MOST]


def _international(digits: str) -> tuple[str, str]:
    code = _COUNTRY.match(digits)
    length = code.end() if code else len(digits)
    return digits[:length], digits[length:].lstrip("0")


def _dns(domain: str) -> str:
    try:
        return domain if domain.isascii() else domain.encode("idna").decode()
    except UnicodeError:
        return domain


def _identifier(text: str) -> str:
    return text.strip().casefold()


def _card(text: str) -> str | None:
    """Cards are numbers: a word such as "gold" is what many have."""
    return _identifier(text) if _CARD.match(text) else None


def kept_forms(kind: Kind, text: str) -> set[str]:
    """What is kept of an identifier, as texts to hash; nothing of what is no identifier of that kind.

    >>> sorted(kept_forms("phone", "+1 212 555 0100"))
    ['phone\\x1f1:2125550100', 'phone\\x1fany:2125550100']
    """
    if kind != "phone":
        return _plain_forms(kind, text)
    return {f"phone\x1f{part}:{number}" for country, number in phone_numbers(text) for part in (country or "?", "any")}


def asked_forms(kind: Kind, text: str) -> set[str]:
    """What is looked for to know an identifier again: it is known if one of these was kept.

    >>> asked_forms("phone", "(212) 555-0100") & kept_forms("phone", "+1 212 555 0100")
    {'phone\\x1fany:2125550100'}
    """
    if kind != "phone":
        return _plain_forms(kind, text)
    return {
        f"phone\x1f{part}:{number}"
        for country, number in phone_numbers(text)
        for part in ((country, "?") if country else ("any",))
    }


def _plain_forms(kind: Kind, text: str) -> set[str]:
    if kind == "email":
        address = normal_email(text)
        return {f"email\x1f{address}"} if address else set()
    if kind == "card":
        known = _card(text)
        # A card may be the very account by which a till knows its owner.
        return {f"suppress\x1f{known}", "card\x1f" + _MARKS.sub("", known)} if known else set()
    known = _identifier(text)
    return {f"{'suppress' if kind == 'account' else kind}\x1f{known}"} if known else set()


def digest(form: str, *, secret: bytes) -> str:
    """The keyed hash of a form, in hex."""
    return hmac.digest(secret, form.encode(), "sha256").hex()


def kept_digests(kind: Kind, text: str, *, secret: bytes) -> set[str]:
    """The digests to keep of an identifier, so that it is known again."""
    return {digest(form, secret=secret) for form in kept_forms(kind, text)}


class Erased:
    """The erased people, as far as they may still be known: tells of an identifier whether it was theirs.

    It learns: an account that comes with an erased person's address is theirs too, and stays so (``recognized``).
    Intake drops all rows of ``among`` the accounts of a file and of those that it ``recognize``s by their addresses.

    Parameters
    ----------
    secret: the key of the digests, which lies outside the database.
    digests: those that were kept, in hex (``kept_digests``).
    kinds: what holds which kind of identifier.
    recognizing: is told of accounts that are recognized, before any of their rows is taken in.

    >>> key = b"a secret beside the database"
    >>> erased = Erased(key, kept_digests("email", "Anna.Lee@gmail.com", secret=key))
    >>> erased.recognize([("crm-7", "e-mail", "annalee+shop@googlemail.com"), ("crm-8", "e-mail", "ben@gmail.com")])
    {'crm-7'}
    >>> erased.among(["crm-7", "crm-8"])
    {'crm-7'}
    """

    def __init__(
        self,
        secret: bytes,
        digests: Iterable[str] = (),
        *,
        kinds: Kinds | None = None,
        recognizing: Callable[[Collection[str]], None] = lambda accounts: None,
    ) -> None:
        self._secret = secret
        self._digests = frozenset(digests)
        self._kinds = kinds or Kinds()
        self._recognized: set[str] = set()
        self.recognizing = recognizing

    def __bool__(self) -> bool:
        """Whether anybody was erased: else there is no need to ask."""
        return bool(self._digests)

    @property
    def recognized(self) -> frozenset[str]:
        """The accounts that came with an address of an erased person."""
        return frozenset(self._recognized)

    def among(self, texts: Iterable[str], *, kind: Kind = "account") -> set[str]:
        """Those of ``texts`` that are an erased person's account, e-mail address, phone number or card.

        An account whose name holds their address (``Kinds.within``) is recognized as theirs.
        """
        if not self._digests:
            return set()
        if kind != "account":
            return {text for text in texts if self._known(kind, text)}
        asked = set(texts)
        theirs = {text for text in asked if self._known("account", text)}
        self._learn({text for text in asked - theirs if self._holds(text)})
        return theirs | (asked & self._recognized)

    def recognize(self, rows: Iterable[tuple[str, str, str | None]]) -> set[str]:
        """The accounts of rows of (account, attribute, value) in which a value is an erased person's address.

        Attributes that hold no address (``Kinds.of``) tell nothing.
        """
        found = set()
        for account, attribute, value in rows if self._digests else ():
            if value and account not in found and any(self._known(kind, value) for kind in self._kinds.of(attribute)):
                found.add(account)
        self._learn(found)
        return found

    def named_in(self, cells: Iterable[str]) -> bool:
        """Whether any of some texts, of which nobody knows what they are, is an erased person's identifier."""
        return bool(self._digests) and any(
            cell in self._recognized or self._holds(cell) or any(self._known(kind, cell) for kind in self._kinds.every)
            for cell in cells
        )

    def _learn(self, accounts: set[str]) -> None:
        if new := accounts - self._recognized:
            self.recognizing(new)
        self._recognized |= accounts

    def _holds(self, account: str) -> bool:
        return any(self._known(kind, value) for kind, value in self._kinds.within(account))

    def _known(self, kind: Kind, text: str) -> bool:
        return any(digest(form, secret=self._secret) in self._digests for form in asked_forms(kind, text))
