"""Erasures that are under way are kept until nothing is left of the person."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of erasures."""
    op.create_table(
        "erasures",
        sa.Column("customer_id", sa.String(128), primary_key=True),
        sa.Column("requested_at", sa.BigInteger, nullable=False),
        sa.Column("traces", sa.Text, nullable=False),
    )
