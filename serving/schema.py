"""The tables of the ledger. Times are whole microseconds since 1970 in UTC, money is whole cents."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table, Text

HEAD = "0008"
"""The revision of the newest migration; a test holds it equal to what Alembic finds."""

metadata = MetaData()

decisions = Table(
    "decisions",
    metadata,
    Column("decision_id", String(128), primary_key=True),
    Column("customer_id", String(128), nullable=False),
    Column("household_id", String(128)),
    Column("session_id", String(128)),
    Column("decided_at", BigInteger, nullable=False),
    Column("experiment", String(128), nullable=False),
    Column("arm", String(128), nullable=False),
    Column("action", String(260), nullable=False),
    Column("offer_id", String(128)),
    Column("channel", String(64)),
    Column("probability", Float, nullable=False),
    Column("source", String(16), nullable=False),
    Column("degraded", Boolean, nullable=False),
    Column("contact_cost", BigInteger, nullable=False),
    Column("reason", Integer, nullable=False),
    Column("record", LargeBinary, nullable=False),
    Index("decisions_of_customer", "customer_id"),
    Index("decisions_in_time", "decided_at"),
    Index("decisions_of_experiment", "experiment", "decided_at"),
)
"""One row a decision; ``record`` is the whole :class:`serving.decision.Decision` as MessagePack."""

slots = Table(
    "slots",
    metadata,
    Column("decision_id", String(128), primary_key=True),
    Column("customer_id", String(128), nullable=False),
    Column("offer_id", String(128), nullable=False),
    Column("channel", String(64), nullable=False),
    Column("contact_class", String(16), nullable=False),
    Column("taken_at", BigInteger, nullable=False),
    Index("slots_of_customer", "customer_id", "taken_at"),
)
"""One row a contact that was taken; limits are counted here."""

assignments = Table(
    "assignments",
    metadata,
    Column("experiment", String(128), primary_key=True),
    Column("unit", String(128), primary_key=True),
    Column("arm", String(128), nullable=False),
    Column("assigned_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""The arm of every unit (customer, household or session), kept from its first decision in an experiment on."""

designs = Table(
    "designs",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("experiment", String(128), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Index("designs_by_experiment", "experiment", "sequence"),
)
"""What each experiment was designed to be before its first decision, and every change since."""

looks = Table(
    "looks",
    metadata,
    Column("experiment", String(128), primary_key=True),
    Column("as_of", BigInteger, primary_key=True),
    Column("units", BigInteger, nullable=False),
)
"""One row a moment that somebody looked at an experiment as of, and how many units its first goal was known of."""

consents = Table(
    "consents",
    metadata,
    Column("consent_id", String(64), primary_key=True),
    Column("customer_id", String(128), nullable=False),
    Column("channel", String(64), nullable=False),
    Column("purpose", String(64), nullable=False),
    Column("contact_class", String(16), nullable=False),
    Column("granted", Boolean, nullable=False),
    Column("wording", Text, nullable=False),
    Column("source", String(16), nullable=False),
    Column("occurred_at", BigInteger, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Index("consents_of_customer", "customer_id"),
)
"""Append-only; the id is a hash of the fact, so that the same fact delivered twice is one row."""

events = Table(
    "events",
    metadata,
    Column("event_id", String(128), primary_key=True),
    Column("customer_id", String(128), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("occurred_at", BigInteger, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Column("channel", String(64)),
    Column("item", String(256)),
    Column("category", String(256)),
    Column("brand", String(256)),
    Column("amount", BigInteger),
    Column("quantity", BigInteger),
    Column("source", String(64)),
    Column("decision_id", String(128)),
    Index("events_of_customer", "customer_id"),
    Index("events_recorded", "recorded_at"),
)
"""The inbox: events as ``features.facts.EVENTS`` has them; an outcome also names its decision."""

idempotency = Table(
    "idempotency",
    metadata,
    Column("key", String(255), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("decision_id", String(128), nullable=False),
)
"""Which request a key stood for, and the decision that answered it."""

policies = Table(
    "policies",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("name", String(128), nullable=False),
    Column("version", String(64), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("published_at", BigInteger, nullable=False),
    Column("made_from", Text),
    Index("policies_by_name", "name", "sequence"),
    Index("policies_by_version", "version"),
)
"""Every state that a policy ever had, and by what it was learned; the latest row of a name is the one in force."""

rulebooks = Table(
    "rulebooks",
    metadata,
    Column("fingerprint", String(64), primary_key=True),
    Column("body", LargeBinary, nullable=False),
)
"""Every rule book that ever decided, for replay."""

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", String(32), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("scopes", String(128), nullable=False),
    Column("label", String(128), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
)
"""Hashes of keys, never the keys."""

suppressions = Table(
    "suppressions",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("reason", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
"""Keyed HMACs of the accounts and addresses of people who must not be contacted, such as erased ones."""

erasures = Table(
    "erasures",
    metadata,
    Column("customer_id", String(128), primary_key=True),
    Column("requested_at", BigInteger, nullable=False),
    Column("traces", Text, nullable=False),
)
"""One row an erasure that is under way; ``traces`` (JSON) says what to look for, "" while nobody has looked yet."""
