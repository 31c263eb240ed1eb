"""Bytes by digest, and what is known about them."""
