"""Moves balances from the queue into Postgres."""
