"""People: the persons behind accounts at hand for every request, and what their accounts say together.

A weak link is enough to stop, a medium one to count, only a strong one to use what is known: an account that may be
the same person can take a contact away, and never give one.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import History
from features.facts import STRENGTHS
from features.identity import Person
from features.sql import in_memory
from serving.catalogue import CONTACT_CLASSES
from serving.consent import EVERY, Permission, scope

HOLD = "hold"
"""In :attr:`Linked.refused`: every contact is stopped, by a suppression."""


class People(Protocol):
    """Who is behind accounts."""

    def persons(self, account_ids: Collection[str]) -> Mapping[str, Person]:
        """The person behind each account, as known now."""
        ...

    def housemates(self, person: Person) -> tuple[str, ...]:
        """The accounts of the others in a person's household."""
        ...


class Linked(msgspec.Struct, frozen=True, array_like=True):
    """What a decision took from other accounts than the one that it was asked for, by the links known to it.

    ``own``: accounts whose behaviour it used; ``counted``: whose contacts it counted; ``refused``: scopes (or ``hold``)
    that only others refuse, with the accounts that do.

    >>> Linked(counted=("b",)).refused
    ()
    """

    own: tuple[str, ...] = ()
    counted: tuple[str, ...] = ()
    refused: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def without(self, account_id: str) -> Linked:
        """The same without the name of an account that was erased; that another account said no stays."""
        refused = ((each, tuple(name for name in names if name != account_id)) for each, names in self.refused)
        own, counted = (tuple(name for name in names if name != account_id) for names in (self.own, self.counted))
        return Linked(own=own, counted=counted, refused=tuple(refused))


def agreed(asked: str, person: Person, permissions: Mapping[str, Permission]) -> Permission:
    """What may be sent to the account ``asked``: a yes of the person's own accounts, no no of any that may be theirs.

    Each account answers for itself: a no is lifted only by a later yes said on the same account, so that linking two
    accounts never opens what one of them closed, and parting them gives back to each what it said itself.

    >>> yes, no = Permission(granted=("email:marketing",)), Permission(refused=("email:marketing",))
    >>> agreed("a", Person("a", None, ("a",), ("a",), ("a", "b")), {"a": yes, "b": no}).refused
    ('email:marketing',)
    """
    if len(person.suppressing) == 1:
        return permissions[asked]
    said = [permissions[each] for each in person.suppressing]
    own = [permissions[each] for each in person.own]
    granted, refused = [], []
    for channel, kind in _scopes(said):
        named, rest = scope(channel, kind), scope(EVERY, kind)
        if any(refuses(each, named, rest) for each in said):
            refused.append(named)
        elif any(named in each.granted or rest in each.granted for each in own):
            granted.append(named)
    holds = [permissions[asked].hold, *(each.hold for each in said)]
    return Permission(tuple(granted), tuple(refused), next((each for each in holds if each is not None), None))


def linked(asked: str, person: Person, permissions: Mapping[str, Permission]) -> Linked | None:
    """What the other accounts of a person add to a decision for ``asked``; None for one that is linked to none."""
    if len(person.suppressing) == 1:
        return None
    mine = permissions[asked]
    others = [each for each in person.suppressing if each != asked]
    refused: list[tuple[str, tuple[str, ...]]] = []
    if mine.hold is None:
        refused.append((HOLD, tuple(each for each in others if permissions[each].hold is not None)))
    for channel, kind in _scopes([permissions[each] for each in person.suppressing]):
        named, rest = scope(channel, kind), scope(EVERY, kind)
        if not refuses(mine, named, rest):
            refused.append((named, tuple(each for each in others if refuses(permissions[each], named, rest))))
    return Linked(
        own=tuple(each for each in person.own if each != asked),
        counted=tuple(each for each in person.counted if each != asked),
        refused=tuple((each, names) for each, names in refused if names),
    )


def refuses(said: Permission, named: str, rest: str) -> bool:
    """Whether an account says no to a scope (``named``), or to every channel (``rest``) and no yes to this one."""
    return named in said.refused or (rest in said.refused and named not in said.granted)


def _scopes(said: Sequence[Permission]) -> list[tuple[str, str]]:
    """Every channel that any of them named, and all the others as one, with each class."""
    named = {each.rpartition(":")[0] for one in said for each in (*one.granted, *one.refused)}
    return [(channel, kind) for channel in (EVERY, *sorted(named - {EVERY})) for kind in CONTACT_CLASSES]


class LinkedAccounts:
    """The persons behind the accounts of a history, kept in memory until its links change.

    Only accounts that are linked take memory, and a look-up is one of a dictionary.

    >>> import tempfile
    >>> LinkedAccounts(History(tempfile.mkdtemp())).persons(["anna"])["anna"].own
    ('anna',)
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._state = _NO_LINKS
        self._index = _Index({}, [], {})

    def persons(self, account_ids: Collection[str]) -> dict[str, Person]:
        """The person behind each account; one without links is a person of its own.

        Raises
        ------
        InputError, OSError, duckdb.Error
            When links changed and can't be read: then nobody knows whom a no concerns.
        """
        person = self._current().person
        return {each: person(each) for each in account_ids}

    def housemates(self, person: Person) -> tuple[str, ...]:
        """The accounts that are linked to a person's own as a household, their own left out."""
        index = self._current()
        together = {each for account in person.own for each in index.household(account)}
        return tuple(sorted(together - set(person.own)))

    def _current(self) -> _Index:
        state = _state(self._history.folder / "members")
        if state != self._state:
            self._index = _read(self._history)
            self._state = state
        return self._index


_State = tuple[int, tuple[tuple[str, int], ...]]
_NO_LINKS: _State = (0, ())


def _state(folder: Path) -> _State:
    """What changes when a part is added or replaced, were it twice between two ticks of the clock of the disk."""
    if not folder.exists():
        return _NO_LINKS
    changed = folder.stat().st_mtime_ns
    with os.scandir(folder) as entries:
        return changed, tuple(sorted((each.name, each.inode()) for each in entries))


class _Groups(NamedTuple):
    """The groups of one strength: ``of[place]`` is the group of an account (-1: none), ``members[starts[g]:...]``."""

    of: np.ndarray
    starts: np.ndarray
    members: np.ndarray
    names: list[str]


class _Index(NamedTuple):
    places: Mapping[str, int]
    accounts: Sequence[str]
    groups: Mapping[str, _Groups]

    def person(self, account_id: str) -> Person:
        place = self.places.get(account_id)
        if place is None:
            return Person.alone(account_id)
        suppress, count, personalize, household = (self._group(place, strength) for strength in STRENGTHS)
        alone = (account_id, (account_id,))
        customer_id, own = personalize or alone
        return Person(
            customer_id=customer_id,
            household_id=household[0] if household else None,
            own=own,
            counted=(count or alone)[1],
            suppressing=(suppress or alone)[1],
        )

    def household(self, account_id: str) -> tuple[str, ...]:
        place = self.places.get(account_id)
        group = None if place is None else self._group(place, "household")
        return group[1] if group else ()

    def _group(self, place: int, strength: str) -> tuple[str, tuple[str, ...]] | None:
        groups = self.groups[strength]
        number = int(groups.of[place])
        if number < 0:
            return None
        members = groups.members[groups.starts[number] : groups.starts[number + 1]].tolist()
        return groups.names[number], tuple(self.accounts[each] for each in members)


def _read(history: History) -> _Index:
    with in_memory() as connection:
        known = connection.execute(
            f"SELECT DISTINCT strength, customer_id, account_id FROM {history.scan('members')} WHERE until IS NULL "
            "ORDER BY ALL"
        ).to_arrow_table()
    accounts = pc.unique(known["account_id"])
    groups = {each: _groups(known.filter(pc.equal(known["strength"], each)), accounts) for each in STRENGTHS}
    names = accounts.to_pylist()
    return _Index({name: place for place, name in enumerate(names)}, names, groups)


def _groups(rows: pa.Table, accounts: pa.Array) -> _Groups:
    """The groups of rows of one strength, in the order of their group and account."""
    members = pc.index_in(rows["account_id"], accounts).to_numpy().astype(np.int32)
    coded = rows["customer_id"].combine_chunks().dictionary_encode()
    numbers = coded.indices.to_numpy().astype(np.int32)
    of = np.full(len(accounts), -1, dtype=np.int32)
    of[members] = numbers
    starts = np.searchsorted(numbers, np.arange(len(coded.dictionary) + 1)).astype(np.int32)
    return _Groups(of, starts, members, coded.dictionary.to_pylist())


def person_id(account_id: str, person: Person) -> str | None:
    """The person as an ask names them: None for an account that stands for itself."""
    return None if person.customer_id == account_id and len(person.own) == 1 else person.customer_id


def accounts_of(persons: Iterable[Person]) -> list[str]:
    """Every account that any of the persons may be."""
    return list({account for person in persons for account in person.suppressing})
