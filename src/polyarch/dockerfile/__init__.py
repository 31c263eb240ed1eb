"""From a Dockerfile's text to a graph."""
