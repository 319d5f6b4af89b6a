"""What the gateway asks Bybit over REST."""
