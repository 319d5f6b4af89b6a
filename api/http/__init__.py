"""HTTP: requests in, responses out, and nothing about what they mean."""
