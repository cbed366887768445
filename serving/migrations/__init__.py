"""Alembic's steps from one form of the ledger to the next; run when a ledger is opened."""
