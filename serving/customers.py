"""The customers of a history, ready for requests: read many at once, the recent ones kept in memory."""

from __future__ import annotations

import operator
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence

import duckdb
import pyarrow as pa

from features import EVENTS, PROFILE, CustomerFacts, Event, History, ProfileFact
from features.identity import Person
from features.sql import in_memory
from serving.people import LinkedAccounts

_MOST = 10_000


class RecentCustomers:
    """A history's customers, of whom the recent ones stay in memory until the history grows.

    One query reads all the customers of a group of requests who are not in memory: reading them one by one costs ten
    milliseconds each.

    >>> import tempfile
    >>> RecentCustomers(History(tempfile.mkdtemp())).customers(["anna"])["anna"].events
    ()
    """

    def __init__(self, history: History, *, most: int = _MOST) -> None:
        self._history = history
        self._most = most
        self._kept: OrderedDict[str, CustomerFacts] = OrderedDict()
        self._parts: tuple[int, ...] = ()
        self._local = threading.local()
        self._links = LinkedAccounts(history)

    def persons(self, account_ids: Collection[str]) -> dict[str, Person]:
        """The person behind each account, as known now."""
        return self._links.persons(account_ids)

    def housemates(self, person: Person) -> tuple[str, ...]:
        """The accounts that are linked to a person's own as a household, their own left out."""
        return self._links.housemates(person)

    def customers(self, customer_ids: Collection[str]) -> dict[str, CustomerFacts]:
        """All facts of each of the accounts; of an unknown one none."""
        parts = self._state()
        if parts != self._parts:
            self._kept.clear()
            self._parts = parts
        missing = [each for each in customer_ids if each not in self._kept]
        self._kept.update(self._read(missing) if missing else {})
        found = {each: self._kept[each] for each in customer_ids}
        for each in found:
            self._kept.move_to_end(each)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return found

    def _read(self, customer_ids: Sequence[str]) -> dict[str, CustomerFacts]:
        events: dict[str, list[Event]] = {each: [] for each in customer_ids}
        profile: dict[str, list[ProfileFact]] = {each: [] for each in customer_ids}
        for row in self._rows("events", EVENTS, customer_ids):
            event = Event._make(row)
            events[event.customer_id].append(event)
        for row in self._rows("profile", PROFILE, customer_ids):
            fact = ProfileFact._make(row)
            profile[fact.customer_id].append(fact)
        return {
            each: CustomerFacts(customer_id=each, events=tuple(events[each]), profile=tuple(profile[each]))
            for each in customer_ids
        }

    def _rows(self, name: str, schema: pa.Schema, customer_ids: Sequence[str]) -> Iterator[tuple[object, ...]]:
        query = f"SELECT {', '.join(schema.names)} FROM {self._history.scan(name)} WHERE customer_id = ANY(?)"
        found = self._connection.execute(query, [list(customer_ids)]).to_arrow_table().cast(schema)
        return zip(*(column.to_pylist() for column in found.columns), strict=True)

    @property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        """One a thread, kept: opening one takes as long as a query."""
        if not hasattr(self._local, "connection"):
            self._local.connection = in_memory()
            self._local.connection.execute("SET TimeZone = 'UTC'")
            self._local.connection.execute("SET parquet_metadata_cache = true")
        connection: duckdb.DuckDBPyConnection = self._local.connection
        return connection

    def _state(self) -> tuple[int, ...]:
        """What changes when a part is added: the folders' times."""
        folders = (self._history.folder / name for name in ("events", "profile"))
        return tuple(folder.stat().st_mtime_ns if folder.exists() else 0 for folder in folders)


_Whose = tuple[str, tuple[str, ...], tuple[str, ...]]


class JoinedFacts:
    """The facts of persons with several accounts, joined once for as long as those of each account stay in memory.

    What was joined is used again only while it was made of the very facts at hand: once the history grows, or an
    account's facts are read anew, it is joined anew too. So it is as fresh as the facts of an account that is linked
    to no other.

    >>> anna, web = CustomerFacts(customer_id="anna"), CustomerFacts(customer_id="web")
    >>> person, joined = Person("anna", None, ("anna", "web"), ("anna", "web"), ("anna", "web")), JoinedFacts()
    >>> known, inbox = {"anna": anna, "web": web}, {"anna": (), "web": ()}
    >>> joined.of(person, known, inbox) is joined.of(person, known, inbox)
    True
    """

    def __init__(self, *, most: int = _MOST) -> None:
        self._most = most
        self._kept: OrderedDict[_Whose, tuple[list[CustomerFacts], CustomerFacts]] = OrderedDict()

    def of(
        self,
        person: Person,
        known: Mapping[str, CustomerFacts],
        inbox: Mapping[str, Sequence[Event]],
        *,
        others: Sequence[str] = (),
    ) -> CustomerFacts:
        """The facts of all accounts of a person, from the history and, where that does not hold them yet, the inbox.

        ``others`` are the accounts of the rest of the household.
        """
        if any(inbox[each] for each in (*person.own, *others)):
            return _joined(person, known, inbox, others=others)
        if len(person.own) == 1 and not others:
            return known[person.own[0]]  # facts sort themselves once, at their first use
        key, parts = (person.customer_id, person.own, tuple(others)), [known[each] for each in (*person.own, *others)]
        before = self._kept.get(key)
        if before is None or not all(map(operator.is_, before[0], parts)):
            before = self._kept[key] = (parts, _joined(person, known, inbox, others=others))
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return before[1]


def _joined(
    person: Person,
    known: Mapping[str, CustomerFacts],
    inbox: Mapping[str, Sequence[Event]],
    *,
    others: Sequence[str],
) -> CustomerFacts:
    first = known[person.own[0]]
    events = _events(person.own, known, inbox)
    if len(person.own) == 1 and events is first.events and not others:
        return first
    return CustomerFacts(
        customer_id=person.customer_id,
        events=events,
        profile=tuple(fact for each in person.own for fact in known[each].profile),
        household=_events(others, known, inbox),
    )


def _events(
    accounts: Sequence[str], known: Mapping[str, CustomerFacts], inbox: Mapping[str, Sequence[Event]]
) -> tuple[Event, ...]:
    one = len(accounts) == 1
    held = known[accounts[0]].events if one else tuple(event for each in accounts for event in known[each].events)
    recent = [event for each in accounts for event in inbox[each]]
    ids = {event.event_id for event in held} if recent else ()
    new = tuple(event for event in recent if event.event_id not in ids)
    return held + new if new else held
