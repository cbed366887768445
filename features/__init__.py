"""Remembers: intake, history, and features as of any moment."""
