"""Users, processes, namespaces, and whole programs run by people."""
