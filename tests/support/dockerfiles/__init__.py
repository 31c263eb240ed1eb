"""Dockerfiles written by hypothesis, and second implementations of what is done with them."""
