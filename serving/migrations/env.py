"""Alembic's entry: runs the steps on the connection that the ledger hands over."""

from alembic import context

from serving.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
