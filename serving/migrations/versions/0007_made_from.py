"""A state that was learned says by which window and margin, so that another one is not put in its place unseen."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, empty for policies that were published and for what was learned before."""
    op.add_column("policies", sa.Column("made_from", sa.Text))
