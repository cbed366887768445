"""Proves: assignment, policies from static to bandit, lift, off-policy value, reports."""
