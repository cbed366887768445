"""The ledger within one transaction: what can be read and written there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import Any

import msgspec
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Select,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
)

from experiments.policies import AnyPolicy, from_json, to_json
from features.facts import micros
from features.privacy.suppression import Erased, Kind, Kinds, kept_digests
from serving import schema
from serving.consent import ConsentFact, Permission, permission
from serving.contact_policy import Contact
from serving.decision import Decision
from serving.rules import RuleBook

ERASED = "erased"
"""The reason of the suppression of an erased person."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Decision)


class Consent(msgspec.Struct, frozen=True, kw_only=True):
    """A consent fact of a customer, with its wording and both its times."""

    customer_id: str
    channel: str
    granted: bool
    source: str
    occurred_at: datetime
    recorded_at: datetime
    contact_class: str = "marketing"
    purpose: str = "contact"
    wording: str = ""

    @property
    def consent_id(self) -> str:
        """A hash of the fact without the time of its arrival: delivered again, it is the same fact."""
        parts = (self.customer_id, self.channel, self.purpose, self.contact_class, str(self.granted), self.source)
        return hashlib.sha256("\x1f".join((*parts, self.occurred_at.isoformat())).encode()).hexdigest()


class Book:
    """The ledger within one transaction."""

    def __init__(self, connection: Connection, secret: bytes) -> None:
        self.connection = connection
        self._secret = secret

    def permissions(
        self, customer_ids: Sequence[str], *, said: Mapping[str, Sequence[ConsentFact]] | None = None
    ) -> dict[str, Permission]:
        """What each customer permits; one without facts permits no marketing.

        ``said``: the facts that count, where they were read before (:meth:`said`) and some are about something else.
        """
        facts = self.said(customer_ids) if said is None else said
        held = self._held(customer_ids)
        return {each: permission(facts.get(each, ()), hold=held.get(each)) for each in customer_ids}

    def said(self, customer_ids: Sequence[str]) -> dict[str, list[ConsentFact]]:
        """All that each customer said; those who said nothing are left out."""
        return _by_customer(self.connection.execute(_CONSENTS, listed(customer_ids)))

    def said_about(self, purposes: Iterable[str]) -> dict[str, list[ConsentFact]]:
        """What all customers said about ``purposes``; those who said nothing are left out."""
        return _by_customer(self.connection.execute(_CONSENTS_ABOUT, listed(purposes)))

    def said_by_refusing(self, *, known_at: datetime | None = None) -> dict[str, list[ConsentFact]]:
        """All that was said (and recorded before ``known_at``) by each customer who ever said no to anything."""
        query = _CONSENTS_OF_REFUSING
        if known_at is not None:
            query = query.where(schema.consents.c.recorded_at < micros(known_at))
        return _by_customer(self.connection.execute(query))

    def heard(self, customer_ids: Iterable[str]) -> dict[tuple[str, ConsentFact], datetime]:
        """When the ledger heard each thing that these customers said."""
        found = self.connection.execute(_HEARD, listed(customer_ids))
        return {
            (customer_id, ConsentFact._make((*said, moment(occurred_at)))): moment(recorded_at)
            for customer_id, *said, occurred_at, recorded_at in found
        }

    def contacts(self, customer_ids: Sequence[str], *, since: datetime) -> dict[str, list[Contact]]:
        """The slots that each customer has taken after ``since``, planned ones included."""
        taken: dict[str, list[Contact]] = {customer_id: [] for customer_id in customer_ids}
        found = self.connection.execute(_CONTACTS, {**listed(taken), "since": micros(since)})
        for customer_id, offer_id, channel, contact_class, taken_at in found:
            taken[customer_id].append(Contact(offer_id, channel, contact_class, moment(taken_at)))
        return taken

    def record(self, decided: Sequence[Decision]) -> None:
        """Write decisions and take their slots."""
        self.insert(schema.decisions, [_decision_row(each) for each in decided])
        self.insert(schema.slots, [_slot_row(each, each.contact) for each in decided if each.contact])

    def arms(self, experiment: str, units: Iterable[str]) -> dict[str, str]:
        """The arms that units of an experiment have; those without one are left out."""
        found = self.connection.execute(_ARMS, {**listed(units), "key": experiment})
        return {row.unit: row.arm for row in found}

    def keep_arms(self, experiment: str, arms: Sequence[tuple[str, str, datetime]]) -> None:
        """Keep (unit, arm, when) of units that have no arm in the experiment yet."""
        # In the order of the key, so that the pages of the table are written one after the other.
        rows = [
            {"experiment": experiment, "unit": unit, "arm": arm, "assigned_at": micros(at)}
            for unit, arm, at in sorted(arms)
        ]
        self.insert(schema.assignments, rows)

    def decisions(self, decision_ids: Iterable[str]) -> dict[str, Decision]:
        """The recorded decisions among ``decision_ids``."""
        found = self.connection.execute(_RECORDS, listed(decision_ids))
        return {decision_id: _decoder.decode(record) for decision_id, record in found}

    def latest(self, most: int, *, customer_id: str | None = None) -> list[Decision]:
        """The latest decisions, newest first."""
        columns = schema.decisions.c
        query = select(columns.record).order_by(columns.decided_at.desc(), columns.decision_id).limit(most)
        if customer_id is not None:
            query = query.where(columns.customer_id == customer_id)
        return [_decoder.decode(record) for (record,) in self.connection.execute(query)]

    def answered(self, keys: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Idempotency keys that were used: key -> (digest of the request, decision id)."""
        found = self.connection.execute(_ANSWERED, listed(keys))
        return {key: (digest, decision_id) for key, digest, decision_id in found}

    def answer(self, keys: Sequence[tuple[str, str, str]]) -> None:
        """Remember (key, digest, decision id)."""
        names = ("key", "digest", "decision_id")
        self.insert(schema.idempotency, [dict(zip(names, each, strict=True)) for each in keys])

    def consent(self, facts: Sequence[Consent]) -> int:
        """Add consent facts; returns how many were new."""
        rows = {}
        for fact in facts:
            # A no that claims to come from the future counts from now on: a later yes must be able to lift it.
            row = msgspec.structs.asdict(fact) | {
                "consent_id": fact.consent_id,
                "occurred_at": micros(min(fact.occurred_at, fact.recorded_at)),
                "recorded_at": micros(fact.recorded_at),
            }
            rows[row["consent_id"]] = row
        return self.insert_new(schema.consents, "consent_id", rows)

    def consents(self, customer_id: str) -> list[Consent]:
        """All consent facts of a customer, oldest first."""
        columns = schema.consents.c
        query = select(*(columns[name] for name in Consent.__struct_fields__)).where(columns.customer_id == customer_id)
        rows = self.connection.execute(query.order_by(columns.occurred_at, columns.consent_id)).mappings()
        times = ("occurred_at", "recorded_at")
        return [Consent(**{**row, **{name: moment(row[name]) for name in times}}) for row in rows]

    def insert_new(self, table: Table, key: str, rows: dict[str, dict[str, Any]]) -> int:
        """Insert the rows whose key is not in ``table`` yet; returns how many those were."""
        held = set(self.connection.scalars(_keys(table, key), listed(rows)))
        fresh = [row for name, row in rows.items() if name not in held]
        self.insert(table, fresh)
        return len(fresh)

    def keep_rules(self, fingerprint: str, book: RuleBook) -> None:
        """Keep a rule book, so that its decisions can be replayed."""
        self.insert_new(
            schema.rulebooks, "fingerprint", {fingerprint: {"fingerprint": fingerprint, "body": book.to_json()}}
        )

    def rules(self, fingerprint: str) -> RuleBook | None:
        """The rule book of that fingerprint."""
        columns = schema.rulebooks.c
        body = self.connection.scalar(select(columns.body).where(columns.fingerprint == fingerprint))
        return None if body is None else RuleBook.from_json(body)

    def publish(self, name: str, policy: AnyPolicy, *, at: datetime, made_from: str | None = None) -> str:
        """Make ``policy`` the one in force under ``name``; returns its version. The same again changes nothing.

        ``made_from``: by what it was learned, where it was.
        """
        body = to_json(policy)
        version = policy_version(policy)
        current = self.policy(name)
        if current is None or current[0] != version or self.made_from(name) != made_from:
            row = {"name": name, "version": version, "body": body, "published_at": micros(at), "made_from": made_from}
            self.insert(schema.policies, [row])
        return version

    def made_from(self, name: str) -> str | None:
        """By what the policy in force under ``name`` was learned, as it was published with."""
        columns = schema.policies.c
        query = select(columns.made_from).where(columns.name == name).order_by(columns.sequence.desc())
        told: str | None = self.connection.scalar(query.limit(1))
        return told

    def policy(self, name: str) -> tuple[str, AnyPolicy] | None:
        """The version and policy in force under ``name``."""
        columns = schema.policies.c
        query = select(columns.version, columns.body).where(columns.name == name).order_by(columns.sequence.desc())
        row = self.connection.execute(query.limit(1)).first()
        return None if row is None else (row.version, from_json(row.body))

    def policy_of_version(self, version: str) -> AnyPolicy | None:
        """The policy of that version, whatever its name."""
        columns = schema.policies.c
        body = self.connection.scalar(select(columns.body).where(columns.version == version).limit(1))
        return None if body is None else from_json(body)

    def remove(self, customer_ids: Iterable[str], *, arms: bool = True) -> dict[str, int]:
        """Remove all rows of customers, their ``arms`` too; returns how many from each table."""
        names = listed(customer_ids)
        keys = schema.idempotency
        own = select(schema.decisions.c.decision_id).where(among(schema.decisions.c.customer_id))
        removed = {
            "idempotency": self.connection.execute(delete(keys).where(keys.c.decision_id.in_(own)), names).rowcount
        }
        if arms:
            visits = select(schema.decisions.c.session_id).where(among(schema.decisions.c.customer_id))
            self.connection.execute(delete(schema.assignments).where(schema.assignments.c.unit.in_(visits)), names)
        own_rows = {table: table.c.customer_id for table in (schema.slots, schema.consents, schema.events)}
        own_rows |= {schema.assignments: schema.assignments.c.unit} if arms else {}
        own_rows |= {schema.decisions: schema.decisions.c.customer_id}
        for table, owner in own_rows.items():
            removed[table.name] = self.connection.execute(delete(table).where(among(owner)), names).rowcount
        return removed

    def suppress(self, digests: Iterable[str], *, at: datetime, reason: str = ERASED) -> int:
        """Keep keyed hashes (``features.privacy.suppression``) of whom nobody may contact; how many were new."""
        rows = {digest: {"digest": digest, "reason": reason, "created_at": micros(at)} for digest in digests}
        return self.insert_new(schema.suppressions, "digest", rows)

    def suppressed_since(self, digest: str) -> datetime | None:
        """When a keyed hash was kept first, None for one that was not."""
        columns = schema.suppressions.c
        stamp = self.connection.scalar(select(columns.created_at).where(columns.digest == digest))
        return None if stamp is None else moment(stamp)

    def erased_people(self, *, kinds: Kinds | None = None) -> Erased:
        """What is known of the erased: enough to know them again, for intake; ``kinds`` as ``Erased`` has them."""
        columns = schema.suppressions.c
        held = self.connection.scalars(select(columns.digest).where(columns.reason == ERASED))
        return Erased(self._secret, held, kinds=kinds)

    def digests(self, identifiers: Iterable[tuple[Kind, str]]) -> set[str]:
        """The keyed hashes to keep of identifiers."""
        return {each for kind, text in identifiers for each in kept_digests(kind, text, secret=self._secret)}

    def digest(self, customer_id: str) -> str:
        """The keyed hash under which a customer is suppressed: trimmed, in small letters."""
        (found,) = kept_digests("account", customer_id, secret=self._secret)
        return found

    def erased(self, customer_ids: Iterable[str]) -> set[str]:
        """Those of ``customer_ids`` who are suppressed."""
        return set(self._held(customer_ids))

    def count(self, table: Table, *, customer_id: str | None = None) -> int:
        """The number of rows of a table, or of a customer's rows in it."""
        query = select(func.count()).select_from(table)
        if customer_id is not None:
            query = query.where(table.c.customer_id == customer_id)
        return int(self.connection.scalar(query) or 0)

    def _held(self, customer_ids: Iterable[str]) -> dict[str, str]:
        if self.connection.scalar(_ANY_SUPPRESSED) is None:
            return {}
        digests = {customer_id: self.digest(customer_id) for customer_id in customer_ids}
        found = self.connection.execute(_SUPPRESSED, listed(digests.values()))
        held = {row.digest: row.reason for row in found}
        return {customer_id: held[digest] for customer_id, digest in digests.items() if digest in held}

    def insert(self, table: Table, rows: list[dict[str, Any]]) -> None:
        """Insert ``rows``, all with the same columns."""
        if rows:
            # Straight to the driver: for a chunk of a batch SQLAlchemy's own rows cost as much as SQLite does.
            names = tuple(column.name for column in table.columns if column.name in rows[0])
            statement = _insertion(table, names, self.connection.dialect)
            self.connection.exec_driver_sql(statement, [tuple(row[name] for name in names) for row in rows])


def policy_version(policy: AnyPolicy) -> str:
    """The version of a policy: a hash of its state."""
    return hashlib.sha256(to_json(policy)).hexdigest()[:16]


def moment(stamp: int) -> datetime:
    """The moment of so many microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=stamp)


def among(column: Column[str]) -> ColumnElement[bool]:
    """Whether ``column`` holds one of the names that :func:`listed` binds: one value however many there are."""
    names = func.json_each(bindparam("names")).table_valued("value")
    return column.in_(select(names.c.value))


def listed(names: Iterable[str]) -> dict[str, str]:
    """The value that :func:`among` compares with."""
    return {"names": msgspec.json.encode(list(names)).decode()}


# Written once: building a query anew costs SQLAlchemy more than running it costs SQLite.
_SAID = ("customer_id", *ConsentFact._fields)
_CONSENTS = select(*(schema.consents.c[name] for name in _SAID)).where(among(schema.consents.c.customer_id))
_HEARD = select(*(schema.consents.c[name] for name in (*_SAID, "recorded_at"))).where(
    among(schema.consents.c.customer_id)
)
_CONSENTS_ABOUT = select(*(schema.consents.c[name] for name in _SAID)).where(among(schema.consents.c.purpose))
_CONSENTS_OF_REFUSING = select(*(schema.consents.c[name] for name in _SAID)).where(
    schema.consents.c.customer_id.in_(select(schema.consents.c.customer_id).where(~schema.consents.c.granted))
)
_TAKEN = ("customer_id", *Contact._fields)
_CONTACTS = (
    select(*(schema.slots.c[name] for name in _TAKEN))
    .where(among(schema.slots.c.customer_id), schema.slots.c.taken_at > bindparam("since"))
    .order_by(schema.slots.c.taken_at, schema.slots.c.decision_id)
)
_ARMS = select(schema.assignments.c.unit, schema.assignments.c.arm).where(
    schema.assignments.c.experiment == bindparam("key"), among(schema.assignments.c.unit)
)
_RECORDS = select(schema.decisions.c.decision_id, schema.decisions.c.record).where(
    among(schema.decisions.c.decision_id)
)
_ANSWERED = select(schema.idempotency).where(among(schema.idempotency.c.key))
_ANY_SUPPRESSED = select(schema.suppressions.c.digest).limit(1)
_SUPPRESSED = select(schema.suppressions.c.digest, schema.suppressions.c.reason).where(
    among(schema.suppressions.c.digest)
)


def _by_customer(found: Iterable[Any]) -> dict[str, list[ConsentFact]]:
    facts: dict[str, list[ConsentFact]] = {}
    for customer_id, channel, purpose, kind, granted, source, occurred_at in found:
        fact = ConsentFact(channel, purpose, kind, granted, source, moment(occurred_at))
        facts.setdefault(customer_id, []).append(fact)
    return facts


@cache
def _keys(table: Table, key: str) -> Select[str]:
    return select(table.c[key]).where(among(table.c[key]))


@lru_cache(maxsize=64)
def _insertion(table: Table, names: tuple[str, ...], dialect: Dialect) -> str:
    return str(insert(table).compile(dialect=dialect, column_keys=names))


def _decision_row(decision: Decision) -> dict[str, Any]:
    return {
        "decision_id": decision.decision_id,
        "customer_id": decision.ask.customer_id,
        "household_id": decision.ask.household_id,
        "session_id": decision.ask.session_id,
        "decided_at": micros(decision.ask.moment),
        "experiment": decision.experiment,
        "arm": decision.arm,
        "action": decision.action,
        "offer_id": decision.offer_id,
        "channel": decision.channel,
        "probability": decision.probability,
        "source": decision.source,
        "degraded": decision.degraded,
        "contact_cost": decision.contact_cost,
        "reason": decision.reason,
        "record": _encoder.encode(decision),
    }


def _slot_row(decision: Decision, contact: Contact) -> dict[str, Any]:
    return {
        "decision_id": decision.decision_id,
        "customer_id": decision.ask.customer_id,
        "offer_id": contact.offer_id,
        "channel": contact.channel,
        "contact_class": contact.contact_class,
        "taken_at": micros(contact.taken_at),
    }
