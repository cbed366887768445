"""The looks that were taken at an experiment stay known when the record of them, in MLflow, is lost."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table; the next look at an experiment writes those that MLflow has into it."""
    op.create_table(
        "looks",
        sa.Column("experiment", sa.String(128), primary_key=True),
        sa.Column("as_of", sa.BigInteger, primary_key=True),
        sa.Column("units", sa.BigInteger, nullable=False),
    )
