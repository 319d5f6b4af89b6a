"""Writes balances from the queue to PostgreSQL."""
