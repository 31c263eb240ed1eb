"""Our own runtime: a step in namespaces that are made by a process that is there already."""
