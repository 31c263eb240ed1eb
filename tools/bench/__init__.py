"""Measurements: beside other builders, and of emulated steps in all ways that they can be run."""
