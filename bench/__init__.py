"""Measures the gateway: the real processes, on private servers, fed with recorded frames."""
