"""Checks: what can be built, but should be written in another way."""
