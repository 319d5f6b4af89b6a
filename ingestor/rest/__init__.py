"""What the gateway requests from Bybit over REST."""
