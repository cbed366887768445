"""The experiments of a project: planned, started, taught and looked at, from its own ledger and history."""
