"""What we hold at the exchange."""
