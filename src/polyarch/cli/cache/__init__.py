"""`du` and `prune`."""
