"""The first form of the ledger."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create all tables."""
    op.create_table(
        "decisions",
        sa.Column("decision_id", sa.String(128), primary_key=True),
        sa.Column("customer_id", sa.String(128), nullable=False),
        sa.Column("household_id", sa.String(128)),
        sa.Column("decided_at", sa.BigInteger, nullable=False),
        sa.Column("experiment", sa.String(128), nullable=False),
        sa.Column("arm", sa.String(128), nullable=False),
        sa.Column("action", sa.String(260), nullable=False),
        sa.Column("offer_id", sa.String(128)),
        sa.Column("channel", sa.String(16)),
        sa.Column("probability", sa.Float, nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("degraded", sa.Boolean, nullable=False),
        sa.Column("contact_cost", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Integer, nullable=False),
        sa.Column("record", sa.LargeBinary, nullable=False),
    )
    op.create_index("decisions_of_customer", "decisions", ["customer_id"])
    op.create_index("decisions_in_time", "decisions", ["decided_at"])
    op.create_table(
        "slots",
        sa.Column("decision_id", sa.String(128), primary_key=True),
        sa.Column("customer_id", sa.String(128), nullable=False),
        sa.Column("offer_id", sa.String(128), nullable=False),
        sa.Column("channel", sa.String(16), nullable=False),
        sa.Column("contact_class", sa.String(16), nullable=False),
        sa.Column("taken_at", sa.BigInteger, nullable=False),
    )
    op.create_index("slots_of_customer", "slots", ["customer_id", "taken_at"])
    op.create_table(
        "consents",
        sa.Column("consent_id", sa.String(64), primary_key=True),
        sa.Column("customer_id", sa.String(128), nullable=False),
        sa.Column("channel", sa.String(16), nullable=False),
        sa.Column("purpose", sa.String(64), nullable=False),
        sa.Column("contact_class", sa.String(16), nullable=False),
        sa.Column("granted", sa.Boolean, nullable=False),
        sa.Column("wording", sa.Text, nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("occurred_at", sa.BigInteger, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
    )
    op.create_index("consents_of_customer", "consents", ["customer_id"])
    op.create_table(
        "events",
        sa.Column("event_id", sa.String(128), primary_key=True),
        sa.Column("customer_id", sa.String(128), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("occurred_at", sa.BigInteger, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("channel", sa.String(16)),
        sa.Column("item", sa.String(256)),
        sa.Column("category", sa.String(256)),
        sa.Column("amount", sa.BigInteger),
        sa.Column("quantity", sa.BigInteger),
        sa.Column("source", sa.String(64)),
        sa.Column("decision_id", sa.String(128)),
    )
    op.create_index("events_of_customer", "events", ["customer_id"])
    op.create_index("events_recorded", "events", ["recorded_at"])
    _create_small_tables()


def _create_small_tables() -> None:
    op.create_table(
        "idempotency",
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("decision_id", sa.String(128), nullable=False),
    )
    op.create_table(
        "policies",
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("published_at", sa.BigInteger, nullable=False),
    )
    op.create_index("policies_by_name", "policies", ["name", "sequence"])
    op.create_index("policies_by_version", "policies", ["version"])
    op.create_table(
        "rulebooks",
        sa.Column("fingerprint", sa.String(64), primary_key=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.String(32), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("scopes", sa.String(128), nullable=False),
        sa.Column("label", sa.String(128), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("revoked_at", sa.BigInteger),
    )
    op.create_table(
        "suppressions",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
