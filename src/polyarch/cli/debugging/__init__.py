"""Commands of debuggers."""
