"""Where a platform gets built."""
