"""Changes to a file system, to tar and back."""
