"""People: who is behind an account now, by how sure a link must be for what is asked of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import NamedTuple

from features.history import History
from features.sql import in_memory


class Person(NamedTuple):
    """Whom an account belongs to, and which accounts belong together for which use.

    ``customer_id``: the stable id of the person. ``household_id``: that of the household, where one is known.
    ``own``: accounts whose behaviour may be used (strength ``personalize``); ``counted``: accounts whose contacts count
    against the limits (``count``); ``suppressing``: accounts whose opt-outs stop this one (``suppress``). Each holds
    the one before, and the account itself; all are sorted.
    """

    customer_id: str
    household_id: str | None
    own: tuple[str, ...]
    counted: tuple[str, ...]
    suppressing: tuple[str, ...]

    @classmethod
    def alone(cls, account_id: str) -> Person:
        """An account that is linked to no other.

        >>> Person.alone("anna").counted
        ('anna',)
        """
        return cls(account_id, None, (account_id,), (account_id,), (account_id,))


class People:
    """The persons behind the accounts of a history, as known now.

    >>> import tempfile
    >>> People(History(tempfile.mkdtemp())).persons(["anna"])["anna"].customer_id
    'anna'
    """

    def __init__(self, history: History) -> None:
        self._history = history

    def persons(self, account_ids: Collection[str]) -> dict[str, Person]:
        """The person behind each account; an account without links is a person of its own."""
        with in_memory() as connection:
            found = connection.execute(
                f"""
                WITH known AS (SELECT strength, account_id, customer_id FROM {self._history.scan("members")}
                               WHERE until IS NULL)
                SELECT asked.account_id, asked.strength, asked.customer_id, list_sort(list(other.account_id))
                FROM known AS asked JOIN known AS other USING (strength, customer_id)
                WHERE asked.account_id = ANY(?) GROUP BY ALL
                """,
                [list(account_ids)],
            ).fetchall()
        groups: dict[str, dict[str, tuple[str, tuple[str, ...]]]] = defaultdict(dict)
        for account_id, strength, customer_id, accounts in found:
            groups[account_id][strength] = (customer_id, tuple(accounts))
        return {each: _person(each, groups[each]) if each in groups else Person.alone(each) for each in account_ids}


def _person(account_id: str, groups: dict[str, tuple[str, tuple[str, ...]]]) -> Person:
    alone = (account_id, (account_id,))
    customer_id, own = groups.get("personalize", alone)
    household = groups.get("household")
    return Person(
        customer_id=customer_id,
        household_id=household[0] if household else None,
        own=own,
        counted=groups.get("count", alone)[1],
        suppressing=groups.get("suppress", alone)[1],
    )
