"""From typed stages and a platform to a graph and an image config."""
