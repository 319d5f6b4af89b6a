"""A stand-in for Bybit V5, written from Bybit's documentation alone."""
