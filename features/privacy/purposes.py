"""What features may be used for: each has a purpose, which the customer may refuse or must first agree to.

A masked value is missing (null), counts too: a 0 would say that nothing happened. What a customer said about a purpose
are facts (``CONSENTS``), so a row of the past is masked by what was known then, and as well by what is known at the
moment it is used: an objection stops further use, also of what was allowed when it was gathered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache, reduce
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.declaration import FeatureSet
from features.engines.owners import housemates
from features.errors import InputError, unknown
from features.facts import TIMESTAMP
from features.feature import Feature
from features.history import History
from features.spine import spine_keys
from features.sql import in_memory

Basis = Literal["assumed", "asked"]
"""``assumed``: used until the customer refuses; ``asked``: used only after the customer said yes."""

#: Whether one may be contacted at all is no purpose of features: ``serving.consent`` decides it.
_CONTACT = "contact"
_EVERY = "all"
_MARKETING = (_EVERY, "marketing")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
V = TypeVar("V")


class Said(NamedTuple):
    """One thing that a customer said about a purpose, known by now.

    ``said_by``: customer, agent or import. ``own``: False for an account that is linked too weakly for its behaviour to
    be used; a no said there counts, a yes does not.
    """

    purpose: str
    granted: bool
    said_by: str
    occurred_at: datetime
    channel: str = _EVERY
    contact_class: str = _EVERY
    account_id: str = ""
    own: bool = True


def standing(said: Iterable[Said]) -> dict[str, bool]:
    """Each purpose that the customer's word decides: True for a yes, False for a no; the order makes no difference.

    A no, to any channel or class, stands until a later yes to the same channel and class that the customer or an agent
    gave, on one of the customer's own accounts or where the no was said; a file never lifts it, and at the same moment
    the no wins. A yes is one to all channels, and to marketing, which is what features are used for.

    >>> spring, summer = datetime(2026, 4, 1), datetime(2026, 7, 1)
    >>> no = Said("personalization", False, "customer", spring)
    >>> standing([no, Said("personalization", True, "import", summer)])
    {'personalization': False}
    >>> standing([no, Said("personalization", True, "customer", summer)])
    {'personalization': True}
    """
    facts = list(said)
    yes = [each for each in facts if each.granted]
    found = {
        each.purpose: True
        for each in yes
        if each.own and each.channel.lower() == _EVERY and each.contact_class in _MARKETING
    }
    return found | {each.purpose: False for each in facts if not each.granted and not _lifted(each, yes)}


def _lifted(no: Said, yes: Sequence[Said]) -> bool:
    return any(
        each.occurred_at > no.occurred_at
        and each.said_by != "import"
        and (each.own or each.account_id == no.account_id)
        and (each.purpose, each.channel.lower(), each.contact_class)
        == (no.purpose, no.channel.lower(), no.contact_class)
        for each in yes
    )


@dataclass(frozen=True, kw_only=True)
class Purposes:
    """What a company may take for granted: ``[purposes]`` of a project.

    ``basis``: ``assumed`` or ``asked`` by purpose; one that is not named is asked for, and so is whatever is sensitive.

    >>> purposes = Purposes(basis={"personalization": "assumed"})
    >>> purposes.allow(Feature(name="visits"), {}), purposes.allow(Feature(name="visits"), {"personalization": False})
    (True, False)
    >>> purposes.allow(Feature(name="pregnancy_tests", sensitive=True), {})
    False
    """

    basis: Mapping[str, Basis] = field(default_factory=lambda: {"personalization": "assumed"})

    def __post_init__(self) -> None:
        for name, basis in self.basis.items():
            if not _NAME.fullmatch(name) or name == _CONTACT:
                raise InputError(
                    "a purpose of [purposes] has a name that it can't have",
                    got=repr(name),
                    do=f"use a-z, 0-9, _ and -; {_CONTACT!r} is about being contacted, not about features",
                )
            if basis not in get_args(Basis):
                raise InputError(
                    f"purpose {name!r} is neither assumed nor asked for",
                    got=repr(basis),
                    do=f'write {name} = "assumed" (used until refused) or "asked" (used only after a yes)',
                )

    @classmethod
    def from_config(cls, table: Mapping[str, Any]) -> Purposes:
        """The purposes of a project: ``personalization`` is assumed unless the table says otherwise."""
        return cls(basis={**cls().basis, **table})

    def require(self, features: FeatureSet) -> None:
        """Raise when a feature has a purpose that the company does not name: a slip would hide it from every model."""
        for each in features.columns:
            if each.feature.purpose not in self.basis:
                raise unknown(
                    f"purpose of feature {each.feature.name!r}:",
                    each.feature.purpose,
                    self.basis,
                    do=f'name it under [purposes] of rapport.toml: {each.feature.purpose} = "asked"',
                )

    def allow(self, feature: Feature, said: Mapping[str, bool]) -> bool:
        """Whether a feature may be used for a customer of whom ``said`` is :func:`standing`."""
        unsaid = self.basis.get(feature.purpose) == "assumed" and not feature.sensitive
        return said.get(feature.purpose, unsaid)


class PurposeMask:
    """Which columns of one customer's features are masked: made once for a feature set, safe to share among threads.

    >>> mask = PurposeMask(FeatureSet.of(Feature(name="visits"), Feature(name="age", purpose="profile")), Purposes())
    >>> mask.apply((3, 41), mask.of([]))
    (3, None)
    >>> mask.apply((3, 41), mask.of([Said("personalization", False, "customer", datetime(2026, 4, 1))]))
    (None, None)
    """

    def __init__(self, features: FeatureSet, purposes: Purposes) -> None:
        self._columns = features.columns
        self._purposes = purposes
        self._asked_about = frozenset(each.feature.purpose for each in features.columns)
        self.shared = frozenset(place for place, each in enumerate(self._columns) if each.feature.scope == "household")
        """The columns that tell of everybody in a household."""
        self._masked = lru_cache(maxsize=1_024)(self._mask)
        self.unsaid = self._masked(frozenset())
        """The columns masked for customers who said nothing."""

    def of(self, said: Iterable[Said]) -> frozenset[int]:
        """Positions of the masked columns for a customer, from all that was said and is known now."""
        about = [each for each in said if each.purpose in self._asked_about]
        return self._masked(frozenset(standing(about).items())) if about else self.unsaid

    def of_household(self, masks: Iterable[frozenset[int]]) -> frozenset[int]:
        """Positions of the columns of the household that are masked for one of the others who live there."""
        return self.shared.intersection(frozenset().union(*masks)) if self.shared else self.shared

    @staticmethod
    def apply(row: Sequence[V], masked: frozenset[int]) -> tuple[V | None, ...]:
        """``row`` with None in the masked places."""
        if not masked:
            return tuple(row)
        return tuple(None if place in masked else value for place, value in enumerate(row))

    def _mask(self, said: frozenset[tuple[str, bool]]) -> frozenset[int]:
        known = dict(said)
        return frozenset(
            place for place, each in enumerate(self._columns) if not self._purposes.allow(each.feature, known)
        )


def masked(
    table: pa.Table,
    features: FeatureSet,
    history: History,
    *,
    purposes: Purposes,
    used_at: datetime | None = None,
) -> pa.Table:
    """``table`` (``customer_id``, ``as_of``, features) with null for what its customer's word does not allow.

    What the household did tells of everybody in it: a feature of that scope needs the word of all who were counted.

    Parameters
    ----------
    used_at: when the rows are used; what the customer said until then counts too. Without it only what was known at
        each row's ``as_of`` does.
    """
    about = pa.array(sorted({each.feature.purpose for each in features.columns}), pa.string())
    said = history.consents()
    said = said.filter(pc.is_in(said["purpose"], about))
    keys = spine_keys(table.select(["customer_id", "as_of"]))
    own = _Told.of(keys, said, history, used_at=used_at)
    shared = bool(history.parts("members")) and any(each.feature.scope == "household" for each in features.columns)
    mates = (housemates(history, keys) if shared else keys.slice(0, 0)).select(["row", "customer_id"])
    theirs = _Told.of(mates.append_column("as_of", keys["as_of"].take(mates["row"])), said, history, used_at=used_at)
    for column in features.columns:
        keep = own.allow(column.feature, purposes=purposes)
        if column.feature.scope == "household" and mates.num_rows:
            refused = mates["row"].filter(pc.invert(theirs.allow(column.feature, purposes=purposes)))
            keep = pc.and_not(keep, pc.is_in(keys["row"], refused))
        if not pc.all(keep, min_count=0).as_py():
            values = pc.if_else(keep, table[column.name], pa.scalar(None, table.schema.field(column.name).type))
            table = table.set_column(table.column_names.index(column.name), column.name, values)
    return table


def usable(customer_ids: pa.ChunkedArray, history: History, *, purposes: Purposes, at: datetime) -> pa.ChunkedArray:
    """Whether each customer lets what they did be used for personalization, as known at ``at``."""
    feature = Feature(name="behaviour")
    said = history.consents()
    said = said.filter(pc.equal(said["purpose"], feature.purpose))
    keys = spine_keys(
        pa.table({"customer_id": customer_ids, "as_of": pa.repeat(pa.scalar(at, TIMESTAMP), len(customer_ids))})
    )
    return _Told.of(keys, said, history).allow(feature, purposes=purposes)


_Words = Mapping[tuple[str, bool], pa.ChunkedArray]


class _Told(NamedTuple):
    """What the customers of rows had said at each row's moment, and when the rows are used."""

    rows: int
    words: tuple[_Words, ...]

    @classmethod
    def of(cls, keys: pa.Table, said: pa.Table, history: History, *, used_at: datetime | None = None) -> _Told:
        as_of = keys["as_of"].cast(TIMESTAMP)
        asked = [as_of] if used_at is None else [as_of, pa.repeat(pa.scalar(used_at, TIMESTAMP), keys.num_rows)]
        return cls(keys.num_rows, tuple(_words(keys["customer_id"], at, said, history) for at in asked))

    def allow(self, feature: Feature, *, purposes: Purposes) -> pa.ChunkedArray:
        """Whether the feature may be used, for each row."""
        found = [_allowed(feature, each, purposes=purposes, rows=self.rows) for each in self.words]
        return pa.chunked_array([reduce(pc.and_, found)]) if self.rows else pa.chunked_array([], pa.bool_())


def _allowed(feature: Feature, words: _Words, *, purposes: Purposes, rows: int) -> pa.Array:
    """Whether the feature may be used, for each row."""
    allowed = pa.repeat(pa.scalar(purposes.allow(feature, {})), rows)
    for granted in (True, False):
        told = words.get((feature.purpose, granted))
        if told is not None:
            allowed = pc.if_else(told, purposes.allow(feature, {feature.purpose: granted}), allowed)
    return allowed


def _words(customer: pa.ChunkedArray, at: pa.Array, said: pa.Table, history: History) -> _Words:
    """For each purpose and word (yes, no) that any customer said by then, whether each row's customer did."""
    if said.num_rows == 0:
        return {}
    rows = np.arange(len(customer), dtype=np.int64)
    spine = pa.table({"row": rows, "customer_id": customer, "moment": at})
    with in_memory() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("spine", spine)
        connection.register("said", said)
        found = connection.execute(_STANDING.format(members=history.scan("members"))).to_arrow_table()
    words = {}
    for purpose, granted in set(zip(found["purpose"].to_pylist(), found["granted"].to_pylist(), strict=True)):
        chosen = found.filter(pc.and_(pc.equal(found["purpose"], purpose), pc.equal(found["granted"], granted)))
        words[purpose, granted] = pc.is_in(spine["row"], chosen["row"])
    return words


# The rule of `standing`, for many rows at once.
_STANDING = """
WITH member AS (FROM {members} WHERE strength IN ('suppress', 'personalize')),
account AS (
    SELECT row, moment, account_id, bool_or(own) AS own
    FROM (
        SELECT row, moment, customer_id AS account_id, true AS own FROM spine
        UNION ALL
        SELECT row, moment, other.account_id, other.strength = 'personalize'
        FROM spine JOIN member ON member.account_id = spine.customer_id
        JOIN member AS other ON other.customer_id = member.customer_id AND other.strength = member.strength
        WHERE member.since < moment AND (member.until IS NULL OR moment <= member.until)
          AND other.since < moment AND (other.until IS NULL OR moment <= other.until)
    )
    GROUP BY ALL
),
known AS (
    SELECT row, own, account_id, purpose, lower(channel) AS channel, contact_class, granted, said_by, occurred_at
    FROM account JOIN said ON said.customer_id = account.account_id AND occurred_at < moment AND recorded_at < moment
),
refused AS (
    SELECT DISTINCT row, purpose FROM known AS refusal
    WHERE NOT granted AND NOT EXISTS (
        SELECT 1 FROM known AS yes
        WHERE yes.granted AND yes.row = refusal.row AND yes.purpose = refusal.purpose
          AND yes.channel = refusal.channel AND yes.contact_class = refusal.contact_class
          AND yes.occurred_at > refusal.occurred_at AND yes.said_by <> 'import'
          AND (yes.own OR yes.account_id = refusal.account_id))
)
SELECT row, purpose, false AS granted FROM refused
UNION ALL
SELECT DISTINCT row, purpose, true FROM known
WHERE granted AND own AND channel = 'all' AND contact_class IN ('all', 'marketing')
  AND (row, purpose) NOT IN (SELECT (row, purpose) FROM refused)
"""
