"""Root file systems made of a parent and changes."""
