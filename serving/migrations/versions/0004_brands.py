"""Events name the brand of what was looked at or bought."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, empty in what was sent before."""
    op.add_column("events", sa.Column("brand", sa.String(256)))
