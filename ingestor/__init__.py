"""Holds the exchange's sockets and publishes what they say."""
