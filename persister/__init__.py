"""The persister: writes balances from the queue to PostgreSQL."""
