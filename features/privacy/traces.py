"""Traces: what a person is known by in the facts, so that all that is theirs can be found, and nothing of others."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import duckdb

from features.history import History
from features.identity import IdentityRules, People
from features.privacy.suppression import Kind, Kinds, asked_forms, kept_forms
from features.sql import in_memory

_ADDRESSES = ("email", "phone", "card")
_SHORTEST = 6  # of a text that names a person by itself: shorter ones stand elsewhere by chance


@dataclass(frozen=True, kw_only=True)
class Traces:
    """What people are known by, of one or of many.

    Parameters
    ----------
    accounts: their accounts in all systems.
    addresses: kind and text of addresses and cards that nobody else has.
    texts: what else their profiles say of them alone, such as a name: it may be chance, and so proves nothing.
    related: accounts of others that were ever linked to them: what is kept of those may name them.
    shared: kind and text of addresses that others have too: no traces, as they name no single person.
    refused: what they said no to, as channel, purpose and contact class: accounts linked to them keep that no.

    >>> anna = Traces(accounts=("a-1",), addresses=(("email", "anna@shop.example"),))
    >>> anna.named_in("Anna@Shop.example"), anna.named_in("ben@shop.example")
    (True, False)
    """

    accounts: tuple[str, ...]
    addresses: tuple[tuple[Kind, str], ...] = ()
    texts: tuple[str, ...] = ()
    related: tuple[str, ...] = ()
    shared: tuple[tuple[Kind, str], ...] = ()
    refused: tuple[tuple[str, str, str], ...] = ()

    @property
    def identifiers(self) -> list[tuple[Kind, str]]:
        """Accounts and addresses, to be suppressed."""
        return [*(("account", each) for each in self.accounts), *self.addresses]

    def named_in(self, cell: str) -> bool:
        """Whether a cell of a table holds an account or an address of the person, however it is written."""
        plain = cell.strip().casefold()
        return plain in self._words or any(asked_forms(kind, cell) & self._forms for kind in self._kinds)

    @cached_property
    def _words(self) -> frozenset[str]:
        return frozenset(each.strip().casefold() for each in self.accounts)

    @cached_property
    def _forms(self) -> frozenset[str]:
        return frozenset(form for kind, text in self.addresses for form in kept_forms(kind, text))

    @cached_property
    def _kinds(self) -> tuple[Kind, ...]:
        return tuple(sorted({kind for kind, _ in self.addresses}))

    def plus(self, other: Traces) -> Traces:
        """The traces of both."""
        return Traces(
            accounts=_union(self.accounts, other.accounts),
            addresses=tuple(dict.fromkeys((*self.addresses, *other.addresses))),
            texts=_union(self.texts, other.texts),
            shared=tuple(dict.fromkeys((*self.shared, *other.shared))),
            refused=tuple(dict.fromkeys((*self.refused, *other.refused))),
            related=tuple(each for each in _union(self.related, other.related) if each not in other.accounts),
        )


def kinds_of(rules: IdentityRules) -> Kinds:
    """What holds which kind of identifier, as ``[identity]`` declares it.

    What is declared to tell less than a person, such as a device, is no address of anybody.

    >>> from features.identity import Identifier
    >>> kinds_of(IdentityRules(identifier=(Identifier(kind="card", attributes=("bonus",), namespace="till"),)))
    Kinds(attributes={'bonus': ('card',)}, namespaces={'till': 'card'})
    """
    told = [each for each in rules.identifier if each.kind in _ADDRESSES or each.strength == "personalize"]
    attributes: dict[str, tuple[Kind, ...]] = {}
    for each in told:
        attributes |= {name: (*attributes.get(name, ()), each.kind) for name in each.attributes}
    return Kinds(attributes=attributes, namespaces={each.namespace: each.kind for each in told if each.namespace})


def traces_of(history: History, customer_ids: Collection[str], *, kinds: Kinds | None = None) -> dict[str, Traces]:
    """What each person is known by in ``history``, named by any of their accounts or their stable id.

    ``kinds`` says what holds which kind of identifier [default: what the names of attributes tell].

    An address that an account of somebody else has too (a house's landline, a shared mailbox) stays theirs: it names
    no single person, and so is no trace.
    """
    persons = People(history).persons(customer_ids)
    with in_memory() as connection:
        named = _accounts_of_groups(connection, history, customer_ids)
        own = {each: tuple(sorted({*persons[each].own, *named.get(each, ())})) for each in customer_ids}
        owner = {account: each for each, accounts in own.items() for account in accounts}
        connection.execute("CREATE TEMP TABLE own AS SELECT unnest($accounts) AS customer_id", {"accounts": [*owner]})
        names = ("addresses", "shared", "texts", "related")
        found: dict[str, dict[str, list[Any]]] = {each: {name: [] for name in names} for each in own}
        for account, kind, text, shared in _addresses(connection, history, kinds or Kinds()):
            found[owner[account]]["shared" if shared else "addresses"].append((kind, text))
        for account, text in _texts(connection, history):
            found[owner[account]]["texts"].append(text)
        for account, other in _related(connection, history):
            if other not in own[owner[account]]:
                found[owner[account]]["related"].append(other)
    return {
        each: Traces(accounts=own[each], **{name: tuple(dict.fromkeys(told)) for name, told in found[each].items()})
        for each in own
    }


def _accounts_of_groups(
    connection: duckdb.DuckDBPyConnection, history: History, customer_ids: Collection[str]
) -> dict[str, list[str]]:
    """The accounts of the persons whose stable ids are among ``customer_ids``."""
    rows = connection.execute(
        f"SELECT customer_id, list(account_id) FROM {history.scan('members')} "
        "WHERE strength = 'personalize' AND until IS NULL AND customer_id = ANY(?) GROUP BY 1",
        [list(customer_ids)],
    )
    return dict(rows.fetchall())


def _addresses(
    connection: duckdb.DuckDBPyConnection, history: History, kinds: Kinds
) -> Iterator[tuple[str, Kind, str, bool]]:
    """(account, kind, text) of the addresses of the accounts in ``own``, and whether another account has it too."""
    profile, events = history.scan("profile"), history.scan("events")
    names = connection.execute(f"SELECT DISTINCT attribute FROM {profile}").fetchall()
    held = [(name, kind) for (name,) in names for kind in kinds.of(name)]
    told = {"names": [name for name, _ in held], "kinds": [kind for _, kind in held]}
    pairs = "SELECT unnest($names::VARCHAR[]) AS name, unnest($kinds::VARCHAR[]) AS kind"
    connection.execute(f"CREATE TEMP TABLE kinds AS {pairs}", told)
    spaces = {"names": [f"{each}:" for each in kinds.namespaces], "kinds": [*kinds.namespaces.values()]}
    connection.execute(f"CREATE TEMP TABLE spaces AS {pairs}", spaces)
    connection.execute(
        f"""
        CREATE TEMP TABLE told AS
        WITH accounts AS (
            SELECT customer_id FROM own UNION SELECT customer_id FROM {profile} UNION SELECT customer_id FROM {events}
        ), every AS (
            SELECT DISTINCT customer_id, kind, value FROM {profile} JOIN kinds ON attribute = name
                WHERE value IS NOT NULL
            UNION SELECT customer_id, kind, substr(customer_id, length(name) + 1)
                FROM accounts JOIN spaces ON starts_with(customer_id, name)
            UNION SELECT customer_id, 'email', customer_id FROM accounts WHERE contains(customer_id, '@')
        )
        SELECT *, customer_id IN (FROM own) AS mine, {_LIKE} AS likeness FROM every
        """
    )
    mine = connection.execute("SELECT customer_id, kind, value FROM told WHERE mine ORDER BY ALL").fetchall()
    others = connection.execute(
        "SELECT DISTINCT kind, value FROM told WHERE NOT mine "
        "AND (kind, likeness) IN (SELECT kind, likeness FROM told WHERE mine)"
    ).fetchall()
    shared = {form for kind, value in others for form in asked_forms(kind, value)}
    for account, kind, value in mine:
        forms = kept_forms(kind, value)
        if forms:
            yield account, kind, value, not forms.isdisjoint(shared)


#: SQL: a text that is the same for all spellings of an address, and for few other addresses.
_LIKE = """
    CASE kind WHEN 'phone' THEN right(regexp_replace(value, '[^0-9]', '', 'g'), 6)
        WHEN 'email' THEN regexp_replace(regexp_extract(lower(value), '([^<@+:"]+)([+][^@]*)?@', 1), '[.\\s]', '', 'g')
        ELSE regexp_replace(lower(value), '[\\s\\-]', '', 'g') END
"""


def _texts(connection: duckdb.DuckDBPyConnection, history: History) -> list[tuple[str, str]]:
    """(account, text) of what profiles say of the accounts in ``own`` and of nobody else, in words."""
    profile = history.scan("profile")
    found: list[tuple[str, str]] = connection.execute(
        f"""
        SELECT DISTINCT customer_id, value FROM {profile}
        WHERE customer_id IN (FROM own) AND length(value) >= {_SHORTEST} AND regexp_matches(value, '[A-Za-z]')
            AND value NOT IN (SELECT value FROM {profile} WHERE customer_id NOT IN (FROM own) AND value IS NOT NULL)
        ORDER BY ALL
        """
    ).fetchall()
    return found


def _related(connection: duckdb.DuckDBPyConnection, history: History) -> list[tuple[str, str]]:
    """(account, other account) of all who were ever linked to the accounts in ``own``."""
    members = history.scan("members")
    found: list[tuple[str, str]] = connection.execute(
        f"""
        SELECT account_id, other_id FROM {history.scan("links")} WHERE account_id IN (FROM own)
        UNION SELECT other_id, account_id FROM {history.scan("links")} WHERE other_id IN (FROM own)
        UNION SELECT mine.account_id, other.account_id FROM {members} AS mine
            JOIN {members} AS other USING (strength, customer_id) WHERE mine.account_id IN (FROM own)
        ORDER BY ALL
        """
    ).fetchall()
    return found


def _union(one: Sequence[str], other: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*one, *other)))
