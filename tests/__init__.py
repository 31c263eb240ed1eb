"""Tests, and in `tests.support` what they share."""
