"""Arms are kept from a unit's first decision on; a channel's name may have 64 characters."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NAMING_CHANNELS = {"decisions": True, "slots": False, "consents": False, "events": True}


def upgrade() -> None:
    """Create the table of arms and widen the columns of channels."""
    op.create_table(
        "assignments",
        sa.Column("experiment", sa.String(128), primary_key=True),
        sa.Column("unit", sa.String(128), primary_key=True),
        sa.Column("arm", sa.String(128), nullable=False),
        sa.Column("assigned_at", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    for name, nullable in _NAMING_CHANNELS.items():
        with op.batch_alter_table(name) as table:
            table.alter_column("channel", existing_type=sa.String(16), type_=sa.String(64), existing_nullable=nullable)
