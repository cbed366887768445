"""The customers of a history, ready for requests: read many at once, the recent ones kept in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence

import duckdb
import pyarrow as pa

from features import EVENTS, PROFILE, CustomerFacts, Event, History, ProfileFact
from features.identity import Person
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
            self._local.connection = duckdb.connect()
            self._local.connection.execute("SET TimeZone = 'UTC'")
            self._local.connection.execute("SET parquet_metadata_cache = true")
        connection: duckdb.DuckDBPyConnection = self._local.connection
        return connection

    def _state(self) -> tuple[int, ...]:
        """What changes when a part is added: the folders' times."""
        folders = (self._history.folder / name for name in ("events", "profile"))
        return tuple(folder.stat().st_mtime_ns if folder.exists() else 0 for folder in folders)
