"""Reads across tables. Each returns frozen dataclasses, never rows."""
