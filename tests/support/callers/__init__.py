"""What calls docker buildx, called with polyarch in its place."""
