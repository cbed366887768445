"""The decisions of one experiment are found without reading those of all others."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    op.create_index("decisions_of_experiment", "decisions", ["experiment", "decided_at"])
