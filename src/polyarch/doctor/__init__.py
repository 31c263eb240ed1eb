"""What this machine can do, and whether the store is sound: looked at, and returned as values."""
