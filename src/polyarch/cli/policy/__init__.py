"""Commands on source policies: what one says of a source, and its tests."""
