"""Stand-ins for what is slow or needs root."""
