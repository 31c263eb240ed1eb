"""Variables in words."""
