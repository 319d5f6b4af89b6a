"""The ingestor: owns the connections to the exchange and publishes what arrives on them."""
