"""Desired state in, observed state out."""
