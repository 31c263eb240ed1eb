"""`bake`: builds of many targets from one definition."""
