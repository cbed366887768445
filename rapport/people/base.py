"""The customer base: whom a batch decides on, one row a person."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import InputError, listed
from features.facts import TIMESTAMP
from features.sql import in_memory
from features.tables import read_table, require_column
from rapport.project import Project
from serving.assembly import masking_of
from serving.catalogue import ID_PATTERN
from serving.ledger import Ledger
from serving.people import People

_SHOWN = 40  # characters of a bad id
_COLUMNS = ("customer_id", "household_id", "segment", "time_zone")


class Base(NamedTuple):
    """Whom to decide on.

    ``spine``: ``customer_id``, an account of each person, with what else is known of them, and ``as_of``. ``aside``:
    how many further accounts these people have among those that were given, or known.
    """

    spine: pa.Table
    aside: int


def customer_base(project: Project, customers: Path | None, *, at: datetime) -> Base:
    """The people of the table ``customers``, or all that the history knew at ``at``.

    Whose accounts are surely one person counts as known now. A person stands there by the account that names them, or
    else by the first one.
    """
    found = _known(project, at) if customers is None else _given(customers)
    if customers is None and not found.num_rows:
        raise InputError("the history holds no customer at that moment", got=f"{at}", do="run rapport ingest first")
    people = _one_a_person(found, project)
    spine = people.append_column("as_of", pa.repeat(pa.scalar(at, TIMESTAMP), people.num_rows))
    return Base(spine, found.num_rows - people.num_rows)


def allowed(project: Project, table: pa.Table, *, people: People) -> tuple[pa.Table, list[frozenset[int]]]:
    """``table`` of features with nulls for what its customers do not allow to be used, and each row's masked places."""
    masking, said = masking_of(project), {}
    if project.ledger.exists():
        ledger = Ledger(project.ledger)
        with ledger.reading() as book:
            said = book.said_about(masking.purposes)
        ledger.close()
    return masking.masked(table, people=people, said=said)


class Strangers(NamedTuple):
    """Customers of whom the history holds nothing: how many, and a few of their ids."""

    number: int
    some: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What to tell of them; nothing where there are none."""
        if not self.number:
            return ""
        who = "1 customer is" if self.number == 1 else f"{self.number:,} customers are"
        return f"{who} unknown to the history, such as {listed(self.some)}: are the ids written as in the sources?"


def strangers(project: Project, ids: pa.ChunkedArray) -> Strangers:
    """The customers among ``ids`` of whom no event and no fact is kept; often ids written in another way."""
    known = " UNION ".join(f"SELECT customer_id FROM {project.history.scan(name)}" for name in ("events", "profile"))
    with in_memory() as connection:
        connection.register("asked", pa.table({"customer_id": ids.cast(pa.string())}))
        found = connection.execute(
            f"SELECT DISTINCT customer_id FROM asked ANTI JOIN ({known}) USING (customer_id) ORDER BY customer_id"
        ).to_arrow_table()
    return Strangers(found.num_rows, tuple(found["customer_id"].slice(0, 3).to_pylist()))


def _given(customers: Path) -> pa.Table:
    given = read_table(customers, text=_COLUMNS)
    require_column(given, "customer_id")
    given = given.select([name for name in _COLUMNS if name in given.column_names])
    for name in ("customer_id", "household_id"):
        if name in given.column_names and pa.types.is_floating(given[name].type):
            raise InputError(f"the column {name} is no id", got=str(given[name].type), do="save it as text")
    table = pa.table({name: _trimmed(given[name], name) for name in given.column_names})
    for name in ("customer_id", "household_id"):
        if name in table.column_names:
            _require_ids(table[name], name)
    return table


def _trimmed(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """The texts of a column without the blanks around them; none where nothing else is left."""
    try:
        text = pc.utf8_trim_whitespace(column.cast(pa.string()))
    except pa.ArrowException as error:
        raise InputError(f"the column {name} is no text", got=str(column.type), do="save it as text") from error
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def _require_ids(column: pa.ChunkedArray, name: str) -> None:
    """Raise unless every text is an id, as those of consents and events are: another one would meet no opt-out."""
    # What RE2 calls the end of a text is its very end, so it needs no look ahead, which it doesn't have.
    fits = pc.match_substring_regex(column, ID_PATTERN.replace("(?!\\n)$", r"\z"))
    bad = column.filter(pc.invert(fits))
    if len(bad):
        shown = [text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..." for text in bad.slice(0, 12).to_pylist()]
        more = f" and {len(bad) - len(shown)} more" if len(bad) > len(shown) else ""
        raise InputError(
            f"the column {name} holds what is no id",
            got=listed(shown) + more,
            do="use letters, digits, '_', '.', ':' and '-', at most 128, a letter or digit first",
        )


def _known(project: Project, at: datetime) -> pa.Table:
    """Everybody of whom the history knew an event or a fact at ``at``; of the parts only three columns are read."""
    known = " UNION ".join(
        f"SELECT customer_id FROM {project.history.scan(name)} WHERE occurred_at < $at AND recorded_at < $at"
        for name in ("events", "profile")
    )
    with in_memory() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(f"{known} ORDER BY customer_id", {"at": at}).to_arrow_table()


def _one_a_person(told: pa.Table, project: Project) -> pa.Table:
    """The rows of ``told`` in their order, of the accounts of one person only one."""
    members = project.history.scan("members")
    with in_memory() as connection:
        connection.register("told", told.append_column("place", pa.array(range(told.num_rows), pa.int64())))
        connection.execute(
            f"CREATE TEMP TABLE own AS SELECT account_id, customer_id FROM {members} "
            "WHERE strength = 'personalize' AND until IS NULL"
        )
        if connection.execute("SELECT count(*) FROM own").fetchone() == (0,):
            return told
        return connection.execute(
            "SELECT told.* EXCLUDE place FROM told LEFT JOIN own ON own.account_id = told.customer_id "
            "QUALIFY row_number() OVER (PARTITION BY coalesce(own.customer_id, told.customer_id) "
            "ORDER BY coalesce(own.customer_id = told.customer_id, false) DESC, place) = 1 ORDER BY place"
        ).to_arrow_table()
