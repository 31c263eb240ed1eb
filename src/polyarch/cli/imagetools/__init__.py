"""Commands on images where they are, at registries and in layouts."""
