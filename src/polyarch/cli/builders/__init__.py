"""Commands on builders, which are docker buildx's: made, listed, chosen, removed."""
