"""The standard library of bake files, by themes."""
