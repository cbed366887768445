"""What a company says about identity: what tells that accounts are one person, and how far each is to be trusted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from features.configuration import read_config
from features.errors import InputError, unknown

#: What a link is strong enough for, the weakest first: an opt-out reaches the other account; contacts count together;
#: one behaviour, one person.
Strength = Literal["suppress", "count", "personalize"]
LADDER: tuple[Strength, ...] = ("suppress", "count", "personalize")


@dataclass(frozen=True, kw_only=True)
class Identifier:
    """A kind of value that tells which accounts are one person, such as an e-mail address.

    Parameters
    ----------
    kind: ``login``, ``card``, ``email``, ``phone``, ``device``, or a name of your own.
    attributes: profile attributes that hold such a value [default: the one called as the kind].
    strength: what two accounts with the same value are one person for: ``personalize`` (one person in all), ``count``
        (their contacts count together), ``suppress`` (only a no reaches both).
    unique: a person has one of it, so accounts with two of them never become one person unless an agent says so.
    limit: a value on more accounts than this is shared (a house e-mail, a till's phone): only a no reaches all of them.
    namespace: accounts called ``<namespace>:<value>`` hold that value by their name.

    >>> Identifier(kind="email").strength, Identifier(kind="login").unique
    ('personalize', True)
    """

    kind: str
    attributes: tuple[str, ...] = ()
    strength: str = ""
    unique: bool | None = None
    limit: int = 0
    namespace: str = ""

    def __post_init__(self) -> None:
        usual = _USUAL.get(self.kind)
        if usual is None and not self.strength:
            raise InputError(
                f"identifier {self.kind!r} needs a strength",
                got=f"a kind that is none of {', '.join(_USUAL)}",
                do=f"say how far it is to be trusted: strength = one of {', '.join(LADDER)}",
            )
        strength, unique, limit = usual or (self.strength, False, _SHARED)
        object.__setattr__(self, "strength", self.strength or strength)
        object.__setattr__(self, "unique", unique if self.unique is None else self.unique)
        object.__setattr__(self, "limit", self.limit or limit)
        object.__setattr__(self, "attributes", self.attributes or (self.kind,))
        if self.strength not in LADDER:
            raise unknown("strength", self.strength, LADDER)
        if self.limit < 2:
            raise InputError("limit is a number of accounts", got=str(self.limit), do="give 2 or more")
        if self.kind in (_RESERVED := ("", "agent", "model", "household")):
            raise InputError(
                "an identifier needs a name of its own", got=repr(self.kind), do=f"none of {', '.join(_RESERVED[1:])}"
            )


_SHARED = 6
_FORM = 2  # of the cache of identifiers: one of another form is made again
_USUAL: dict[str, tuple[str, bool, int]] = {
    "login": ("personalize", True, 25),
    "card": ("personalize", False, 10),
    "email": ("personalize", False, _SHARED),
    "phone": ("count", False, _SHARED),
    "device": ("suppress", False, _SHARED),
}


@dataclass(frozen=True, kw_only=True)
class IdentityRules:
    """``[identity]`` of ``rapport.toml``: what tells that accounts are one person, and how sure it must be for what.

    Parameters
    ----------
    identifier: the kinds of value that tell; without any, only agents and models link.
    suppress, count, personalize: probability from which a link lets a no reach the other account, counts contacts
        together, makes one person of both.
    household: attributes that accounts of one household agree in, such as address and family_name.
    household_limit: above so many accounts it is no household but a block of flats.
    crowd: a value on more accounts than this (``unknown``, a shop's own address) says nothing about anybody.
    country: calling code of phone numbers that name none, such as ``49``.
    people: for links by likeness, the column of the person table and the attribute that fills it, such as
        ``{given_name = "first_name"}``.

    >>> rules = IdentityRules(identifier=(Identifier(kind="email"),))
    >>> rules.probability("suppress"), rules.probability("count"), rules.strength(0.9)
    (0.65, 0.875, 'count')
    """

    identifier: tuple[Identifier, ...] = ()
    suppress: float = 0.5
    count: float = 0.8
    personalize: float = 0.95
    household: tuple[str, ...] = ()
    household_limit: int = 12
    crowd: int = 100
    country: str = ""
    people: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.suppress < self.count < self.personalize <= 1:
            raise InputError(
                "the thresholds of [identity] must rise: suppress, count, personalize",
                got=f"{self.suppress}, {self.count}, {self.personalize}",
                do="give probabilities above 0 and at most 1, such as 0.5, 0.8, 0.95",
            )
        kinds = [each.kind for each in self.identifier]
        if len(set(kinds)) < len(kinds):
            raise InputError("an identifier is declared twice", got=", ".join(kinds), do="list its attributes in one")
        if self.household_limit < 2 or self.crowd < 2:
            raise InputError(
                "household_limit and crowd are numbers of accounts",
                got=f"{self.household_limit}, {self.crowd}",
                do="give 2 or more",
            )
        if self.country and not self.country.isdigit():
            raise InputError("country is a calling code", got=repr(self.country), do="write its digits, such as 49")

    @classmethod
    def from_config(cls, table: Mapping[str, Any], *, what: str = "[identity]") -> IdentityRules:
        """The rules of a table of configuration; wrong keys and values are told in three parts."""
        each = table.get("identifier", []) if isinstance(table, Mapping) else table
        if not isinstance(each, list) or not all(isinstance(one, dict) for one in each):
            raise InputError(
                "an identifier is declared wrongly",
                got=f"identifier = {each!r:.60}",
                do="write [[identity.identifier]]",
            )
        read = tuple(read_config(one, Identifier, what="[[identity.identifier]]") for one in each)
        return read_config({**table, "identifier": read}, cls, what=what)

    @property
    def silent(self) -> bool:
        """Whether no attribute of a profile can link accounts."""
        return not self.identifier and not self.household

    def thresholds(self) -> dict[str, float]:
        """The probability that each strength asks for, the weakest first."""
        return {name: float(getattr(self, name)) for name in LADDER}

    def probability(self, strength: str) -> float:
        """The probability of a link of one strength: halfway between its threshold and the next."""
        steps = [*self.thresholds().values(), 1.0]
        place = LADDER.index(strength)
        return (steps[place] + steps[place + 1]) / 2

    def strength(self, probability: float) -> str | None:
        """What a link of this probability is strong enough for; None for nothing."""
        enough = [name for name, least in self.thresholds().items() if probability >= least]
        return enough[-1] if enough else None

    @property
    def fingerprint(self) -> str:
        """What links and groups depend on; another value means that they must be made anew."""
        told = repr([_FORM, *((each.name, getattr(self, each.name)) for each in fields(self))])
        return hashlib.sha256(told.encode()).hexdigest()[:16]
