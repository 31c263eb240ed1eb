"""Builders and their nodes, and the files in which docker buildx keeps its own."""
