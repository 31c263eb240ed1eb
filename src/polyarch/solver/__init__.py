"""Results for a graph, each vertex computed at most once."""
