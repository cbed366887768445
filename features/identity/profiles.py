"""Links by likeness: accounts whose names, births and addresses tell that they are one person, as the data teach."""

from __future__ import annotations

from datetime import datetime

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import InputError
from features.history import History
from features.identity.resolution import Resolution, believe
from features.identity.rules import IdentityRules
from features.sql import identifier, literal


def link_profiles(history: History, rules: IdentityRules, *, at: datetime | None = None) -> Resolution:
    """Link accounts by how alike their profiles are (`features.linkage`), and bring the groups up to date.

    The whole table of people is linked anew: a pair that was held for one person and no longer is, is taken back by a
    newer fact. ``at``: when that is known (default: now).

    Raises
    ------
    InputError
        When ``people`` of the rules names no attributes, or the attributes can't tell one person from another.
    """
    from features.linkage import link  # brings Splink: only who links by likeness pays for it

    people = person_table(history, rules)
    if people.num_rows < 2:
        return Resolution(links=0, accounts=0)
    pairs = link([people], id_column="account_id").pairs
    likely = pa.table(
        {"account_id": pairs["id_l"], "other_id": pairs["id_r"], "probability": pairs["probability"]},
    )
    likely = likely.filter(pc.greater_equal(likely["probability"], rules.suppress))
    return believe(history, likely, rules=rules, at=at, everything=True)


def person_table(history: History, rules: IdentityRules) -> pa.Table:
    """One row an account that has any: ``account_id`` and the latest value of each attribute that ``people`` names."""
    if not rules.people:
        raise InputError(
            "nothing says what people are compared by",
            got="no people in [identity]",
            do='name the attributes that hold it, such as people = {given_name = "first_name", surname = "last_name"}',
        )
    columns = ", ".join(
        f"arg_max(value, (occurred_at, recorded_at)) FILTER (attribute = {literal(attribute)}) AS {identifier(column)}"
        for column, attribute in rules.people.items()
    )
    known = " OR ".join(f"attribute = {literal(attribute)}" for attribute in rules.people.values())
    with duckdb.connect() as connection:
        return connection.execute(
            f"SELECT customer_id AS account_id, {columns} FROM {history.scan('profile')} "
            f"WHERE {known} GROUP BY customer_id ORDER BY customer_id"
        ).to_arrow_table()
