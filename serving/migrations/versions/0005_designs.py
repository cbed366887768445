"""Designs are kept as they were before the first decision; decisions name the session that they were asked in."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of designs and add the column, empty in what was decided before."""
    op.create_table(
        "designs",
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("experiment", sa.String(128), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
    )
    op.create_index("designs_by_experiment", "designs", ["experiment", "sequence"])
    op.add_column("decisions", sa.Column("session_id", sa.String(128)))
