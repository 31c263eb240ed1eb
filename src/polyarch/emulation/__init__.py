"""Running programs for CPUs that this machine doesn't have."""
